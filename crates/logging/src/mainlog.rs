//! The mainlog: R, D, T and P lines (reference: log-formats.md section 2).
//!
//! Each function appends one line, with its LF, to the caller's buffer.

use smtp::Mailbox;

use crate::line::{Stamp, put_address, put_binding, put_elapsed, put_field, put_number, put_start, put_text};
use crate::record::{DeliveryRecord, FailureRecord, ReceptionRecord};

/// R: `ts@mid@batch@conn@R@rcpt_local@rcpt_domain@from_local@from_domain@src_ip@bytes@protocol@bindgroup@binding`
pub fn reception(out: &mut Vec<u8>, stamp: Stamp, record: &ReceptionRecord<'_>) {
    let envelope = record.envelope;
    put_start(out, stamp, record.at, [envelope.id, envelope.batch, envelope.origin.connection], b'R');
    put_mailbox(out, Some(envelope.forward_path.mailbox()));
    put_mailbox(out, envelope.reverse_path.mailbox());
    out.push(b'@');
    match envelope.origin.peer {
        Some(peer) => put_address(out, Some(peer.ip())),
        None => out.extend_from_slice(b"unknown"),
    }
    out.push(b'@');
    put_number(out, record.size);
    out.push(b'@');
    out.extend_from_slice(envelope.origin.protocol.as_str().as_bytes());
    out.push(b'@');
    put_binding(out, &envelope.queue);
    out.push(b'\n');
}

/// D: `ts@mid@batch@conn@D@domain@bytes@bindgroup@binding@retries@elapsed@remote_ip`
pub fn delivery(out: &mut Vec<u8>, stamp: Stamp, record: &DeliveryRecord<'_>) {
    let envelope = record.envelope;
    put_start(out, stamp, record.at, [envelope.id, envelope.batch, record.connection], b'D');
    out.push(b'@');
    put_field(out, &envelope.queue.domain);
    out.push(b'@');
    put_number(out, record.bytes);
    out.push(b'@');
    put_binding(out, &envelope.queue);
    out.push(b'@');
    put_number(out, envelope.delivery.retries.into());
    out.push(b'@');
    put_elapsed::<3>(out, record.at.saturating_sub(envelope.created));
    out.push(b'@');
    put_address(out, record.remote);
    out.push(b'\n');
}

/// T: `ts@mid@batch@conn@T@domain@bytes@bindgroup@binding@stage@retries@elapsed@remote_ip@reply`
pub fn transient_failure(out: &mut Vec<u8>, stamp: Stamp, record: &FailureRecord<'_>) {
    failure(out, stamp, record, b'T');
}

/// P: as T.
pub fn permanent_failure(out: &mut Vec<u8>, stamp: Stamp, record: &FailureRecord<'_>) {
    failure(out, stamp, record, b'P');
}

fn failure(out: &mut Vec<u8>, stamp: Stamp, record: &FailureRecord<'_>, kind: u8) {
    let envelope = record.envelope;
    put_start(out, stamp, record.at, [envelope.id, envelope.batch, record.connection], kind);
    out.push(b'@');
    put_field(out, &envelope.queue.domain);
    out.push(b'@');
    put_number(out, record.bytes);
    out.push(b'@');
    put_binding(out, &envelope.queue);
    out.push(b'@');
    put_number(out, record.stage.number().into());
    out.push(b'@');
    put_number(out, envelope.delivery.retries.into());
    out.push(b'@');
    put_elapsed::<2>(out, record.at.saturating_sub(envelope.created));
    out.push(b'@');
    put_address(out, record.remote);
    out.push(b'@');
    put_text(out, record.reply);
    out.push(b'\n');
}

