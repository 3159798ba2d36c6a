//! `kill -9` under load: every acknowledged message reaches the sink, and few reach it twice.
//!
//! Six kills by default. The campaign: `POSTRIDER_KILLS=200 POSTRIDER_KILL_WITHIN=10 cargo test --release -p e2e --test
//! crash -- --nocapture random`; `POSTRIDER_SEED` repeats one.

use std::time::Duration;

use e2e::relay_with;
use spool::disk::crash_points::POINTS;
use testkit::{CrashReport, CrashRunner, Kill, Load, Sink};

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `spool_unlink_backlog`: deliveries that a crash may repeat, at most.
const UNLINK_BACKLOG: u64 = 100;
/// And those whose reply was on its way: 32 connections at most, two transactions on each.
const IN_FLIGHT: u64 = 64;

fn nothing_is_lost(report: &CrashReport) {
    assert!(report.lost.is_empty(), "{} of {} acknowledged messages are lost", report.lost.len(), report.acknowledged);
    assert!(report.received <= report.acknowledged + report.doubtful, "messages nobody sent");
    let per_thousand = report.duplicates as f64 * 1000.0 / report.acknowledged.max(1) as f64;
    println!(
        "{} kills, {} acknowledged, {} lost, {} delivered twice ({per_thousand:.3} in 1000), seed {}",
        report.kills,
        report.acknowledged,
        report.lost.len(),
        report.duplicates,
        report.seed
    );
    let bound = report.kills as u64 * (UNLINK_BACKLOG + IN_FLIGHT);
    assert!(report.duplicates <= bound, "{} delivered twice, {bound} allowed", report.duplicates);
}

#[test]
fn killed_at_random_moments_it_loses_nothing() {
    let sink = Sink::start();
    sink.discard_bodies();
    let kills = from_environment("POSTRIDER_KILLS", 6) as usize;
    let within = from_environment("POSTRIDER_KILL_WITHIN", 1);
    let runner = CrashRunner {
        setup: relay_with(&sink, &format!("spool_unlink_backlog = {UNLINK_BACKLOG}\nhost_failure_retry = 1\n")),
        load: Load { sessions: 20, messages: within as usize * 30_000, bytes: 2048, ..Load::default() },
        kill: Kill::AtRandom { times: kills, within: Duration::from_secs(within) },
        seed: from_environment("POSTRIDER_SEED", 1),
        drain_limit: Duration::from_secs(60),
    };
    let report = runner.run(&sink);
    nothing_is_lost(&report);
    assert!(kills < report.acknowledged, "hardly any load");
    // A fair sample only when there was time between the kills.
    if 50 <= kills && 10 <= within {
        assert!(report.duplicates * 1000 < report.acknowledged as u64, "more than 1 in 1000 delivered twice");
    }
}

#[test]
fn killed_at_every_named_point_of_the_spool_it_loses_nothing() {
    let sink = Sink::start();
    sink.discard_bodies();
    let runner = CrashRunner {
        // Small segments, so that a short load fills, compacts and recycles some.
        setup: relay_with(&sink, "spool_segment_bytes = 262144\nhost_failure_retry = 1\n"),
        load: Load { sessions: 10, messages: 400, bytes: 4096, ..Load::default() },
        kill: Kill::AtPoints(POINTS.iter().map(|&point| point.to_owned()).collect()),
        seed: from_environment("POSTRIDER_SEED", 1),
        drain_limit: Duration::from_secs(60),
    };
    let report = runner.run(&sink);
    nothing_is_lost(&report);
    assert!(report.unreached.is_empty(), "never reached: {:?}", report.unreached);
}
