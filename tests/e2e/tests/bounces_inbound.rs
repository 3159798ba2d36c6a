//! Bounces that come as mail: who may send them, what is logged of them, and what becomes of them.

use e2e::{SOON, accept, ask, block_on, bouncelog, daemon, figure, letter, log_lines, mainlog, relay_with, wait};
use testkit::{Daemon, Dialogue, Sink};

const OPTIONS: &str = "relay_hosts = ( )
bounce_domains = ( \"bounces.test\" \"*.bounces.test\" )
bounce_suppress_list = ( \"list@shop.test\" )
domain \"gone.bounces.test\" { bounce_behavior = blackhole }
domain \"some.bounces.test\" { bounce_pattern = \"^b-\" }
";

/// A delivery status notification (RFC 3464) about these recipients.
fn report(recipients: &[&str]) -> String {
    let group = |recipient: &&str| {
        format!(
            "\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        )
    };
    let groups: String = recipients.iter().map(group).collect();
    format!(
        "From: MAILER-DAEMON@mx.shop.test\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.shop.test\r\n\
         {groups}--b\r\nContent-Type: text/rfc822-headers\r\n\r\nTo: list@shop.test\r\n--b--\r\n"
    )
}

/// Original recipient, stage, class and reason of each B line.
fn bounces(daemon: &Daemon) -> Vec<String> {
    let of = |line: &Vec<String>| format!("{}@{} {} {} {}", line[5], line[6], line[11], line[12], line[15]);
    bouncelog(daemon, "B").iter().map(of).collect()
}

fn queued(daemon: &Daemon) -> String {
    figure(&ask(daemon, &["summary"]), "Active Queue Size") + &figure(&ask(daemon, &["summary"]), "Delayed Queue Size")
}

#[test]
fn a_bounce_is_taken_from_anyone_logged_for_each_recipient_and_delivered() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, OPTIONS).start();
    accept(&daemon, "", &["b-17@bounces.test"], &report(&["ann@shop.test", "bob@shop.test", "list@shop.test"]));
    wait(&daemon, "three bounces are logged", || bounces(&daemon).len() == 3);
    assert_eq!(
        bounces(&daemon),
        [
            "ann@shop.test 21 10 550 5.1.1 no such user",
            "bob@shop.test 21 10 550 5.1.1 no such user",
            "@ 21 30 550 5.1.1 no such user",
        ]
    );
    let (line, received) = (bouncelog(&daemon, "B").remove(0), mainlog(&daemon, "R").remove(0));
    assert_eq!(line[1..4], received[1..4], "the ids are those of the bounce's own R line");
    assert_eq!((&*line[7], &*line[8], &*line[14]), ("", "", "127.0.0.1"));
    let taken = sink.wait_for(1, SOON);
    assert!(String::from_utf8_lossy(&taken[0].body).contains("Subject: Undelivered Mail"));
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<>", "250").await;
        for elsewhere in ["ann@elsewhere.test", "ann@some.bounces.test"] {
            client.ask(&format!("RCPT TO:<{elsewhere}>"), "550 5.7.1 relaying denied").await;
        }
        client.ask("RCPT TO:<b-1@some.bounces.test>", "250").await;
    });
}

#[test]
fn one_that_is_discarded_is_accepted_logged_and_gone_also_after_a_crash() {
    let sink = Sink::start();
    let mut daemon = relay_with(&sink, OPTIONS).start();
    accept(&daemon, "", &["b-1@gone.bounces.test"], &report(&["ann@shop.test"]));
    let text = "550 5.7.1 [internal] discarded by policy";
    wait(&daemon, "it has left", || {
        mainlog(&daemon, "P").iter().any(|line| line.last().is_some_and(|last| last == text))
    });
    wait(&daemon, "the rejectlog tells", || daemon.read("log/rejectlog.ec").contains("E=550"));
    assert!(daemon.read("log/rejectlog.ec").trim_end().ends_with(" 5.7.1 [internal] discarded by policy"));
    assert_eq!(bounces(&daemon), ["ann@shop.test 21 10 550 5.1.1 no such user"], "logged once, as what it is");
    for _ in 0..30 {
        accept(&daemon, "", &["b-1@gone.bounces.test"], &report(&["ann@shop.test"]));
    }
    daemon.kill();
    daemon.start();
    accept(&daemon, "", &["b-1@bounces.test"], &letter("the last"));
    sink.wait_for(1, SOON);
    wait(&daemon, "nothing is queued", || queued(&daemon) == "00");
    assert_eq!(sink.count(), 1, "no bounce that was discarded is delivered by the next start");
}

#[test]
fn a_bounce_that_bounces_is_answered_by_nobody() {
    let sink = Sink::start();
    sink.on("RCPT", "550 5.1.1 no such user");
    let daemon = relay_with(&sink, OPTIONS).start();
    accept(&daemon, "", &["b-1@bounces.test"], &report(&["ann@shop.test"]));
    wait(&daemon, "it failed", || mainlog(&daemon, "P").len() == 1);
    wait(&daemon, "both bounces are logged", || bounces(&daemon).len() == 2);
    assert!(bounces(&daemon)[1].starts_with("b-1@bounces.test 5 10 "), "{:?}", bounces(&daemon));
    assert_eq!(mainlog(&daemon, "R").len(), 1, "no notification was made");
}