/// Appends `@local@domain`; two empty fields for the null reverse-path.
pub(crate) fn put_mailbox(out: &mut Vec<u8>, mailbox: Option<&Mailbox>) {
    out.push(b'@');
    put_field(out, mailbox.map_or("", Mailbox::local_part));
    out.push(b'@');
    put_field(out, mailbox.map_or("", Mailbox::domain));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use message::{DeliveryState, Envelope, MessageId, Origin, Protocol, QueueName};
    use smtp::client::Stage;
    use smtp::{ForwardPath, ReversePath};
    use std::time::Duration;

    pub(crate) fn id(text: &str) -> MessageId {
        text.parse().unwrap()
    }

    pub(crate) fn envelope(mid: &str, forward_path: &str) -> Envelope {
        Envelope {
            id: id(mid),
            batch: id("81/A0-03127-08B31BA6"),
            reverse_path: ReversePath::Mailbox(Mailbox::parse("news@sender.example").unwrap()),
            forward_path: ForwardPath(Mailbox::parse(forward_path).unwrap()),
            created: Duration::from_millis(1_790_000_000_607),
            body_bytes: 2011,
            eight_bit: false,
            origin: Origin {
                protocol: Protocol::Esmtp,
                peer: Some("192.0.2.9:40001".parse().unwrap()),
                connection: id("30/00-03127-08B31BA6"),
            },
            queue: QueueName { binding_group: "bulk".into(), binding: "out1".into(), domain: "shop.example".into() },
            delivery: DeliveryState::default(),
            context: Default::default(),
            edits: None,
            particulars: None,
        }
    }

    pub(crate) fn line(put: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    pub(crate) fn refused<'a>(envelope: &'a Envelope, reply: &'a str) -> FailureRecord<'a> {
        FailureRecord {
            at: Duration::from_millis(1_790_000_001_627),
            envelope,
            connection: id("50/00-03127-48B31BA6"),
            bytes: 64,
            size: 2011,
            stage: Stage::AfterRcptTo,
            remote: Some([198, 51, 100, 7].into()),
            reply,
            is_bounce: true,
        }
    }

    #[test]
    fn reception_is_the_golden_line() {
        let envelope = envelope("71/A0-03127-08B31BA6", "ann@shop.example");
        let record = ReceptionRecord { at: Duration::from_secs(1_790_000_000), envelope: &envelope, size: 2011 };
        assert_eq!(
            line(|out| reception(out, Stamp::Seconds, &record)),
            "1790000000@71/A0-03127-08B31BA6@81/A0-03127-08B31BA6@30/00-03127-08B31BA6@R\
             @ann@shop.example@news@sender.example@192.0.2.9@2011@esmtp@bulk@out1\n"
        );
    }

    #[test]
    fn internal_mail_from_the_null_reverse_path_has_empty_fields() {
        let mut envelope = envelope("71/A0-03127-08B31BA6", "\"a@b\"@shop.example");
        envelope.reverse_path = ReversePath::Null;
        envelope.origin = Origin { protocol: Protocol::Internal, peer: None, connection: MessageId::NULL };
        let record = ReceptionRecord { at: Duration::from_secs(1_790_000_000), envelope: &envelope, size: 2011 };
        assert_eq!(
            line(|out| reception(out, Stamp::Seconds, &record)),
            "1790000000@71/A0-03127-08B31BA6@81/A0-03127-08B31BA6@00/00-00000-00000000@R\
             @\"a\\@b\"@shop.example@@@unknown@2011@internal@bulk@out1\n"
        );
    }

    #[test]
    fn delivery_is_the_golden_line() {
        let envelope = envelope("71/A0-03127-08B31BA6", "ann@shop.example");
        let record = DeliveryRecord {
            at: Duration::from_secs(1_790_000_002),
            envelope: &envelope,
            connection: id("40/00-03127-08B31BA6"),
            bytes: 2240,
            remote: Some([198, 51, 100, 7].into()),
        };
        assert_eq!(
            line(|out| delivery(out, Stamp::Seconds, &record)),
            "1790000002@71/A0-03127-08B31BA6@81/A0-03127-08B31BA6@40/00-03127-08B31BA6@D\
             @shop.example@2240@bulk@out1@0@1.393@198.51.100.7\n"
        );
        let record = DeliveryRecord { remote: None, ..record };
        assert!(line(|out| delivery(out, Stamp::Seconds, &record)).ends_with("@0@1.393@\n"));
    }

    #[test]
    fn failures_are_the_golden_lines_and_keep_the_replys_separators() {
        let envelope = envelope("81/A0-03127-38B31BA6", "bob@shop.example");
        let record = refused(&envelope, "452 4.2.2 <bob@shop.example> mailbox\r\nfull");
        let tail = "@81/A0-03127-38B31BA6@81/A0-03127-08B31BA6@50/00-03127-48B31BA6@T@shop.example@64@bulk@out1@5@0@1.02\
                    @198.51.100.7@452 4.2.2 <bob@shop.example> mailbox  full\n";
        assert_eq!(line(|out| transient_failure(out, Stamp::Seconds, &record)), format!("1790000001{tail}"));
        assert_eq!(
            line(|out| permanent_failure(out, Stamp::Microseconds, &record)),
            format!("1790000001627000{}", tail.replace("@T@", "@P@"))
        );
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_negative_time() {
        let envelope = envelope("81/A0-03127-38B31BA6", "bob@shop.example");
        let record = FailureRecord { at: Duration::from_secs(1), remote: None, ..refused(&envelope, "451 x") };
        assert!(line(|out| transient_failure(out, Stamp::Seconds, &record)).ends_with("@5@0@0.00@@451 x\n"));
    }
}
