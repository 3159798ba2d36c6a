//! One message walks the whole house: in over SMTP, through the spool and a queue, into a Maildir; every step leaves the
//! documented trace.

use e2e::{
    accept, ask, ask_json, figure, letter, mailbox, maildir_relay, mainlog, send, wait, wait_for_lines, wait_for_mail,
};

#[test]
fn a_message_walks_from_smtp_to_a_maildir() {
    let daemon = maildir_relay().start();
    let reply = send(&daemon, "Ann@client.test", &["Bob@here.test"], &letter("a walk"));
    assert!(reply.starts_with("250 2.") && reply.contains(char::is_whitespace), "{reply}");

    let mail = wait_for_mail(&daemon, "bob@here.test", 1);
    let received = &wait_for_lines(&daemon, "R", 1)[0];
    let delivered = &wait_for_lines(&daemon, "D", 1)[0];

    let [at, id, batch, connection, kind, rest @ ..] = &received[..] else { panic!("{received:?}") };
    assert!(at.parse::<u64>().is_ok_and(|at| 1_600_000_000 < at), "{received:?}");
    for id in [id, batch, connection] {
        assert!(is_id(id), "{received:?}");
    }
    assert!(reply.contains(batch.as_str()), "the 250 names the transaction of the log: {reply} / {received:?}");
    assert_eq!(kind, "R");
    let bytes = &rest[5];
    assert_eq!(rest, ["Bob", "here.test", "Ann", "client.test", "127.0.0.1", bytes, "esmtp", "default", "default"]);
    assert!(bytes.parse::<usize>().is_ok_and(|bytes| letter("a walk").len() < bytes), "{received:?}");

    let [_, of, in_batch, outbound, kind, domain, bytes, group, binding, retries, elapsed, _remote] = &delivered[..]
    else {
        panic!("D has twelve fields: {delivered:?}")
    };
    assert_eq!([of, in_batch], [id, batch]);
    assert!(is_id(outbound) && outbound != connection, "{delivered:?}");
    assert_eq!([kind, domain, group, binding, retries], ["D", "here.test", "default", "default", "0"]);
    assert!(bytes.parse::<u64>().is_ok_and(|bytes| 0 < bytes), "{delivered:?}");
    assert!(elapsed.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 3), "{delivered:?}");

    content_is_what_was_sent(&mail[0], batch);
    summary_counts_it(&daemon);
}

/// Trace fields on top, then the text as the client wrote it.
fn content_is_what_was_sent(mail: &str, batch: &str) {
    let sent = letter("a walk");
    let trace = mail.strip_suffix(sent.as_str()).unwrap_or_else(|| panic!("not what was sent at the end of:\n{mail}"));
    assert!(trace.starts_with("Return-Path: <Ann@client.test>\nReceived: from [127.0.0.1] ([127.0.0.1:"), "{trace}");
    for part in ["helo=client.test", "by relay.test", "(envelope-from <Ann@client.test>)", "with ESMTP", "id "] {
        assert!(trace.contains(part), "{part:?} is missing in:\n{trace}");
    }
    assert!(trace.contains(batch), "the Received field names {batch}:\n{trace}");
}

fn summary_counts_it(daemon: &testkit::Daemon) {
    wait(daemon, "the summary counts the message", || figure(&ask(daemon, &["summary"]), "Total Queue Size") == "0");
    let summary = ask(daemon, &["summary"]);
    assert!(summary.starts_with("Summary Statistics\n        Outbound Concurrency: "), "{summary}");
    for (label, count) in [
        ("Received Messages", "1"),
        ("Successfully Delivered Messages", "1"),
        ("Failed Messages", "0"),
        ("Rejected Messages", "0"),
        ("Active Queue Size", "0"),
        ("Delayed Queue Size", "0"),
    ] {
        assert_eq!(figure(&summary, label), count, "{label} in:\n{summary}");
    }
    let json = ask_json(daemon, &["summary"]);
    assert_eq!([&json["ReceivedMessages"], &json["DeliveredMessages"]], [1, 1]);
}

#[test]
fn recipients_of_one_transaction_share_a_batch_and_each_gets_the_message() {
    let daemon = maildir_relay().start();
    accept(&daemon, "ann@client.test", &["bob@here.test", "eve@here.test"], &letter("for two"));
    let received = wait_for_lines(&daemon, "R", 2);
    assert_eq!(received[0][2], received[1][2]);
    assert_ne!(received[0][1], received[1][1]);
    for mailbox in ["bob@here.test", "eve@here.test"] {
        assert!(wait_for_mail(&daemon, mailbox, 1)[0].contains("Subject: for two\n"));
    }
    wait_for_lines(&daemon, "D", 2);
}

#[test]
fn a_message_from_nobody_has_two_empty_fields_in_the_log() {
    let daemon = maildir_relay().start();
    accept(&daemon, "", &["bob@here.test"], &letter("from the null path"));
    assert!(wait_for_mail(&daemon, "bob@here.test", 1)[0].starts_with("Return-Path: <>\n"));
    assert_eq!(wait_for_lines(&daemon, "R", 1)[0][7..9], ["", ""]);
}

#[test]
fn recipients_cannot_lead_out_of_the_maildir() {
    let daemon = maildir_relay().start();
    accept(&daemon, "ann@client.test", &["\"../../outside\"@here.test"], &letter("climbing"));
    wait_for_lines(&daemon, "D", 1);
    assert!(!daemon.dir().join("outside").exists() && !daemon.dir().join("maildir/outside").exists());
    assert_eq!(mailbox(&daemon, "%2E.%2F..%2Foutside@here.test").len(), 1);
    assert_eq!(mainlog(&daemon, "P").len(), 0);
}

/// `71/A0-03127-08B31BA6`
fn is_id(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| match c {
            '0'..='9' => '9',
            'A'..='F' => 'F',
            other => other,
        })
        .collect();
    let hex = |part: &str| part.chars().all(|c| matches!(c, '9' | 'F'));
    let parts: Vec<&str> = shape.split(['/', '-']).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [2, 2, 5, 8] && parts.iter().all(|part| hex(part)) && parts[2] == "99999"
}
