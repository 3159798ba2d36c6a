//! The phases in which policy is asked, and the one table of what it may change in each.

use std::fmt;

use crate::error::PolicyError;

/// Where policy is asked. Closed; in the order a message meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// validate_accept: a client has connected, nothing is said.
    Accept,
    /// validate_connect.
    Connect,
    /// validate_ehlo.
    Ehlo,
    /// validate_auth.
    Auth,
    /// validate_mailfrom.
    MailFrom,
    /// validate_rcptto.
    RcptTo,
    /// validate_rcptto_list: after every RCPT.
    RcptToList,
    /// validate_rcptto_list_final: before DATA; nobody is added after it.
    RcptToListFinal,
    /// validate_data: the message is there.
    Data,
    /// validate_data_spool: once before the recipients are told apart.
    DataSpool,
    /// validate_data_spool_each_rcpt and what follows it for the same recipient.
    EachRcpt,
    /// validate_set_binding.
    SetBinding,
    /// core_final_validation2: the last that may refuse.
    FinalValidation2,
    /// core_final_validation.
    FinalValidation,
    /// core_post_final_validation.
    PostFinalValidation,
    /// Everything after the message is safe: queues, delivery, notifications.
    Delivery,
    /// The log hooks, where only the text that is logged may be set.
    Log,
}

/// Something of a message or a session that policy may change. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Header fields.
    Header,
    /// The content.
    Body,
    /// MAIL FROM.
    ReversePath,
    /// RCPT TO of one recipient's message.
    ForwardPath,
    /// Who gets the message.
    Recipients,
    /// The binding.
    Binding,
    /// The binding group.
    BindingGroup,
    /// The domain that the message is routed by.
    RoutingDomain,
    /// The priority.
    Priority,
    /// The context dictionaries.
    Context,
    /// The reply to the client.
    Code,
    /// Whether the message is dropped without telling the client.
    Discard,
    /// How long the client is kept waiting.
    Tarpit,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 17] = [
        Self::Accept,
        Self::Connect,
        Self::Ehlo,
        Self::Auth,
        Self::MailFrom,
        Self::RcptTo,
        Self::RcptToList,
        Self::RcptToListFinal,
        Self::Data,
        Self::DataSpool,
        Self::EachRcpt,
        Self::SetBinding,
        Self::FinalValidation2,
        Self::FinalValidation,
        Self::PostFinalValidation,
        Self::Delivery,
        Self::Log,
    ];

    /// Its name in documents and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Connect => "connect",
            Self::Ehlo => "ehlo",
            Self::Auth => "auth",
            Self::MailFrom => "mailfrom",
            Self::RcptTo => "rcptto",
            Self::RcptToList => "rcptto_list",
            Self::RcptToListFinal => "rcptto_list_final",
            Self::Data => "data",
            Self::DataSpool => "data_spool",
            Self::EachRcpt => "data_spool_each_rcpt",
            Self::SetBinding => "set_binding",
            Self::FinalValidation2 => "final_validation2",
            Self::FinalValidation => "final_validation",
            Self::PostFinalValidation => "post_final_validation",
            Self::Delivery => "delivery",
            Self::Log => "log",
        }
    }
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Header,
        Self::Body,
        Self::ReversePath,
        Self::ForwardPath,
        Self::Recipients,
        Self::Binding,
        Self::BindingGroup,
        Self::RoutingDomain,
        Self::Priority,
        Self::Context,
        Self::Code,
        Self::Discard,
        Self::Tarpit,
    ];

    /// Its name in documents and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
            Self::ReversePath => "mailfrom",
            Self::ForwardPath => "rcptto",
            Self::Recipients => "recipients",
            Self::Binding => "binding",
            Self::BindingGroup => "binding_group",
            Self::RoutingDomain => "routing_domain",
            Self::Priority => "priority",
            Self::Context => "context",
            Self::Code => "code",
            Self::Discard => "discard",
            Self::Tarpit => "tarpit",
        }
    }

    /// The phases in which it may be changed: the table.
    pub const fn phases(self) -> &'static [Phase] {
        use Phase::{
            Accept, Auth, Connect, Data, DataSpool, EachRcpt, Ehlo, FinalValidation, FinalValidation2, Log, MailFrom,
            PostFinalValidation, RcptTo, RcptToList, RcptToListFinal, SetBinding,
        };
        match self {
            // What is stored is settled by then: later no edit would be seen by the next hop.
            Self::Header => {
                &[Data, DataSpool, EachRcpt, SetBinding, FinalValidation2, FinalValidation, PostFinalValidation]
            }
            Self::Body => &[Data, DataSpool, EachRcpt, SetBinding, FinalValidation2],
            Self::ReversePath => &[RcptTo, Data, DataSpool, EachRcpt, SetBinding],
            Self::ForwardPath => &[EachRcpt],
            // The list is frozen after rcptto_list_final, says one page; others have it changed up to data_spool_each_rcpt.
            // Data and data_spool are the last where a recipient added still meets every phase of a recipient.
            Self::Recipients => &[RcptTo, RcptToList, RcptToListFinal, Data, DataSpool],
            Self::Binding | Self::BindingGroup | Self::Priority => &[SetBinding],
            Self::RoutingDomain => &[EachRcpt, SetBinding],
            Self::Context => &[
                Accept,
                Connect,
                Ehlo,
                Auth,
                MailFrom,
                RcptTo,
                RcptToList,
                RcptToListFinal,
                Data,
                DataSpool,
                EachRcpt,
                SetBinding,
                FinalValidation2,
                FinalValidation,
                PostFinalValidation,
            ],
            Self::Code => &[
                Accept,
                Connect,
                Ehlo,
                Auth,
                MailFrom,
                RcptTo,
                RcptToList,
                RcptToListFinal,
                Data,
                DataSpool,
                EachRcpt,
                FinalValidation2,
                Log,
            ],
            Self::Discard => &[Data, DataSpool, EachRcpt],
            Self::Tarpit => &[Connect, Ehlo, MailFrom, RcptTo],
        }
    }

    /// Whether it may be changed in that phase, or the error that says not.
    pub fn changeable_in(self, phase: Phase) -> Result<(), PolicyError> {
        if self.phases().contains(&phase) { Ok(()) } else { Err(PolicyError::NotNow { field: self, phase }) }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
