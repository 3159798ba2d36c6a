//! Measures starts: fills a spool, forgets what the kernel cached of it, and opens it again.
//!
//! `spool_start [--dir DIRECTORY] [--messages N] [--body OCTETS] [--at-once N] [--keep yes]`. With `--keep`, a spool that is there is used
//! as it is, and left. Memory is counted by the allocator.

#[path = "journal.rs"]
#[allow(dead_code)]
mod journal;
#[path = "load.rs"]
#[allow(dead_code)]
mod load;
#[path = "machine.rs"]
#[allow(dead_code)]
mod machine;

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use message::{Body, IdGenerator};
use scheduler::{Clock, Meters};
use spool::disk::RealDisk;
use spool::{Job, Journal, JournalOptions, ReadPool, Spool};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

fn main() -> Result<(), String> {
    let (mut directory, mut messages, mut body, mut keep) =
        (std::env::temp_dir().join("spool_start"), 1_000_000, 4096, false);
    // As 64 sessions with a message each.
    let mut at_once = 64;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: `{value}` is not a number"));
        match word.as_str() {
            "--dir" => directory = PathBuf::from(value),
            "--messages" => messages = number()?,
            "--body" => body = number()?,
            "--at-once" => at_once = number()?,
            "--keep" => keep = value == "yes",
            _ => return Err(format!("unknown option {word}")),
        }
    }
    println!("{}", machine::describe(&directory));
    if !keep || !directory.join("journal").exists() {
        let _ = std::fs::remove_dir_all(&directory);
        fill(&directory, messages, at_once, body as usize)?;
    }
    for cached in [false, true] {
        if !cached {
            forget(&directory).map_err(|error| error.to_string())?;
        }
        start(&directory, if cached { "from the page cache" } else { "from the device" })?;
    }
    if !keep {
        let _ = std::fs::remove_dir_all(&directory);
    }
    Ok(())
}

fn opened(directory: &Path, meters: &Meters) -> Result<(Arc<Journal>, Spool), String> {
    let options = JournalOptions::new(directory);
    let journal =
        Journal::open(options, Arc::new(RealDisk), Clock::system(), meters).map_err(|error| error.to_string())?;
    let journal = Arc::new(journal);
    Ok((journal.clone(), Spool::new(vec![journal], Arc::new(Inline))))
}

fn fill(directory: &Path, messages: u64, at_once: u64, body: usize) -> Result<(), String> {
    let clock = Clock::system();
    let (journal, spool) = opened(directory, &Meters::new())?;
    let ids = IdGenerator::new(clock, std::process::id(), journal.newest());
    let body = Body::from(vec![b'x'; body]);
    let began = clock.now();
    let mut stored = 0;
    while stored < messages {
        let tickets: Vec<_> = (0..at_once.min(messages - stored))
            .map(|_| spool.store(&body, &[journal::envelope(ids.next(), body.len() as u64)]))
            .collect();
        stored += tickets.len() as u64;
        tickets.into_iter().try_for_each(|ticket| ticket.wait()).map_err(|error| error.to_string())?;
    }
    let took = (clock.now() - began).as_secs_f64();
    println!("filled with {messages} messages of {} octets in {took:.1} s", body.len());
    // As if killed, but for the summaries that upkeep is still about to write.
    std::thread::sleep(Duration::from_secs(3));
    spool.close();
    Ok(())
}

fn start(directory: &Path, how: &str) -> Result<(), String> {
    let (clock, meters) = (Clock::system(), Meters::new());
    let region = Region::new(ALLOCATOR);
    let began = clock.now();
    let (journal, spool) = opened(directory, &meters)?;
    let opened = clock.now() - began;
    let (first, handed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (at_first, count) = (Arc::clone(&first), Arc::clone(&handed));
    let read = spool.process_disk_queue(Box::new(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            at_first.store((clock.now() - began).as_micros() as u64, Ordering::Relaxed);
        }
    }));
    while meters.get("spool.journal.recovery.index_complete") == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let indexed = clock.now() - began;
    read.wait().map_err(|error| error.to_string())?;
    let all = clock.now() - began;
    let change = region.change();
    let held = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    let messages = handed.load(Ordering::Relaxed);
    println!(
        "{how}: open {:.3} s, first message {:.3} s, index {:.3} s, all {messages} handed over {:.3} s; {} summaries of {} segments; \
         {:.1} octets a message by the allocator, {:.1} by the index's own count",
        opened.as_secs_f64(),
        first.load(Ordering::Relaxed) as f64 / 1e6,
        indexed.as_secs_f64(),
        all.as_secs_f64(),
        meters.get("spool.journal.summaries.read"),
        journal.stats().segments,
        held as f64 / messages.max(1) as f64,
        journal.stats().index_bytes as f64 / messages.max(1) as f64,
    );
    spool.close();
    Ok(())
}

/// Drops what the kernel keeps of the spool's files.
fn forget(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory.join("journal"))? {
        let file = std::fs::File::open(entry?.path())?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}
