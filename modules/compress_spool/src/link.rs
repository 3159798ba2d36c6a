//! The link itself: bodies out through gzip, and back.
//!
//! Writing runs on the caller's loop for what takes well under a millisecond, and in the pool for larger bodies; reading
//! always in the pool. Headers pass untouched.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use message::MessageId;
use spool::chain::{BodyIn, BodyOut, CommitSet};
use spool::{IoCaller, IoModule, IoResult, SpoolError};

use crate::{Count, NAME};

/// Compresses bodies from a size on; reads compressed and plain ones.
pub struct Compress {
    least: AtomicUsize,
    bodies: Count,
    octets: Count,
    stored: Count,
}

impl Default for Compress {
    /// Reads only.
    fn default() -> Self {
        let (bodies, octets, stored) = <(Count, Count, Count)>::default();
        Self { least: AtomicUsize::new(usize::MAX), bodies, octets, stored }
    }
}

impl Compress {
    /// Bodies of at least so many octets are compressed from now on.
    pub fn compress_from(&self, octets: usize) {
        self.least.store(octets, Ordering::Relaxed);
    }

    /// What it has done, for the operator.
    pub fn report(&self) -> String {
        let (octets, stored) = (self.octets.get(), self.stored.get());
        format!("{} bodies compressed, {octets} bytes into {stored}", self.bodies.get())
    }

    fn least(&self) -> usize {
        self.least.load(Ordering::Relaxed)
    }
}

impl IoModule for Compress {
    fn name(&self) -> &str {
        NAME
    }

    fn is_slow_to_write(&self, octets: usize) -> bool {
        SLOW_OCTETS.max(self.least()) <= octets
    }

    fn write_body(&self, _: IoCaller, _: &mut CommitSet, body: &mut BodyOut<'_>, _: bool) -> IoResult {
        let ambiguous = body.octets.starts_with(MAGIC);
        if body.octets.len() < self.least() && !ambiguous {
            return IoResult::Cont;
        }
        // What does not become smaller is stored as it is, unless it would be taken for compressed.
        match deflate(&body.octets) {
            Ok(packed) if packed.len() < body.octets.len() || ambiguous => {
                self.bodies.add(1);
                self.octets.add(body.octets.len());
                self.stored.add(packed.len());
                body.replace(packed);
            }
            Ok(_) => {}
            Err(error) => return IoResult::Fail(damaged(body.batch, &error)),
        }
        IoResult::Cont
    }

    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        let (id, expected) = (body.id, body.expected);
        body.afterwards(Box::new(move |octets| {
            if !octets.starts_with(MAGIC) {
                return Ok(octets);
            }
            inflate(&octets, expected).map_err(|error| damaged(id, &error))
        }));
        IoResult::Cont
    }
}

fn deflate(octets: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(octets.len() / 2), Compression::fast());
    encoder.write_all(octets)?;
    encoder.finish()
}

/// Back to what was compressed, which had `expected` octets: memory for so many was asked for, and no more is taken,
/// whatever the stored octets would become.
fn inflate(octets: &[u8], expected: u64) -> std::io::Result<Vec<u8>> {
    let at_once = usize::try_from(expected).unwrap_or(usize::MAX).min(octets.len().saturating_mul(RATIO_MAX));
    let mut plain = Vec::with_capacity(at_once);
    let mut decoder = GzDecoder::new(octets).take(expected);
    decoder.read_to_end(&mut plain)?;
    // At its limit `take` does not look on: what is left, the checksum of the member at least, is read and verified here.
    if decoder.into_inner().read(&mut [0])? != 0 {
        let why = format!("it has more than the {expected} bytes its envelope tells");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
    }
    Ok(plain)
}

fn damaged(id: MessageId, error: &std::io::Error) -> SpoolError {
    SpoolError::Damaged { id, why: format!("its body cannot be decompressed: {error}") }
}

