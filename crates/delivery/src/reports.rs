//! What the operator asks of delivery: counts, queues, domains, connections, one message.
//!
//! Counts are gathered from each loop's table; none walks a queue but the lookup of one message by its id.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use message::{Envelope, MessageId, QueueName};
use queue::{Room, Totals, Whereabouts};
use smtp::client::Stage;
use spool::SpoolError;

use crate::engine::EngineHandle;
use crate::hosts::Hosts;
use crate::maintainer::Maintainer;
use crate::record::DomainRecord;
use crate::route::Candidate;
use crate::waiting::Wait;

/// The figures of `summary` that delivery knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open and opening connections.
    pub outbound_concurrency: usize,
    /// Domains that hold mail.
    pub active_domains: usize,
    /// Messages deliverable now.
    pub active: usize,
    /// Messages waiting for their next attempt.
    pub delayed: usize,
    /// Messages in an attempt: in neither queue.
    pub in_flight: usize,
    /// Messages in memory.
    pub resident: usize,
    /// Octets of their bodies.
    pub resident_bytes: u64,
    /// The most messages each loop has held at once, added up: not fewer than there ever were at once.
    pub peak: usize,
    /// Messages the tables have memory for.
    pub allocated: usize,
}

/// One (binding, routing domain) queue: a row of `mailq`, `active`, `delayed` and `domain all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueReport {
    /// Which one.
    pub name: QueueName,
    /// Open and opening connections.
    pub connections: usize,
    /// Messages deliverable now.
    pub active: usize,
    /// Messages waiting.
    pub delayed: usize,
    /// Messages in an attempt.
    pub in_flight: usize,
    /// Delivered in the life of the record.
    pub delivered: u64,
    /// Transient failures in the life of the record.
    pub transient: u64,
    /// Failed in the life of the record.
    pub failed: u64,
    /// Received in the life of the record, read from the spool at the start or since.
    pub received: u64,
    /// What holds its active mail, or all of it; none where there is nothing to hold.
    pub wait: Option<Wait>,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Its queue.
    pub queue: QueueName,
    /// Its id, as the mainlog has it.
    pub id: MessageId,
    /// Its file descriptor.
    pub descriptor: Option<i32>,
    /// The host's name and address; none while it is being looked for.
    pub remote: Option<(Arc<str>, SocketAddr)>,
    /// Where it stands.
    pub stage: Stage,
    /// For how long.
    pub since: Duration,
}

/// One address of a domain's route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressReport {
    /// Its preference.
    pub preference: u16,
    /// The host's name.
    pub host: Arc<str>,
    /// The address.
    pub remote: SocketAddr,
    /// How long ago it failed, if that is remembered.
    pub failed: Option<Duration>,
    /// What came of that attempt, in words with the error's number.
    pub failure: Option<Arc<str>>,
    /// It is left alone now, for so much longer.
    pub avoided: Option<Duration>,
    /// How much longer the DNS says that it belongs to the domain; none if it was not asked for mail hosts.
    pub ttl: Option<Duration>,
    /// Decaying average of the time from the first packet to an open session, once measured.
    pub connect_average: Option<Duration>,
    /// Decaying average of the time from giving a message to the session to its last reply, once measured.
    pub deliver_average: Option<Duration>,
}

/// Everything about one routing domain, over its bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainReport {
    /// Its queues.
    pub queues: Vec<QueueReport>,
    /// The addresses last found for it, in the order they are tried.
    pub addresses: Vec<AddressReport>,
    /// Its connections.
    pub connections: Vec<ConnectionReport>,
    /// Rounds in a row in which hosts were tried and none could be reached.
    pub consecutive_failures: u64,
    /// Lookups in a row that gave no host.
    pub failed_lookups: u64,
    /// Why its mail goes nowhere, to stand behind its name: `does not exist (NXDOMAIN)`; or that the DNS does not tell. None
    /// if it has hosts, or nobody has asked.
    pub no_route: Option<String>,
}

/// One message, for `message details`.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageReport {
    /// Its envelope, from memory or from the spool.
    pub envelope: Envelope,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// Its envelope was in memory.
    pub resident: bool,
    /// What holds it.
    pub wait: Wait,
}

impl EngineHandle {
    /// The counts over all queues.
    pub async fn counts(&self) -> Counts {
        let of_loop = |maintainer: &Rc<Maintainer>| {
            let connections: usize = maintainer.records().iter().map(|record| record.connections.borrow().len()).sum();
            let Totals { queues, active, delayed, in_flight, resident, resident_octets } =
                maintainer.queues.borrow().totals();
            let Room { peak, allocated } = maintainer.queues.borrow().room();
            let (outbound_concurrency, active_domains) = (connections, queues);
            let resident_bytes = resident_octets;
            Counts {
                outbound_concurrency,
                active_domains,
                active,
                delayed,
                in_flight,
                resident,
                resident_bytes,
                peak,
                allocated,
            }
        };
        self.each(of_loop).await.into_iter().fold(Counts::default(), |sum, one| Counts {
            outbound_concurrency: sum.outbound_concurrency + one.outbound_concurrency,
            active_domains: sum.active_domains + one.active_domains,
            active: sum.active + one.active,
            delayed: sum.delayed + one.delayed,
            in_flight: sum.in_flight + one.in_flight,
            resident: sum.resident + one.resident,
            resident_bytes: sum.resident_bytes + one.resident_bytes,
            peak: sum.peak + one.peak,
            allocated: sum.allocated + one.allocated,
        })
    }

