//! The zone data of a [`ZoneServer`](super::ZoneServer): master-file-like lines in, answers as a caching resolver would
//! give them out.
//!
//! Knows no socket. Names are absolute and compared without case; a wrong line in a test's zone panics with its text.

use std::collections::BTreeMap;
use std::str::FromStr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Records by lower-case absolute name.
#[derive(Clone, Debug, Default)]
pub(super) struct Zone(BTreeMap<String, Vec<Record>>);

impl Zone {
    pub(super) fn add(&mut self, text: &str) {
        for line in text.lines().map(|line| line.split(';').next().unwrap_or_default().trim()) {
            if !line.is_empty() {
                let record = parse(line).unwrap_or_else(|| panic!("not a zone line: {line:?}"));
                self.0.entry(key(&record.name)).or_default().push(record);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(&key(&absolute(name).unwrap_or_else(|| panic!("not a name: {name:?}"))));
    }

    /// Fills the answer section, following CNAMEs; or says NXDOMAIN, or no data, with a SOA for the negative TTL.
    pub(super) fn answer(&self, name: &Name, kind: RecordType, message: &mut Message) {
        let mut name = name.clone();
        for _ in 0..CNAME_HOPS_MAX {
            let Some(records) = self.0.get(&key(&name)) else {
                if !self.has_descendant(&name) {
                    message.metadata.response_code = ResponseCode::NXDomain;
                }
                message.add_authority(soa(&name));
                return;
            };
            let found: Vec<Record> = records.iter().filter(|record| record.record_type() == kind).cloned().collect();
            if !found.is_empty() {
                message.add_answers(found);
                return;
            }
            let alias = records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) => Some((record.clone(), target.0.clone())),
                _ => None,
            });
            let Some((record, target)) = alias else {
                message.add_authority(soa(&name));
                return;
            };
            message.add_answer(record);
            name = target;
        }
    }

    fn has_descendant(&self, name: &Name) -> bool {
        let suffix = format!(".{}", key(name));
        self.0.keys().any(|known| known.ends_with(&suffix))
    }
}

/// How a name is looked up.
pub(super) fn key(name: &Name) -> String {
    name.to_ascii().to_ascii_lowercase()
}

fn absolute(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// `owner [ttl] [IN] TYPE data`.
fn parse(line: &str) -> Option<Record> {
    let mut words = line.split_ascii_whitespace().peekable();
    let owner = absolute(words.next()?)?;
    let ttl = words.next_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    let ttl = ttl.map_or(Some(TTL), |word| word.parse().ok())?;
    words.next_if_eq(&"IN");
    let kind = RecordType::from_str(&words.next()?.to_ascii_uppercase()).ok()?;
    let mut word = || words.next();
    let data = match kind {
        RecordType::A => RData::A(A(word()?.parse().ok()?)),
        RecordType::AAAA => RData::AAAA(AAAA(word()?.parse().ok()?)),
        RecordType::CNAME => RData::CNAME(CNAME(absolute(word()?)?)),
        RecordType::NS => RData::NS(NS(absolute(word()?)?)),
        RecordType::PTR => RData::PTR(PTR(absolute(word()?)?)),
        RecordType::MX => RData::MX(MX::new(word()?.parse().ok()?, absolute(word()?)?)),
        RecordType::TXT => {
            let text = line.split_once('"')?.1.strip_suffix('"')?;
            RData::TXT(TXT::new(text.split("\" \"").map(str::to_owned).collect()))
        }
        _ => return None,
    };
    Some(Record::from_rdata(owner, ttl, data))
}

fn soa(name: &Name) -> Record {
    let data = SOA::new(name.clone(), name.clone(), 1, 3600, 600, 86_400, NEGATIVE_TTL);
    Record::from_rdata(name.clone(), NEGATIVE_TTL, RData::SOA(data))
}

const TTL: u32 = 300;
const NEGATIVE_TTL: u32 = 60;
const CNAME_HOPS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;

    use super::*;

    fn ask(name: &str, kind: RecordType) -> Message {
        let mut zone = Zone::default();
        zone.add(
            "example.test. 60 MX 10 mx.example.test ; the usual
             mx.example.test IN A 192.0.2.1
             alias.test CNAME mx.example.test
             loop.test CNAME loop.test
             text.test TXT \"v=1\" \"more\"",
        );
        let mut message = Message::response(1, OpCode::Query);
        zone.answer(&absolute(name).unwrap(), kind, &mut message);
        message
    }

    #[test]
    fn answers_follow_aliases() {
        assert_eq!(ask("EXAMPLE.test", RecordType::MX).answers[0].ttl, 60);
        assert_eq!(ask("alias.test", RecordType::A).answers.len(), 2);
        assert_eq!(ask("loop.test", RecordType::A).answers.len(), CNAME_HOPS_MAX);
        assert_eq!(ask("text.test", RecordType::TXT).answers[0].data.to_string(), "v=1more");
    }

    #[test]
    fn no_data_and_no_name_differ() {
        let no_data = ask("mx.example.test", RecordType::AAAA);
        assert_eq!((no_data.metadata.response_code, no_data.authorities.len()), (ResponseCode::NoError, 1));
        assert_eq!(ask("test", RecordType::A).metadata.response_code, ResponseCode::NoError);
        assert_eq!(ask("gone.test", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    }
}
