//! Delivery into Maildirs on this machine: takes message after message of its queue, writes each in the IO thread pool.
//!
//! Stands in the place of a connection, so it counts and ends like one; its deliveries have no remote address.

use std::io;
use std::rc::Rc;

use smtp::Reply;

use crate::disposition::{Attempt, Failed};
use crate::held::InHand;
use crate::limits::Awaits;
use crate::maildir;
use crate::maintainer::Maintainer;
use crate::options::{DeliveryMethod, QueueSettings};
use crate::place::Turn;
use crate::record::{DomainRecord, Status};
use crate::replies::{BODY_MISSING, MAILBOX_FAILED, MAILBOX_FULL, NO_MAILBOX};

/// Delivers until the queue has no active mail.
pub(crate) async fn run(maintainer: &Rc<Maintainer>, record: &Rc<DomainRecord>, status: &Rc<Status>) {
    status.opening.set(false);
    let (mut turn, mut carried) = (Turn::new(maintainer.deps.clock.now()), 0);
    loop {
        let settings = record.settings();
        if settings.method != DeliveryMethod::Maildir {
            // A reload sends the rest elsewhere.
            return;
        }
        if turn.ends(maintainer.deps.clock.now(), carried) && status.is_claimed() {
            return;
        }
        carried += 1;
        let tokens = match settings.limits.message(maintainer.deps.clock.now()) {
            Ok(token) => [token, None],
            Err(busy) => return maintainer.saturated(record, Awaits::Message, busy),
        };
        let Some(mut taken) = maintainer.next(record, &settings) else { return };
        taken.held.pay(tokens);
        let message = match taken.resident {
            Some(resident) => InHand { held: taken.held, resident },
            None => match maintainer.read(taken.held, taken.id).await {
                Some(message) => message,
                None => continue,
            },
        };
        let attempt = Attempt { settings: settings.clone(), connection: status.id, remote: None };
        let octets = message.envelope().body_bytes;
        let rest = match write(maintainer, &settings, &message).await {
            Ok(()) => {
                let rest = maintainer.delivered(&attempt, message, octets);
                status.unlinking.set(rest.is_some());
                rest
            }
            Err(reply) => maintainer.attempt_failed(&attempt, message, Failed::unconnected(reply)),
        };
        if let Some(rest) = rest {
            rest.await;
            status.unlinking.set(false);
        }
    }
}

async fn write(maintainer: &Maintainer, settings: &QueueSettings, message: &InHand) -> Result<(), Reply> {
    let envelope = message.envelope();
    let folder = maildir::folder_of(&settings.maildir_path, envelope.forward_path.mailbox()).ok_or(NO_MAILBOX)?;
    let body = message.body().cloned().ok_or(BODY_MISSING)?;
    // Seconds, then what no other delivery shares, then the host, as Maildir readers expect. A second attempt at the same
    // message gets another name, since the moment is part of it.
    let now = maintainer.deps.clock.unix();
    let id = envelope.id.to_string().replace('/', ".");
    let name = format!("{}.M{}P{id}.{}", now.as_secs(), now.subsec_micros(), settings.hostname);
    let shown = folder.display().to_string();
    let reverse_path = envelope.reverse_path.as_str().to_owned();
    // The file's content is a copy of the body.
    let copy = maintainer.owners.bodies.charge(body.len());
    let job = move || {
        let delivered = maildir::deliver(&folder, &name, &maildir::as_file(&reverse_path, &body));
        drop(copy);
        delivered
    };
    let outcome = maintainer.deps.pools.get("IO").run(job).await;
    let error = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(rejected) => io::Error::other(format!("{rejected:?}")),
    };
    tracing::error!(target: "MAILDIR", "message {} was not written to {shown}: {error}", envelope.id);
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    Err(if full { MAILBOX_FULL } else { MAILBOX_FAILED })
}
