//! What becomes of mail that a next hop does not take: it waits and is tried again, or it fails and the sender is told.

use e2e::{
    MAILDIR, SOON, accept, ask, ask_json, bouncelog, daemon, figure, letter, mailbox, mainlog, testimony, wait,
    wait_for_lines, wait_for_mail,
};
use testkit::{Daemon, Sink};

/// A daemon whose mail for everywhere but `here.test` goes to the sink, under the sink's address as its routing domain.
fn start(sink: &Sink, more: &str) -> (Daemon, String) {
    let gateway = sink.addr().to_string();
    let more = format!("{MAILDIR}domain \"shop.test\" {{ gateway = \"{gateway}\" }}\n{more}");
    (daemon(&more).start(), gateway)
}

#[test]
fn a_450_waits_in_the_delayed_queue_until_it_is_flushed() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy").times(1);
    let (daemon, queue) = start(&sink, "");
    accept(&daemon, "ann@here.test", &["bob@shop.test"], &letter("busy"));

    let failed = &wait_for_lines(&daemon, "T", 1)[0];
    assert_eq!(failed[5], queue);
    assert_eq!(failed[7..11], ["default", "default", "5", "0"], "after RCPT TO, first attempt: {failed:?}");
    assert_eq!(failed[12..], ["127.0.0.1", "450 4.2.1 mailbox busy"]);
    let transient = &bouncelog(&daemon, "T");
    wait(&daemon, "a line T in the bouncelog", || bouncelog(&daemon, "T").len() == 1);
    assert!(transient.len() <= 1);

    wait(&daemon, "the message is delayed", || figure(&ask(&daemon, &["summary"]), "Delayed Queue Size") == "1");
    let delayed = ask(&daemon, &["delayed", "0"]);
    let line = delayed.lines().next().unwrap_or_default();
    assert!(line.contains(&queue) && line.contains("D:     1"), "{delayed}");
    let details = ask(&daemon, &["message", "details", &failed[1]]);
    assert_eq!(figure(&details, "Retries"), "1");
    assert_eq!(figure(&details, "Code"), "450 4.2.1 mailbox busy");

    assert_eq!(ask(&daemon, &["flush", "domain", &queue]), format!("{queue} flushed.  1 messages requeued.\n"));
    assert_eq!(sink.wait_for(1, SOON)[0].forward_paths, ["bob@shop.test"]);
    let delivered = &wait_for_lines(&daemon, "D", 1)[0];
    assert_eq!((&delivered[1], delivered[9].as_str()), (&failed[1], "1"), "{delivered:?}");
    assert_eq!(ask(&daemon, &["delayed", "0"]).lines().count(), 1, "only the total is left");
}

#[test]
fn mail_is_tried_again_by_itself_after_retry_interval() {
    let sink = Sink::start();
    sink.on("DOT", "451 4.3.0 try later").times(2);
    let (daemon, _) = start(&sink, "retry_interval = 1\nmax_retry_interval = 1\nmax_retries = 10\n");
    accept(&daemon, "ann@here.test", &["bob@shop.test"], &letter("again"));
    sink.wait_for(1, SOON);
    assert_eq!(wait_for_lines(&daemon, "D", 1)[0][9], "2");
    let stages: Vec<_> = mainlog(&daemon, "T").into_iter().map(|line| (line[9].clone(), line[10].clone())).collect();
    assert_eq!(stages, [("9".into(), "0".into()), ("9".into(), "1".into())], "reading confirmation");
}

