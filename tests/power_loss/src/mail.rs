//! The mail a writer stores and a reader expects: everything follows from an id.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use message::{Body, Context, DeliveryState, Envelope, MessageId, Origin, Particulars, Protocol, QueueName};
use scheduler::{Clock, Meters};
use spool::disk::RealDisk;
use spool::{Job, JournalOptions, Kind, OpenError, ReadPool, Spool, Store};

use crate::random::Seeded;

/// The body that is stored under an id.
pub fn body(batch: u64) -> Body {
    let mut random = Seeded(batch);
    let lines = if random.one_in(20) { 2000 } else { random.below(60) };
    let mut text = format!("Subject: {batch}\r\n\r\n");
    for number in 0..lines {
        text.push_str(&format!("line {number} of {batch} {:x}\r\n", random.draw()));
    }
    text.push_str(".\r\n");
    Body::from(text.into_bytes())
}

/// What the body of a message is stored under: some have one that is not their batch's.
pub fn body_id(id: u64, batch: u64) -> u64 {
    if id != batch && Seeded(id).one_in(3) { id } else { batch }
}

/// A message's envelope after so many rewrites.
pub fn envelope(id: u64, batch: u64, version: u32) -> Envelope {
    let own = body_id(id, batch);
    let particulars = Particulars { body: Some(MessageId::from_bits(own)), ..Particulars::default() };
    let particulars = (own != batch).then(|| Box::new(particulars));
    let (id, batch) = (MessageId::from_bits(id), MessageId::from_bits(batch));
    let wide = "x".repeat(Seeded(id.to_bits() + u64::from(version)).below(600) as usize);
    Envelope {
        id,
        batch,
        reverse_path: smtp::ReversePath::Null,
        forward_path: smtp::ForwardPath(smtp::Mailbox::postmaster()),
        created: Duration::from_secs(7),
        body_bytes: body(own).len() as u64,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Esmtp, peer: None::<SocketAddr>, connection: batch },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "b.example".into() },
        delivery: DeliveryState { retries: version, ..DeliveryState::default() },
        context: Context { message: [("wide".into(), wide.into())].into_iter().collect(), ..Context::default() },
        edits: None,
        particulars,
    }
}

/// The `number`-th id: every few of them fall into a new window of time.
pub fn id(number: u64) -> u64 {
    let seconds = 0x6AB1_3B80 + number / 16 * 1500;
    seconds << 32 | number & 0xFFFF
}

/// Opens a store as a daemon would, with small bounds.
pub fn open(kind: Kind, base: &Path, force_fsync: bool) -> Result<(Store, Spool), OpenError> {
    let options = JournalOptions {
        segment_bytes: 1 << 18,
        unlink_backlog: UNLINK_BACKLOG,
        force_fsync,
        ..JournalOptions::new(base)
    };
    let store = Store::open(kind, options, Arc::new(RealDisk), Clock::system(), &Meters::new())?;
    let spool = Spool::new(vec![store.module()], Arc::new(Inline));
    Ok((store, spool))
}

/// Unlinks that may not be durable; as many again may wait before.
pub const UNLINK_BACKLOG: usize = 4;

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}
