//! Next hops that refuse, stall, lie or vanish: no message is lost, the log says what happened and where, and mail for
//! others goes on.

use std::time::Duration;

use e2e::{SOON, accept, daemon, letter, mainlog, testimony, wait, wait_for_lines};
use testkit::{Action, Daemon, Dialogue, Sink};

/// Short timeouts, retries every second without an end, and a domain that is reached at the first attempt or delayed.
const IMPATIENT: &str = "
connect_timeout = 1
ehlo_timeout = 1
mailfrom_timeout = 1
rcptto_timeout = 1
body_timeout = 1
rset_timeout = 1
idle_timeout = 60
host_failure_retry = 1
mx_failures_to_delay = 1
retry_interval = 1
max_retry_interval = 1
max_retries = none
";

/// The same with retries that come too late to help.
fn patient() -> String {
    IMPATIENT.replace("interval = 1\n", "interval = 3600\n")
}

/// A next hop and what the first attempt to reach it comes to in the mainlog.
struct Foe {
    name: &'static str,
    step: &'static str,
    action: Action,
    kind: &'static str,
    /// Those that it may be, with a bar between them.
    stage: &'static str,
    reply: &'static str,
}

const CLOSED: &str = "451 4.4.2 [internal] connection closed by remote host";

/// Drops, stalls and nonsense at every step, with the stage that each shows.
fn foes() -> Vec<Foe> {
    let steps = [
        ("CONNECT", "12", "451 4.4.2 [internal] no banner", "451 4.4.2 [internal] invalid banner"),
        (
            "EHLO",
            "11",
            "451 4.4.2 [internal] no HELO/EHLO response",
            "451 4.4.2 [internal] invalid response for HELO/EHLO",
        ),
        (
            "MAIL",
            "3",
            "451 4.4.2 [internal] no response for MAIL FROM",
            "451 4.4.2 [internal] invalid response for MAIL FROM",
        ),
        (
            "RCPT",
            "5",
            "451 4.4.2 [internal] no response for RCPT TO",
            "451 4.4.2 [internal] invalid response for RCPT TO",
        ),
        ("DATA", "7", "451 4.4.2 [internal] no response for DATA", "451 4.4.2 [internal] invalid response for DATA"),
        ("DOT", "9", "451 4.4.2 [internal] no response for BODY", "451 4.4.2 [internal] invalid response for BODY"),
    ];
    let mut foes = Vec::new();
    for (step, stage, silent, invalid) in steps {
        let mut foe = |name, action: Action, reply| foes.push(Foe { name, step, action, kind: "T", stage, reply });
        foe("stalls", Action::Stall, silent);
        foe("drops", Action::Drop, CLOSED);
        foe("answers-garbage", Action::Garbage(b"\0\xff\x1b]0;hello\x07 what?\r\n".to_vec()), invalid);
        // Behind MAIL and RCPT the replies to what was sent with them end it.
        if !matches!(step, "MAIL" | "RCPT") {
            foe("answers-without-end", Action::Garbage(b"250-and then\r\n".repeat(200_000)), silent);
        }
        foe("gives-half-a-reply", Action::ReplyThenStall("451-half an answer".to_owned()), silent);
    }
    let mut foe = |name, step, action: Action, kind, stage, reply| {
        foes.push(Foe { name, step, action, kind, stage, reply });
    };
    foe("is-full", "CONNECT", "421 4.3.2 not now".into(), "T", "12", "421 4.3.2 not now");
    foe("greets-with-554", "CONNECT", "554 5.3.2 no mail here".into(), "T", "12", "554 5.3.2 no mail here");
    foe("has-no-room", "MAIL", "452 4.3.1 disk full".into(), "T", "3", "452 4.3.1 disk full");
    foe("closes-politely", "RCPT", "421 4.3.2 going down".into(), "T", "5", "421 4.3.2 going down");
    foe("is-busy", "DOT", "451 4.3.0 later".into(), "T", "9", "451 4.3.0 later");
    foe("knows-nobody", "RCPT", "550 5.1.1 who?".into(), "P", "5", "550 5.1.1 who?");
    foe("dislikes-us", "MAIL", "550 5.7.1 not you".into(), "P", "3", "550 5.7.1 not you");
    foe("dislikes-it", "DOT", "554 5.7.1 spam".into(), "P", "9", "554 5.7.1 spam");
    // Whether the body had left when that was seen is chance.
    foe("drops-after-the-go-ahead", "DATA", Action::ReplyThenDrop("354 go ahead".to_owned()), "T", "8|9", CLOSED);
    let ahead = "354 go ahead\n250 2.0.0 taken".to_owned();
    let text = "451 4.4.2 [internal] response to what was not sent yet";
    foe("thanks-ahead", "DATA", Action::ReplyThenDrop(ahead), "T", "8", text);
    let text = "503 5.5.1 bad sequence of commands";
    foe("loses-its-place", "RCPT", text.into(), "T", "5", text);
    foe("takes-it-and-drops", "DOT", Action::AcceptThenDrop, "T", "9", CLOSED);
    foes
}