#[test]
fn a_550_fails_for_good_and_bounces_to_the_sender() {
    let sink = Sink::start();
    sink.on("RCPT", "550 5.1.1 no such user").to("nobody@shop.test");
    let (daemon, queue) = start(&sink, "");
    accept(&daemon, "ann@here.test", &["nobody@shop.test"], &letter("to nobody"));

    let failed = &wait_for_lines(&daemon, "P", 1)[0];
    assert_eq!(failed[5], queue);
    assert_eq!(failed[9..11], ["5", "0"]);
    assert_eq!(failed[12..], ["127.0.0.1", "550 5.1.1 no such user"]);

    wait(&daemon, "a line B in the bouncelog", || bouncelog(&daemon, "B").len() == 1);
    let bounce = &bouncelog(&daemon, "B")[0];
    assert_eq!(bounce[1..4], failed[1..4]);
    assert_eq!(bounce[5..12], ["nobody", "shop.test", "ann", "here.test", "default", "default", "5"]);
    assert_eq!(bounce[12], "10", "invalid recipient");
    assert_eq!(bounce[14..], ["127.0.0.1", "550 5.1.1 no such user"]);

    let mail = wait_for_mail(&daemon, "ann@here.test", 1).remove(0);
    is_a_report(&mail);
    let receptions = wait_for_lines(&daemon, "R", 2);
    assert_eq!(
        receptions[1][5..],
        ["ann", "here.test", "", "", "unknown", &receptions[1][10], "internal", "default", "default"]
    );
    wait_for_lines(&daemon, "D", 1);
    assert_eq!(figure(&ask(&daemon, &["summary"]), "Failed Messages"), "1");
}

/// RFC 3464 and RFC 6522: three parts, the second with the documented fields in the documented order.
fn is_a_report(mail: &str) {
    let (header, body) = mail.split_once("\n\n").expect("a header and a body");
    assert!(header.starts_with("Return-Path: <>\n"), "{mail}");
    for field in [
        "From: ",
        "To: <ann@here.test>",
        "Message-ID: <",
        "Date: ",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
    ] {
        assert!(header.lines().any(|line| line.starts_with(field)), "{field:?} is missing in:\n{mail}");
    }
    assert!(header.contains("Content-Type: multipart/report; report-type=delivery-status;"), "{mail}");
    assert!(header.contains("mailer-daemon@relay.test"), "{mail}");
    let boundary = header.split_once("boundary=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a boundary").0;
    let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    let [_, words, status, original, end] = parts[..] else { panic!("not three parts:\n{mail}") };
    assert_eq!(end.trim(), "--");
    assert!(words.contains("nobody@shop.test") && words.contains("550 5.1.1 no such user"), "{words}");
    assert!(status.starts_with("\nContent-Type: message/delivery-status\n"), "{status}");
    let mut rest = status;
    for field in [
        "Arrival-Date: ",
        "Reporting-MTA: dns; relay.test",
        "Remote-MTA: dns; ",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user",
        "Action: failed",
        "Final-Recipient: rfc822; nobody@shop.test",
        "Last-Attempt-Date: ",
        "Status: 5.1.1",
    ] {
        let at = rest.find(&format!("\n{field}")).unwrap_or_else(|| panic!("{field:?} is not next in:\n{status}"));
        rest = &rest[at + 1..];
    }
    assert!(original.contains("text/rfc822-headers") && original.contains("Subject: to nobody\n"), "{original}");
    assert!(!original.contains("Dear reader"), "only the header comes back");
}

#[test]
fn a_message_from_the_null_path_never_bounces() {
    let sink = Sink::start();
    sink.on("RCPT", "550 5.1.1 no such user").to("nobody@shop.test");
    let (daemon, _) = start(&sink, "");
    accept(&daemon, "", &["nobody@shop.test"], &letter("from nobody to nobody"));
    wait_for_lines(&daemon, "P", 1);
    // The queue is worked off in order: once this one is there, a bounce before it would be there too.
    accept(&daemon, "ann@here.test", &["bob@here.test"], &letter("a witness"));
    wait_for_lines(&daemon, "D", 1);
    assert_eq!(mainlog(&daemon, "R").len(), 2, "{}", testimony(&daemon));
    assert!(mailbox(&daemon, "ann@here.test").is_empty());
}

