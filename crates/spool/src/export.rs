//! One message as two files anybody can read: `NAME.eml`, the message as RFC 5322 has it, and `NAME.json`, its envelope.
//!
//! The envelope's fields stand in the JSON by name, and `record` holds all of it in its own encoding. What is read back is the
//! record with the named fields laid over it, so that an operator may edit those; without a record, the two paths suffice.
//!
//! The message is the one its recipient would get: edits of its header section are in it, and no longer in its envelope.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use message::{Body, Context, DeliveryState, Envelope, MessageId, Origin, Protocol, QueueName, Ret, rendered, wire};
use serde_json::{Map, Value, json};
use smtp::{ForwardPath, Mailbox, ReversePath};

use crate::disk::Disk;
use crate::file::read_file;

/// The message.
pub const MESSAGE: &str = ".eml";
/// Its envelope.
pub const ENVELOPE: &str = ".json";

/// What files are called: the id with dots for its separators.
pub fn name(id: MessageId) -> String {
    id.to_string().replace(['/', '-'], ".")
}

/// Writes both files into `directory`, and syncs them; files of that name are replaced.
pub fn write(disk: &dyn Disk, directory: &Path, envelope: &Envelope, body: &Body, mode: u32) -> io::Result<()> {
    let name = name(envelope.id);
    let body = rendered(body, envelope.edits.as_deref()).into_bytes();
    let mut json = serde_json::to_vec_pretty(&to_json(&on_its_own(envelope, body.len())))?;
    json.push(b'\n');
    // The envelope last: with it there is a whole message.
    for (suffix, octets) in [(MESSAGE, &*wire::to_plain(&body)), (ENVELOPE, &json)] {
        let (path, new) = (directory.join(format!("{name}{suffix}")), directory.join(format!("{name}{suffix}.new")));
        let _ = disk.remove(&new);
        let file = disk.create(&new, mode)?;
        file.write_all(&mut [IoSlice::new(octets)], 0)?;
        file.fdatasync()?;
        disk.rename(&new, &path)?;
    }
    disk.sync_dir(directory)
}

/// Reads both files of one message; the body in wire form.
pub fn read(disk: &dyn Disk, directory: &Path, name: &str) -> io::Result<(Envelope, Body)> {
    let plain = read_file(disk, &directory.join(format!("{name}{MESSAGE}")))?;
    let json = read_file(disk, &directory.join(format!("{name}{ENVELOPE}")))?;
    let mut body = Vec::new();
    wire::from_plain(&plain, &mut body);
    let json: Value = serde_json::from_slice(&json)?;
    let mut envelope = from_json(&json).map_err(io::Error::other)?;
    envelope.body_bytes = body.len() as u64;
    Ok((envelope, body.into()))
}

/// The envelope of a message whose body is all its own.
fn on_its_own(envelope: &Envelope, octets: usize) -> Envelope {
    let mut alone = envelope.clone();
    (alone.edits, alone.body_bytes) = (None, octets as u64);
    if let Some(particulars) = &mut alone.particulars {
        particulars.body = None;
    }
    alone
}

/// The envelope, for a reader and for [`from_json`].
pub fn to_json(envelope: &Envelope) -> Value {
    let mut record = Vec::new();
    envelope.encode(&mut record);
    let record: String = record.iter().map(|octet| format!("{octet:02x}")).collect();
    let dictionary = |pairs: &message::Dictionary| -> Map<String, Value> {
        pairs.iter().map(|(key, value)| (key.to_string(), json!(value))).collect()
    };
    json!({
        "id": envelope.id.to_string(),
        "batch": envelope.batch.to_string(),
        "reverse_path": envelope.reverse_path.as_str(),
        "forward_path": envelope.forward_path.as_str(),
        "created": envelope.created.as_secs(),
        "eight_bit": envelope.eight_bit,
        "received_by": envelope.origin.protocol.as_str(),
        "received_from": envelope.origin.peer.map(|peer| peer.to_string()),
        "binding_group": &*envelope.queue.binding_group,
        "binding": &*envelope.queue.binding,
        "domain": &*envelope.queue.domain,
        "retries": envelope.delivery.retries,
        "next_attempt": envelope.delivery.next_attempt.as_secs(),
        "last_reply": envelope.delivery.last_reply.as_deref(),
        "particulars": particulars(envelope),
        "connection_context": dictionary(&envelope.context.connection),
        "message_context": dictionary(&envelope.context.message),
        "record": record,
    })
}

