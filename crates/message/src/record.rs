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
//!
//! Version 3 is a message with something that only few have: as version 1 or 2, then the number of tagged fields,
//! and for each its tag, the octets of its value, and the value. Tags ascend, so that none is there twice. A tag that this build does not
//! know is refused by its number: what it stands for may be what the message must not be sent without.
//!
//! | tag | value |
//! |---|---|
//! | 1 | the id its body is stored under |
//! | 2 | edits: how many, for each the distance from the one before, octets left out and put in; then the text |
//! | 3 | no value: urgent |
//! | 4 | the routing domain |
//! | 5 | RET: 0 FULL, 1 HDRS |
//! | 6 | ENVID |
//! | 7 | NOTIFY: 1 SUCCESS, 2 FAILURE, 4 DELAY |
//! | 8 | ORCPT |
//! | 9 | no value: SMTPUTF8 |
//! | 10 | no value: REQUIRETLS |

mod tagged;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use smtp::{AddressRules, ForwardPath, Mailbox, ReversePath};

use crate::dictionary::Dictionary;
use crate::envelope::{Context, DeliveryState, Envelope, FailedHere, Origin, Protocol, QueueName};
use crate::id::MessageId;
use crate::record::tagged::Tagged;

/// The newest version this build reads and writes.
pub const VERSION: u8 = 3;
/// The version of a message that is to be attempted.
const PLAIN: u8 = 1;
/// The version of one that is not.
const TO_FAIL: u8 = 2;

