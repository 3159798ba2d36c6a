//! Measures starts: fills a spool, forgets what the kernel cached of it, and opens it again.
//!
//! `spool_start [--store journal|file|sqlite] [--dir DIRECTORY] [--messages N] [--body OCTETS] [--at-once N] [--sync no] [--keep yes]`.
//! With `--keep`, a spool that is there is used as it is, and left. With `--sync no` it is filled without syncs, which is quicker.
//! Memory is counted by the allocator.

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
use spool::{Job, JournalOptions, Kind, ReadPool, Spool, Store};
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
    let (mut kind, mut sync) = (Kind::Journal, true);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: `{value}` is not a number"));
        match word.as_str() {
            "--dir" => directory = PathBuf::from(value),
            "--messages" => messages = number()?,
            "--body" => body = number()?,
            "--at-once" => at_once = number()?,
            "--store" => kind = value.parse()?,
            "--sync" => sync = value == "yes",
            "--keep" => keep = value == "yes",
            _ => return Err(format!("unknown option {word}")),
        }
    }
    println!("{}", machine::describe(&directory));
    if !keep || !directory.join("lock").exists() {
        let _ = std::fs::remove_dir_all(&directory);
        fill(kind, &directory, sync, (messages, at_once), body as usize)?;
    }
    for cached in [false, true] {
        if !cached {
            forget(&directory).map_err(|error| error.to_string())?;
        }
        start(kind, &directory, if cached { "from the page cache" } else { "from the device" })?;
    }
    if !keep {
        let _ = std::fs::remove_dir_all(&directory);
    }
    Ok(())
}

fn opened(kind: Kind, directory: &Path, sync: bool, meters: &Meters) -> Result<(Store, Spool), String> {
    let options = JournalOptions { force_fsync: sync, ..JournalOptions::new(directory) };
    let store =
        Store::open(kind, options, Arc::new(RealDisk), Clock::system(), meters).map_err(|error| error.to_string())?;
    let spool = Spool::new(vec![store.module()], Arc::new(Inline));
    Ok((store, spool))
}

fn fill(kind: Kind, directory: &Path, sync: bool, (messages, at_once): (u64, u64), body: usize) -> Result<(), String> {
    let clock = Clock::system();
    let (store, spool) = opened(kind, directory, sync, &Meters::new())?;
    let ids = IdGenerator::new(clock, std::process::id(), store.newest());
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

fn start(kind: Kind, directory: &Path, how: &str) -> Result<(), String> {
    let (clock, meters) = (Clock::system(), Meters::new());
    let region = Region::new(ALLOCATOR);
    let began = clock.now();
    let (store, spool) = opened(kind, directory, true, &meters)?;
    let opened = clock.now() - began;
    let (first, handed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (at_first, count) = (Arc::clone(&first), Arc::clone(&handed));
    let read = spool.process_disk_queue(Box::new(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            at_first.store((clock.now() - began).as_micros() as u64, Ordering::Relaxed);
        }
    }));
    while kind == Kind::Journal && meters.get("spool.journal.recovery.index_complete") == 0 {
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
        store.stats().segments,
        held as f64 / messages.max(1) as f64,
        store.stats().index_bytes as f64 / messages.max(1) as f64,
    );
    spool.close();
    Ok(())
}

/// Drops what the kernel keeps of the spool's files.
fn forget(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            let file = std::fs::File::open(path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
