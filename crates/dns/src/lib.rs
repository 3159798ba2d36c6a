//! The resolver: MX routing data from DNS with caches and local overrides.
//!
//! In: a domain. Out: an [`MxPlan`], the hosts to try with their addresses in order of preference, or a [`DnsError`] shaped
//! by what the caller does next. Knows no queue, no SMTP reply and no socket of its own: hickory-resolver speaks the
//! protocol, on a thread that belongs to [`DnsRuntime`]. Start reading at `resolver.rs`.
//!
//! Two caches: parsed plans here (bounded by min_dns_ttl and max_dns_ttl), raw answers inside hickory.

mod cache;
mod error;
mod plan;
mod questions;
mod resolv_conf;
mod resolver;
mod runtime;
mod settings;
mod sweep;
mod upstream;

pub use error::DnsError;
pub use plan::{LackingHost, MxHost, MxPlan};
pub use questions::{AskedRecord, RecordKind};
pub use resolv_conf::{ResolvConf, ResolvConfError};
pub use resolver::{Overrides, Resolver, Stats};
pub use runtime::DnsRuntime;
pub use settings::{DNS_EXPIRE_INTERVAL, MAX_DNS_TTL, MIN_DNS_TTL, OPTIONS, RESOLV_CONF, Settings, USE_IPV6};
pub use upstream::MEASURES;
