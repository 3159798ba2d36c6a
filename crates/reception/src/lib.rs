//! The ESMTP listener: session shell, validation phases, relay control, limits.
//!
//! Start with `session`: it moves octets between a client and the protocol of `smtp`, and brings each question to where
//! it is decided: `validation` (policy's phases), `relay` (who may send where), `store` (envelopes, spool, log, queue).
//! `options` is what the configuration says; `listener` ties it all to `netlistener`.
//!
//! Everything here lives on the event loop of its session. Knows nothing of delivery.

mod bindings;
mod bounces;
mod conformance;
mod door_log;
mod epoch;
mod front;
mod link;
mod listener;
mod options;
mod parts;
mod phases;
mod recipients;
mod refusal;
mod relay;
mod session;
mod session_hooks;
mod sessions;
mod store;
mod throttle;
mod tls_door;
mod validation;

pub use bounces::{BounceReader, BouncedRecipient, IncomingBounce, Reading, TooBusy};
pub use listener::MEASURES;
pub use listener::{EsmtpListener, Parts, RECEIVING};
pub use options::{HOSTNAME, ListenerOptions, OPTIONS};
pub use phases::{
    CoreValidateConnect, CoreValidateDataSpoolEachRcpt, FinalValidation, FinalValidation2, FinalVerdict, MessageArgs,
    PostFinalValidation, PostMsgEachRcpt, PostValidateDataSpoolEachRcpt, PostValidateSetBinding, PreMsgEachRcpt,
    RecipientArgs, SessionArgs, ValidateAccept, ValidateConnect, ValidateData, ValidateDataSpool,
    ValidateDataSpoolEachRcpt, ValidateEhlo, ValidateMailfrom, ValidateRcptto, ValidateRcpttoList,
    ValidateRcpttoListFinal, ValidateSetBinding,
};
pub use policy::{Content, Scope, Session, ValidationContext};
pub use session_hooks::{
    ConfigGetDomainRelay, ConnectionArgs, DecInboundConnections, IncInboundConnections, PreCanRelayTo, RelayArgs,
    ServerEsmtpSessionAbort,
};
pub use sessions::{SessionReport, Sessions};
pub use tls_door::tls_contexts;

/// Every hook of reception, for the registry of hooks.
pub const HOOKS: [&[&dyn hooks::DeclaredHook]; 2] = [phases::PHASES, session_hooks::SESSION_HOOKS];
