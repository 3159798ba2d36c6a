//! Bounces as hosts write them: whose they are, why, and with which class.

use std::sync::Arc;

use hooks::{Answer, HookSetBuilder, Provider};
use message::{report, wire};

use super::*;

fn read_with(text: &str, suppressed: &[&str], providers: &HookPoint<BounceErrorClassify>) -> Vec<Bounced> {
    let suppressed: Vec<String> = suppressed.iter().map(|address| (*address).to_owned()).collect();
    let mut body = Vec::new();
    wire::from_plain(text.as_bytes(), &mut body);
    let classifier = Classifier::new();
    let reading = Reading { classifier: &classifier, providers, suppressed: &suppressed, to: &[] };
    reading.bounced(&report::read(&body))
}

/// Recipient, class and reply of each.
fn read(text: &str) -> Vec<(String, u8, String)> {
    let all = read_with(text, &["bounces@sender.example"], &HookPoint::default());
    let address = |bounced: &Bounced| bounced.recipient.as_ref().map_or("-", |mailbox| mailbox.as_str()).to_owned();
    all.into_iter().map(|bounced| (address(&bounced), bounced.class.code(), bounced.reply)).collect()
}

fn is(text: &str, recipient: &str, class: BounceClass, reply: &str) {
    assert_eq!(read(text), [(recipient.to_owned(), class.code(), reply.to_owned())], "{text}");
}

/// A report with a status of these groups.
fn status(groups: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.shop.example\nContent-Type: multipart/report; boundary=b\n\n--b\n\nSorry.\n--b\n\
         Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.shop.example\n\n{groups}\n--b\n\
         Content-Type: text/rfc822-headers\n\nTo: list@elsewhere.example\n--b--\n"
    )
}

#[test]
fn a_status_tells_of_each_recipient_that_failed() {
    let groups = "Original-Recipient: rfc822;ann@shop.example\nFinal-Recipient: rfc822;a@inner.example\nAction: failed\n\
        Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n\n\
        Final-Recipient: rfc822;bob@shop.example\nAction: failed\nStatus: 5.2.2\n\n\
        Final-Recipient: rfc822;carl@shop.example\nAction: delayed\nStatus: 4.4.1\nDiagnostic-Code: smtp; 450 busy\n\n\
        Final-Recipient: rfc822;dora@shop.example\nAction: delivered\nStatus: 2.0.0\n";
    let found = read(&status(groups));
    let short: Vec<(&str, u8)> = found.iter().map(|(recipient, class, _)| (recipient.as_str(), *class)).collect();
    assert_eq!(short, [("ann@shop.example", 10), ("bob@shop.example", 22), ("carl@shop.example", 70)]);
    assert_eq!(found[0].2, "550 5.1.1 no such user");
    assert!(found[1].2.starts_with("5.2.2"));
}

#[test]
fn a_report_of_success_is_no_bounce() {
    assert_eq!(read(&status("Final-Recipient: rfc822;ann@shop.example\nAction: delivered\nStatus: 2.1.5\n")), []);
}

#[test]
fn a_status_without_an_address_is_told_by_the_rest_or_has_no_recipient() {
    is(&status("Action: failed\nStatus: 5.1.1\n"), "list@elsewhere.example", BounceClass::INVALID_RECIPIENT, "5.1.1");
    let text = status("Final-Recipient: rfc822;bounces@sender.example\nAction: failed\nStatus: 5.1.1\n")
        .replace("To: list@elsewhere.example", "Subject: x");
    is(&text, "-", BounceClass::GENERIC_BOUNCE_NO_RCPT, "5.1.1");
}

#[test]
fn a_status_that_says_nothing_is_a_generic_bounce() {
    let text = status("Final-Recipient: rfc822;ann@shop.example\nAction: failed\n");
    is(&text, "ann@shop.example", BounceClass::GENERIC_BOUNCE, "");
    let text = status("Final-Recipient: rfc822;ann@shop.example\nAction: failed\nStatus: 5.0.0\n");
    is(&text, "ann@shop.example", BounceClass::GENERIC_BOUNCE, "5.0.0");
    let text = status("Final-Recipient: rfc822;ann@shop.example\nDiagnostic-Code: smtp; 554 zork\nStatus: 5.7.1\n");
    is(&text, "ann@shop.example", BounceClass::MAIL_BLOCK, "554 zork");
}

