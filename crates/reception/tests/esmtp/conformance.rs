//! Messages and addresses that are not as the RFCs want them, under each value of each option.

use std::rc::Rc;

use crate::house::{House, in_house, no_hooks};

/// What becomes of one message under these options: the reply, and if it was taken, the message behind its trace fields.
async fn sent(house: &Rc<House>, message: &str) -> Result<String, String> {
    let mut client = house.client().await;
    client.open().await;
    assert!(client.say("DATA").await.starts_with("354"));
    client.send(message).await;
    let reply = client.say(".").await;
    if !reply.starts_with("250") {
        return Err(reply);
    }
    let body = house.arrived(1).await[0].body.clone().expect("resident");
    let text = String::from_utf8(body.to_vec()).expect("text");
    // Return-Path, and four lines of Received.
    Ok(text.split_inclusive("\r\n").skip(5).collect())
}

fn under<F: Future<Output = ()>>(options: &str, test: impl FnOnce(Rc<House>) -> F) {
    let text = format!("{options}\nesmtp_listener {{ listen \"127.0.0.1:0\" {{ }} }}");
    in_house(&text, no_hooks, test);
}

const DATE: &str = "Date: Mon, 21 Sep 2026 14:13:20 +0000\r\n";

#[test]
fn a_missing_date_and_message_id_are_added_and_present_ones_are_left_alone() {
    under("", async |house| {
        let text = sent(&house, "Subject: x\r\n\r\nhello\r\n").await.unwrap();
        let (date, rest) = text.split_at(DATE.len());
        assert_eq!(date, DATE);
        let (id, rest) = rest.split_once("\r\n").unwrap();
        assert!(id.starts_with("Message-ID: <") && id.ends_with(".03127.08B31BA6@mx.here.test>"), "{id}");
        assert_eq!(rest, "Subject: x\r\n\r\nhello\r\n.\r\n");
        let whole = "date: yesterday\r\nMESSAGE-ID: <1@x>\r\nReturn-Path: <old@x>\r\n\r\nDate: no field\r\n";
        assert_eq!(
            sent(&house, whole).await.unwrap(),
            "date: yesterday\r\nMESSAGE-ID: <1@x>\r\n\r\nDate: no field\r\n.\r\n"
        );
    });
}

#[test]
fn a_missing_date_can_be_ignored_or_refused() {
    under("rfc2822_date_header = ignore rfc2822_messageid_header = ignore", async |house| {
        assert_eq!(sent(&house, "Subject: x\r\n").await.unwrap(), "Subject: x\r\n.\r\n");
    });
    under("rfc2822_date_header = \"pedantic\"", async |house| {
        assert_eq!(sent(&house, "Subject: x\r\n").await.unwrap_err(), "550 5.6.0 required Date header missing");
        assert!(sent(&house, "Date: x\r\n").await.unwrap().ends_with(">\r\nDate: x\r\n.\r\n"));
    });
}

