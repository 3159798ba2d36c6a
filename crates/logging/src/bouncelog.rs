//! The bouncelog: B and T lines (reference: log-formats.md section 7).

use crate::line::{Stamp, put_address, put_binding, put_number, put_start, put_text};
use crate::mainlog::put_mailbox;
use crate::record::FailureRecord;

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

fn failure(out: &mut Vec<u8>, stamp: Stamp, record: &FailureRecord<'_>, class: u8, kind: u8) {
    let envelope = record.envelope;
    put_start(out, stamp, record.at, [envelope.id, envelope.batch, record.connection], kind);
    put_mailbox(out, Some(envelope.forward_path.mailbox()));
    put_mailbox(out, envelope.reverse_path.mailbox());
    out.push(b'@');
    put_binding(out, &envelope.queue);
    for number in [record.stage.number().into(), class.into(), envelope.body_bytes] {
        out.push(b'@');
        put_number(out, number);
    }
    out.push(b'@');
    put_address(out, record.remote);
    out.push(b'@');
    put_text(out, record.reply);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mainlog::tests::{envelope, line, refused};
    use std::time::Duration;

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
}