/// The first mainlog line of each type about mail for this next hop: stage and reply.
fn verdict(daemon: &Daemon, kind: &str, hop: &Sink) -> Option<(String, String)> {
    let hop = hop.addr().to_string();
    let line = mainlog(daemon, kind).into_iter().find(|fields| fields[5] == hop)?;
    Some((line[9].clone(), line[13..].join("@")))
}

#[test]
fn every_misbehaviour_is_logged_with_its_stage_and_text_and_loses_nothing() {
    let foes = foes();
    let hops: Vec<Sink> = foes.iter().map(|_| Sink::start()).collect();
    let friend = Sink::start();
    let domain = |foe: &Foe| format!("{}-{}.test", foe.step.to_lowercase(), foe.name);
    let mut stanzas = format!("{IMPATIENT}domain \"friend.test\" {{ gateway = \"{}\" }}\n", friend.addr());
    for (foe, hop) in foes.iter().zip(&hops) {
        hop.on(foe.step, foe.action.clone());
        stanzas.push_str(&format!("domain \"{}\" {{ gateway = \"{}\" }}\n", domain(foe), hop.addr()));
    }
    let daemon = daemon(&stanzas).start();
    for foe in &foes {
        let domain = domain(foe);
        accept(&daemon, "ann@friend.test", &[&format!("bob@{domain}")], &letter(&domain));
    }
    accept(&daemon, "ann@client.test", &["bob@friend.test"], &letter("friendly"));
    assert!(friend.wait_until(SOON, |messages| messages.iter().any(|message| message.text().contains("friendly"))));

    let judged = |(foe, hop): (&Foe, &Sink)| verdict(&daemon, foe.kind, hop).is_some();
    let all = testkit::wait_until(SOON, || foes.iter().zip(&hops).all(judged));
    let mut wrong = Vec::new();
    for (foe, hop) in foes.iter().zip(&hops) {
        let seen = verdict(&daemon, foe.kind, hop);
        let fits =
            |(stage, reply): &(String, String)| foe.stage.split('|').any(|one| one == stage) && reply == foe.reply;
        if !seen.as_ref().is_some_and(fits) {
            let (stage, reply) = (foe.stage, foe.reply);
            wrong.push(format!("{} at {}: {} {stage} {reply}, but {seen:?}", foe.name, foe.step, foe.kind));
        }
    }
    assert!(all && wrong.is_empty(), "{wrong:#?}\n{}", testimony(&daemon));

    // They come to their senses: what was only delayed arrives now, what failed was told to its sender.
    hops.iter().for_each(Sink::behave);
    let mut failed = 0;
    for (foe, hop) in foes.iter().zip(&hops) {
        let domain = domain(foe);
        let twice = usize::from(foe.action == Action::AcceptThenDrop);
        if foe.kind == "P" {
            failed += 1;
            let bounced = |text: &str| text.contains(&domain) && text.contains(foe.reply);
            wait(&daemon, &domain, || friend.messages().iter().any(|message| bounced(&message.text())));
            assert_eq!(hop.count(), 0);
        } else {
            hop.wait_for(1 + twice, SOON);
        }
    }
    wait_for_lines(&daemon, "D", 1 + foes.len());
    for (foe, hop) in foes.iter().zip(&hops) {
        let once = usize::from(foe.kind == "T");
        if foe.action != Action::AcceptThenDrop {
            assert_eq!(hop.count(), once, "{}", domain(foe));
        }
    }
    assert_eq!(friend.count(), 1 + failed);
}

