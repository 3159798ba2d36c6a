//! Bounces as hosts write them, and as attackers might.

use proptest::prelude::*;

use super::*;

fn read_plain(text: &str) -> Report {
    let mut body = Vec::new();
    wire::from_plain(text.as_bytes(), &mut body);
    read(&body)
}

const STANDARD: &str = "From: Mail Delivery System <MAILER-DAEMON@mx.shop.example>\n\
    Subject: Undelivered Mail Returned to Sender\nAuto-Submitted: auto-replied\n\
    Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n\
    --b\nContent-Type: text/plain\n\n<ann@shop.example>: unknown\n\
    --b\nContent-Type: message/delivery-status\n\n\
    Reporting-MTA: dns; mx.shop.example\nArrival-Date: Fri, 20 Nov 2026 10:00:00 +0000\n\n\
    Original-Recipient: rfc822;ann+2Btag@shop.example\nFinal-Recipient: rfc822; ann@inner.example\n\
    Action: Failed\nStatus: 5.1.1 (bad destination)\nDiagnostic-Code: smtp; 550 5.1.1 <ann@inner.example>:\n  \
    no such user\n\n\
    Final-recipient: RFC822; <bob@shop.example>\nAction: delayed\nStatus: 4.4.7\n\
    --b\nContent-Type: message/rfc822\n\nFrom: news@sender.example\nTo: Ann <ann@shop.example>, bob@shop.example\n\
    Subject: hello\n\ntext\n--b--\n";

#[test]
fn a_standard_report_tells_of_each_recipient() {
    let report = read_plain(STANDARD);
    assert!(report.has_status && report.is_automatic, "{report:?}");
    assert_eq!(report.from, ["MAILER-DAEMON@mx.shop.example"]);
    assert_eq!(report.text.trim(), "<ann@shop.example>: unknown");
    assert_eq!(report.original_to, ["ann@shop.example", "bob@shop.example"]);
    let [ann, bob] = &report.recipients[..] else { panic!("{:?}", report.recipients) };
    assert_eq!(ann.original.as_deref(), Some("ann+tag@shop.example"));
    assert_eq!((ann.last.as_deref(), &*ann.action, ann.status), (Some("ann@inner.example"), "failed", Some((5, 1, 1))));
    assert_eq!(ann.diagnostic.as_deref(), Some("550 5.1.1 <ann@inner.example>: no such user"));
    assert_eq!((bob.last.as_deref(), &*bob.action, bob.status), (Some("bob@shop.example"), "delayed", Some((4, 4, 7))));
}

#[test]
fn our_own_notifications_are_read_back() {
    let body: &[u8] = b"From: a@x.example\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\
        Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; here.test\r\n\r\n\
        Diagnostic-Code: smtp; 550 5.2.2 full\r\nAction: failed\r\nFinal-Recipient: rfc822; ann@shop.example\r\n\
        Status: 5.2.2\r\n\r\n--b--\r\n.\r\n";
    let report = read(body);
    assert_eq!(report.recipients.len(), 1, "the order of the fields does not matter: {:?}", report.recipients);
    assert_eq!(report.recipients[0].diagnostic.as_deref(), Some("550 5.2.2 full"));
}

#[test]
fn returned_header_sections_and_fields_of_their_own_are_found() {
    let report = read_plain(
        "From: <>\nX-Failed-Recipients: ann@shop.example,\n bob@shop.example\nContent-Type: multipart/report; boundary=b\n\n\
         --b\nContent-Type: text/html\n\n<p>ann&#64;shop.example <b>is unknown</b></p>\n\
         --b\nContent-Type: text/rfc822-headers\n\nTo: carl@shop.example\nSubject: x\n--b--\n",
    );
    assert_eq!(report.failed_recipients, ["ann@shop.example", "bob@shop.example"]);
    assert_eq!(report.original_to, ["carl@shop.example"]);
    assert!(report.text.contains("ann@shop.example is unknown"), "{:?}", report.text);
    assert!(!report.has_status && !report.is_automatic);
}

