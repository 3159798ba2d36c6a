//! Delivery into Maildirs on this machine: takes message after message of its queue, writes each in the IO thread pool.
//!
//! Stands in the place of a connection, so it counts and ends like one; its deliveries have no remote address.

use std::io;
use std::rc::Rc;

use scheduler::{Lack, Step};
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
        record.passed_throttle(Awaits::Message);
        let message = match taken.resident {
            Some(resident) => InHand { held: taken.held, resident },
            None => match maintainer.read_in_turn(record, taken.held, taken.id).await {
                Some(message) => message,
                None => continue,
            },
        };
        let attempt = Attempt { settings: settings.clone(), connection: status.id, remote: None };
        let octets = message.rendered().map_or(0, |body| body.content_octets());
        let rest = match write(maintainer, &settings, &message).await {
            Ok(()) => {
                let rest = maintainer.delivered(&attempt, message, octets);
                status.unlinking.set(rest.is_some());
                rest
            }
            Err(Unwritten::Failed(reply)) => maintainer.attempt_failed(&attempt, message, Failed::unconnected(reply)),
            Err(Unwritten::Lacks(lack, mailbox)) => {
                maintainer.lacks(lack, &format_args!("the mailbox {mailbox}"));
                return maintainer.put_back(std::iter::once(message));
            }
        };
        if let Some(rest) = rest {
            rest.await;
            status.unlinking.set(false);
        }
    }
}

/// Why a message is not in its mailbox.
enum Unwritten {
    /// An attempt that failed.
    Failed(Reply),
    /// This machine lacks what every file needs; the mailbox, for the log. The message is not charged with it.
    Lacks(Lack, String),
}

async fn write(maintainer: &Maintainer, settings: &QueueSettings, message: &InHand) -> Result<(), Unwritten> {
    let (envelope, failed) = (message.envelope(), Unwritten::Failed);
    let folder = maildir::folder_of(&settings.maildir_path, envelope.forward_path.mailbox());
    let folder = folder.ok_or(failed(NO_MAILBOX))?;
    let body = message.rendered().ok_or(failed(BODY_MISSING))?;
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
        let delivered = maildir::deliver(&folder, &name, &maildir::as_file(&reverse_path, &body.into_bytes()));
        drop(copy);
        delivered
    };
    let outcome = maintainer.deps.pools.get("IO").run(job).await;
    let error = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(rejected) => io::Error::other(format!("{rejected:?}")),
    };
    if let Some(lack) = Lack::of(Step::Socket, &error).filter(|lack| lack.is_of_all()) {
        return Err(Unwritten::Lacks(lack, shown));
    }
    tracing::error!(target: "MAILDIR", "message {} was not written to {shown}: {error}", envelope.id);
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    Err(Unwritten::Failed(if full { MAILBOX_FULL } else { MAILBOX_FAILED }))
}