#[test]
fn a_next_hop_that_refuses_connections_delays_the_mail_until_it_listens() {
    let (foe, friend) = (Sink::start(), Sink::start());
    foe.refuse_connections();
    let daemon = daemon(&format!(
        "{IMPATIENT}domain \"foe.test\" {{ gateway = \"{}\" }}\ndomain \"friend.test\" {{ gateway = \"{}\" }}\n",
        foe.addr(),
        friend.addr()
    ))
    .start();
    for n in 0..5 {
        accept(&daemon, "ann@friend.test", &["bob@foe.test"], &letter(&format!("number {n}")));
    }
    let lines = wait_for_lines(&daemon, "T", 5);
    for line in &lines {
        assert_eq!(line[9], "0", "{line:?}");
        assert_eq!(line[13], "421 4.4.0 [internal] no MXs for this domain could be reached at this time");
    }
    accept(&daemon, "ann@client.test", &["bob@friend.test"], &letter("friendly"));
    friend.wait_for(1, SOON);
    foe.accept_connections();
    foe.wait_for(5, SOON);
    wait_for_lines(&daemon, "D", 6);
    assert_eq!((foe.count(), friend.count()), (5, 1));
}

#[test]
fn recipients_of_one_message_may_fare_differently() {
    let (hop, friend) = (Sink::start(), Sink::start());
    hop.on("RCPT", "550 5.1.1 no such user").to("gone@*");
    let busy = hop.on("RCPT", "450 4.2.1 mailbox busy").to("busy@*").times(1);
    let daemon = daemon(&format!(
        "{IMPATIENT}domain \"hop.test\" {{ gateway = \"{}\" }}\ndomain \"friend.test\" {{ gateway = \"{}\" }}\n",
        hop.addr(),
        friend.addr()
    ))
    .start();
    accept(&daemon, "ann@friend.test", &["here@hop.test", "gone@hop.test", "busy@hop.test"], &letter("to three"));
    let messages = hop.wait_for(2, SOON);
    assert_eq!(messages[0].forward_paths, ["here@hop.test"]);
    assert_eq!(messages[1].forward_paths, ["busy@hop.test"]);
    assert_eq!(busy.used(), 1);
    let bounce = friend.wait_for(1, SOON)[0].clone();
    assert_eq!((bounce.reverse_path.as_str(), &bounce.forward_paths[..]), ("", &["ann@friend.test".to_owned()][..]));
    assert!(bounce.text().contains("gone@hop.test") && !bounce.text().contains("busy@hop.test"), "{}", bounce.text());
    // Two of the three and the notification.
    wait_for_lines(&daemon, "D", 3);
    assert_eq!((mainlog(&daemon, "T").len(), mainlog(&daemon, "P").len()), (1, 1));
}