const EIGHT_BIT: u8 = 1;
const BATCH_IS_ID: u8 = 1 << 1;
const PEER: u8 = 1 << 2;
const PEER_IS_V6: u8 = 1 << 3;
const LAST_REPLY: u8 = 1 << 4;
const CONTEXT: u8 = 1 << 5;
const FAILED: u8 = 1 << 6;
const FAILED_QUIETLY: u8 = 1 << 7;
/// Flags of version 2 and later, and of no other.
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
    /// A field that this build does not know: a later release wrote it.
    UnknownField(u8),
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
            Self::UnknownField(tag) => write!(
                f,
                "envelope record has a field {tag}, which this release does not know: a newer release wrote it"
            ),
            Self::Invalid(field) => write!(f, "envelope record has an invalid {field}"),
            Self::Trailing => f.write_str("envelope record has bytes after its last field"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl DecodeError {
    /// Whether the record is sound, and a later release's: it is to be kept for that.
    pub const fn is_of_newer_release(self) -> bool {
        matches!(self, Self::NewerVersion(_) | Self::UnknownField(_))
    }
}

impl Envelope {
    /// Appends the envelope's record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let tagged = Tagged::of(self);
        out.push(match (tagged.is_empty(), self.delivery.failed.is_some()) {
            (true, false) => PLAIN,
            (true, true) => TO_FAIL,
            (false, _) => VERSION,
        });
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
        tagged.encode(out);
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
        let is_version = match version {
            PLAIN => flags & OF_FAILED == 0,
            TO_FAIL => flags & FAILED != 0,
            _ => flags & OF_FAILED != FAILED_QUIETLY,
        };
        if !is_version || flags & (PEER | PEER_IS_V6) == PEER_IS_V6 {
            return Err(DecodeError::Invalid("set of flags"));
        }
        let id = reader.id()?;
        let batch = if flags & BATCH_IS_ID != 0 { id } else { reader.id()? };
        let mut envelope = Self {
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
            edits: None,
            particulars: None,
        };
        if version == VERSION {
            tagged::decode(&mut reader, &mut envelope, intern)?;
        }
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
    use crate::edits::{Change, Edits};
    use crate::envelope::{Notification, Notify, Particulars, Ret};
    use proptest::prelude::*;

    fn dictionary() -> impl Strategy<Value = Dictionary> {
        let variable = (".{0,8}", ".{0,8}").prop_map(|(key, value)| (key.into(), value.into()));
        proptest::collection::vec(variable, 0..4).prop_map(Dictionary::from_iter)
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
        fn edits()(gaps in proptest::collection::vec((0..900u32, 0..400u32, 0..3usize), 1..5)) -> Arc<Edits> {
            let (mut changes, mut text, mut at) = (Vec::new(), Vec::new(), 0);
            for (gap, removed, lines) in gaps {
                let inserted = b"X-Note: y\r\n\tz\r\n".repeat(lines + usize::from(removed == 0));
                at += gap;
                changes.push(Change { at, removed, inserted: inserted.len() as u32 });
                at += removed;
                text.extend(inserted);
            }
            Arc::new(Edits::of_parts(changes, text).expect("they are edits"))
        }
    }

    prop_compose! {
        fn particulars()(
            body in proptest::option::of(id()),
            flags in any::<[bool; 3]>(),
            domain in proptest::option::of("[a-z.]{0,9}"),
            full in any::<Option<bool>>(),
            texts in (proptest::option::of("[!-~]{0,20}"), proptest::option::of("[!-~]{0,20}")),
            notify in any::<Option<[bool; 3]>>(),
        ) -> Box<Particulars> {
            let [urgent, smtputf8, requiretls] = flags;
            let mut particulars = Particulars {
                body,
                urgent,
                routing_domain: domain.map(Arc::from),
                notification: Notification {
                    ret: full.map(|full| if full { Ret::Full } else { Ret::Headers }),
                    envid: texts.0.map(Into::into),
                    notify: notify.map(|[success, failure, delay]| Notify { success, failure, delay }),
                    orcpt: texts.1.map(Into::into),
                },
                smtputf8,
                requiretls,
            };
            // None of them is no particulars.
            particulars.smtputf8 |= particulars == Particulars::default();
            Box::new(particulars)
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
            edits in proptest::option::of(edits()),
            particulars in proptest::option::of(particulars()),
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
                edits,
                particulars,
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
        assert_eq!(error, DecodeError::NewerVersion(4));
        assert!(error.to_string().contains("a newer release wrote it"));
        assert_eq!(Envelope::decode(&[]), Err(DecodeError::Truncated));
        assert_eq!(Envelope::decode(&[0]), Err(DecodeError::Invalid("version")));
    }

    #[test]
    fn a_version_is_as_old_as_its_message_allows() {
        let mut envelope = crate::envelope::sample();
        let mut record = Vec::new();
        envelope.encode(&mut record);
        assert_eq!(record[0], 1, "a release before this one reads it");
        envelope.delivery.failed = Some(Box::new(FailedHere { reply: "550 5.7.1 no".into(), quiet: true }));
        record.clear();
        envelope.encode(&mut record);
        assert_eq!(record[0], 2);
        assert_eq!(Envelope::decode(&record), Ok(envelope.clone()));
        envelope.particulars_mut().requiretls = true;
        record.clear();
        envelope.encode(&mut record);
        assert_eq!(record[0], 3, "a release that would send it in the clear does not read it");
        assert_eq!(Envelope::decode(&record), Ok(envelope));
    }

    #[test]
    fn particulars_that_are_none_leave_no_trace() {
        let (mut envelope, mut record, mut plain) = (crate::envelope::sample(), Vec::new(), Vec::new());
        envelope.encode(&mut plain);
        envelope.particulars_mut();
        envelope.encode(&mut record);
        assert_eq!(record, plain);
    }

    #[test]
    fn records_of_the_releases_before_are_read() {
        let read = |hex: &str| {
            let record: Vec<u8> = hex
                .as_bytes()
                .as_chunks::<2>()
                .0
                .iter()
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            let envelope = Envelope::decode(&record).unwrap();
            let mut written = Vec::new();
            envelope.encode(&mut written);
            assert_eq!(written, record, "and written as those read them");
            envelope
        };
        assert_eq!(read(FIRST), crate::envelope::sample());
        let failed = read(SECOND).delivery.failed.unwrap();
        assert_eq!((&*failed.reply, failed.quiet), ("550 5.7.1 no", true));
    }

    #[test]
    fn a_field_of_a_newer_release_is_refused_by_its_number() {
        let (mut envelope, mut record) = (crate::envelope::sample(), Vec::new());
        envelope.particulars_mut().smtputf8 = true;
        envelope.encode(&mut record);
        let (end, mut known) = (record.len(), record.clone());
        known[end - 2] = 200;
        assert_eq!(Envelope::decode(&known), Err(DecodeError::UnknownField(200)));
        record[end - 3] = 2;
        record.extend_from_slice(&[11, 1, b'x']);
        let error = Envelope::decode(&record).unwrap_err();
        assert_eq!((error, error.is_of_newer_release()), (DecodeError::UnknownField(11), true));
        assert!(error.to_string().contains("a field 11, which this release does not know"));
        for (wrong, what) in [(&[9, 0][..], "order of fields"), (&[10, 1, 0], "field"), (&[0, 0], "order of fields")] {
            record.truncate(end);
            record.extend_from_slice(wrong);
            assert_eq!(Envelope::decode(&record), Err(DecodeError::Invalid(what)), "{wrong:?}");
        }
    }

    /// [`crate::envelope::sample`], and the same taken in order to fail, as those releases wrote them.
    const FIRST: &str = "0106170a370c803bb16a80f7c4d50680e59a77db0f136e6577734073656e6465722e6578616d706c6510616e6e4073686f702e6578616d706c6500419cc00002090300370c803bb16a0764656661756c740764656661756c740c73686f702e6578616d706c65000000";
    const SECOND: &str = "02c6170a370c803bb16a80f7c4d50680e59a77db0f136e6577734073656e6465722e6578616d706c6510616e6e4073686f702e6578616d706c6500419cc00002090300370c803bb16a0764656661756c740764656661756c740c73686f702e6578616d706c650000000c35353020352e372e31206e6f";

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
