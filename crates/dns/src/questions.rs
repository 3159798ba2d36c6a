//! What an operator asks the DNS by name and type, and what is kept of a domain: for the console.

use std::fmt;

use hickory_proto::rr::{Record, RecordType};

use crate::error::DnsError;
use crate::plan::MxPlan;
use crate::resolver::Resolver;

/// The types that can be asked for. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail hosts.
    Mx,
    /// The name of an address.
    Ptr,
    /// Texts.
    Txt,
    /// Another name.
    Cname,
}

impl RecordKind {
    /// All of them, as the operator names them.
    pub const ALL: [(&'static str, Self); 6] = [
        ("A", Self::A),
        ("AAAA", Self::Aaaa),
        ("MX", Self::Mx),
        ("PTR", Self::Ptr),
        ("TXT", Self::Txt),
        ("CNAME", Self::Cname),
    ];

    fn record_type(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Mx => RecordType::MX,
            Self::Ptr => RecordType::PTR,
            Self::Txt => RecordType::TXT,
            Self::Cname => RecordType::CNAME,
        }
    }
}

/// As in a zone file.
impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Self::ALL.into_iter().find(|(_, kind)| kind == self).unwrap_or(("?", *self));
        f.write_str(name)
    }
}

/// One record, as a zone file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedRecord {
    /// Whose.
    pub name: String,
    /// Seconds it stands.
    pub ttl: u32,
    /// Its data as text.
    pub data: String,
}

impl Resolver {
    /// Asks for the records of one type. An address is turned into its name for PTR.
    pub async fn lookup(&self, name: &str, kind: RecordKind) -> Result<Vec<AskedRecord>, DnsError> {
        let address = name.parse().ok().filter(|_| kind == RecordKind::Ptr);
        let name = address.map_or_else(|| name.to_owned(), |address: std::net::IpAddr| hickory_name(address));
        let records = self.records(&name, kind.record_type()).await?;
        let asked = |record: Record| AskedRecord {
            name: record.name.to_ascii(),
            ttl: record.ttl,
            data: record.data.to_string(),
        };
        Ok(records.into_iter().map(asked).collect())
    }

    /// The plan, or the refusal, that is kept for a domain, if its time is not over. Asks nobody, and counts as no lookup.
    pub fn kept(&self, domain: &str) -> Option<Result<MxPlan, DnsError>> {
        let key = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        let kept = self.peek(&key)?;
        Some(kept.map(|plan| (*plan).clone()))
    }
}

fn hickory_name(address: std::net::IpAddr) -> String {
    hickory_proto::rr::Name::from(address).to_ascii()
}