/// What few messages have, for a reader: it is read back from the record alone.
pub fn particulars(envelope: &Envelope) -> Value {
    let Some(particulars) = &envelope.particulars else { return json!({}) };
    let asked = &particulars.notification;
    let notify = asked.notify.map(|notify| {
        let asked = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
        let words: Vec<&str> = asked.iter().filter(|(asked, _)| *asked).map(|(_, word)| *word).collect();
        if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }
    });
    let all = [
        ("body", particulars.body.map(|body| json!(body.to_string()))),
        ("urgent", particulars.urgent.then_some(json!(true))),
        ("routing_domain", particulars.routing_domain.as_deref().map(|domain| json!(domain))),
        ("ret", asked.ret.map(|ret| json!(if ret == Ret::Full { "FULL" } else { "HDRS" }))),
        ("envid", asked.envid.as_deref().map(|envid| json!(envid))),
        ("notify", notify.map(|notify| json!(notify))),
        ("orcpt", asked.orcpt.as_deref().map(|orcpt| json!(orcpt))),
        ("smtputf8", particulars.smtputf8.then_some(json!(true))),
        ("requiretls", particulars.requiretls.then_some(json!(true))),
    ];
    let said = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(said.collect())
}

/// The reverse of [`to_json`], for edited and for hand-made envelopes; why not, otherwise.
pub fn from_json(json: &Value) -> Result<Envelope, String> {
    let text = |name: &str| json[name].as_str();
    let mut envelope = match text("record") {
        Some(hex) => {
            let record = from_hex(hex).ok_or("its record is no hexadecimal number")?;
            Envelope::decode(&record).map_err(|error| error.to_string())?
        }
        None => blank()?,
    };
    let id = |name: &str, known: MessageId| match text(name) {
        Some(text) => text.parse().map_err(|error: message::NotAnId| format!("{name}: {error}")),
        None => Ok(known),
    };
    envelope.id = id("id", envelope.id)?;
    envelope.batch = id("batch", envelope.batch)?;
    let mailbox = |name: &str, text: &str| Mailbox::parse(text).map_err(|error| format!("{name} {text:?}: {error}"));
    match text("reverse_path") {
        Some(known) if known == envelope.reverse_path.as_str() => {}
        Some("") => envelope.reverse_path = ReversePath::Null,
        Some(text) => envelope.reverse_path = ReversePath::Mailbox(mailbox("reverse_path", text)?),
        None => {}
    }
    match text("forward_path") {
        Some(known) if known == envelope.forward_path.as_str() => {}
        Some(text) => envelope.forward_path = ForwardPath(mailbox("forward_path", text)?),
        None if text("record").is_none() => return Err("it names no forward_path".to_owned()),
        None => {}
    }
    let shared = |name: &str, known: &Arc<str>| text(name).map_or_else(|| known.clone(), Arc::from);
    let queue = &envelope.queue;
    envelope.queue = QueueName {
        binding_group: shared("binding_group", &queue.binding_group),
        binding: shared("binding", &queue.binding),
        domain: text("domain").map_or_else(|| queue.domain.clone(), |domain| domain.to_ascii_lowercase().into()),
    };
    if envelope.queue.domain.is_empty() {
        let domain = envelope.forward_path.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
        envelope.queue.domain = domain.to_ascii_lowercase().into();
    }
    let number = |name: &str| json[name].as_u64();
    if let Some(retries) = number("retries").and_then(|retries| u32::try_from(retries).ok()) {
        envelope.delivery.retries = retries;
    }
    if let Some(seconds) = number("next_attempt").filter(|&seconds| seconds != envelope.delivery.next_attempt.as_secs())
    {
        envelope.delivery.next_attempt = Duration::from_secs(seconds);
    }
    if let Some(seconds) = number("created").filter(|&seconds| seconds != envelope.created.as_secs()) {
        envelope.created = Duration::from_secs(seconds);
    }
    Ok(envelope)
}