#[test]
fn failures_of_our_own_are_bounces_only_of_mail_from_addresses_that_bounces_come_to() {
    let sink = Sink::start();
    sink.on("RCPT", "550 5.1.1 no such user");
    let daemon =
        relay_with(&sink, "generate_bounces = false\ndomain \"own.test\" { bounce_pattern = \"^b-\" }\n").start();
    for sender in ["ann@own.test", "b-1@own.test", "ann@other.test"] {
        accept(&daemon, sender, &["bob@shop.test"], &letter("x"));
    }
    wait(&daemon, "all failed", || mainlog(&daemon, "P").len() == 3);
    wait(&daemon, "two bounces are logged", || bounces(&daemon).len() == 2);
    let mut senders: Vec<String> =
        bouncelog(&daemon, "B").iter().map(|line| format!("{}@{}", line[7], line[8])).collect();
    senders.sort();
    assert_eq!(senders, ["ann@other.test", "b-1@own.test"]);
}

#[test]
fn bounces_that_came_as_mail_can_be_kept_out_of_the_log() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, OPTIONS).start();
    daemon.write_config(
        &e2e::configuration(&format!("gateway = \"{}\"\n{OPTIONS}", sink.addr()), "")
            .replace("bouncelog = ", "log_outofband_bounces = false\n  bouncelog = "),
    );
    ask(&daemon, &["config", "reload"]);
    accept(&daemon, "", &["b-1@bounces.test"], &report(&["ann@shop.test"]));
    sink.wait_for(1, SOON);
    assert_eq!(log_lines(&daemon, "bouncelog.ec").len(), 0);
}

#[test]
fn a_bounce_in_words_tells_of_each_recipient_with_his_own_reason() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, OPTIONS).start();
    let text = "From: MAILER-DAEMON@mx.shop.test\r\nSubject: failure notice\r\n\r\nHi. This is the qmail-send program.\r\n\r\n\
        <ann@shop.test>:\r\nRemote host said: 550 5.1.1 no such user\r\n\r\n\
        <postmaster@shop.test>:\r\nRemote host said: 552 5.2.2 mailbox full\r\n\r\n\
        --- Below this line is a copy of the message.\r\n\r\nMessage-ID: <1@list.test>\r\nTo: dora@shop.test\r\n";
    accept(&daemon, "", &["b-17@bounces.test"], text);
    wait(&daemon, "both are logged", || bounces(&daemon).len() == 2);
    assert_eq!(
        bounces(&daemon),
        ["ann@shop.test 21 10 550 5.1.1 no such user", "postmaster@shop.test 21 22 552 5.2.2 mailbox full"]
    );
}

#[test]
fn a_complaint_and_a_report_of_success_are_no_bounces() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, OPTIONS).start();
    let complaint = "From: feedback@isp.test\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n\r\nA complaint.\r\n\
        --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
        Original-Rcpt-To: <ann@shop.test>\r\n--b--\r\n";
    accept(&daemon, "", &["b-1@bounces.test"], complaint);
    let success = report(&["ann@shop.test"]).replace("Action: failed", "Action: deliverable").replace("5.1.1", "2.1.5");
    accept(&daemon, "", &["b-1@bounces.test"], &success);
    accept(&daemon, "", &["b-1@bounces.test"], &report(&["bob@shop.test"]));
    wait(&daemon, "the bounce behind them is logged", || !bounces(&daemon).is_empty());
    assert_eq!(bounces(&daemon), ["bob@shop.test 21 10 550 5.1.1 no such user"]);
    sink.wait_for(3, SOON);
}

#[test]
fn what_an_operator_fails_is_an_administrative_failure_whatever_he_writes() {
    let daemon = daemon("generate_bounces = false\ndomain \"hold.test\" { suspend_delivery = true }\n").start();
    accept(&daemon, "ann@own.test", &["bob@hold.test"], &letter("x"));
    ask(&daemon, &["fail", "domain", "hold.test", "550 5.1.1 no such user"]);
    wait(&daemon, "it is logged", || bounces(&daemon).len() == 1);
    assert_eq!(bounces(&daemon), ["bob@hold.test 0 25 550 5.1.1 no such user"]);
}

#[test]
fn hostile_bounces_cost_little_and_hold_nobody_up() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, OPTIONS).start();
    let header = "From: MAILER-DAEMON@mx.shop.test\r\n";
    let parts = format!(
        "{header}Content-Type: multipart/report; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\nContent-Type: text/plain\r\n\r\n<ann@shop.test>: 550 5.1.1 x\r\n".repeat(10_000)
    );
    let deep = format!("{header}{}x\r\n", "Content-Type: message/rfc822\r\n\r\n".repeat(100_000));
    let binary: String = (0..200_000u32).map(|n| char::from_u32(n % 0x700 + 0x80).unwrap_or('x')).collect();
    let lines: String = binary.as_bytes().chunks(400).map(|line| String::from_utf8_lossy(line) + "\r\n").collect();
    let binary = format!("{header}Content-Transfer-Encoding: base64\r\n\r\n{lines}");
    let large =
        format!("{header}Subject: failure notice\r\n\r\n{}", "550 5.1.1 <ann@shop.test> unknown\r\n".repeat(100_000));
    std::thread::scope(|scope| {
        for text in [&parts, &deep, &binary, &large] {
            scope.spawn(|| accept(&daemon, "", &["b-1@bounces.test"], text));
        }
    });
    sink.wait_for(4, SOON);
    wait(&daemon, "all four are logged", || bounces(&daemon).len() == 4);
    assert!(!daemon.read("log/paniclog.ec").contains("is blocked"), "{}", daemon.read("log/paniclog.ec"));
}
