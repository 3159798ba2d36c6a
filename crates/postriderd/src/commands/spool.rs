//! `spool stats`: what the journal holds, how fast it syncs, what went wrong, and how far a start has come.

use std::time::Duration;

use console::Reply;
use serde_json::json;
use spool::SpoolStats;

use crate::house::House;

/// The report.
pub fn stats(house: &House) -> Reply {
    let stats = house.store.stats();
    let age = stats.oldest.map(|made| house.clock.unix().saturating_sub(made));
    let text = rows(&stats, age).iter().map(|(name, value)| format!("{name:>16}: {value}\n")).collect::<String>();
    Reply::new(text, json(&stats, age))
}

fn rows(stats: &SpoolStats, age: Option<Duration>) -> Vec<(&'static str, String)> {
    let millis = |micros: u64| micros as f64 / 1e3;
    let average = stats.sync_time.as_secs_f64() * 1e3 / stats.commits.max(1) as f64;
    let (sync, batch) = (stats.sync_micros, stats.batch);
    let oldest = age.map_or_else(|| "no message".to_owned(), |age| format!("{} s old", age.as_secs()));
    vec![
        ("Messages", stats.messages.to_string()),
        ("Oldest", oldest),
        ("Segments", format!("{} in use, {} spare", stats.segments, stats.spare_segments)),
        ("Space", format!("{} bytes live of {} used, {} free", stats.live_bytes, stats.used_bytes, stats.free_bytes)),
        ("Reclaimed", format!("{} segments recycled, {} compacted", stats.recycled, stats.compacted)),
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
        ("Read at start", progress(stats)),
    ]
}

fn progress(stats: &SpoolStats) -> String {
    let (done, total) = (stats.recovery_done, stats.recovery_total);
    let segments = format!("{done} of {total} segments, {} by summary", stats.summaries_read);
    let index = if stats.index_complete { "index complete" } else { "index not complete" };
    format!("{} messages, {segments}; {index}, {} handed over", stats.recovered, stats.handed_over)
}

fn json(stats: &SpoolStats, age: Option<Duration>) -> serde_json::Value {
    let quantiles = |of: spool::Quantiles| json!({ "p50": of.p50, "p99": of.p99, "p999": of.p999 });
    json!({
        "messages": stats.messages, "oldestAgeSeconds": age.map(|age| age.as_secs()), "segments": stats.segments,
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