    /// Every queue, by domain and binding.
    pub async fn queues(&self) -> Vec<QueueReport> {
        let of_loop = |maintainer: &Rc<Maintainer>| {
            maintainer.records().iter().map(|record| queue_report(maintainer, record)).collect::<Vec<_>>()
        };
        let mut queues: Vec<QueueReport> = self.each(of_loop).await.into_iter().flatten().collect();
        queues.sort_by(|one, other| {
            (&one.name.domain, &one.name.binding).cmp(&(&other.name.domain, &other.name.binding))
        });
        queues
    }

    /// One routing domain; empty if nothing is known of it.
    pub async fn domain(&self, domain: &str) -> DomainReport {
        let domain = domain.to_ascii_lowercase();
        let of_loop = move |maintainer: &Rc<Maintainer>| domain_report(maintainer, &domain);
        let mut whole = DomainReport::default();
        for part in self.each(of_loop).await {
            whole.queues.extend(part.queues);
            whole.connections.extend(part.connections);
            whole.consecutive_failures = whole.consecutive_failures.max(part.consecutive_failures);
            whole.failed_lookups = whole.failed_lookups.max(part.failed_lookups);
            whole.no_route = whole.no_route.or(part.no_route);
            if whole.addresses.is_empty() {
                whole.addresses = part.addresses;
            }
        }
        whole
    }

    /// Every connection.
    pub async fn connections(&self) -> Vec<ConnectionReport> {
        let of_loop = |maintainer: &Rc<Maintainer>| {
            let records = maintainer.records();
            records.iter().flat_map(|record| connection_reports(maintainer, record)).collect::<Vec<_>>()
        };
        self.each(of_loop).await.into_iter().flatten().collect()
    }

    /// One message; `Ok(None)` if no queue holds it, the spool's error if its envelope cannot be read.
    pub async fn message(&self, id: MessageId) -> Result<Option<MessageReport>, SpoolError> {
        let of_loop = move |maintainer: &Rc<Maintainer>| {
            let (name, whereabouts, before, envelope) = {
                let queues = maintainer.queues.borrow();
                let found = queues.find(id)?;
                (found.queue.clone(), found.whereabouts, found.before, found.envelope.cloned())
            };
            let wait = maintainer.message_wait(&maintainer.record(&name), id, whereabouts, before);
            Some((whereabouts, wait, envelope))
        };
        let found = self.each(of_loop).await.into_iter().flatten().next();
        Ok(match found {
            None => None,
            Some((whereabouts, wait, Some(envelope))) => {
                let wait = wait.of_message(&envelope, self.clock.unix());
                Some(MessageReport { envelope, whereabouts, resident: true, wait })
            }
            Some((whereabouts, wait, None)) => {
                let envelope = self.spool.read_headers(id).await?;
                let wait = wait.of_message(&envelope, self.clock.unix());
                Some(MessageReport { envelope, whereabouts, resident: false, wait })
            }
        })
    }
}

fn queue_report(maintainer: &Maintainer, record: &DomainRecord) -> QueueReport {
    let row = maintainer.queues.borrow().row(record.queue);
    QueueReport {
        name: row.name,
        connections: record.connections.borrow().len(),
        active: row.active,
        delayed: row.delayed,
        in_flight: row.in_flight,
        delivered: row.delivered,
        transient: row.transient,
        failed: row.failed,
        received: row.received,
        wait: maintainer.queue_wait(record),
    }
}

fn connection_reports(maintainer: &Maintainer, record: &DomainRecord) -> Vec<ConnectionReport> {
    let now = maintainer.deps.clock.now();
    let report = |status: &Rc<crate::record::Status>| ConnectionReport {
        queue: record.name.clone(),
        id: status.id,
        descriptor: status.descriptor.get(),
        remote: status.remote.borrow().clone(),
        stage: status.stage(),
        since: now.saturating_duration_since(status.since.get()),
    };
    record.connections.borrow().iter().map(report).collect()
}

fn domain_report(maintainer: &Rc<Maintainer>, domain: &str) -> DomainReport {
    let mut report = DomainReport::default();
    let now = maintainer.deps.clock.now();
    let hosts = maintainer.hosts.borrow();
    for record in maintainer.records().iter().filter(|record| &*record.name.domain == domain) {
        report.queues.push(queue_report(maintainer, record));
        report.connections.extend(connection_reports(maintainer, record));
        report.consecutive_failures = report.consecutive_failures.max(record.failures.get());
        let spell = record.lookups.spell();
        report.failed_lookups = report.failed_lookups.max(spell.as_ref().map_or(0, |spell| spell.failures));
        let unanswered = || spell.as_ref().map(|spell| format!("could not be looked up: {}", spell.why));
        let no_route = record.no_route.borrow().clone();
        report.no_route = report.no_route.take().or(no_route).or_else(unanswered);
        if report.addresses.is_empty() {
            let address = |candidate: &Candidate| address_report(record, candidate, &hosts, now);
            report.addresses = record.route.borrow().iter().map(address).collect();
        }
    }
    report
}

fn address_report(record: &DomainRecord, candidate: &Candidate, hosts: &Hosts, now: Instant) -> AddressReport {
    let peer = record.peer(candidate.remote);
    let (connect_average, deliver_average) = hosts.averages(&peer);
    let failed = hosts.failed_at(&peer, now);
    AddressReport {
        preference: candidate.preference,
        host: candidate.host.clone(),
        remote: candidate.remote,
        failed: failed.as_ref().map(|(at, _)| now.saturating_duration_since(*at)),
        failure: failed.map(|(_, why)| why),
        avoided: hosts.avoided_until(&peer, now).map(|until| until.saturating_duration_since(now)),
        ttl: candidate.expires.map(|expires| expires.saturating_duration_since(now)),
        connect_average,
        deliver_average,
    }
}
