//! `domain`, `active`, `delayed`, `mailq`, `showqueue`: what the queues hold.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use console::arguments::{self, MailqArguments, ShowqueueArguments};
use console::shapes::{
    DomainAddress, DomainConnection, DomainCounts, DomainList, DomainMx, DomainReport, DomainRoute, ListKind, Mailq,
    MailqRow, QueueListing, QueueRow, Shape as _,
};
use console::{Command, CommandError, Reply};
use delivery::{AddressReport, ListedMessage, QueueReport, Selection};
use queue::Whereabouts;
use scheduler::MemoryCharge;

use super::completion::{Place, completed};
use super::{command, gateways, known_binding, room_for, waiting};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let all = vec![
        command(
            house,
            "domain NAME|all",
            "one routing domain: hosts, queues, connections",
            |house, asked| async move {
                let name = asked.only_arg()?.to_owned();
                if name == "all" {
                    list(&house, None, ListKind::All, |_| true).await
                } else {
                    Ok(domain(&house, &name).await)
                }
            },
        ),
        command(house, "domains", "every routing domain on a line", |house, asked| async move {
            asked.no_args()?;
            list(&house, None, ListKind::All, |_| true).await
        }),
        command(house, "active N", "domains with more than N messages due", |house, asked| async move {
            let threshold = arguments::threshold(&asked.args)?;
            list(&house, None, ListKind::Threshold, move |row| threshold < row.active).await
        }),
        command(house, "delayed N", "domains with more than N messages waiting", |house, asked| async move {
            let threshold = arguments::threshold(&asked.args)?;
            list(&house, None, ListKind::Threshold, move |row| threshold < row.delayed).await
        }),
        command(
            house,
            "mailq [-d DOMAIN]... [-b BINDING]... [-l LIMIT]",
            "queue sizes, biggest first",
            |house, asked| async move { mailq(&house, &MailqArguments::parse(&asked.args)?).await },
        ),
        command(
            house,
            "showqueue [binding NAME|all] DOMAIN|all [LIMIT,OFFSET]",
            "the messages of a queue, or of all",
            |house, asked| async move { show_queue(&house, ShowqueueArguments::parse(&asked.args)?).await },
        )
        .help(
            "The binding is `default` unless given, but for `showqueue all`, which shows all queues of all bindings. The window is\n\
            `100,0` unless given, at most 10000 messages; what is left out is counted, and the next window named. Messages due now\n\
            come first in each queue, in their order; those that wait follow in none.",
        ),
    ];
    let completed = |command: Command| match command.words.as_str() {
        "domain" => completed(house, command, &[Place::DomainOrAll]),
        "mailq" => completed(house, command, &[]),
        "showqueue" => completed(house, command, &[Place::DomainOrAll]),
        _ => command,
    };
    all.into_iter().map(completed).collect()
}