/// What a hand-made envelope does not say.
fn blank() -> Result<Envelope, String> {
    let nobody = Mailbox::parse("postmaster@invalid").map_err(|error| error.to_string())?;
    Ok(Envelope {
        id: MessageId::NULL,
        batch: MessageId::NULL,
        reverse_path: ReversePath::Null,
        forward_path: ForwardPath(nobody),
        created: Duration::ZERO,
        body_bytes: 0,
        eight_bit: true,
        origin: Origin { protocol: Protocol::Internal, peer: None, connection: MessageId::NULL },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "".into() },
        delivery: DeliveryState::default(),
        context: Context::default(),
        edits: None,
        particulars: None,
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    rest.is_empty().then(|| pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;

    fn envelope() -> Envelope {
        let made = json!({ "forward_path": "ann@shop.example", "reverse_path": "news@sender.example" });
        let mut envelope = from_json(&made).unwrap();
        envelope.id = "71/A0-03127-08B31BA6".parse().unwrap();
        envelope.batch = envelope.id;
        envelope.created = Duration::new(1_790_000_000, 250_000_000);
        envelope.delivery.last_reply = Some("450 4.2.1 busy".into());
        envelope.context.message.push(("key".into(), "value".into()));
        envelope
    }

    #[test]
    fn what_is_exported_is_imported_exactly() {
        let (disk, directory) = (FaultyDisk::seeded(1), Path::new("/out"));
        disk.create_dir(directory).unwrap();
        let body = Body::from_static(b"Subject: x\r\n\r\n..dots\r\nend\r\n.\r\n");
        let written = Envelope { body_bytes: body.len() as u64, ..envelope() };
        write(&disk, directory, &written, &body, 0o640).unwrap();
        let files = disk.files(directory);
        assert_eq!(files[0].0, Path::new("/out/71.A0.03127.08B31BA6.eml"));
        assert_eq!(files[0].1, b"Subject: x\r\n\r\n.dots\r\nend\r\n");
        assert_eq!(read(&disk, directory, "71.A0.03127.08B31BA6").unwrap(), (written, body));
    }

    #[test]
    fn what_is_exported_is_what_the_recipient_gets_and_keeps_what_it_asks_for() {
        let (disk, directory) = (FaultyDisk::seeded(1), Path::new("/out"));
        disk.create_dir(directory).unwrap();
        let stored = Body::from_static(b"Subject: x\r\nBcc: y\r\n\r\nend\r\n.\r\n");
        let mut section = message::HeaderSection::of(&stored, None);
        section.remove("bcc");
        section.append(message::field::encode("X", "1").unwrap());
        let mut envelope = Envelope { body_bytes: stored.len() as u64, ..envelope() };
        envelope.edits = section.into_edits().unwrap().map(Arc::new);
        envelope.particulars_mut().body = Some(envelope.id);
        envelope.particulars_mut().requiretls = true;
        envelope.particulars_mut().notification.notify = Some(message::Notify::default());
        assert_eq!(to_json(&envelope)["particulars"]["notify"], json!("NEVER"));
        write(&disk, directory, &envelope, &stored, 0o640).unwrap();
        let (read, body) = read(&disk, directory, "71.A0.03127.08B31BA6").unwrap();
        assert_eq!(body, b"Subject: x\r\nX: 1\r\n\r\nend\r\n.\r\n"[..]);
        assert_eq!(read, on_its_own(&envelope, body.len()));
        assert!(read.edits.is_none() && read.particulars.is_some_and(|particulars| particulars.requiretls));
    }

    #[test]
    fn named_fields_can_be_edited() {
        let mut json = to_json(&envelope());
        json["forward_path"] = json!("bob@else.example");
        json["binding"] = json!("bulk");
        json["domain"] = json!("Else.Example");
        let edited = from_json(&json).unwrap();
        assert_eq!(edited.forward_path.as_str(), "bob@else.example");
        assert_eq!((&*edited.queue.binding, &*edited.queue.domain), ("bulk", "else.example"));
        assert_eq!((edited.created, edited.context), (envelope().created, envelope().context));
    }

    #[test]
    fn an_envelope_made_by_hand_needs_a_forward_path() {
        assert_eq!(from_json(&json!({ "reverse_path": "" })).unwrap_err(), "it names no forward_path");
        let made = from_json(&json!({ "forward_path": "ann@Shop.example" })).unwrap();
        assert_eq!((made.reverse_path, &*made.queue.domain), (ReversePath::Null, "shop.example"));
        assert!(from_json(&json!({ "forward_path": "nobody at all" })).is_err());
    }
}
