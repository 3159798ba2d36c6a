//! Opening a connection: the addresses of a queue's route in their order, until one gives a session, and what is remembered of
//! those that give none.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use smtp::client::Failure;

use crate::connection::Connection;
use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::record::{DomainRecord, Status};
use crate::route::{self, Candidate};
use crate::unreachable::NotOpened;

/// Tries the addresses of the queue's route in order, until a session opens.
pub(crate) async fn open(
    maintainer: &Rc<Maintainer>,
    record: &Rc<DomainRecord>,
    settings: &Rc<QueueSettings>,
    status: &Rc<Status>,
) -> Result<Connection, NotOpened> {
    let deps = &maintainer.deps;
    let found = route::candidates(&record.name.domain, settings, &*deps.names, &deps.random).await;
    let candidates = found.map_err(NotOpened::Unroutable)?;
    record.dns_failures.set(0);
    record.route.borrow_mut().clone_from(&candidates);
    let mut retry_at: Option<Instant> = None;
    let (mut refusal, mut tried) = (None, false);
    for candidate in candidates {
        if maintainer.stopping.get() {
            break;
        }
        let now = deps.clock.now();
        let avoided = maintainer.hosts.borrow().avoided_until(&candidate.remote, now);
        let until = match avoided {
            Some(until) => until,
            None => match Connection::open(maintainer, record, settings, status, &candidate).await {
                Ok(connection) => {
                    maintainer.hosts.borrow_mut().works(&candidate.remote);
                    connection.pace.connected(deps.clock.now().saturating_duration_since(now));
                    return Ok(connection);
                }
                Err(failure) => {
                    tried = true;
                    let until = host_failed(maintainer, record, settings, &candidate, &failure);
                    if let NoSession::Refused(failure) = failure {
                        refusal = Some((candidate, failure));
                    }
                    until
                }
            },
        };
        retry_at = Some(retry_at.map_or(until, |earliest| earliest.min(until)));
    }
    let retry_at = retry_at.unwrap_or_else(|| deps.clock.now());
    Err(NotOpened::Unreachable { retry_at, refusal: refusal.map(Box::new), tried, connection: status.id })
}

/// The address is left alone for a while: until when.
pub(crate) fn host_failed(
    maintainer: &Maintainer,
    record: &DomainRecord,
    settings: &QueueSettings,
    candidate: &Candidate,
    failure: &NoSession,
) -> Instant {
    let (now, retry) = (maintainer.deps.clock.now(), settings.host_failure_retry.into());
    maintainer.hosts.borrow_mut().failed(candidate.remote, now, retry);
    maintainer.meter.connections_failed.add(1);
    report(record, candidate, failure);
    now + retry
}

/// Why an address gave no session.
pub(crate) enum NoSession {
    Network(io::Error),
    Refused(Failure),
}

fn report(record: &DomainRecord, candidate: &Candidate, failure: &NoSession) {
    let (domain, host, remote) = (&record.name.domain, &candidate.host, candidate.remote);
    match failure {
        NoSession::Network(error) => {
            tracing::warn!(target: "SMTP", "cannot connect to {host} ({remote}) for {domain}: {error}");
        }
        NoSession::Refused(failure) => {
            tracing::warn!(target: "SMTP", "{host} ({remote}) gave no session for {domain} {}: {}", failure.stage, failure.reply);
        }
    }
}