/// How a gzip member with deflate begins (RFC 1952 2.3.1).
const MAGIC: &[u8] = &[0x1F, 0x8B, 8];
/// What deflate can make smaller at most.
const RATIO_MAX: usize = 1032;
/// From here on compressing takes longer than an event loop should be held up.
const SLOW_OCTETS: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use message::{Body, Context, DeliveryState, Envelope, Origin, Protocol, QueueName};
    use spool::{Job, Memory, ReadPool, Spool};
    use std::sync::Arc;

    struct Inline;

    impl ReadPool for Inline {
        fn submit(&self, job: Job) {
            job();
        }
    }

    fn envelope(id: u64, body_bytes: usize) -> Envelope {
        let id = MessageId::from_bits(id);
        Envelope {
            id,
            batch: id,
            reverse_path: smtp::ReversePath::Null,
            forward_path: smtp::ForwardPath(smtp::Mailbox::postmaster()),
            created: std::time::Duration::from_secs(7),
            body_bytes: body_bytes as u64,
            eight_bit: false,
            origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: id },
            queue: QueueName { binding_group: "d".into(), binding: "d".into(), domain: "b.example".into() },
            delivery: DeliveryState::default(),
            context: Context::default(),
            edits: None,
            particulars: None,
        }
    }

    fn chain(least: usize) -> (Spool, Spool) {
        let (link, memory) = (Arc::new(Compress::default()), Arc::new(Memory::new()));
        link.compress_from(least);
        let plain = Spool::new(vec![memory.clone()], Arc::new(Inline));
        (Spool::new(vec![link, memory], Arc::new(Inline)), plain)
    }

    fn bodies() -> Vec<Body> {
        let text = b"Subject: x\r\n\r\n".repeat(5000);
        // Octets that gzip does not make smaller.
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = (0..5000).map(|_| noise()).collect();
        let imitated = [MAGIC, b"\0\0\0\0\0\0\x03not gzip\r\n.\r\n"].concat();
        let truly = deflate(b"a gzip member\r\n.\r\n").unwrap();
        [b"short\r\n.\r\n".to_vec(), text, noise, imitated, truly].into_iter().map(Body::from).collect()
    }

    #[tokio::test]
    async fn every_body_comes_back_octet_for_octet() {
        for least in [0, 4096, usize::MAX] {
            let (spool, _) = chain(least);
            for (id, body) in bodies().into_iter().enumerate() {
                spool.store(&body, &[envelope(id as u64, body.len())]).await.unwrap();
                let (_, found) = spool.read(MessageId::from_bits(id as u64)).await.unwrap();
                assert_eq!(found, body, "body {id} with minimum_size {least}");
            }
        }
    }

    #[tokio::test]
    async fn large_bodies_are_stored_small_and_others_as_they_are() {
        let (spool, store) = chain(4096);
        let bodies = bodies();
        for (id, body) in bodies.iter().enumerate() {
            spool.store(body, &[envelope(id as u64, body.len())]).await.unwrap();
        }
        let mut stored = Vec::new();
        for id in 0..bodies.len() as u64 {
            stored.push(store.read(MessageId::from_bits(id)).await.unwrap().1);
        }
        assert!(stored[1].len() * 20 < bodies[1].len());
        assert_eq!((&stored[0], &stored[2]), (&bodies[0], &bodies[2]));
    }

    #[tokio::test]
    async fn mail_stored_before_it_was_turned_on_is_read() {
        let (spool, store) = chain(0);
        let body = Body::from_static(b"Subject: x\r\n\r\nhello\r\n.\r\n");
        store.store(&body, &[envelope(1, body.len())]).await.unwrap();
        assert_eq!(spool.read(MessageId::from_bits(1)).await.unwrap().1, body);
    }

    #[tokio::test]
    async fn what_is_stored_small_becomes_no_larger_than_its_envelope_tells() {
        let (spool, store) = chain(0);
        let packed = deflate(&vec![b'x'; 4 << 20]).unwrap();
        assert!(packed.len() < 32 << 10);
        store.store(&packed.clone().into(), &[envelope(1, 4 << 20)]).await.unwrap();
        assert_eq!(spool.read(MessageId::from_bits(1)).await.unwrap().1.len(), 4 << 20);
        store.store(&packed.into(), &[envelope(2, 1000)]).await.unwrap();
        let Err(error) = spool.read(MessageId::from_bits(2)).await else { panic!("more was read than was asked for") };
        assert!(error.to_string().contains("more than the 1000 bytes"), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_member_is_told_and_not_delivered() {
        let (spool, store) = chain(0);
        let mut packed = deflate(&bodies()[1]).unwrap();
        packed[20] ^= 1;
        store.store(&packed.into(), &[envelope(1, bodies()[1].len())]).await.unwrap();
        let Err(error) = spool.read(MessageId::from_bits(1)).await else { panic!("damage was read") };
        assert!(error.to_string().contains("its body cannot be decompressed"), "{error}");
    }
}
