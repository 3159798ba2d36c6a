//! The bouncelog: B and T lines (reference: log-formats.md section 7).

use std::net::IpAddr;
use std::time::Duration;

use message::{Envelope, MessageId};
use smtp::Mailbox;
use smtp::client::Stage;

use crate::line::{Stamp, put_address, put_binding, put_number, put_start, put_text};
use crate::mainlog::put_mailbox;
use crate::record::{FailureRecord, OutOfBandRecord};

/// B: a bounce, of classification code `class`.
///
/// `ts@mid@batch@conn@B@rcpt_local@rcpt_domain@from_local@from_domain@bindgroup@binding@stage@class@bytes@remote_ip@reply`
pub fn bounce(out: &mut Vec<u8>, stamp: Stamp, record: &FailureRecord<'_>, class: u8) {
    failure(out, stamp, record, class, b'B');
}

/// T: a transient failure, in the same layout.
pub fn transient_failure(out: &mut Vec<u8>, stamp: Stamp, record: &FailureRecord<'_>, class: u8) {
    failure(out, stamp, record, class, b'T');
}

/// B of a bounce that came as mail: the ids, the sender, the size and the address of the bounce itself, the recipient it tells
/// of (two empty fields if it tells of none), and stage 21.
pub fn out_of_band(out: &mut Vec<u8>, stamp: Stamp, record: &OutOfBandRecord<'_>) {
    let envelope = record.envelope;
    let line = Line {
        connection: envelope.origin.connection,
        recipient: record.recipient,
        stage: Stage::OutOfBandBounce,
        class: record.class,
        size: record.size,
        remote: envelope.origin.peer.map(|peer| peer.ip()),
        reply: record.reply,
    };
    line.put(out, stamp, record.at, envelope, b'B');
}

fn failure(out: &mut Vec<u8>, stamp: Stamp, record: &FailureRecord<'_>, class: u8, kind: u8) {
    let line = Line {
        connection: record.connection,
        recipient: Some(record.envelope.forward_path.mailbox()),
        stage: record.stage,
        class,
        size: record.size,
        remote: record.remote,
        reply: record.reply,
    };
    line.put(out, stamp, record.at, record.envelope, kind);
}

/// What a line says beside its message.
struct Line<'a> {
    connection: MessageId,
    recipient: Option<&'a Mailbox>,
    stage: Stage,
    class: u8,
    size: u64,
    remote: Option<IpAddr>,
    reply: &'a str,
}

impl Line<'_> {
    fn put(&self, out: &mut Vec<u8>, stamp: Stamp, at: Duration, envelope: &Envelope, kind: u8) {
        put_start(out, stamp, at, [envelope.id, envelope.batch, self.connection], kind);
        put_mailbox(out, self.recipient);
        put_mailbox(out, envelope.reverse_path.mailbox());
        out.push(b'@');
        put_binding(out, &envelope.queue);
        for number in [self.stage.number().into(), self.class.into(), self.size] {
            out.push(b'@');
            put_number(out, number);
        }
        out.push(b'@');
        put_address(out, self.remote);
        out.push(b'@');
        put_text(out, self.reply);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mainlog::tests::{envelope, line, refused};

    #[test]
    fn bounces_and_transient_failures_are_the_golden_lines() {
        let envelope = envelope("81/A0-03127-38B31BA6", "bob@shop.example");
        let record =
            FailureRecord { at: Duration::from_secs(1_790_000_040), ..refused(&envelope, "550 5.1.1 no such user") };
        let golden = "1790000040@81/A0-03127-38B31BA6@81/A0-03127-08B31BA6@50/00-03127-48B31BA6@B@bob@shop.example\
                      @news@sender.example@bulk@out1@5@10@2011@198.51.100.7@550 5.1.1 no such user\n";
        assert_eq!(line(|out| bounce(out, Stamp::Seconds, &record, 10)), golden);
        assert_eq!(line(|out| transient_failure(out, Stamp::Seconds, &record, 10)), golden.replace("@B@", "@T@"));
    }

    #[test]
    fn a_bounce_that_came_as_mail_is_the_golden_line() {
        let mut envelope = envelope("81/A0-03127-38B31BA6", "bounces@sender.example");
        envelope.reverse_path = smtp::ReversePath::Null;
        let bob = Mailbox::parse("bob@shop.example").unwrap();
        let record = OutOfBandRecord {
            at: Duration::from_secs(1_790_000_040),
            envelope: &envelope,
            size: 2011,
            recipient: Some(&bob),
            class: 10,
            reply: "550 5.1.1 no such user",
        };
        let golden = "1790000040@81/A0-03127-38B31BA6@81/A0-03127-08B31BA6@30/00-03127-08B31BA6@B@bob@shop.example\
                      @@@bulk@out1@21@10@2011@192.0.2.9@550 5.1.1 no such user\n";
        assert_eq!(line(|out| out_of_band(out, Stamp::Seconds, &record)), golden);
        let unknown = OutOfBandRecord { recipient: None, class: 30, ..record };
        let expected = golden.replace("@bob@shop.example@@@", "@@@@@").replace("@21@10@", "@21@30@");
        assert_eq!(line(|out| out_of_band(out, Stamp::Seconds, &unknown)), expected);
    }
}
