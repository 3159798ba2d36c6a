//! `message details`: one message.

use std::rc::Rc;

use console::shapes::{DetailsPart, MessageDetails, Shape as _, Waiting};
use console::{Command, CommandError, Invocation, Reply, arguments};
use delivery::MessageReport;
use message::{MessageId, wire};
use queue::Whereabouts;

use super::{command, waiting};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    vec![
        command(house, "message details [full|body] MID", "envelope and state of one message, or its text", details)
            .help("MID is the id of the 250 reply and of the logs, for example 71/A0-03127-08B31BA6."),
    ]
}

async fn details(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    let (part, id) = arguments::message_details(&asked.args)?;
    let id: MessageId = id.parse().map_err(CommandError::failed)?;
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
        size_bytes: envelope.rendered_bytes(),
        queue: queue.to_owned(),
        binding: envelope.queue.binding.to_string(),
        domain: envelope.queue.domain.to_string(),
        message,
    }
}
