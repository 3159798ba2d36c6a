//! `domain`, `active`, `delayed`, `mailq`, `flush domain`, `fail domain`: the queues.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use console::arguments::{self, FailArguments, MailqArguments, ShowqueueArguments};
use console::shapes::{
    DomainAddress, DomainConnection, DomainCounts, DomainList, DomainMx, DomainReport, DomainRoute, FailReply,
    FlushReply, ListKind, Mailq, MailqRow, QueueListing, QueueRow, Shape as _,
};
use console::{Command, CommandError, Invocation, Reply};
use delivery::{AddressReport, ListedMessage, QueueReport};
use queue::Whereabouts;

use super::{command, gateways, waiting};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    vec![
        command(
            house,
            "domain NAME|all",
            "one routing domain: hosts, queues, connections",
            |house, asked| async move {
                let name = asked.only_arg()?.to_owned();
                if name == "all" {
                    list(&house, ListKind::All, |_| true).await
                } else {
                    Ok(domain(&house, &name).await.reply())
                }
            },
        ),
        command(house, "domains", "every routing domain on a line", |house, asked| async move {
            asked.no_args()?;
            list(&house, ListKind::All, |_| true).await
        }),
        command(house, "active N", "domains with more than N messages due", |house, asked| async move {
            let threshold = arguments::threshold(&asked.args)?;
            list(&house, ListKind::Threshold, move |row| threshold < row.active).await
        }),
        command(house, "delayed N", "domains with more than N messages waiting", |house, asked| async move {
            let threshold = arguments::threshold(&asked.args)?;
            list(&house, ListKind::Threshold, move |row| threshold < row.delayed).await
        }),
        command(
            house,
            "mailq [-d DOMAIN]... [-b BINDING]... [-l LIMIT]",
            "queue sizes, biggest first",
            |house, asked| async move { mailq(&house, &MailqArguments::parse(&asked.args)?).await },
        ),
        command(
            house,
            "showqueue [binding NAME|all] DOMAIN [LIMIT,OFFSET]",
            "the messages of one queue",
            |house, asked| async move { Ok(show_queue(&house, ShowqueueArguments::parse(&asked.args)?).await.reply()) },
        )
        .help(
            "The binding is `default` and the window `100,0` unless given; at most 10000 messages are shown.\n\
            Messages due now come first, in their order; those that wait follow in none.",
        ),
        command(house, "flush domain NAME|all", "make waiting messages due now", |house, asked| async move {
            let domain = arguments::domain_or_all(&asked.args)?;
            let requeued = house.engine.flush(domain.as_deref()).await as u64;
            Ok(FlushReply { domain, requeued }.reply())
        })
        .help("Does not reset the number of retries."),
        command(house, "fail domain NAME [NOTE]", "fail a domain's messages for good", |house, asked| {
            fail(house, asked, false)
        })
        .help("Senders are notified, unless the command is `fail domain quiet`."),
        command(house, "fail domain quiet NAME [NOTE]", "the same without notifications", |house, asked| {
            fail(house, asked, true)
        }),
    ]
}

async fn fail(house: Rc<House>, asked: Invocation, quiet: bool) -> Result<Reply, CommandError> {
    let FailArguments { domain, note } = FailArguments::parse(&asked.args)?;
    let note = Some(note.as_str()).filter(|note| !note.is_empty());
    let failed = house.engine.fail(&domain, quiet, note).await as u64;
    Ok(FailReply { domain, failed }.reply())
}

async fn list(house: &House, kind: ListKind, wanted: impl Fn(&DomainCounts) -> bool) -> Result<Reply, CommandError> {
    let mut domains: BTreeMap<String, DomainCounts> = BTreeMap::new();
    let mut total = DomainCounts { domain: "Total".to_owned(), ..DomainCounts::default() };
    for queue in house.engine.queues().await {
        let name = queue.name.domain.to_string();
        let row =
            domains.entry(name.clone()).or_insert_with(|| DomainCounts { domain: name, ..DomainCounts::default() });
        for counts in [row, &mut total] {
            counts.connections += queue.connections as u64;
            counts.active += queue.active as u64;
            counts.delayed += queue.delayed as u64;
            counts.delivered += queue.delivered;
        }
    }
    let rows = domains.into_values().filter(wanted).collect();
    Ok(DomainList { kind, rows, total }.reply())
}

async fn mailq(house: &House, arguments: &MailqArguments) -> Result<Reply, CommandError> {
    let named =
        |wanted: &[String], name: &str| wanted.is_empty() || wanted.iter().any(|one| one.eq_ignore_ascii_case(name));
    // The mail of a domain is under its gateway.
    let generation = house.configuration.current();
    let hops = arguments.domains.iter().flat_map(|domain| gateways::of_domain(&generation, domain));
    let domains: Vec<String> = arguments.domains.iter().cloned().chain(hops.map(|(_, gateway)| gateway)).collect();
    let wanted =
        |queue: &QueueReport| named(&domains, &queue.name.domain) && named(&arguments.bindings, &queue.name.binding);
    let row = |queue: QueueReport| MailqRow {
        group: queue.name.binding_group.to_string(),
        binding: queue.name.binding.to_string(),
        domain: queue.name.domain.to_string(),
        active: (queue.active + queue.in_flight) as u64,
        delayed: queue.delayed as u64,
        receptions: queue.received,
        permanent_failures: queue.failed,
        transient_failures: queue.transient,
        deliveries: queue.delivered,
        waiting: queue.wait.map(|wait| waiting(house, &wait)),
        recipient_domains: None,
    };
    let mut rows: Vec<MailqRow> = house.engine.queues().await.into_iter().filter(wanted).map(row).collect();
    rows.retain(|row| 0 < row.active + row.delayed);
    rows.sort_by_key(|row| std::cmp::Reverse(row.active + row.delayed));
    rows.truncate(arguments.limit);
    for row in rows.iter_mut().filter(|row| generation.is_gateway(&row.domain)).take(GATEWAYS_LOOKED_INTO) {
        row.recipient_domains = gateways::recipient_domains(house, Some(&row.binding), &row.domain).await;
    }
    Ok(Mailq { rows }.reply())
}