#[test]
fn a_next_hop_that_closes_idle_connections_costs_no_attempt() {
    let hop = Sink::start();
    let daemon = daemon(&format!("{IMPATIENT}gateway = \"{}\"\n", hop.addr())).start();
    accept(&daemon, "ann@client.test", &["bob@hop.test"], &letter("first"));
    hop.wait_for(1, SOON);
    // It closes while nothing is under way ...
    hop.hang_up();
    accept(&daemon, "ann@client.test", &["bob@hop.test"], &letter("second"));
    hop.wait_for(2, SOON);
    // ... and just when the next message comes.
    let rule = hop.on("MAIL", Action::Drop).times(1);
    accept(&daemon, "ann@client.test", &["bob@hop.test"], &letter("third"));
    hop.wait_for(3, SOON);
    wait_for_lines(&daemon, "D", 3);
    assert_eq!(rule.used(), 1);
    assert!(mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
    assert_eq!(hop.count(), 3);
}

#[test]
fn a_notification_that_cannot_be_delivered_is_not_answered() {
    let hop = Sink::start();
    hop.on("RCPT", "550 5.1.1 nobody here");
    let daemon = daemon(&format!("{IMPATIENT}gateway = \"{}\"\n", hop.addr())).start();
    accept(&daemon, "ann@hop.test", &["bob@hop.test"], &letter("to nobody from nobody"));
    let lines = wait_for_lines(&daemon, "P", 2);
    hop.behave();
    accept(&daemon, "ann@hop.test", &["bob@hop.test"], &letter("the last"));
    wait_for_lines(&daemon, "D", 1);
    assert_eq!(lines.len(), 2);
    assert_eq!((mainlog(&daemon, "R").len(), hop.count()), (3, 1), "{}", testimony(&daemon));
}

#[test]
fn a_reply_with_control_octets_forges_neither_log_lines_nor_header_fields() {
    let (hop, friend) = (Sink::start(), Sink::start());
    hop.on("RCPT", Action::Garbage(b"550 5.1.1 no\rX-Forged: yes\x1b[2J\0\x9b @ end\r\n".to_vec()));
    let daemon = daemon(&format!(
        "{IMPATIENT}domain \"hop.test\" {{ gateway = \"{}\" }}\ndomain \"friend.test\" {{ gateway = \"{}\" }}\n",
        hop.addr(),
        friend.addr()
    ))
    .start();
    accept(&daemon, "ann@friend.test", &["bob@hop.test"], &letter("to an artist"));
    let bounce = friend.wait_for(1, SOON)[0].clone();
    wait_for_lines(&daemon, "P", 1);
    for log in ["log/mainlog.ec", "log/bouncelog.ec"] {
        let text = daemon.read(log);
        assert!(text.contains("X-Forged: yes") && text.contains("end"), "{text}");
        assert!(!text.chars().any(|octet| octet.is_control() && octet != '\n'), "{text:?}");
    }
    let text = bounce.text();
    assert!(text.contains("X-Forged: yes"), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("X-Forged")), "{text}");
    assert!(!text.contains(['\x1b', '\0', '\u{9b}']), "{text:?}");
}

#[test]
fn a_slow_next_hop_that_answers_in_time_gets_its_mail() {
    let hop = Sink::start();
    for (step, reply) in [("CONNECT", "220 slow.test"), ("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DOT", "250 taken")] {
        hop.on(step, Action::Slow(reply.to_owned(), Duration::from_millis(20)));
    }
    let daemon = daemon(&format!("{IMPATIENT}gateway = \"{}\"\n", hop.addr())).start();
    accept(&daemon, "ann@client.test", &["bob@hop.test"], &letter("slowly"));
    hop.wait_for(1, SOON);
    wait_for_lines(&daemon, "D", 1);
    assert!(mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
}

#[test]
fn a_next_hop_that_never_reads_holds_up_neither_others_nor_the_end_of_the_daemon() {
    let (hop, friend) = (Sink::start(), Sink::start());
    hop.on("DATA", Action::ReplyThenStall("354 go ahead".to_owned()));
    let mut daemon = daemon(&format!(
        "{IMPATIENT}body_timeout = 600\ndomain \"hop.test\" {{ gateway = \"{}\" }}\n\
         domain \"friend.test\" {{ gateway = \"{}\" }}\n",
        hop.addr(),
        friend.addr()
    ))
    .start();
    e2e::block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let text = format!("Subject: large\n\n{}", "some line of a large message\n".repeat(200_000));
        let reply = client.mail("ann@client.test", &["bob@hop.test"], &text).await;
        assert!(reply.starts_with("250"), "{reply}");
    });
    wait(&daemon, "the next hop is told to wait", || hop.commands().iter().any(|(_, line)| line == "DATA"));
    accept(&daemon, "ann@client.test", &["bob@friend.test"], &letter("friendly"));
    friend.wait_for(1, SOON);
    assert!(daemon.terminate(Duration::from_secs(40)).success());
    hop.behave();
    daemon.start();
    hop.wait_for(1, SOON);
}

