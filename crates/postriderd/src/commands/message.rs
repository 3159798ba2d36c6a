//! `message details`, `message retry`, `message fail`: one message.

use std::rc::Rc;

use console::shapes::{DetailsPart, MessageDetails, Shape as _, Waiting};
use console::{Command, CommandError, Invocation, Reply, arguments};
use delivery::{MessageReport, Single, Wait};
use message::{MessageId, wire};
use queue::Whereabouts;
use serde_json::json;

use super::completion::{Place, completed};
use super::{command, waiting};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let id = "MID is the id of the 250 reply and of the logs, for example 71/A0-03127-08B31BA6.";
    let details =
        command(house, "message details [full|body] MID", "envelope and state of one message, or its text", details);
    let retry = command(house, "message retry MID", "make one message due now", retry);
    let failing =
        command(house, "message fail MID", "fail one message for good", |house, asked| fail(house, asked, false));
    let quiet = command(house, "message fail quiet MID", "the same without a notification", |house, asked| {
        fail(house, asked, true)
    });
    vec![
        completed(house, details.help(id), &[Place::Id]),
        completed(
            house,
            retry.help(&format!(
                "What held the connections of its queue back is forgotten. One in an attempt is left to it.\n{id}"
            )),
            &[Place::Id],
        ),
        completed(house, failing.help(&format!("One in an attempt is left to it.\n{id}")), &[Place::Id]),
        completed(house, quiet.help(id), &[Place::Id]),
    ]
}

async fn retry(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    let id = message_id(asked.only_arg()?)?;
    let (was, held) = single(id, house.engine.retry_message(id).await)?;
    let mut text = match was {
        Whereabouts::Delayed => "Message requeued for delivery\n".to_owned(),
        _ => "Message was due already\n".to_owned(),
    };
    let held = held.map(|wait| waiting(&house, &wait));
    if let Some(held) = &held {
        text.push_str(&format!("It is still held: {}\n", held.here()));
    }
    let json = json!({
        "message": text.lines().next(),
        "id": id.to_string(),
        "requeued": was == Whereabouts::Delayed,
        "waiting": held.map(|held| held.json()),
    });
    Ok(Reply::new(text, json))
}

async fn fail(house: Rc<House>, asked: Invocation, quiet: bool) -> Result<Reply, CommandError> {
    let (own, id) = arguments::message_fail(&asked.args)?;
    let (id, quiet) = (message_id(id)?, quiet || own);
    single(id, house.engine.fail_message(id, quiet).await)?;
    let text = if quiet { "Message failed; its sender is not told\n" } else { "Message failed\n" };
    Ok(Reply::new(text, json!({ "message": text.trim_end(), "id": id.to_string(), "failed": 1, "quiet": quiet })))
}

/// The id that a word is.
pub(super) fn message_id(text: &str) -> Result<MessageId, CommandError> {
    text.parse().map_err(|error| {
        CommandError::Usage(format!("'{text}' is no message id, which looks like 71/A0-03127-08B31BA6: {error}"))
    })
}

/// Where a message was before something was done to it, and what still holds it; else why nothing was done.
fn single(id: MessageId, single: Single) -> Result<(Whereabouts, Option<Wait>), CommandError> {
    match single {
        Single::Done { was, held } => Ok((was, held)),
        Single::Unknown => Err(CommandError::Failed(format!("no queue holds a message {id}"))),
        Single::InAttempt(wait) => Err(CommandError::Failed(format!(
            "message {id} is {}; it is left to that, and nothing was done",
            wait.hold
        ))),
    }
}

async fn details(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    let (part, id) = arguments::message_details(&asked.args)?;
    let id = message_id(id)?;
    let report = house.engine.message(id).await.map_err(CommandError::failed)?;
    let report = report.ok_or_else(|| CommandError::Failed(format!("no queue holds a message {id}")))?;
    let text = match part {
        DetailsPart::Metadata => None,
        DetailsPart::Full | DetailsPart::Body => {
            let (envelope, body) = house.spool.read(id).await.map_err(CommandError::failed)?;
            let body = message::rendered(&body, envelope.edits.as_deref()).into_bytes();
            Some(String::from_utf8_lossy(&wire::to_plain(&body)).into_owned())
        }
    };
    let waiting = waiting(&house, &report.wait);
    Ok(shape(part, report, waiting, text).reply())
}

fn shape(part: DetailsPart, report: MessageReport, waiting: Waiting, message: Option<String>) -> MessageDetails {
    let envelope = report.envelope;
    let queue = match report.whereabouts {
        Whereabouts::Active => "active",
        Whereabouts::Delayed => "delayed",
        Whereabouts::InFlight => "in flight",
    };
    let received_via = match envelope.origin.peer {
        Some(peer) => format!("SMTP {} ({})", peer.ip(), if peer.is_ipv4() { "IPv4" } else { "IPv6" }),
        None => envelope.origin.protocol.as_str().to_owned(),
    };
    let size_bytes = envelope.rendered_bytes();
    MessageDetails {
        part,
        id: envelope.id.to_string(),
        message_type: "full message".to_owned(),
        created_unix: envelope.created.as_secs(),
        next_attempt_unix: waiting.until_unix.filter(|_| waiting.is_held),
        waiting: Some(waiting),
        retries: u64::from(envelope.delivery.retries),
        received_via,
        reverse_path: envelope.reverse_path.as_str().to_owned(),
        forward_path: envelope.forward_path.as_str().to_owned(),
        last_reply: envelope.delivery.last_reply.map(String::from),
        size_bytes,
        queue: queue.to_owned(),
        binding: envelope.queue.binding.to_string(),
        domain: envelope.queue.domain.to_string(),
        message,
    }
}