#[test]
fn one_recipient_fails_and_the_others_of_the_transaction_do_not() {
    let sink = Sink::start();
    sink.on("RCPT", "550 5.1.1 no such user").to("nobody@shop.test");
    sink.on("RCPT", "450 4.2.1 busy").to("busy@shop.test");
    let (daemon, _) = start(&sink, "");
    let recipients = ["bob@shop.test", "nobody@shop.test", "busy@shop.test"];
    accept(&daemon, "ann@here.test", &recipients, &letter("for three"));
    assert_eq!(sink.wait_for(1, SOON)[0].forward_paths, ["bob@shop.test"]);
    wait_for_lines(&daemon, "T", 1);
    wait_for_lines(&daemon, "P", 1);
    assert!(wait_for_mail(&daemon, "ann@here.test", 1)[0].contains("Final-Recipient: rfc822; nobody@shop.test\n"));
    assert_eq!(sink.count(), 1);
}

#[test]
fn the_operator_fails_a_domain_and_the_senders_are_told() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy");
    let (daemon, queue) = start(&sink, "");
    accept(&daemon, "ann@here.test", &["bob@shop.test", "eve@shop.test"], &letter("in vain"));
    wait_for_lines(&daemon, "T", 2);
    wait(&daemon, "both are delayed", || ask_json(&daemon, &["summary"])["DelayedQueueSize"] == 2);

    assert_eq!(ask(&daemon, &["fail", "domain", &queue]), format!("{queue} purged. 2 messages failed.\n"));
    let failed = wait_for_lines(&daemon, "P", 2);
    for line in &failed {
        assert!(line[13].ends_with("5.7.0 [internal] Message manually purged"), "{line:?}");
    }
    assert_eq!(wait_for_mail(&daemon, "ann@here.test", 2).len(), 2);
    wait(&daemon, "nothing is queued", || ask_json(&daemon, &["summary"])["TotalQueueSize"] == 0);
}

#[test]
fn fail_domain_quiet_tells_nobody() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy");
    let (daemon, queue) = start(&sink, "");
    accept(&daemon, "ann@here.test", &["bob@shop.test"], &letter("in vain, and silently"));
    wait_for_lines(&daemon, "T", 1);
    wait(&daemon, "it is delayed", || ask_json(&daemon, &["summary"])["DelayedQueueSize"] == 1);
    ask(&daemon, &["fail", "domain", "quiet", &queue, "closed by us"]);
    let failed = wait_for_lines(&daemon, "P", 1);
    assert!(failed[0][13].contains("closed by us"), "{failed:?}");
    accept(&daemon, "ann@here.test", &["bob@here.test"], &letter("a witness"));
    wait_for_mail(&daemon, "bob@here.test", 1);
    assert!(mailbox(&daemon, "ann@here.test").is_empty());
}

#[test]
fn never_retry_fails_mail_at_its_first_transient_failure() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy");
    let (daemon, _) = start(&sink, "never_retry = true\n");
    accept(&daemon, "ann@here.test", &["bob@shop.test"], &letter("one chance"));
    let failed = wait_for_lines(&daemon, "P", 1);
    assert!(failed[0][13].starts_with("554 5.4.7 [internal] exceeded max retries without delivery"), "{failed:?}");
    wait_for_mail(&daemon, "ann@here.test", 1);
}

#[test]
fn mail_that_is_too_old_when_an_attempt_fails_is_given_up() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy");
    let (daemon, _) =
        start(&sink, "retry_interval = 1\nmax_retry_interval = 1\nmax_retries = none\nmessage_expiration = 2\n");
    accept(&daemon, "ann@here.test", &["bob@shop.test"], &letter("for two seconds"));
    let failed = wait_for_lines(&daemon, "P", 1);
    assert!(failed[0][13].starts_with("554 5.4.7 [internal] exceeded max time without delivery"), "{failed:?}");
    assert!(!mainlog(&daemon, "T").is_empty(), "it was tried before");
    assert!(wait_for_mail(&daemon, "ann@here.test", 1)[0].contains("Status: 5.4.7\n"));
}