#[test]
fn a_complaint_is_told_by_its_type_or_by_its_part() {
    let by_type = "Content-Type: multipart/report; report-type=Feedback-Report; boundary=b\n\n--b\n\nhello\n--b--\n";
    let by_part = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n\
        Feedback-Type: abuse\nFinal-Recipient: rfc822; ann@shop.example\n--b--\n";
    for complaint in [by_type, by_part] {
        let report = read_plain(&format!("From: a@x.example\n{complaint}"));
        assert!(report.is_complaint && !report.has_status && report.recipients.is_empty(), "{report:?}");
    }
    assert!(!read_plain(STANDARD).is_complaint);
}

#[test]
fn a_status_without_its_part_is_read_from_the_lines_to_where_the_original_begins() {
    let fields = "Reporting-MTA: dns; mx.shop.example\n\nFinal-Recipient: rfc822; ann@shop.example\nStatus: 5.1.1\n";
    for text in [
        format!(
            "Content-Type: multipart/report; boundary=never\n\n--b\n\nSorry.\n--b\n\n{fields}\n--b\n\nStatus: 5.2.2\n"
        ),
        format!(
            "Subject: x\n\nSorry.\n\n{fields}\nReturn-Path: <a@x.example>\nFinal-Recipient: rfc822; bob@shop.example\n"
        ),
    ] {
        let report = read_plain(&text);
        assert!(report.has_status && report.text.contains("Sorry."), "{report:?}");
        let [ann] = &report.recipients[..] else { panic!("{report:?}") };
        assert_eq!((ann.last.as_deref(), ann.status), (Some("ann@shop.example"), Some((5, 1, 1))));
    }
    let report = read_plain("Subject: x\n\nReporting-MTA: nobody\nhello\n");
    assert!(!report.has_status && report.recipients.is_empty() && report.text.contains("hello"));
}

#[test]
fn a_plus_that_is_no_code_stays() {
    assert_eq!(from_xtext("a+b@x"), "a+b@x");
    assert_eq!(from_xtext("news+20261120@x"), "news+20261120@x", "digits behind a plus are seldom a blank");
    assert_eq!(from_xtext("a+2Bb+3Dc@x"), "a+b=c@x");
}

#[test]
fn a_bounce_without_an_end_or_a_beginning_is_read_as_far_as_it_goes() {
    for cut in 0..STANDARD.len() {
        read_plain(&STANDARD[..STANDARD.floor_char_boundary(cut)]);
        read_plain(&STANDARD[STANDARD.floor_char_boundary(cut)..]);
    }
    assert_eq!(read(b""), Report::default());
}

#[test]
fn depth_numbers_and_size_are_bounded() {
    let deep = "Content-Type: message/rfc822\n\n".repeat(200_000);
    read_plain(&format!("From: a@x.example\n{deep}"));
    let mut nested = String::from("From: a@x.example\n");
    for level in 0..5000 {
        nested += &format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n");
    }
    read_plain(&nested);
    let parts = "--b\n\nx\n".repeat(10_000);
    read_plain(&format!("Content-Type: multipart/report; boundary=b\n\n{parts}--b--\n"));
    let group = "Final-Recipient: rfc822; ann@shop.example\nAction: failed\n\n".repeat(10_000);
    let many = read_plain(&format!(
        "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n{group}"
    ));
    assert_eq!(many.recipients.len(), RECIPIENTS_MAX);
    let long = read_plain(&format!("From: a@x.example\n\n{}", "word ".repeat(1_000_000)));
    assert!(long.text.len() <= TEXT_OCTETS_MAX + 1);
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn a_report_with_any_status_is_read(status in "((Action|Status|Final-Recipient|Diagnostic-Code)?:? ?[a-z;@+0-9.]{0,12}\n{0,2}){0,20}") {
        let text = format!("Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n{status}");
        let report = read_plain(&text);
        prop_assert!(report.has_status);
    }
}
