//! The envelope as bytes: what the spool keeps of a message beside its body.
//!
//! Takes an [`Envelope`] and appends its record to a buffer; takes a record and gives the envelope back, with addresses
//! parsed again into their types. Pure; used on the journal's and the recovery's threads.
//!
//! Invariant: no bytes make decoding panic, and decoding allocates no more than a small multiple of the record's size.
//! The first byte is the version. A record of a newer version is refused by name, so that a downgraded daemon says so
//! and does not take its mail for damaged.
//!
//! Version 1: flags, id, batch unless equal to the id, created, body octets, reverse-path, forward-path, protocol, peer,
//! connection, queue, retries, next attempt, last reply, context. Numbers are varints (seven bits a byte, low first),
//! ids eight bytes little-endian, texts a length and UTF-8.
//!
//! Version 2 is a message that was taken in order to fail: as version 1, with the reply before the context. Nothing else is
//! written so, and a release that would attempt such a message cannot read it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use smtp::{AddressRules, ForwardPath, Mailbox, ReversePath};

use crate::envelope::{Context, DeliveryState, Dictionary, Envelope, FailedHere, Origin, Protocol, QueueName};
use crate::id::MessageId;

/// The newest version this build reads and writes.
pub const VERSION: u8 = 2;
/// The version of a message that is to be attempted.
const PLAIN: u8 = 1;

const EIGHT_BIT: u8 = 1;
const BATCH_IS_ID: u8 = 1 << 1;
const PEER: u8 = 1 << 2;
const PEER_IS_V6: u8 = 1 << 3;
const LAST_REPLY: u8 = 1 << 4;
const CONTEXT: u8 = 1 << 5;
const FAILED: u8 = 1 << 6;
const FAILED_QUIETLY: u8 = 1 << 7;
/// Flags of version 2, and of no other.
const OF_FAILED: u8 = FAILED | FAILED_QUIETLY;

