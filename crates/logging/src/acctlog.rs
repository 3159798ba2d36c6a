//! The acctlog: who was let in and allowed what (reference: log-formats.md section 5).

use smtp::text;

use crate::line::Stamp;
use crate::record::{AccountingEvent, AccountingRecord, AuthorizationVerdict};

/// Appends one line:
///
/// `ts@N@listener@peer@user@result` (`T` for a timeout) or `ts@Z@listener@peer@user@result@command[@role]`
pub fn accounting(out: &mut Vec<u8>, stamp: Stamp, record: &AccountingRecord<'_>) {
    stamp.put(out, record.at);
    out.extend_from_slice(match record.event {
        AccountingEvent::Authentication(_) => b"@N",
        AccountingEvent::AuthenticationTimeout => b"@T",
        AccountingEvent::Authorization { .. } => b"@Z",
    });
    put_field(out, record.listener);
    let peer = record.peer.map(|peer| peer.to_string()).unwrap_or_default();
    put_field(out, &peer);
    put_field(out, record.user);
    match record.event {
        AccountingEvent::Authentication(true) => put_field(out, "1"),
        AccountingEvent::Authentication(false) | AccountingEvent::AuthenticationTimeout => put_field(out, "0"),
        AccountingEvent::Authorization { command, verdict } => {
            let (result, role) = match verdict {
                AuthorizationVerdict::Allowed(role) => ("1", Some(role).filter(|role| !role.is_empty())),
                AuthorizationVerdict::Refused => ("0", None),
                AuthorizationVerdict::Error => ("-1", None),
            };
            put_field(out, result);
            put_field(out, command);
            if let Some(role) = role {
                put_field(out, role);
            }
        }
    }
    out.push(b'\n');
}

/// Appends `@text`. Here `@` and `\` get a backslash, and so does what may not stand in a line, which becomes a blank
/// besides: one event stays one line.
pub(crate) fn put_field(out: &mut Vec<u8>, text: &str) {
    out.push(b'@');
    text::put(out, text, b"@\\", b"\\ ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mainlog::tests::line;
    use std::time::Duration;

    fn written(peer: Option<&str>, event: AccountingEvent<'_>) -> String {
        let record = AccountingRecord {
            at: Duration::from_secs(1_790_000_021),
            listener: "*:2025",
            peer: peer.map(|peer| peer.parse().unwrap()),
            user: "jan",
            event,
        };
        line(|out| accounting(out, Stamp::Seconds, &record))
    }

    #[test]
    fn accounting_records_are_the_golden_lines() {
        let peer = Some("192.0.2.30:37162");
        let asked = |command, verdict| AccountingEvent::Authorization { command, verdict };
        for (line, event) in [
            ("1790000021@Z@*:2025@192.0.2.30:37162@jan@0@shutdown\n", asked("shutdown", AuthorizationVerdict::Refused)),
            (
                "1790000021@Z@*:2025@192.0.2.30:37162@jan@1@summary@ops\n",
                asked("summary", AuthorizationVerdict::Allowed("ops")),
            ),
            ("1790000021@Z@*:2025@192.0.2.30:37162@jan@-1@a\\@b\\ c\n", asked("a@b\nc", AuthorizationVerdict::Error)),
            ("1790000021@N@*:2025@192.0.2.30:37162@jan@1\n", AccountingEvent::Authentication(true)),
            ("1790000021@T@*:2025@192.0.2.30:37162@jan@0\n", AccountingEvent::AuthenticationTimeout),
        ] {
            assert_eq!(written(peer, event), line);
        }
        assert_eq!(written(None, AccountingEvent::Authentication(false)), "1790000021@N@*:2025@@jan@0\n");
    }
}
