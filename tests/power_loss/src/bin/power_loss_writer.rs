//! The process that is recorded: opens a store, takes over what is there, and stores, rewrites and unlinks mail from three
//! threads. Says on standard output, a line and a write each, what it begins and what it is promised; [`book`] reads that.
//!
//! `power_loss_writer KIND BASE SEED OPERATIONS FIRST_NUMBER FORCE_FSYNC`; KIND is a back end or `jlog`.
//!
//! [`book`]: power_loss::book

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use power_loss::random::Seeded;
use power_loss::{mail, records};
use spool::Spool;

const THREADS: u64 = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, base, numbers @ ..] = &arguments[..] else {
        panic!("KIND BASE SEED OPERATIONS FIRST_NUMBER FORCE_FSYNC")
    };
    let number = |at: usize| -> u64 { numbers[at].parse().expect("a number") };
    let (seed, operations, first, force_fsync) = (number(0), number(1), number(2), number(3) != 0);
    if kind == "jlog" {
        return records::write(Path::new(base), seed, operations, first, &mut say);
    }
    let kind = kind.parse().expect("a back end");
    let (_store, spool) = mail::open(kind, Path::new(base), force_fsync).expect("a store that opens");
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = found.clone();
    let each = move |envelope: message::Envelope| {
        let entry = (envelope.id.to_bits(), envelope.batch.to_bits(), envelope.delivery.retries);
        seen.lock().expect("no panic").push(entry);
    };
    spool.process_disk_queue(Box::new(each)).wait().expect("the disk queue");
    say("read");
    let mut shares: Vec<Vec<(u64, u64, u32)>> = vec![Vec::new(); THREADS as usize];
    for (place, entry) in found.lock().expect("no panic").drain(..).enumerate() {
        shares[place % THREADS as usize].push(entry);
    }
    std::thread::scope(|scope| {
        for (thread, alive) in shares.into_iter().enumerate() {
            let (spool, thread) = (&spool, thread as u64);
            let random = Seeded(seed.wrapping_mul(31) + thread);
            let next = first + thread;
            scope.spawn(move || Sender { spool, random, alive, next }.work(operations / THREADS));
        }
    });
    if seed.is_multiple_of(2) {
        spool.close();
        say("closed");
    }
    // Otherwise it ends as one that is killed.
    std::process::exit(0);
}

/// One thread: its own mail, one operation after the other.
struct Sender<'a> {
    spool: &'a Spool,
    random: Seeded,
    alive: Vec<(u64, u64, u32)>,
    next: u64,
}

impl Sender<'_> {
    fn work(&mut self, operations: u64) {
        for _ in 0..operations {
            let victim = self.random.below(self.alive.len() as u64) as usize;
            match self.random.below(10) {
                0..3 if !self.alive.is_empty() => self.unlink(victim),
                3..5 if !self.alive.is_empty() => self.rewrite(victim),
                _ => self.store(),
            }
        }
    }

    fn store(&mut self) {
        let recipients = if self.random.one_in(4) { 2 + self.random.below(4) } else { 1 };
        let ids: Vec<u64> = (0..recipients).map(|nth| mail::id(self.next + nth * THREADS)).collect();
        self.next += recipients * THREADS;
        let batch = ids[0];
        let words: Vec<String> = ids.iter().map(u64::to_string).collect();
        say(&format!("store {}", words.join(" ")));
        let envelopes: Vec<_> = ids.iter().map(|&id| mail::envelope(id, batch, 0)).collect();
        let bodies: BTreeSet<u64> = ids.iter().map(|&id| mail::body_id(id, batch)).collect();
        let of = |body: u64| envelopes.iter().filter(move |envelope| envelope.body_id().to_bits() == body).cloned();
        let parts: Vec<(message::Body, Vec<message::Envelope>)> =
            bodies.into_iter().map(|body| (mail::body(body), of(body).collect())).collect();
        let parts: Vec<spool::Part<'_>> = parts.iter().map(|(body, envelopes)| (body, &envelopes[..])).collect();
        if self.spool.store_parts(&parts).wait().is_ok() {
            say(&format!("stored {batch}"));
            self.alive.extend(ids.into_iter().map(|id| (id, batch, 0)));
        }
    }

    fn rewrite(&mut self, victim: usize) {
        let (id, batch, version) = &mut self.alive[victim];
        *version += 1;
        say(&format!("rewrite {id} {version}"));
        if self.spool.rewrite(&mail::envelope(*id, *batch, *version)).wait().is_ok() {
            say(&format!("rewritten {id} {version}"));
        }
    }

    fn unlink(&mut self, victim: usize) {
        let (id, ..) = self.alive.swap_remove(victim);
        say(&format!("unlink {id}"));
        let _ = self.spool.unlink(message::MessageId::from_bits(id)).wait();
    }
}

/// One write.
fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("standard output");
}