/// Why a record is no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It ends before its last field.
    Truncated,
    /// Written by a later release; the version it names.
    NewerVersion(u8),
    /// This field holds what the field cannot hold.
    Invalid(&'static str),
    /// Bytes follow the last field.
    Trailing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("envelope record ends early"),
            Self::NewerVersion(version) => write!(
                f,
                "envelope record has version {version}, this release reads up to {VERSION}: a newer release wrote it"
            ),
            Self::Invalid(field) => write!(f, "envelope record has an invalid {field}"),
            Self::Trailing => f.write_str("envelope record has bytes after its last field"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Envelope {
    /// Appends the envelope's record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.delivery.failed.is_some() { VERSION } else { PLAIN });
        out.push(self.flags());
        put_id(out, self.id);
        if self.batch != self.id {
            put_id(out, self.batch);
        }
        put_duration(out, self.created);
        put_number(out, self.body_bytes);
        put_text(out, self.reverse_path.as_str());
        put_text(out, self.forward_path.as_str());
        out.push(self.origin.protocol as u8);
        if let Some(peer) = self.origin.peer {
            put_peer(out, peer);
        }
        put_id(out, self.origin.connection);
        for part in [&self.queue.binding_group, &self.queue.binding, &self.queue.domain] {
            put_text(out, part);
        }
        put_number(out, self.delivery.retries.into());
        put_duration(out, self.delivery.next_attempt);
        if let Some(reply) = &self.delivery.last_reply {
            put_text(out, reply);
        }
        if let Some(failed) = &self.delivery.failed {
            put_text(out, &failed.reply);
        }
        if self.flags() & CONTEXT != 0 {
            put_dictionary(out, &self.context.connection);
            put_dictionary(out, &self.context.message);
        }
    }

    /// Reads the record of one envelope, which must fill `record`.
    pub fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_interned(record, &mut |text| text.into())
    }

    /// As [`Envelope::decode`], asking `intern` for the shared strings of the queue's name, so that a million messages
    /// of one queue hold its name once.
    pub fn decode_interned(record: &[u8], intern: &mut dyn FnMut(&str) -> Arc<str>) -> Result<Self, DecodeError> {
        let mut reader = Reader(record);
        let version = match reader.byte()? {
            0 => return Err(DecodeError::Invalid("version")),
            known @ ..=VERSION => known,
            newer => return Err(DecodeError::NewerVersion(newer)),
        };
        let flags = reader.byte()?;
        let is_version = (version == PLAIN && flags & OF_FAILED == 0) || (version == VERSION && flags & FAILED != 0);
        if !is_version || flags & (PEER | PEER_IS_V6) == PEER_IS_V6 {
            return Err(DecodeError::Invalid("set of flags"));
        }
        let id = reader.id()?;
        let batch = if flags & BATCH_IS_ID != 0 { id } else { reader.id()? };
        let envelope = Self {
            id,
            batch,
            created: reader.duration()?,
            body_bytes: reader.number()?,
            reverse_path: reader.reverse_path()?,
            forward_path: reader.forward_path()?,
            eight_bit: flags & EIGHT_BIT != 0,
            origin: Origin {
                protocol: reader.protocol()?,
                peer: if flags & PEER != 0 { Some(reader.peer(flags & PEER_IS_V6 != 0)?) } else { None },
                connection: reader.id()?,
            },
            queue: QueueName {
                binding_group: intern(reader.text()?),
                binding: intern(reader.text()?),
                domain: intern(reader.text()?),
            },
            delivery: DeliveryState {
                retries: u32::try_from(reader.number()?).map_err(|_| DecodeError::Invalid("retry count"))?,
                next_attempt: reader.duration()?,
                last_reply: if flags & LAST_REPLY != 0 { Some(reader.text()?.into()) } else { None },
                failed: reader.failed(flags)?,
            },
            context: reader.context(flags & CONTEXT != 0)?,
        };
        if reader.0.is_empty() { Ok(envelope) } else { Err(DecodeError::Trailing) }
    }

    fn flags(&self) -> u8 {
        let when = |condition: bool, flag: u8| if condition { flag } else { 0 };
        when(self.eight_bit, EIGHT_BIT)
            | when(self.batch == self.id, BATCH_IS_ID)
            | when(self.origin.peer.is_some(), PEER)
            | when(self.origin.peer.is_some_and(|peer| peer.is_ipv6()), PEER_IS_V6)
            | when(self.delivery.last_reply.is_some(), LAST_REPLY)
            | when(self.context != Context::default(), CONTEXT)
            | when(self.delivery.failed.is_some(), FAILED)
            | when(self.delivery.failed.as_ref().is_some_and(|failed| failed.quiet), FAILED_QUIETLY)
    }
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while 0x7F < value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_id(out: &mut Vec<u8>, id: MessageId) {
    out.extend_from_slice(&id.to_bits().to_le_bytes());
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put_number(out, duration.as_secs());
    put_number(out, duration.subsec_nanos().into());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_peer(out: &mut Vec<u8>, peer: SocketAddr) {
    out.extend_from_slice(&peer.port().to_le_bytes());
    match peer {
        SocketAddr::V4(peer) => out.extend_from_slice(&peer.ip().octets()),
        SocketAddr::V6(peer) => {
            out.extend_from_slice(&peer.ip().octets());
            put_number(out, peer.flowinfo().into());
            put_number(out, peer.scope_id().into());
        }
    }
}

fn put_dictionary(out: &mut Vec<u8>, dictionary: &Dictionary) {
    put_number(out, dictionary.len() as u64);
    for (key, value) in dictionary {
        put_text(out, key);
        put_text(out, value);
    }
}

/// What is left of the record.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && 1 < bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("number"))
    }

    fn id(&mut self) -> Result<MessageId, DecodeError> {
        Ok(MessageId::from_bits(u64::from_le_bytes(self.array()?)))
    }

    fn duration(&mut self) -> Result<Duration, DecodeError> {
        let seconds = self.number()?;
        match u32::try_from(self.number()?) {
            Ok(nanoseconds) if nanoseconds < 1_000_000_000 => Ok(Duration::new(seconds, nanoseconds)),
            _ => Err(DecodeError::Invalid("time")),
        }
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let octets = usize::try_from(self.number()?).map_err(|_| DecodeError::Truncated)?;
        std::str::from_utf8(self.bytes(octets)?).map_err(|_| DecodeError::Invalid("text"))
    }

    fn reverse_path(&mut self) -> Result<ReversePath, DecodeError> {
        match self.text()? {
            "" => Ok(ReversePath::Null),
            text => mailbox(text).map(ReversePath::Mailbox).ok_or(DecodeError::Invalid("reverse-path")),
        }
    }

    fn forward_path(&mut self) -> Result<ForwardPath, DecodeError> {
        mailbox(self.text()?).map(ForwardPath).ok_or(DecodeError::Invalid("forward-path"))
    }

    fn protocol(&mut self) -> Result<Protocol, DecodeError> {
        const PROTOCOLS: [Protocol; 2] = [Protocol::Esmtp, Protocol::Internal];
        let byte = self.byte()?;
        let known = PROTOCOLS.into_iter().find(|&protocol| protocol as u8 == byte);
        known.ok_or(DecodeError::Invalid("reception protocol"))
    }

    fn peer(&mut self, is_v6: bool) -> Result<SocketAddr, DecodeError> {
        let port = u16::from_le_bytes(self.array()?);
        if !is_v6 {
            return Ok(SocketAddrV4::new(Ipv4Addr::from(self.array::<4>()?), port).into());
        }
        let address = Ipv6Addr::from(self.array::<16>()?);
        let mut number = || u32::try_from(self.number()?).map_err(|_| DecodeError::Invalid("peer"));
        let (flow, scope) = (number()?, number()?);
        Ok(SocketAddrV6::new(address, port, flow, scope).into())
    }

    fn failed(&mut self, flags: u8) -> Result<Option<Box<FailedHere>>, DecodeError> {
        if flags & FAILED == 0 {
            return Ok(None);
        }
        Ok(Some(Box::new(FailedHere { reply: self.text()?.into(), quiet: flags & FAILED_QUIETLY != 0 })))
    }

    fn context(&mut self, present: bool) -> Result<Context, DecodeError> {
        if !present {
            return Ok(Context::default());
        }
        Ok(Context { connection: self.dictionary()?, message: self.dictionary()? })
    }

    fn dictionary(&mut self) -> Result<Dictionary, DecodeError> {
        let count = usize::try_from(self.number()?).map_err(|_| DecodeError::Truncated)?;
        // Each entry takes two bytes at least.
        if self.0.len() / 2 < count {
            return Err(DecodeError::Truncated);
        }
        (0..count).map(|_| Ok((self.text()?.into(), self.text()?.into()))).collect()
    }
}

