//! The replies that delivery gives in a remote host's stead (reference: operations.md sections 4 to 6 and 14).

use dns::DnsError;
use smtp::Reply;

/// RFC 7505 4.2: the domain takes no mail.
pub const NULL_MX: Reply = Reply::new(556, (5, 1, 10), "[internal] NULL MX domain does not accept mail");
/// NXDOMAIN: the recipient's domain does not exist (RFC 3463 X.1.2).
pub const NO_SUCH_DOMAIN: Reply = Reply::new(550, (5, 1, 2), "[internal] domain does not exist (NXDOMAIN)");
/// The DNS knows no host.
pub const NO_HOST: Reply = Reply::new(454, (4, 4, 4), "[internal] no MX or A for domain");
/// The DNS has known no host for dns_failures_to_purge lookups.
pub const LOOKUP_FAILED: Reply = Reply::new(554, (5, 4, 4), "[internal] Domain Lookup Failed");
/// A host under prohibited_hosts, or none but such.
pub const PROHIBITED: Reply = Reply::new(551, (5, 4, 6), "[internal] Private/Loopback Address");
/// The next hop is this server itself (RFC 5321 5.1, RFC 3463 X.4.6).
pub const LOOP: Reply = Reply::new(
    554,
    (5, 4, 6),
    "[internal] routing loop: the best host for this domain is this server itself, which does not deliver it locally",
);
/// This machine has lacked what a connection needs for connect_timeout_to_delay.
pub const LACKING: Reply = Reply::new(451, (4, 3, 0), "[internal] this server lacks what it needs for a connection");
/// mx_failures_to_delay or connect_timeout_to_delay.
pub const UNREACHABLE: Reply =
    Reply::new(421, (4, 4, 0), "[internal] no MXs for this domain could be reached at this time");
/// Under blackhole.
pub const BLACKHOLED: Reply = Reply::new(554, (5, 7, 0), "[internal] Blackholed");
/// The operator's `fail domain`.
pub const PURGED: Reply = Reply::new(554, (5, 7, 0), "[internal] Message manually purged");
/// The operator's `message fail`.
pub const MANUALLY_FAILED: Reply = Reply::new(554, (5, 7, 0), "[internal] manually failed");
/// The remote host ended a session before it had answered for any message.
pub const SESSION_ENDED: Reply = Reply::new(451, (4, 4, 2), "[internal] connection closed by remote host");
/// The spool has lost the body.
pub const BODY_MISSING: Reply = Reply::new(550, (5, 3, 0), "[internal] message body missing");
/// 8-bit content that has no 7-bit form, and a server that takes no other (RFC 6152 3). The reason follows.
pub const CONVERSION_IMPOSSIBLE: Reply =
    Reply::new(554, (5, 6, 3), "[internal] conversion to 7-bit content required but not possible");
/// A defect of ours that this content calls up (RFC 3463 X.6.5).
pub const CONVERSION_DEFECT: Reply = Reply::new(
    554,
    (5, 6, 5),
    "[internal] conversion to 7-bit content failed over this message: a defect, which is in the log",
);
/// The CPU thread pool took no work.
pub const CONVERSION_MISSED: Reply = Reply::new(451, (4, 3, 0), "[internal] message could not be converted now");
/// The message came with REQUIRETLS, and this session has none (RFC 8689 4.2.1).
pub const TLS_REQUIRED: Reply = Reply::new(550, (5, 7, 30), "[internal] REQUIRETLS support required");
/// A local mailbox could not be written.
pub const MAILBOX_FAILED: Reply = Reply::new(451, (4, 2, 0), "[internal] mailbox could not be written");
/// A local mailbox whose disk is full.
pub const MAILBOX_FULL: Reply = Reply::new(452, (4, 3, 1), "[internal] mailbox could not be written: no space");
/// A recipient that makes no mailbox.
pub const NO_MAILBOX: Reply = Reply::new(550, (5, 1, 1), "[internal] recipient has no mailbox here");

/// mx_failures_to_delay or connect_timeout_to_delay, where the DNS does not answer (RFC 3463 X.4.3). The sender may come to
/// read it: no nameserver is named.
pub(crate) fn lookup_failing(error: &DnsError) -> Reply {
    let reason: String = error.reason().chars().take(REASON_MAX).collect();
    Reply::with_text(451, Some((4, 4, 3)), format!("[internal] DNS failure: {}", reason.replace(char::is_control, " ")))
}

/// Characters of a lookup's failure that a reply tells.
const REASON_MAX: usize = 200;

/// The failure that the operator's `fail` gives: the documented one, the note's own reply if it begins with a 5yz code, or
/// the note as text. One line, whatever the note holds.
pub(crate) fn purged(note: Option<&str>) -> Reply {
    let note = note.unwrap_or("").replace(char::is_control, " ");
    let note = note.trim();
    let code = note.split_once(' ').and_then(|(code, _)| code.parse::<u16>().ok());
    match code {
        _ if note.is_empty() => PURGED,
        Some(500..=599) => Reply::parse(note, PURGED.code),
        _ => Reply::with_text(PURGED.code, PURGED.enhanced, format!("[internal] {note}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_note_is_the_reply_or_its_text() {
        for (note, said) in [
            (None, "554 5.7.0 [internal] Message manually purged"),
            (Some(" "), "554 5.7.0 [internal] Message manually purged"),
            (Some("554 Closed by operator"), "554 Closed by operator"),
            (Some("550 5.1.1 no such\nuser"), "550 5.1.1 no such user"),
            (Some("by jan"), "554 5.7.0 [internal] by jan"),
            (Some("450 later"), "554 5.7.0 [internal] 450 later"),
            (Some("5000 of them"), "554 5.7.0 [internal] 5000 of them"),
        ] {
            assert_eq!(purged(note).to_string(), said, "{note:?}");
        }
    }
}