#[test]
fn reports_for_people_are_understood() {
    is(
        "From: MAILER-DAEMON@mx.shop.example\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.shop.example.\n\
         I'm afraid I wasn't able to deliver your message to the following addresses.\n\n<ann@shop.example>:\n\
         192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 no such user here\nGiving up on 192.0.2.1.\n\n\
         --- Below this line is a copy of the message.\n\nReturn-Path: <bounces@sender.example>\nTo: other@shop.example\n\
         \n452 4.2.2 mailbox full\n",
        "ann@shop.example",
        BounceClass::INVALID_RECIPIENT,
        "550 5.1.1 no such user here",
    );
    is(
        "From: Mail Delivery System <Mailer-Daemon@mx.shop.example>\nX-Failed-Recipients: bob@shop.example\n\
         Subject: Mail delivery failed: returning message to sender\n\n\
         This message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to\n\
         one or more of its recipients. The following address(es) failed:\n\n  bob@shop.example\n    mailbox is full:\n    \
         retry timeout exceeded\n\n------ This is a copy of the message, including all the headers. ------\n\nTo: x@y.example\n",
        "bob@shop.example",
        BounceClass::MAILBOX_FULL,
        "mailbox is full:",
    );
    is(
        "From: postmaster@shop.example\nSubject: Undeliverable: hello\n\nSomething went wrong.\n\n\
         ----- Original Message -----\nTo: Carl <carl@shop.example>\n",
        "carl@shop.example",
        BounceClass::GENERIC_BOUNCE,
        "",
    );
    is(
        "From: postmaster@shop.example\nSubject: Undeliverable: hello\n\n#5.7.1 smtp;554 5.7.1 blocked using zen.spamhaus.org\n",
        "-",
        BounceClass::GENERIC_BOUNCE_NO_RCPT,
        "5.7.1 smtp;554 5.7.1 blocked using zen.spamhaus.org",
    );
}

#[test]
fn answers_and_requests_are_no_failures_and_come_from_the_recipient() {
    is(
        "From: Ann <ann@shop.example>\nSubject: Re: hello\nAuto-Submitted: auto-replied\n\nI am away. Write to bob@shop.example.\n",
        "ann@shop.example",
        BounceClass::AUTO_REPLY,
        "Re: hello",
    );
    is(
        "From: ann@shop.example\nSubject: Out of office: hello\n\nBack on Monday.\n",
        "ann@shop.example",
        BounceClass::AUTO_REPLY,
        "Out of office: hello",
    );
    is("From: ann@shop.example\nSubject: UNSUBSCRIBE\n\n", "ann@shop.example", BounceClass::UNSUBSCRIBE, "UNSUBSCRIBE");
    is("From: ann@shop.example\nSubject: subscribe\n\n", "ann@shop.example", BounceClass::SUBSCRIBE, "subscribe");
    is(
        "From: ann@shop.example\nSubject: hello\nAuto-Submitted: auto-replied\n\nPlease click the link below to verify yourself.\n",
        "ann@shop.example",
        BounceClass::CHALLENGE_RESPONSE,
        "hello",
    );
}

#[test]
fn mail_that_is_no_bounce_is_undetermined() {
    is("From: ann@shop.example\nSubject: hello\n\nHow are you?\n", "-", BounceClass::UNDETERMINED, "");
    is("", "-", BounceClass::UNDETERMINED, "");
}

#[test]
fn suppressed_addresses_and_those_of_mail_systems_are_never_the_recipient() {
    let text = "From: MAILER-DAEMON@mx.shop.example\nSubject: failure notice\n\nmailer-daemon@mx.shop.example says: write to\n\
        Help@Shop.example about <ann@shop.example>: 550 5.1.1 unknown user\n";
    let all = read_with(text, &["help@shop.example"], &HookPoint::default());
    assert_eq!(all[0].recipient.as_ref().map(Mailbox::as_str), Some("ann@shop.example"));
}

