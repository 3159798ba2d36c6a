//! `spool stats`: what the spool holds, how fast it syncs, what went wrong, and how far a start has come. `spool hold` and
//! `spool release`: the time in which its files may be copied.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use console::{Command, CommandError, Invocation, Reply};
use serde_json::json;
use spool::{Journal, Kind, SpoolStats, Store};

use super::command;
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    vec![
        command(house, "spool stats", "the spool: messages, space, syncs, damage", |house, asked| async move {
            asked.no_args()?;
            Ok(stats(&house))
        }),
        command(house, "spool hold [SECONDS]", "leave the spool's files in place, so that they can be copied", hold).help(
            "Nothing in the journal is moved or used again for so many seconds (3600), or until spool release says that the \
             copy is good. Mail comes and goes meanwhile. A restart ends the hold.",
        ),
        command(house, "spool release", "end a hold; fails if what was copied meanwhile is void", release),
    ]
}

async fn hold(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    let seconds = match asked.arg(0).map(str::parse::<u64>) {
        None => HOLD_SECONDS,
        Some(Ok(seconds @ 1..=HOLD_SECONDS_MAX)) if asked.args.len() == 1 => seconds,
        Some(_) => return Err(CommandError::Usage("the seconds must be between 1 and 604800".to_owned())),
    };
    let journal = journal(&house)?;
    // It waits for the piece of upkeep at hand.
    let begin = move || journal.hold(Duration::from_secs(seconds));
    house.pools.get("IO").run(begin).await.map_err(CommandError::failed)?;
    let text =
        format!("The spool's files stay in place for {seconds} seconds: copy them now, then say spool release\n");
    Ok(Reply::new(text, json!({ "seconds": seconds })))
}

async fn release(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    asked.no_args()?;
    match journal(&house)?.release() {
        Ok(held) => {
            let text = format!("Held for {} seconds: what was copied meanwhile is good\n", held.as_secs());
            Ok(Reply::new(text, json!({ "heldSeconds": held.as_secs() })))
        }
        Err(why) => Err(CommandError::Failed(format!("the hold did not last, {why}; what was copied is void"))),
    }
}

fn journal(house: &House) -> Result<Arc<Journal>, CommandError> {
    match &house.store {
        Store::Journal(journal) => Ok(journal.clone()),
        Store::Memory(_) => Err(CommandError::Failed("a memory spool has no files to copy".to_owned())),
        _ => Err(CommandError::Failed(
            "only the journal back end can be held. Copy this spool twice with rsync -aH --delete, first while the daemon runs \
             and again after stopping it: the second copy takes moments and is the good one. Or take a snapshot of its file \
             system, which is as good as a power loss: nothing acknowledged is missing"
                .to_owned(),
        )),
    }
}

/// The report.
fn stats(house: &House) -> Reply {
    let stats = house.store.stats();
    let age = stats.oldest.map(|made| house.clock.unix().saturating_sub(made));
    let kind = house.store.kind();
    let text = rows(kind, &stats, age).iter().map(|(name, value)| format!("{name:>16}: {value}\n")).collect::<String>();
    Reply::new(text, json(kind, &stats, age))
}

fn rows(kind: Kind, stats: &SpoolStats, age: Option<Duration>) -> Vec<(&'static str, String)> {
    let millis = |micros: u64| micros as f64 / 1e3;
    let average = stats.sync_time.as_secs_f64() * 1e3 / stats.commits.max(1) as f64;
    let (sync, batch) = (stats.sync_micros, stats.batch);
    let oldest = age.map_or_else(|| "no message".to_owned(), |age| format!("{} s old", age.as_secs()));
    let is_journal = kind == Kind::Journal;
    let mut rows = vec![
        ("Back end", kind.to_string()),
        ("Messages", stats.messages.to_string()),
        ("Oldest", oldest),
        ("Space", format!("{} bytes live of {} used, {} free", stats.live_bytes, stats.used_bytes, stats.free_bytes)),
        ("Index", format!("{} bytes", stats.index_bytes)),
        (
            "Commits",
            format!("{}, {:.1} operations each, {} at most", stats.commits, stats.batch_average(), stats.batch_max),
        ),
        ("Batch", format!("p50 {}, p99 {}, p99.9 {} operations", batch.p50, batch.p99, batch.p999)),
        (
            "Write and sync",
            format!("{average:.3} ms on average, {:.3} ms at most", stats.sync_time_max.as_secs_f64() * 1e3),
        ),
        (
            "",
            format!(
                "p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms",
                millis(sync.p50),
                millis(sync.p99),
                millis(sync.p999)
            ),
        ),
        ("Waiting", format!("{} unlinks, {} bytes of mail", stats.unlinks_waiting, stats.waiting_bytes)),
        (
            "Trouble",
            format!("{} failures, {} times full, {} damaged records", stats.failures, stats.full, stats.damaged),
        ),
        ("Set aside", format!("{} records", stats.set_aside)),
        ("Read at start", progress(is_journal, stats)),
    ];
    if is_journal {
        let segments = format!("{} in use, {} spare", stats.segments, stats.spare_segments);
        let reclaimed = format!("{} segments recycled, {} compacted", stats.recycled, stats.compacted);
        rows.splice(3..3, [("Segments", segments), ("Reclaimed", reclaimed)]);
    }
    rows
}

fn progress(is_journal: bool, stats: &SpoolStats) -> String {
    if !is_journal {
        return format!("{} messages, {} handed over", stats.recovered, stats.handed_over);
    }
    let (done, total) = (stats.recovery_done, stats.recovery_total);
    let segments = format!("{done} of {total} segments, {} by summary", stats.summaries_read);
    let index = if stats.index_complete { "index complete" } else { "index not complete" };
    format!("{} messages, {segments}; {index}, {} handed over", stats.recovered, stats.handed_over)
}

fn json(kind: Kind, stats: &SpoolStats, age: Option<Duration>) -> serde_json::Value {
    let quantiles = |of: spool::Quantiles| json!({ "p50": of.p50, "p99": of.p99, "p999": of.p999 });
    json!({
        "backend": kind.as_str(), "messages": stats.messages, "oldestAgeSeconds": age.map(|age| age.as_secs()), "segments": stats.segments,
        "spareSegments": stats.spare_segments, "recycled": stats.recycled, "compacted": stats.compacted,
        "liveBytes": stats.live_bytes, "usedBytes": stats.used_bytes, "freeBytes": stats.free_bytes,
        "indexBytes": stats.index_bytes, "commits": stats.commits, "operations": stats.operations,
        "batchMax": stats.batch_max, "batch": quantiles(stats.batch), "syncSeconds": stats.sync_time.as_secs_f64(),
        "syncSecondsMax": stats.sync_time_max.as_secs_f64(), "syncMicros": quantiles(stats.sync_micros),
        "unlinksWaiting": stats.unlinks_waiting, "waitingBytes": stats.waiting_bytes, "failures": stats.failures,
        "full": stats.full, "damaged": stats.damaged, "setAside": stats.set_aside, "recovered": stats.recovered,
        "recoveryDone": stats.recovery_done, "recoveryTotal": stats.recovery_total,
        "indexComplete": stats.index_complete, "handedOver": stats.handed_over,
        "summariesRead": stats.summaries_read, "summariesWritten": stats.summaries_written,
    })
}

const HOLD_SECONDS: u64 = 3600;
/// A week.
const HOLD_SECONDS_MAX: u64 = 604_800;