/// The bare `postmaster` is the one mailbox without a domain (RFC 5321 4.5.1). Whatever rules an address was taken under,
/// it is one here.
fn mailbox(text: &str) -> Option<Mailbox> {
    if text == Mailbox::postmaster().as_str() {
        return Some(Mailbox::postmaster());
    }
    Mailbox::parse_under(AddressRules::Relaxed, text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dictionary() -> impl Strategy<Value = Dictionary> {
        proptest::collection::vec((".{0,8}", ".{0,8}").prop_map(|(key, value)| (key.into(), value.into())), 0..4)
    }

    fn time() -> impl Strategy<Value = Duration> {
        (any::<u64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
    }

    fn path() -> impl Strategy<Value = Mailbox> {
        prop_oneof![
            Just(Mailbox::postmaster()),
            "[a-z]{1,20}@[a-z]{1,20}\\.example".prop_map(|text| Mailbox::parse(&text).unwrap()),
            "\"[ a-z@]{1,20}\"@\\[192\\.0\\.2\\.[1-9]\\]".prop_map(|text| Mailbox::parse(&text).unwrap()),
        ]
    }

    fn id() -> impl Strategy<Value = MessageId> {
        any::<u64>().prop_map(MessageId::from_bits)
    }

    prop_compose! {
        fn origin()(peer in any::<Option<SocketAddr>>(), connection in id(), internal in any::<bool>()) -> Origin {
            Origin { protocol: if internal { Protocol::Internal } else { Protocol::Esmtp }, peer, connection }
        }
    }

    prop_compose! {
        fn delivery()(
            retries in any::<u32>(),
            next_attempt in time(),
            reply in proptest::option::of(".{0,40}"),
            failed in proptest::option::of((".{0,40}", any::<bool>())),
        ) -> DeliveryState {
            let failed = failed.map(|(reply, quiet)| Box::new(FailedHere { reply: reply.into(), quiet }));
            DeliveryState { retries, next_attempt, last_reply: reply.map(Into::into), failed }
        }
    }

    prop_compose! {
        fn envelope()(
            ids in (id(), proptest::option::of(id())),
            paths in (proptest::option::of(path()), path()),
            created in time(),
            body_bytes in any::<u64>(),
            eight_bit in any::<bool>(),
            origin in origin(),
            queue in ["[a-z]{0,9}", "[a-z]{0,9}", "[a-z.]{0,9}"],
            delivery in delivery(),
            dictionaries in (dictionary(), dictionary()),
        ) -> Envelope {
            let [binding_group, binding, domain] = queue.map(Arc::from);
            Envelope {
                id: ids.0,
                batch: ids.1.unwrap_or(ids.0),
                reverse_path: paths.0.map_or(ReversePath::Null, ReversePath::Mailbox),
                forward_path: ForwardPath(paths.1),
                created,
                body_bytes,
                eight_bit,
                origin,
                queue: QueueName { binding_group, binding, domain },
                delivery,
                context: Context { connection: dictionaries.0, message: dictionaries.1 },
            }
        }
    }

    proptest! {
        #[test]
        fn an_envelope_survives_its_record(envelope in envelope()) {
            let mut record = Vec::new();
            envelope.encode(&mut record);
            prop_assert_eq!(Envelope::decode(&record), Ok(envelope));
        }

        #[test]
        fn a_cut_record_is_truncated_and_a_longer_one_is_refused(envelope in envelope(), cut in any::<prop::sample::Index>()) {
            let mut record = Vec::new();
            envelope.encode(&mut record);
            let cut = cut.index(record.len());
            prop_assert_eq!(Envelope::decode(&record[..cut]), Err(DecodeError::Truncated));
            record.push(0);
            prop_assert_eq!(Envelope::decode(&record), Err(DecodeError::Trailing));
        }

        #[test]
        fn no_bytes_make_decoding_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), versioned in any::<bool>()) {
            if let (true, Some(first)) = (versioned, bytes.first_mut()) {
                *first = 1 + *first % VERSION;
            }
            let _ = Envelope::decode(&bytes);
        }

        #[test]
        fn a_flipped_byte_gives_an_error_or_another_envelope(envelope in envelope(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut record = Vec::new();
            envelope.encode(&mut record);
            let at = at.index(record.len());
            record[at] ^= flip;
            prop_assert_ne!(Envelope::decode(&record), Ok(envelope));
        }
    }

    #[test]
    fn a_record_of_a_newer_release_is_refused_by_name() {
        let error = Envelope::decode(&[VERSION + 1, 0, 0]).unwrap_err();
        assert_eq!(error, DecodeError::NewerVersion(3));
        assert!(error.to_string().contains("a newer release wrote it"));
        assert_eq!(Envelope::decode(&[]), Err(DecodeError::Truncated));
        assert_eq!(Envelope::decode(&[0]), Err(DecodeError::Invalid("version")));
    }

    #[test]
    fn only_a_message_that_is_to_fail_has_the_newer_version() {
        let mut envelope = crate::envelope::sample();
        let mut record = Vec::new();
        envelope.encode(&mut record);
        assert_eq!(record[0], 1, "a release before this one reads it");
        envelope.delivery.failed = Some(Box::new(FailedHere { reply: "550 5.7.1 no".into(), quiet: true }));
        record.clear();
        envelope.encode(&mut record);
        assert_eq!(record[0], 2);
        assert_eq!(Envelope::decode(&record), Ok(envelope));
    }

    #[test]
    fn the_parts_of_the_queue_name_are_interned() {
        let shared: Arc<str> = "default".into();
        let mut record = Vec::new();
        crate::envelope::sample().encode(&mut record);
        let decoded = Envelope::decode_interned(&record, &mut |text| {
            if *text == *shared { shared.clone() } else { text.into() }
        });
        let queue = decoded.unwrap().queue;
        assert!(Arc::ptr_eq(&queue.binding, &shared) && Arc::ptr_eq(&queue.binding_group, &shared));
    }

    #[test]
    fn an_ordinary_record_is_small() {
        let mut record = Vec::new();
        crate::envelope::sample().encode(&mut record);
        assert!(record.len() < 128, "{} bytes", record.len());
    }
}