/// Domains of all bindings or of one.
pub(super) async fn list(
    house: &House,
    binding: Option<&str>,
    kind: ListKind,
    wanted: impl Fn(&DomainCounts) -> bool,
) -> Result<Reply, CommandError> {
    let _room = room_for_queues(house).await?;
    let mut domains: BTreeMap<String, DomainCounts> = BTreeMap::new();
    let mut total = DomainCounts { domain: "Total".to_owned(), ..DomainCounts::default() };
    for queue in house.engine.queues().await {
        if binding.is_some_and(|binding| *queue.name.binding != *binding) {
            continue;
        }
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
    let wanted = |queue: &QueueReport| {
        named(&domains, &queue.name.domain)
            && (arguments.bindings.is_empty()
                || arguments.bindings.iter().any(|binding| **binding == *queue.name.binding))
    };
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
    for binding in &arguments.bindings {
        known_binding(house, binding).await?;
    }
    let _room = room_for_queues(house).await?;
    let queues = house.engine.queues().await;
    let is_known = |domain: &&String| queues.iter().any(|queue| queue.name.domain.eq_ignore_ascii_case(domain));
    let unknown: Vec<String> = arguments.domains.iter().filter(|domain| !is_known(domain)).cloned().collect();
    let mut rows: Vec<MailqRow> = queues.into_iter().filter(wanted).map(row).collect();
    rows.retain(|row| 0 < row.active + row.delayed);
    rows.sort_by_key(|row| std::cmp::Reverse(row.active + row.delayed));
    rows.truncate(arguments.limit);
    for row in rows.iter_mut().filter(|row| generation.is_gateway(&row.domain)).take(GATEWAYS_LOOKED_INTO) {
        row.recipient_domains = gateways::recipient_domains(house, Some(&row.binding), &row.domain).await;
    }
    let mut reply = Mailq { rows }.reply();
    for domain in &unknown {
        reply.text.push_str(&match gateways::sentence(&gateways::of_domain(&generation, domain)) {
            Some(sentence) => format!("Domain '{domain}' {sentence}\n"),
            None => format!("No queue is known for {domain}: no mail waits there.\n"),
        });
    }
    reply.json["unknown"] = unknown.into();
    Ok(reply)
}

async fn domain(house: &House, name: &str) -> Reply {
    let report = house.engine.domain(name).await;
    let is_known = !report.queues.is_empty();
    let mut reply = domain_report(house, name, report).await.reply();
    reply.json["known"] = is_known.into();
    if !is_known {
        reply.text.push_str(&format!("No queue is known for {name}: no mail waits there.\n"));
    }
    reply
}

async fn domain_report(house: &House, name: &str, report: delivery::DomainReport) -> DomainReport {
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

async fn show_queue(house: &House, arguments: ShowqueueArguments) -> Result<Reply, CommandError> {
    let ShowqueueArguments { binding, domain, limit, offset } = arguments;
    if let Some(binding) = &binding {
        known_binding(house, binding).await?;
    }
    let _room = room_for(house, limit.min(delivery::LISTING_MAX) * LISTED_OCTETS)?;
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
    let selection = Selection { binding, domain };
    let listing = house.engine.listing(&selection, offset, limit).await;
    let rows: Vec<QueueRow> = listing.messages.into_iter().map(row).collect();
    house.last_listed.show(rows.iter().map(|row| row.id.as_str()));
    let mut reply = QueueListing { rows, offset: offset as u64, total: listing.total as u64 }.reply();
    reply.json["known"] = (listing.queues != 0).into();
    if let (0, Some(domain)) = (listing.queues, &selection.domain) {
        reply.text = elsewhere(house, &selection, domain).await;
    }
    Ok(reply)
}

/// No queue is known; where mail for a domain waits instead.
async fn elsewhere(house: &House, selection: &Selection, domain: &str) -> String {
    let under = selection.binding.as_ref().map(|binding| format!(" under binding {binding}")).unwrap_or_default();
    let mut text = format!("No queue is known for {domain}{under}: no mail waits there.\n");
    let others = house.engine.domain(domain).await.queues;
    let with_mail: Vec<&QueueReport> =
        others.iter().filter(|other| other.active + other.delayed + other.in_flight != 0).collect();
    for other in with_mail.iter().take(QUEUES_NAMED) {
        text.push_str(&format!("There is mail under: showqueue binding {} {domain}\n", other.name.binding));
    }
    if QUEUES_NAMED < with_mail.len() {
        let more = with_mail.len() - QUEUES_NAMED;
        text.push_str(&format!("There is mail under {more} more bindings: showqueue binding all {domain}\n"));
    }
    if !with_mail.is_empty() {
        return text;
    }
    if let Some(gateway) = super::bulk::gateway(house, domain) {
        text.push_str(&format!("Mail for {domain} has the gateway {gateway}, and waits under that name.\n"));
    }
    text
}

/// Memory for a row of each queue.
async fn room_for_queues(house: &House) -> Result<MemoryCharge, CommandError> {
    room_for(house, house.engine.queue_count().await * QUEUE_OCTETS)
}

/// Of one queue in a listing: its report, its row, and its line.
const QUEUE_OCTETS: usize = 800;
/// Of one message in a listing: its envelope, its row, and its two lines.
const LISTED_OCTETS: usize = 1600;

/// Bindings that hold mail for a domain and are named one by one.
const QUEUES_NAMED: usize = 8;

/// Rows of `mailq` of which it is told whose mail they are.
const GATEWAYS_LOOKED_INTO: usize = 20;
