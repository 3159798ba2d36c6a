//! Every log, told whatever strangers may say: a line of UTF-8 on one line, with its number of fields.

use std::time::Duration;

use message::Context;
use proptest::prelude::*;
use smtp::client::Stage;
use smtp::text::{one_line_of, stays_in_line};

use crate::mainlog::tests::{envelope, id};
use crate::record::*;
use crate::{Level, Stamp, acctlog, bouncelog, importlog, mainlog, paniclog, rejectlog};

const AT: Duration = Duration::from_secs(1_790_000_009);

/// The fields of a line, which a backslash in front of a separator does not end; the `n`th is the last and a text.
fn fields(line: &str, n: usize) -> Vec<String> {
    let (mut fields, mut chars) = (vec![String::new()], line.chars());
    while let Some(c) = chars.next() {
        let escaped = (c == '\\').then(|| chars.next()).flatten().filter(|_| fields.len() < n);
        match c {
            '@' if fields.len() < n => fields.push(String::new()),
            c => fields.last_mut().unwrap().push(escaped.unwrap_or(c)),
        }
    }
    fields
}

fn line(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    put(&mut out);
    let line = String::from_utf8(out).expect("a log line is UTF-8");
    let line = line.strip_suffix('\n').expect("a log line ends").to_owned();
    assert!(line.chars().all(stays_in_line), "{line:?}");
    line
}

proptest! {
    #[test]
    fn whatever_is_said_each_log_has_one_line_with_its_fields(
        octets in proptest::collection::vec(prop_oneof![
            any::<u8>().prop_map(|octet| vec![octet]),
            Just("\u{85}".into()), Just("\u{2028}".into()), Just("\u{9b}31m".into()), Just("\u{feff}".into()),
            Just("\u{202e}".into()), Just(b"\xC2".to_vec()), Just(b"@\\\"]".to_vec()), Just(b"\r\n".to_vec()),
        ], 0..60),
    ) {
        let said = String::from_utf8_lossy(&octets.concat()).into_owned();
        let on_one_line = |with: &str| one_line_of(said.as_bytes()).replace(' ', with);
        let mut envelope = envelope("81/A0-03127-38B31BA6", "\"x@y\"@shop.example");
        envelope.queue.binding = said.as_str().into();
        envelope.queue.domain = said.as_str().into();
        let remote = Some([198, 51, 100, 7].into());
        let failed = FailureRecord {
            at: AT, envelope: &envelope, connection: id("50/00-03127-48B31BA6"), bytes: 64, size: 7,
            stage: Stage::AfterRcptTo, remote, reply: &said, is_bounce: true,
        };
        let received = ReceptionRecord { at: AT, envelope: &envelope, size: 7 };
        let delivered = DeliveryRecord { at: AT, envelope: &envelope, connection: failed.connection, bytes: 1, remote };
        let bounced = OutOfBandRecord { at: AT, envelope: &envelope, size: 7, recipient: None, class: 10, reply: &said };
        for (count, text_at, line) in [
            (14, 99, line(|out| mainlog::reception(out, Stamp::Seconds, &received))),
            (12, 99, line(|out| mainlog::delivery(out, Stamp::Seconds, &delivered))),
            (14, 14, line(|out| mainlog::transient_failure(out, Stamp::Seconds, &failed))),
            (14, 14, line(|out| mainlog::permanent_failure(out, Stamp::Seconds, &failed))),
            (16, 16, line(|out| bouncelog::bounce(out, Stamp::Seconds, &failed, 10))),
            (16, 16, line(|out| bouncelog::out_of_band(out, Stamp::Seconds, &bounced))),
        ] {
            let fields = fields(&line, text_at);
            prop_assert_eq!(fields.len(), count, "{}", line);
            let bindings = fields.iter().filter(|field| field.replace('?', " ") == on_one_line(" ").replace('?', " "));
            prop_assert!(1 <= bindings.count(), "{} is not read back from {}", said, line);
        }
        let import = ImportRecord {
            at: AT, old: envelope.id, new: envelope.id, result: ImportResult::Imported, directory: &said,
        };
        prop_assert_eq!(fields(&line(|out| importlog::import(out, Stamp::Seconds, &import)), 9).len(), 6);
        let event = AccountingEvent::Authorization { command: &said, verdict: AuthorizationVerdict::Allowed(&said) };
        let account = AccountingRecord { at: AT, listener: &said, peer: None, user: &said, event };
        let account = line(|out| acctlog::accounting(out, Stamp::Seconds, &account));
        prop_assert_eq!(&fields(&account, 99)[4], &*one_line_of(said.as_bytes()));
        prop_assert_eq!(fields(&account, 99).len(), 7 + usize::from(!said.is_empty()));

        let context = Context {
            connection: [(said.as_str().into(), said.as_str().into()), ("pathway".into(), said.as_str().into())].into_iter().collect(),
            message: [("mailfrom_string".into(), said.as_str().into())].into_iter().collect(),
        };
        let rejection = RejectionRecord {
            at: AT, remote: "203.0.113.5:42601".parse().unwrap(), local: "192.0.2.1:25".parse().unwrap(),
            connection: envelope.id, phase: &said, code: 550, module: &said, context: &context, text: &said,
        };
        let rejected = line(|out| rejectlog::rejection(out, Stamp::Seconds, &rejection));
        prop_assert!(rejected.contains(" E=550 M="), "{}", rejected);
        let error = ErrorRecord { at: AT, level: Level::Error, message: &said, kept: false };
        prop_assert_eq!(
            line(|out| paniclog::line(out, Stamp::Seconds, &error)),
            format!("1790000009: {}", one_line_of(said.as_bytes()))
        );
    }
}
