//! The product: the journal behind the whole IO chain.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use message::{Body, Context, DeliveryState, Envelope, IdGenerator, MessageId, Origin, Protocol, QueueName};
use scheduler::{Clock, Meters};
use spool::disk::RealDisk;
use spool::{Job, Journal, JournalOptions, ReadPool, Spool};

use crate::load::{BODY, Store};

/// The journal, its chain, and ids for its messages.
pub struct Product {
    spool: Spool,
    journal: Arc<Journal>,
    ids: IdGenerator,
    body: Body,
}

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

impl Product {
    /// A journal in `directory`.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let clock = Clock::system();
        let options = JournalOptions::new(directory);
        let journal =
            Journal::open(options, Arc::new(RealDisk), clock, &Meters::new()).map_err(|error| error.to_string())?;
        let journal = Arc::new(journal);
        let spool = Spool::new(vec![journal.clone()], Arc::new(Inline));
        let ids = IdGenerator::new(clock, std::process::id(), journal.newest());
        Ok(Self { spool, journal, ids, body: Body::from(vec![b'x'; BODY]) })
    }
}

impl Store for Product {
    fn put(&self) -> u64 {
        let envelope = envelope(self.ids.next(), BODY as u64);
        let id = envelope.id;
        self.spool.store_and_wait(&self.body, &[envelope]).expect("the journal stores");
        id.to_bits()
    }

    fn delete(&self, number: u64) {
        self.spool.unlink(MessageId::from_bits(number)).wait().expect("the journal unlinks");
    }

    fn syncs(&self) -> u64 {
        self.journal.stats().commits
    }

    fn written(&self) -> Option<u64> {
        Some(self.journal.stats().written_bytes)
    }

    fn close(&self) {
        let stats = self.journal.stats();
        println!(
            "         journal: batch {:.1} (max {}), sync {:.2} ms (max {:.1}), {} recycled, {} compacted, {:.0} MB used for {:.0} MB live",
            stats.batch_average(),
            stats.batch_max,
            stats.sync_time.as_secs_f64() * 1e3 / stats.commits.max(1) as f64,
            stats.sync_time_max.as_secs_f64() * 1e3,
            stats.recycled,
            stats.compacted,
            stats.used_bytes as f64 / 1e6,
            stats.live_bytes as f64 / 1e6,
        );
        self.spool.close();
    }
}

/// An envelope of ordinary size.
pub fn envelope(id: MessageId, body_bytes: u64) -> Envelope {
    let queue = QueueName { binding_group: "default".into(), binding: "default".into(), domain: "b.example".into() };
    let origin =
        Origin { protocol: Protocol::Esmtp, peer: Some(SocketAddr::from(([127, 0, 0, 1], 40_000))), connection: id };
    Envelope {
        id,
        batch: id,
        reverse_path: smtp::ReversePath::Null,
        forward_path: smtp::ForwardPath(smtp::Mailbox::postmaster()),
        created: Duration::from_secs(u64::from(id.seconds())),
        body_bytes,
        eight_bit: false,
        origin,
        queue,
        delivery: DeliveryState::default(),
        context: Context::default(),
        edits: None,
        particulars: None,
    }
}