#[test]
fn a_provider_decides_before_the_rules_and_says_where() {
    let mut hooks = HookSetBuilder::new();
    let provider: Provider<BounceErrorClassify> = Arc::new(|text| match text.body.find("zork") {
        Some(at) => {
            text.position = at;
            Answer::Done(BounceClass(99))
        }
        None => Answer::Cont,
    });
    hooks.last::<BounceErrorClassify>("test", provider);
    let providers = hooks.finish().point();
    let text = "From: MAILER-DAEMON@mx.shop.example\n\n<ann@shop.example>: 550 5.1.1 unknown user\nthe zork line\n";
    let all = read_with(text, &[], &providers);
    assert_eq!((all[0].class, all[0].reply.as_str()), (BounceClass(99), "the zork line"));
    let all = read_with(&text.replace("zork", "other"), &[], &providers);
    assert_eq!(all[0].class, BounceClass::INVALID_RECIPIENT);
}

#[test]
fn a_text_of_many_lines_and_addresses_is_looked_at_to_its_bounds() {
    let text = format!("From: a@x.example\nSubject: failure\n\n{}", "550 @ 5.1. 4@ x@ 5.1.1@y\n".repeat(50_000));
    assert_eq!(read(&text).len(), 1);
}

/// See its head.
const BOUNCES: &str = include_str!("../tests/bounces.txt");

#[test]
fn bounces_of_many_programs_tell_whom_and_why() {
    let (classifier, providers) = (Classifier::new(), HookPoint::default());
    let mut wrong = Vec::new();
    let mut count = 0;
    for bounce in BOUNCES.split("\n=== ").skip(1) {
        let (name, rest) = bounce.split_once('\n').unwrap();
        let begin = rest.find("From:").unwrap();
        let told: Vec<&str> = rest[..begin].lines().filter_map(|line| line.strip_prefix("> ")).collect();
        let to = rest[..begin].lines().find_map(|line| line.strip_prefix("to ")).unwrap_or("b-1@bounces.test");
        let mut body = Vec::new();
        wire::from_plain(&rest.as_bytes()[begin..], &mut body);
        let (suppressed, to) = (["list@sender.test".to_owned(), to.to_owned()], [to.to_owned()]);
        let reading = Reading { classifier: &classifier, providers: &providers, suppressed: &suppressed, to: &to };
        let found = reading.bounced(&report::read(&body));
        let is = |(found, told): (&Bounced, &&str)| {
            let mut words = told.splitn(3, ' ');
            let recipient = found.recipient.as_ref().map_or("-", Mailbox::as_str);
            words.next() == Some(recipient)
                && words.next() == Some(&*found.class.code().to_string())
                && found.reply.contains(words.next().unwrap_or("").trim())
        };
        if found.len() != told.len() || !found.iter().zip(&told).all(is) {
            wrong.push(format!("{name}\n  wanted {told:?}\n  found {found:?}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty() && 40 <= count, "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_text_of_many_recipients_tells_of_as_many_as_a_status_may() {
    let one = |n: usize| format!("<a{n}@shop.example>: 550 5.1.1 no such user\n");
    let text: String = (0..500).map(one).collect();
    let found = read(&format!("From: MAILER-DAEMON@mx.shop.example\nSubject: failure\n\n{text}"));
    assert_eq!(found.len(), report::RECIPIENTS_MAX);
    assert_eq!(found[99], ("a99@shop.example".to_owned(), 10, "550 5.1.1 no such user".to_owned()));
    let again = "ann@shop.example bob@shop.example carl@shop.example\n".repeat(600);
    let all: String = (0..500).map(|n| format!("<a{n}@shop.example>\n{}", &again[..52])).collect();
    assert_eq!(read(&format!("From: MAILER-DAEMON@mx.shop.example\n\n{all}{again}")).len(), report::RECIPIENTS_MAX);
}

#[test]
fn a_variable_envelope_names_the_recipient_behind_its_tags() {
    for (to, recipient) in [
        ("b-ann=shop.example@bounces.test", Some("ann@shop.example")),
        ("list-bounces-ann=shop.example@bounces.test", Some("ann@shop.example")),
        ("news-20261120-17-ann-marie=shop.example@bounces.test", Some("ann-marie@shop.example")),
        ("my-list-bounces-17-ann=shop.example@bounces.test", Some("ann@shop.example")),
        ("bounces+ann=shop.example@bounces.test", Some("ann@shop.example")),
        ("ann=shop.example@bounces.test", Some("ann@shop.example")),
        ("b-17@bounces.test", None),
        ("b-ann=shop@bounces.test", None),
        ("=shop.example@bounces.test", None),
        ("nonsense", None),
    ] {
        assert_eq!(from_variable_envelope(to).as_deref(), recipient, "{to}");
    }
}
