//! Measures the journal through the whole chain: writers that each store a message, wait for it, and unlink the one they
//! stored five before, as a relay does.
//!
//! `journal_bench [DIRECTORY [WRITERS [BODY_BYTES [SECONDS]]]]`

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use message::{Body, Context, DeliveryState, Envelope, IdGenerator, Origin, Protocol, QueueName};
use scheduler::{Clock, Meters};
use spool::disk::RealDisk;
use spool::{Job, Journal, JournalOptions, ReadPool, Spool};

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(|| std::env::temp_dir().join("journal_bench"), PathBuf::from);
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (writers, body_bytes, seconds) = (number(64), number(4096), number(5));
    let clock = Clock::system();
    let options = JournalOptions::new(base.clone());
    let journal = match Journal::open(options, Arc::new(RealDisk), clock, &Meters::new()) {
        Ok(journal) => Arc::new(journal),
        Err(error) => return eprintln!("{error}"),
    };
    let spool = Spool::new(vec![journal.clone()], Arc::new(Inline));
    let ids = Arc::new(IdGenerator::new(clock, std::process::id(), journal.newest()));
    let body = Body::from((0..body_bytes).map(|at| (at * 31 % 251) as u8).collect::<Vec<u8>>());
    // A first round lets upkeep prepare and recycle segments.
    run(&spool, &ids, &body, writers, Duration::from_secs(2), clock);
    let (before, cpu) = (journal.stats(), cpu_micros());
    let began = clock.now();
    run(&spool, &ids, &body, writers, Duration::from_secs(seconds), clock);
    let (elapsed, cpu) = (clock.now() - began, cpu_micros() - cpu);
    let after = journal.stats();
    let (messages, commits) = (after.operations - before.operations, after.commits - before.commits);
    println!(
        "{writers} writers, {body_bytes} octets: {:.0} msg/s, {:.1} us CPU/msg, {:.3} syncs/msg, batch {:.1} (max {}), \
         sync {:.0} us (max {:.1} ms), written/body {:.2}, segments {}+{} spare, {} recycled",
        messages as f64 / elapsed.as_secs_f64(),
        cpu as f64 / messages as f64,
        commits as f64 / messages as f64,
        messages as f64 / commits as f64,
        after.batch_max,
        (after.sync_time - before.sync_time).as_micros() as f64 / commits as f64,
        after.sync_time_max.as_secs_f64() * 1000.0,
        (after.written_bytes - before.written_bytes) as f64 / (messages * body_bytes.max(1)) as f64,
        after.segments,
        after.spare_segments,
        after.recycled,
    );
    spool.close();
}

fn run(spool: &Spool, ids: &Arc<IdGenerator>, body: &Body, writers: u64, time: Duration, clock: Clock) {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..writers)
        .map(|_| {
            let (spool, ids, body, stop) = (spool.clone(), Arc::clone(ids), body.clone(), Arc::clone(&stop));
            std::thread::spawn(move || write(&spool, &ids, &body, &stop))
        })
        .collect();
    let end = clock.now() + time;
    while clock.now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        let _ = thread.join();
    }
}

fn write(spool: &Spool, ids: &IdGenerator, body: &Body, stop: &AtomicBool) {
    let mut alive = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let envelope = envelope(ids, body.len() as u64);
        alive.push_back(envelope.id);
        if let Err(error) = spool.store_and_wait(body, &[envelope]) {
            return eprintln!("{error}");
        }
        while 4 < alive.len()
            && let Some(id) = alive.pop_front()
        {
            let _ = spool.unlink(id).wait();
        }
    }
    for id in alive {
        let _ = spool.unlink(id).wait();
    }
}

fn envelope(ids: &IdGenerator, body_bytes: u64) -> Envelope {
    let id = ids.next();
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

fn cpu_micros() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 10_000
}
