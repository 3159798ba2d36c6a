//! `kill -9` under load: every acknowledged message reaches the sink, and few reach it twice.
//!
//! Six kills by default. The campaign: `POSTRIDER_KILLS=200 POSTRIDER_KILL_WITHIN=3 cargo test --release -p e2e --test crash
//! -- --nocapture random`; `POSTRIDER_SEED` repeats one. What is delivered twice is what was delivered in the millisecond or
//! two before a kill, however long the daemon lived, so a ratio says something only where there is time between kills.

use std::collections::HashSet;
use std::time::Duration;

use e2e::{SOON, relay_with};
use spool::disk::crash_points::POINTS;
use testkit::{CrashReport, CrashRunner, Kill, Load, Sink, wait_until};

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
    if 50 <= kills {
        assert!(report.duplicates * 1000 < report.acknowledged as u64, "more than 1 in 1000 delivered twice");
    }
}

#[test]
fn killed_at_every_named_point_of_the_spool_it_loses_nothing() {
    let sink = Sink::start();
    sink.discard_bodies();
    // One in ten is put off a few times and survives its neighbours, so that segments are worth compacting.
    sink.on("RCPT", "450 4.2.1 mailbox busy").to("user*7@*").times(300);
    // At the first passing, when hardly anything is there, and in the middle of the load. On a slow device a commit takes many
    // unlinks, and there are few such commits.
    let later = ["write:60", "written:60", "sync:60", "synced:60", "segment:4", "unlink:15", "recycle:2"];
    let points = POINTS.iter().copied().chain(later);
    let runner = CrashRunner {
        // Small segments, so that a short load fills, compacts and recycles some.
        setup: relay_with(
            &sink,
            "spool_segment_bytes = 262144\nhost_failure_retry = 1\nretry_interval = 1\nmax_retry_interval = 1\n\
             max_retries = none\n",
        ),
        load: Load { sessions: 10, messages: 400, bytes: 4096, ..Load::default() },
        kill: Kill::AtPoints(points.map(str::to_owned).collect()),
        seed: from_environment("POSTRIDER_SEED", 1),
        drain_limit: Duration::from_secs(60),
    };
    let report = runner.run(&sink);
    nothing_is_lost(&report);
    assert!(report.unreached.is_empty(), "never reached: {:?}", report.unreached);
}

#[test]
fn killed_while_recipients_are_put_off_and_refused_it_still_owes_every_one_an_end() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy").to("busy*").times(150);
    sink.on("RCPT", "550 5.1.1 no such user").to("gone*");
    let mut daemon =
        relay_with(&sink, "host_failure_retry = 1\nretry_interval = 1\nmax_retry_interval = 1\nmax_retries = none\n")
            .start();
    let paths = ["here{n}@sink.test", "busy{n}@sink.test", "gone{n}@sink.test"];
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let load = Load {
            messages: 2000,
            forward_paths: paths.map(str::to_owned).into(),
            prefix: format!("three-{round}"),
            persistent: true,
            ..Load::default()
        };
        let load = load.start(daemon.addr());
        wait_until(SOON, || 40 + 30 * round <= load.acknowledged());
        daemon.kill();
        load.stop();
        acknowledged.extend(load.join().acknowledged);
        daemon.start();
    }
    assert!(300 < acknowledged.len(), "hardly any load");

    // Which recipients of which message have come to their end; a notification returns the header of what failed.
    let mut ended: HashSet<(String, &str)> = HashSet::new();
    let mut seen = 0;
    let done = sink.wait_until(SOON, |messages| {
        for message in &messages[seen..] {
            if let Some(id) = &message.test_id {
                for path in &message.forward_paths {
                    ended.insert((id.clone(), if path.starts_with("busy") { "put off" } else { "delivered" }));
                }
            } else if let Some((_, id)) = message.text().split_once("X-Test-Id: ") {
                ended.insert((id.lines().next().unwrap_or_default().to_owned(), "sender told"));
            }
        }
        seen = messages.len();
        let all =
            |id: &String| ["delivered", "put off", "sender told"].iter().all(|&end| ended.contains(&(id.clone(), end)));
        acknowledged.iter().all(all)
    });
    let mut open = Vec::new();
    for id in &acknowledged {
        open.extend(
            ["delivered", "put off", "sender told"]
                .map(|end| (id.clone(), end))
                .into_iter()
                .filter(|end| !ended.contains(end)),
        );
    }
    assert!(done, "recipients without an end: {open:?}\n{}", e2e::testimony(&daemon));
}