#[test]
fn mail_that_was_not_answered_goes_to_the_next_host_and_is_not_delayed() {
    let ends = [
        ("MAIL", Action::Drop),
        ("MAIL", Action::ReplyThenDrop("421 4.3.2 going down".to_owned())),
        ("RCPT", Action::Drop),
        ("DATA", Action::ReplyThenDrop("354 go ahead\n250 2.0.0 taken".to_owned())),
    ];
    for (step, action) in ends {
        let (foe, friend) = (Sink::start(), Sink::start());
        let rule = foe.on(step, action);
        let route = |sink: &Sink| format!("\"smtp://127.0.0.1?port={}\"", sink.addr().port());
        let daemon = daemon(&format!("{}routes = ( {} {} )\n", patient(), route(&foe), route(&friend))).start();
        accept(&daemon, "ann@client.test", &["bob@x.test"], &letter("to either"));
        friend.wait_for(1, SOON);
        wait_for_lines(&daemon, "D", 1);
        assert!(
            0 < rule.used() && foe.count() == 0 && mainlog(&daemon, "T").is_empty(),
            "{step} {}",
            testimony(&daemon)
        );
    }
}

#[test]
fn a_reply_is_judged_by_its_code_however_long_it_is() {
    let (hop, friend) = (Sink::start(), Sink::start());
    let long = |code: &str| Action::Garbage(format!("{code} {}\r\n", "x".repeat(100_000)).into_bytes());
    let many =
        |code: &str| Action::Garbage(format!("{}{code} done\r\n", format!("{code}-x\r\n").repeat(1000)).into_bytes());
    let daemon = daemon(&format!(
        "{IMPATIENT}domain \"hop.test\" {{ gateway = \"{}\" }}\ndomain \"friend.test\" {{ gateway = \"{}\" }}\n",
        hop.addr(),
        friend.addr()
    ))
    .start();
    for (number, action) in [long("250"), many("250"), Action::Garbage(b"250\tok\r\n".to_vec())].into_iter().enumerate()
    {
        hop.on("DOT", action);
        accept(&daemon, "ann@friend.test", &["bob@hop.test"], &letter("taken"));
        wait_for_lines(&daemon, "D", number + 1);
    }
    for (number, action) in [long("550"), many("550")].into_iter().enumerate() {
        hop.on("DOT", action);
        accept(&daemon, "ann@friend.test", &["bob@hop.test"], &letter("refused"));
        friend.wait_for(number + 1, SOON);
    }
    wait_for_lines(&daemon, "P", 2);
    assert!(mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
}

#[test]
fn recipients_that_a_next_hop_has_too_many_of_are_sent_in_their_turn() {
    let hop = Sink::start();
    let daemon = daemon(&format!("{}gateway = \"{}\"\n", patient(), hop.addr())).start();
    // Once each, behind recipients that were taken.
    for user in ["bob", "cat"] {
        hop.on("RCPT", "552 5.5.3 too many recipients").to(&format!("{user}@*")).times(1);
    }
    accept(&daemon, "ann@client.test", &["ann@hop.test", "bob@hop.test", "cat@hop.test"], &letter("to three"));
    wait_for_lines(&daemon, "D", 3);
    assert!(mainlog(&daemon, "P").is_empty() && mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
}