#[test]
fn a_pathway_has_rules_of_its_own() {
    let text = "rfc2822_date_header = pedantic
        pathway \"careless\" { rfc2822_date_header = ignore rfc2822_messageid_header = ignore }
        esmtp_listener { pathway = \"careless\" listen \"127.0.0.1:0\" { } }";
    in_house(text, no_hooks, async |house| {
        assert_eq!(sent(&house, "Subject: x\r\n").await.unwrap(), "Subject: x\r\n.\r\n");
    });
}

#[test]
fn a_message_without_headers_is_refused_or_becomes_the_content_of_one() {
    under("", async |house| {
        for message in ["hello\r\n", "\r\nhello\r\n", "", " folded: x\r\n"] {
            assert_eq!(sent(&house, message).await.unwrap_err(), "550 5.6.0 required headers missing", "{message:?}");
        }
    });
    under("rfc2822_missing_headers = allow rfc2822_messageid_header = ignore", async |house| {
        for (message, kept) in [
            ("hello\r\n", format!("{DATE}\r\nhello\r\n.\r\n")),
            ("\r\nhello\r\n", format!("{DATE}\r\nhello\r\n.\r\n")),
            (" folded: x\r\n", format!("{DATE}\r\n folded: x\r\n.\r\n")),
            ("", format!("{DATE}.\r\n")),
            ("Date: x\r\nhello\r\n", "Date: x\r\nhello\r\n.\r\n".to_owned()),
        ] {
            assert_eq!(sent(&house, message).await.unwrap(), kept, "{message:?}");
        }
    });
}

#[test]
fn ten_thousand_lines_that_are_no_fields_are_content_and_cost_nothing_more() {
    under("rfc2822_missing_headers = allow", async |house| {
        let text = sent(&house, &"no field here\r\n".repeat(10_000)).await.unwrap();
        assert!(text.starts_with("Date: ") && text.contains("\r\n\r\nno field here\r\n"), "{}", &text[..200]);
    });
}

#[test]
fn a_lone_cr_or_lf_is_refused_or_becomes_a_line_end() {
    let in_headers = "Date: x\nMessage-ID: <1@x>\n\r\nbody\r\n";
    let in_body = "Date: x\r\nMessage-ID: <1@x>\r\n\r\na\n.\nb\rc\r\n";
    let refused = || Err("550 5.6.0 lone CR or LF in message".to_owned());
    let headers_mended = || Ok("Date: x\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n.\r\n".to_owned());
    let body_mended = || Ok("Date: x\r\nMessage-ID: <1@x>\r\n\r\na\r\n..\r\nb\r\nc\r\n.\r\n".to_owned());
    for (options, headers, body) in [
        ("", refused(), refused()),
        ("rfc2822_lone_lf_in_headers = pedantic rfc2822_lone_lf_in_body = reject", refused(), refused()),
        ("rfc2822_lone_lf_in_headers = fix", headers_mended(), refused()),
        ("rfc2822_lone_lf_in_body = fix", refused(), body_mended()),
        ("rfc2822_lone_lf_in_body = ignore", refused(), body_mended()),
        ("rfc2822_lone_lf_in_headers = fix rfc2822_lone_lf_in_body = ignore", headers_mended(), body_mended()),
    ] {
        under(options, async |house| {
            assert_eq!(sent(&house, in_headers).await, headers, "{options}");
            assert_eq!(sent(&house, in_body).await, body, "{options}");
        });
    }
}

#[test]
fn a_long_line_is_refused_broken_or_left() {
    let message = |octets: usize| format!("Date: x\r\nMessage-ID: <1@x>\r\n\r\n{}\r\n", "y".repeat(octets));
    let refused = "550 5.6.0 line too long in message";
    for (options, octets, longest) in [
        ("", 998, Ok(998)),
        ("", 999, Err(refused)),
        ("rfc2822_max_line_length_policy = none", 5000, Ok(5000)),
        ("rfc2822_max_line_length = ignore", 5000, Ok(5000)),
        ("rfc2822_max_line_length = ignore rfc2822_max_line_length_policy = reject", 5000, Ok(5000)),
        ("rfc2822_max_line_length = pedantic rfc2822_max_line_length_policy = none", 999, Err(refused)),
        ("rfc2822_max_line_length = fix", 5000, Ok(997)),
        ("rfc2822_max_line_length_policy = fix", 5000, Ok(997)),
        ("rfc2822_max_line_length = 2048", 2048, Ok(2048)),
        ("rfc2822_max_line_length = 2048", 2049, Err(refused)),
        ("rfc2822_max_line_length = 2048 rfc2822_max_line_length_policy = fix", 2048, Ok(2048)),
        ("rfc2822_max_line_length = 2048 rfc2822_max_line_length_policy = fix", 2049, Ok(997)),
    ] {
        under(options, async |house| {
            let outcome = sent(&house, &message(octets)).await;
            let shown = outcome.map(|text| text.split("\r\n").map(str::len).max().unwrap());
            assert_eq!(shown, longest.map_err(str::to_owned), "{octets} octets under {options:?}");
        });
    }
}

#[test]
fn addresses_with_dots_side_by_side_need_relaxed_rules() {
    let odd = ["MAIL FROM:<a..b@xxx.test>", "RCPT TO:<ab.@here.test>"];
    under("", async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert_eq!(
            client.say(odd[1]).await,
            "501 5.5.2 RCPT TO syntax error in <ab.@here.test>: expected local-part@domain"
        );
        client.say("RSET").await;
        assert_eq!(
            client.say(odd[0]).await,
            "501 5.5.2 MAIL FROM syntax error in <a..b@xxx.test>: expected local-part@domain"
        );
    });
    under("rfc2821_pedantic_address_rules = false", async |house| {
        let mut client = house.client().await;
        client.reply().await;
        client.say("EHLO pc").await;
        assert!(client.say(odd[0]).await.starts_with("250"));
        assert!(client.say(odd[1]).await.starts_with("250"));
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        let arrived = house.arrived(1).await;
        assert_eq!(arrived[0].envelope.forward_path.as_str(), "ab.@here.test");
        // A restart reads the same address.
        let mut record = Vec::new();
        arrived[0].envelope.encode(&mut record);
        let record = message::Envelope::decode(&record).expect("an envelope");
        assert_eq!(record.reverse_path.as_str(), "a..b@xxx.test");
    });
}

#[test]
fn blanks_in_the_envelope_are_refused_unless_they_are_allowed() {
    for (options, code) in [("", "501"), ("rfc2821_allow_whitespace_in_envelope = true", "250")] {
        under(options, async |house| {
            let mut client = house.client().await;
            client.open().await;
            for line in ["RCPT TO:<b@here.test> ", "RCPT TO:< b@here.test >", "RCPT TO:<b@here.test> \t "] {
                let reply = client.say(line).await;
                // A tab is a control octet where it is no blank.
                assert!(reply.starts_with(code) || code == "501" && reply.starts_with("500"), "{line:?}: {reply}");
            }
            assert!(client.say("NOOP ").await.starts_with("250"));
        });
    }
}