async fn domain(house: &House, name: &str) -> DomainReport {
    let report = house.engine.domain(name).await;
    let sum = |of: fn(&QueueReport) -> u64| report.queues.iter().map(of).sum::<u64>();
    let waits = report
        .queues
        .iter()
        .filter_map(|queue| Some((queue.name.binding.to_string(), waiting(house, queue.wait.as_ref()?))))
        .collect();
    let stanza = house.configuration.current().show(&["domain", name], false).ok();
    let recipient_domains = gateways::recipient_domains(house, None, name).await;
    DomainReport {
        domain: name.to_owned(),
        config: stanza.map(|answer| answer.text),
        route: match report.no_route {
            _ if !report.addresses.is_empty() => route(&report.addresses),
            Some(sentence) => DomainRoute::Described(sentence),
            None => without_addresses(house, name),
        },
        consecutive_connection_failures: report.consecutive_failures,
        consecutive_failed_lookups: report.failed_lookups,
        waiting: waits,
        recipient_domains,
        active: sum(|queue| (queue.active + queue.in_flight) as u64),
        delayed: sum(|queue| queue.delayed as u64),
        deliveries: sum(|queue| queue.delivered),
        failures: sum(|queue| queue.failed),
        connections: report
            .connections
            .into_iter()
            .filter_map(|connection| {
                Some(DomainConnection {
                    fd: connection.descriptor.unwrap_or(-1),
                    ip: connection.remote?.1.ip(),
                    state: connection.stage.as_str().to_owned(),
                    in_state: connection.since,
                })
            })
            .collect(),
    }
}

/// Mail that ends on this machine goes to no host, and that of a domain with a gateway waits in the gateway's queue.
fn without_addresses(house: &House, domain: &str) -> DomainRoute {
    let value = |option| {
        let answer = house.configuration.current().eval_text(&["domain", domain, option]).ok()?;
        answer.json["value"].as_str().map(str::to_owned)
    };
    if let Some(sentence) = gateways::sentence(&gateways::of_domain(&house.configuration.current(), domain)) {
        return DomainRoute::Described(sentence);
    }
    match value("delivery_method").as_deref() {
        Some("maildir") => {
            DomainRoute::Described(format!("is delivered into {}", value("maildir_path").unwrap_or_default()))
        }
        _ => DomainRoute::Unresolved,
    }
}

/// Addresses in order of preference, gathered under their hosts.
fn route(addresses: &[AddressReport]) -> DomainRoute {
    let next = addresses.iter().position(|address| address.avoided.is_none());
    let mut exchangers: Vec<DomainMx> = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let host = address.host.to_string();
        if exchangers.last().is_none_or(|last| last.name != host) {
            let ttl_seconds = address.ttl.map_or(0, |ttl| ttl.as_secs());
            exchangers.push(DomainMx {
                preference: address.preference,
                name: host,
                ttl_seconds,
                addresses: Vec::new(),
            });
        }
        if let Some(exchanger) = exchangers.last_mut() {
            exchanger.addresses.push(DomainAddress {
                ip: address.remote.ip(),
                port: address.remote.port(),
                next: next == Some(index),
                connect_average_ms: milliseconds(address.connect_average),
                deliver_average_ms: milliseconds(address.deliver_average),
                since_failure: address.failed,
                failure: address.failure.as_deref().map(str::to_owned),
                also_used_by: Vec::new(),
            });
        }
    }
    let ttl_seconds = addresses.iter().filter_map(|address| address.ttl).min().map_or(0, |ttl| ttl.as_secs());
    DomainRoute::Mx { ttl_seconds, exchangers }
}

/// An average as it is shown; zero until it is measured.
fn milliseconds(average: Option<Duration>) -> f64 {
    average.map_or(0.0, |average| average.as_secs_f64() * 1e3)
}

async fn show_queue(house: &House, arguments: ShowqueueArguments) -> QueueListing {
    let ShowqueueArguments { binding, domain, limit, offset } = arguments;
    let row = |listed: ListedMessage| QueueRow {
        waiting: Some(waiting(house, &listed.wait)),
        queue: match listed.whereabouts {
            // As in mailq: what is being tried now is due now.
            Whereabouts::Active | Whereabouts::InFlight => "active".to_owned(),
            Whereabouts::Delayed => "delayed".to_owned(),
        },
        binding: listed.envelope.queue.binding.to_string(),
        id: listed.envelope.id.to_string(),
        created_unix: listed.envelope.created.as_secs(),
        reverse_path: listed.envelope.reverse_path.as_str().to_owned(),
        forward_path: listed.envelope.forward_path.as_str().to_owned(),
    };
    let listing = house.engine.listing(binding.as_deref(), &domain, offset, limit).await;
    QueueListing { rows: listing.into_iter().map(row).collect() }
}

/// Rows of `mailq` of which it is told whose mail they are.
const GATEWAYS_LOOKED_INTO: usize = 20;
