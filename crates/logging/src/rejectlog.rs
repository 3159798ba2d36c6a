//! The rejectlog: one line for each refusal (reference: log-formats.md section 3).

use std::io::Write as _;
use std::time::Duration;

use crate::line::{Stamp, cut, put_id, put_number, put_text};
use crate::record::RejectionRecord;

/// Appends
/// `ts: R="ip:port" L="ip:port" C="connid" PATH="p" PATH_GRP="g" P="phase" E=code M=module CTXCONN=[k=v,…] CTXMESS=[k=v,…] text`
pub fn rejection(out: &mut Vec<u8>, stamp: Stamp, record: &RejectionRecord<'_>) {
    stamp.put(out, record.at);
    let written = write!(out, ": R=\"{}\" L=\"{}\" C=\"", record.remote, record.local);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
    put_id(out, record.connection);
    out.extend_from_slice(b"\" PATH=");
    put_quoted(out, variable(record, "pathway"));
    out.extend_from_slice(b" PATH_GRP=");
    put_quoted(out, variable(record, "pathway_group"));
    out.extend_from_slice(b" P=");
    put_quoted(out, record.phase);
    out.extend_from_slice(b" E=");
    put_number(out, record.code.into());
    out.extend_from_slice(b" M=");
    put_value(out, record.module);
    out.extend_from_slice(b" CTXCONN=");
    put_dictionary(out, &record.context.connection);
    out.extend_from_slice(b" CTXMESS=");
    put_dictionary(out, &record.context.message);
    out.push(b' ');
    put_text(out, record.text);
    out.push(b'\n');
}

/// Appends `ts: Marker 1`.
pub fn heartbeat(out: &mut Vec<u8>, stamp: Stamp, at: Duration) {
    stamp.put(out, at);
    out.extend_from_slice(b": Marker 1\n");
}

fn variable<'a>(record: &RejectionRecord<'a>, name: &str) -> &'a str {
    let connection = &record.context.connection;
    connection.iter().find(|(key, _)| **key == *name).map_or("default", |(_, value)| value)
}

/// Appends `[k=v,…]`. Past [`DICTIONARY_OCTETS_MAX`] an ellipsis stands for the rest.
fn put_dictionary(out: &mut Vec<u8>, dictionary: &[(Box<str>, Box<str>)]) {
    out.push(b'[');
    let start = out.len();
    for (at, (key, value)) in dictionary.iter().enumerate() {
        if 0 < at {
            out.push(b',');
        }
        if DICTIONARY_OCTETS_MAX < out.len() - start {
            out.extend_from_slice(b"...");
            break;
        }
        put_value(out, key);
        out.push(b'=');
        put_value(out, value);
    }
    out.push(b']');
}

/// Appends a value, quoted if it holds a blank or a byte that ends values.
fn put_value(out: &mut Vec<u8>, value: &str) {
    let plain = |octet: u8| 0x20 < octet && octet != 0x7F && !b",=[]\"\\".contains(&octet);
    if value.bytes().all(plain) { put_text(out, cut(value, VALUE_OCTETS_MAX)) } else { put_quoted(out, value) }
}

/// Appends a value in quotes; `"` and `\` inside get a backslash.
fn put_quoted(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for piece in cut(value, VALUE_OCTETS_MAX).split_inclusive(['"', '\\']) {
        // A piece ends with the character that needs the backslash.
        match piece.as_bytes().split_last() {
            Some((&last @ (b'"' | b'\\'), _)) => {
                put_text(out, &piece[..piece.len() - 1]);
                out.extend_from_slice(&[b'\\', last]);
            }
            _ => put_text(out, piece),
        }
    }
    out.push(b'"');
}

const VALUE_OCTETS_MAX: usize = 512;
const DICTIONARY_OCTETS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mainlog::tests::{id, line};
    use message::Context;

    fn context(connection: &[(&str, &str)], message: &[(&str, &str)]) -> Context {
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        Context { connection: own(connection), message: own(message) }
    }

    fn rejected(context: &Context, text: &str) -> String {
        let record = RejectionRecord {
            at: Duration::from_secs(1_790_000_009),
            remote: "203.0.113.5:42601".parse().unwrap(),
            local: "192.0.2.1:25".parse().unwrap(),
            connection: id("18/00-03127-98B31BA6"),
            phase: smtp::server::ReceptionState::AwaitingRcptto.as_str(),
            code: 550,
            module: "scriptlet",
            context,
            text,
        };
        line(|out| rejection(out, Stamp::Seconds, &record))
    }

    #[test]
    fn a_rejection_is_the_golden_line() {
        let context = context(
            &[("pathway", "default"), ("ehlo_string", "EHLO pc"), ("ehlo_domain", "pc")],
            &[("mailfrom_string", "MAIL FROM:<>"), ("mailfrom_domain", ""), ("mailfrom_localpart", "")],
        );
        assert_eq!(
            rejected(&context, "relaying denied"),
            "1790000009: R=\"203.0.113.5:42601\" L=\"192.0.2.1:25\" C=\"18/00-03127-98B31BA6\" PATH=\"default\" \
             PATH_GRP=\"default\" P=\"awaiting rcptto\" E=550 M=scriptlet \
             CTXCONN=[pathway=default,ehlo_string=\"EHLO pc\",ehlo_domain=pc] \
             CTXMESS=[mailfrom_string=\"MAIL FROM:<>\",mailfrom_domain=,mailfrom_localpart=] relaying denied\n"
        );
        assert_eq!(line(|out| heartbeat(out, Stamp::Seconds, Duration::from_secs(7))), "7: Marker 1\n");
    }

    #[test]
    fn what_the_client_said_stays_inside_its_quotes_and_its_line() {
        let context = context(&[("ehlo_string", "EHLO \"\\x\r\n1: R=\"")], &[("k]", "a,b")]);
        let line = rejected(&context, "no\nno");
        assert!(
            line.contains("CTXCONN=[ehlo_string=\"EHLO \\\"\\\\x  1: R=\\\"\"] CTXMESS=[\"k]\"=\"a,b\"] no no\n"),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_long_context_is_cut() {
        let value = "x".repeat(600);
        let pairs: Vec<(String, &str)> = (0..100).map(|n| (format!("k{n}"), value.as_str())).collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        let line = rejected(&context(&pairs, &[]), "no");
        assert!(line.len() < 6000 && line.contains(",...] CTXMESS=[] no\n"));
    }
}
