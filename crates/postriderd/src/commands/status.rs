//! `summary`, `threads stats`, `metrics`: the state of the process.

use std::rc::Rc;

use console::shapes::{Exposition, PoolQueue, PoolReport, PoolReports, Shape as _, SummaryData, statistics_cleared};
use console::{Command, Reply};

use super::command;
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    vec![
        command(house, "summary", "counters since the start or the last reset", |house, asked| async move {
            asked.no_args()?;
            Ok(summary(&house).await.reply())
        }),
        command(house, "summary reset", "start the counters of summary anew", |house, asked| async move {
            asked.no_args()?;
            house.baseline.reset(house.clock, &house.meters);
            // A peak has no difference to take: it begins again.
            house.meters.counter(DNS_PEAK).set(0);
            Ok(statistics_cleared())
        }),
        command(house, "threads stats", "what the thread pools did", |house, asked| async move {
            asked.no_args()?;
            Ok(threads(&house).reply())
        }),
        command(house, "threads", "what the thread pools did", |house, asked| async move {
            asked.no_args()?;
            Ok(threads(&house).reply())
        }),
        command(house, "threads io queue", "jobs that wait in the IO pool", |house, asked| async move {
            asked.no_args()?;
            Ok(pool_queue(&house, "IO").reply())
        }),
        command(house, "threads cpu queue", "jobs that wait in the CPU pool", |house, asked| async move {
            asked.no_args()?;
            Ok(pool_queue(&house, "CPU").reply())
        }),
        command(house, "meters", "every counter of the process", |house, asked| async move {
            asked.no_args()?;
            let meters = house.meters.snapshot();
            let text = meters.iter().map(|(name, value)| format!("{name} {value}\n")).collect::<String>();
            Ok(Reply::new(text, meters.into_iter().collect()))
        }),
        command(house, "metrics", "every counter, as text for Prometheus and the like", |house, asked| async move {
            asked.no_args()?;
            Ok(Exposition { counters: house.meters.snapshot(), measures: declarations::measures() }.reply())
        }),
    ]
}

async fn summary(house: &House) -> SummaryData {
    let counts = house.engine.counts().await;
    let since = |name: &str| house.baseline.since(&house.meters, name);
    let depth = |what: &str| {
        house.meters.get(&format!("{what}.entered")).saturating_sub(house.meters.get(&format!("{what}.left")))
    };
    let age = house.baseline.age(house.clock);
    let rate = |count: u64| count as f64 / age.as_secs_f64().max(1.0);
    let (delivered, failed) = (since("delivery.messages.delivered"), since("delivery.messages.permanent"));
    let (received, rejected) = (since("reception.recipients.accepted"), since("reception.messages.rejected"));
    let by_type = |what: &str| ["mx", "a", "aaaa", "other"].map(|kind| since(&format!("dns.{what}.{kind}")));
    let (queries, timeouts) = (by_type("queries"), by_type("timeouts"));
    let answers = since("dns.answers");
    let stats = house.store.stats();
    SummaryData {
        outbound_concurrency: counts.outbound_concurrency as u64,
        inbound_concurrency: depth("reception.sessions"),
        active_domains: counts.active_domains as u64,
        active_queue_size: counts.active as u64,
        delayed_queue_size: counts.delayed as u64,
        total_queue_size: (counts.active + counts.delayed + counts.in_flight) as u64,
        dns_resolver: "hickory".to_owned(),
        dns_mx_queries: queries[0],
        dns_mx_timeouts: timeouts[0],
        dns_a_queries: queries[1],
        dns_a_timeouts: timeouts[1],
        dns_aaaa_queries: queries[2],
        dns_aaaa_timeouts: timeouts[2],
        dns_txt_queries: queries[3],
        dns_txt_timeouts: timeouts[3],
        pending_dns_queries: house.resolver.stats().asking as u64,
        dns_query_rate: rate(queries.iter().sum()),
        dns_response_peak_ms: house.meters.get(DNS_PEAK).div_ceil(1000),
        dns_response_average_ms: since("dns.response_microseconds") as f64 / 1e3 / (answers.max(1)) as f64,
        resident_messages: counts.resident as u64,
        disk_queue_progress: (stats.handed_over, stats.recovered),
        delivered_messages: delivered,
        failed_messages: failed,
        transient_failures: since("delivery.messages.transient"),
        rejected_messages: rejected,
        received_messages: received,
        delivery_rate: rate(delivered + failed),
        reception_rate: rate(received),
        rejection_rate: rate(rejected),
        statistics_last_reset_seconds: age.as_secs(),
        uptime_seconds: house.uptime().as_secs(),
    }
}

fn threads(house: &House) -> PoolReports {
    let report = |stats: scheduler::PoolStats| PoolReport {
        name: stats.name,
        concurrency: stats.concurrency as u64,
        invocations: stats.invocations,
        average_concurrency: stats.average_concurrency,
        saturation_percent: stats.saturation * 100.0,
        average_wallclock_ms: stats.average_wallclock.as_secs_f64() * 1e3,
        threads_active: stats.threads_active as u64,
        threads_inactive: stats.threads_inactive as u64,
        jobs_queued: stats.queued as u64,
        jobs_running: stats.threads_active as u64,
    };
    PoolReports { pools: house.pools.stats().into_iter().map(report).collect() }
}

fn pool_queue(house: &House, name: &str) -> PoolQueue {
    let pool = house.pools.stats().into_iter().find(|pool| pool.name.eq_ignore_ascii_case(name));
    PoolQueue { name: name.to_owned(), jobs: pool.map_or(0, |pool| pool.queued as u64) }
}

/// The slowest answer since the start or the last reset.
const DNS_PEAK: &str = "dns.response_microseconds_peak";
