//! The server session, as dialogues.

use crate::dialogue::{Dialogue, play};
use smtp::{Injection, LineRules, Lone, LongLines, Reply, ServerOptions};

fn here() -> ServerOptions {
    ServerOptions::named("mx.here.test")
}

fn transcript(text: &str) -> Dialogue {
    play(here(), &format!("S: 220 mx.here.test ESMTP\n{text}"))
}

fn with(change: impl FnOnce(&mut ServerOptions), text: &str) -> Dialogue {
    let mut options = here();
    change(&mut options);
    play(options, &format!("S: 220 mx.here.test ESMTP\n{text}"))
}

#[test]
fn a_pipelined_group_is_answered_at_once_and_the_message_is_kept_in_wire_form() {
    let dialogue = transcript(
        "C: EHLO client.example.test
         S: 250-mx.here.test says EHLO to 192.0.2.9:4242
         S: 250-ENHANCEDSTATUSCODES
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250 SIZE 26214400
         C: MAIL FROM:<a@client.example.test> SIZE=100 BODY=8BITMIME
         C: RCPT TO:<b@here.test>
         C: RCPT TO:<c@elsewhere.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 550 5.7.1 relaying denied
         S: 354 send the message; end it with <CRLF>.<CRLF>
         C: Subject: dots
         C:
         C: ..
         C: .
         C: MAIL FROM:<>
         S: 250 2.0.0 OK 71/A0-03127-08B31BA6
         S: 250 2.1.0 MAIL FROM accepted
         C: QUIT
         S: 221 2.3.0 mx.here.test closing connection
         S: (closes)",
    );
    assert_eq!(dialogue.stored, [b"Trace: t\r\nSubject: dots\r\n\r\n..\r\n.\r\n"]);
    assert_eq!(dialogue.refusals, ["awaiting rcptto: 550 5.7.1 relaying denied"]);
}

#[test]
fn helo_is_answered_on_one_line() {
    transcript(
        "C: HELO pc
         S: 250 mx.here.test says HELO to 192.0.2.9:4242",
    );
}

#[test]
fn commands_out_of_sequence_are_refused() {
    transcript(
        "C: RCPT TO:<b@here.test>
         S: 503 5.5.1 RCPT TO without MAIL FROM
         C: DATA
         S: 503 5.5.1 DATA without MAIL FROM
         C: MAIL FROM:<a@x.test>
         C: MAIL FROM:<a@x.test>
         S: 250 2.1.0 MAIL FROM accepted
         S: 503 5.5.1 MAIL FROM already established
         C: DATA
         S: 503 5.5.1 DATA without RCPT TO
         C: RSET
         C: RCPT TO:<b@here.test>
         S: 250 2.0.0 OK
         S: 503 5.5.1 RCPT TO without MAIL FROM",
    );
    with(
        |options| options.require_ehlo = true,
        "C: MAIL FROM:<a@x.test>
         S: 550 5.5.1 RFC2821 HELO/EHLO needed",
    );
}

#[test]
fn ehlo_ends_a_transaction() {
    transcript(
        "C: MAIL FROM:<a@x.test>
         S: 250 2.1.0 MAIL FROM accepted
         C: HELO pc
         S: 250 mx.here.test says HELO to 192.0.2.9:4242
         C: RCPT TO:<b@here.test>
         S: 503 5.5.1 RCPT TO without MAIL FROM",
    );
}

#[test]
fn small_verbs_are_answered() {
    transcript(
        "C: noop a word
         C: VRFY ann
         C: EXPN list
         C: HELP
         C: XYZZY
         C:
         S: 250 2.0.0 OK
         S: 252 2.0.0 cannot VRFY user, send some mail and see
         S: 502 5.5.1 EXPN is not offered
         S: 214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP (RFC 5321)
         S: 500 5.5.2 unrecognized command
         S: 500 5.5.2 unrecognized command",
    );
}

#[test]
fn malformed_arguments_are_named() {
    transcript(
        "C: EHLO
         S: 501 5.5.2 invalid EHLO
         C: HELO a!b
         S: 501 5.5.2 invalid HELO
         C: MAIL FROM:a@x.test
         C: MAIL FROM:<a@x..test>
         C: MAIL FROM:<a@x.test> SIZE=ten
         C: MAIL FROM:<a@x.test> BODY=BINARYMIME
         C: MAIL FROM:<a@x.test> SMTPUTF8
         C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b>
         C: RCPT TO:<b@here.test> NOTIFY=NEVER
         C: RSET now
         C: NOOP \\0
         C: NOOP \\xe9
         C: DATA now
         S: 501 5.5.2 MAIL FROM syntax error: expected MAIL FROM:<local-part@domain>
         S: 501 5.5.2 MAIL FROM syntax error in <a@x..test>: expected local-part@domain
         S: 501 5.5.4 invalid parameter
         S: 501 5.5.4 invalid parameter
         S: 555 5.5.4 parameter not recognized
         S: 250 2.1.0 MAIL FROM accepted
         S: 501 5.5.2 RCPT TO syntax error in <b>: no domain, expected local-part@domain
         S: 555 5.5.4 parameter not recognized
         S: 501 5.5.4 invalid arguments to RSET
         S: 500 5.5.2 control or 8-bit octets in command
         S: 500 5.5.2 control or 8-bit octets in command
         S: 501 5.5.4 unexpected argument to DATA",
    );
}

#[test]
fn a_lone_cr_or_lf_in_a_command_ends_the_session() {
    for line in ["NOOP\\n\\", "NOOP\\rNOOP", "NOOP\\r\\r\\n\\", "\\n\\"] {
        transcript(&format!(
            "C: {line}
             C: MAIL FROM:<smuggled@x.test>
             S: 500 5.5.2 lone CR or LF in command, lines end with CRLF
             S: (closes)"
        ));
    }
}

#[test]
fn only_crlf_dot_crlf_ends_a_message_and_an_imitation_ends_the_session() {
    let open = "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>";
    let dialogue = transcript(&format!(
        "{open}
         C: text\\n.\\r\\nMAIL FROM:<smuggled@x.test>
         C: .
         C: NOOP
         S: 550 5.6.0 lone CR or LF in message
         S: (closes)"
    ));
    assert!(dialogue.stored.is_empty());
    transcript(&format!(
        "{open}
         C: one\\ntwo
         C: .
         C: NOOP
         S: 550 5.6.0 lone CR or LF in message
         S: 250 2.0.0 OK"
    ));
    transcript(&format!(
        "{open}
         C: text\\n.\\n\\
         T: 180
         S: 550 5.6.0 lone CR or LF in message
         S: (closes)"
    ));
}

#[test]
fn octets_before_the_reply_to_ehlo_or_data_end_the_session() {
    transcript(
        "C: EHLO pc
         C: MAIL FROM:<a@x.test>
         S: 554 5.5.0 improper command pipelining, closing connection
         S: (closes)",
    );
    transcript(
        "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: DATA
         C: Subject: early
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 554 5.5.0 improper command pipelining, closing connection
         S: (closes)",
    );
}

#[test]
fn command_lines_have_512_octets_and_mail_its_parameters_more() {
    let noop = |octets: usize| format!("NOOP {}", "x".repeat(octets - "NOOP \r\n".len()));
    let bare = "MAIL FROM:<a@x.test> BODY=7BIT\r\n".len();
    let mail = |octets: usize| format!("MAIL FROM:<a@x.test> {}BODY=7BIT", " ".repeat(octets - bare));
    transcript(&format!("C: {}\nS: 250 2.0.0 OK", noop(512)));
    transcript(&format!("C: {}\nS: 500 5.5.2 command line too long", noop(513)));
    transcript(&format!("C: {}\nC: NOOP\nS: 500 5.5.2 command line too long\nS: 250 2.0.0 OK", noop(9000)));
    transcript(&format!("C: {}\nS: 250 2.1.0 MAIL FROM accepted", mail(555)));
    transcript(&format!("C: {}\nS: 500 5.5.2 command line too long", mail(556)));
    transcript(&format!("C: {}\\\nS: 500 5.5.2 command line too long\nS: (closes)", noop(70_000)));
    transcript(&format!(
        "C: {}\\n\\\nS: 500 5.5.2 lone CR or LF in command, lines end with CRLF\nS: (closes)",
        noop(9000)
    ));
}

#[test]
fn size_is_refused_at_mail_and_at_the_end_of_a_message_that_lied() {
    let dialogue = with(
        |options| options.limits.message_octets_max = 30,
        "C: MAIL FROM:<a@x.test> SIZE=31
         S: 552 5.3.4 message size limit exceeded
         C: MAIL FROM:<a@x.test> SIZE=99999999999999999999
         S: 552 5.3.4 message size limit exceeded
         C: MAIL FROM:<a@x.test> SIZE=30
         C: RCPT TO:<b@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>
         C: Subject: more than thirty octets
         C:
         C: .
         C: NOOP
         S: 552 5.3.4 message size limit exceeded
         S: 250 2.0.0 OK",
    );
    assert!(dialogue.stored.is_empty());
}

#[test]
fn recipients_past_the_limit_are_all_answered_and_logged_once() {
    let mut dialogue = with(
        |options| (options.limits.message_recipients_max, options.limits.refusals_max) = (2, u32::MAX),
        "C: MAIL FROM:<a@x.test>
         S: 250 2.1.0 MAIL FROM accepted",
    );
    let said = dialogue.exchange("RCPT TO:<b@here.test>\r\n".repeat(10_000).as_bytes());
    assert_eq!(said.matches("250 2.1.5").count(), 2);
    assert_eq!(said.matches("452 4.5.3 Service unavailable, recipients per message limit reached\r\n").count(), 9998);
    assert_eq!((dialogue.refusals.len(), dialogue.repeated_refusals), (1, 9997), "all counted, one logged");
}

#[test]
fn a_session_has_as_many_messages_and_recipients_as_it_may() {
    let message = "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: RCPT TO:<c@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>
         C: .
         S: 250 2.0.0 OK 71/A0-03127-08B31BA6
         C: MAIL FROM:<a@x.test>";
    with(
        |options| options.limits.session_messages_max = 1,
        &format!("{message}\nS: 421 4.5.3 Service unavailable, batch limit reached\nS: (closes)"),
    );
    with(
        |options| options.limits.session_recipients_max = 3,
        &format!(
            "{message}
             C: RCPT TO:<b@here.test>
             C: RCPT TO:<c@here.test>
             S: 250 2.1.0 MAIL FROM accepted
             S: 250 2.1.5 RCPT TO accepted
             S: 452 4.5.3 Service unavailable, recipients per connection limit reached"
        ),
    );
    with(
        |options| options.limits.session_recipients_max = 2,
        &format!(
            "{message}
             S: 421 4.5.3 Service unavailable, recipients per connection limit reached
             S: (closes)"
        ),
    );
}

#[test]
fn too_many_bad_commands_end_the_session() {
    with(
        |options| options.limits.bad_commands_max = 3,
        "C: XYZZY / 1.1
         C: Host: mx.here.test
         C: Accept: all
         C: MAIL FROM:<a@x.test>
         S: 500 5.5.2 unrecognized command
         S: 500 5.5.2 unrecognized command
         S: 500 5.5.2 unrecognized command
         S: 421 4.7.0 too many errors, closing connection
         S: (closes)",
    );
    with(
        |options| {
            options.limits.bad_commands_max = 2;
            options.limits.idle_commands_max = 1;
        },
        "C: NOOP
         C: NOOP
         C: RSET
         S: 250 2.0.0 OK
         S: 450 4.7.0 too many commands without a message
         S: 450 4.7.0 too many commands without a message
         S: 421 4.7.0 too many errors, closing connection
         S: (closes)",
    );
}

#[test]
fn a_client_of_http_or_tls_is_told_and_dropped_before_its_lines_are_taken_for_commands() {
    for request in
        ["GET / HTTP/1.1", "POST /mail HTTP/1.0", "CONNECT mx:25 HTTP/1.1", "PRI * HTTP/2.0", "options * x\\\\"]
    {
        let dialogue = play(
            ServerOptions::named("mx.here.test"),
            &format!(
                "C: {request}
                 C: MAIL FROM:<a@x.test>
                 S: 220 mx.here.test ESMTP
                 S: 554 5.5.1 HTTP is not spoken here, closing connection
                 S: (closes)"
            ),
        );
        assert_eq!(dialogue.refusals.len(), 1);
    }
    let long = "x".repeat(600);
    transcript(&format!(
        "C: EHLO pc.test
         S: 250-mx.here.test says EHLO to 192.0.2.9:4242
         S: 250-ENHANCEDSTATUSCODES
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250 SIZE 26214400
         C: HEAD /{long}\\
         S: 554 5.5.1 HTTP is not spoken here, closing connection
         S: (closes)"
    ));
    for hello in ["\\x16\\x03\\x01\\x02\\x00\\x01\\", "\\x80\\x2e\\x01\\x03\\x01\\"] {
        transcript(&format!(
            "C: {hello}
             S: 554 5.5.1 TLS where a command was expected, closing connection
             S: (closes)"
        ));
    }
    transcript(
        "C: GETTING on
         S: 500 5.5.2 unrecognized command
         C: QUIT
         S: 221 2.3.0 mx.here.test closing connection
         S: (closes)",
    );
}

#[test]
fn a_client_that_is_refused_too_much_in_a_row_is_shown_the_door() {
    let three = |options: &mut ServerOptions| {
        options.limits.refusals_max = 3;
        options.limits.message_octets_max = 100;
        options.limits.message_recipients_max = 1;
    };
    with(
        three,
        "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<a@elsewhere.test>
         C: RCPT TO:<b@elsewhere.test>
         C: RCPT TO:<b@here.test>
         C: RCPT TO:<c@elsewhere.test>
         S: 250 2.1.0 MAIL FROM accepted
         S: 550 5.7.1 relaying denied
         S: 550 5.7.1 relaying denied
         S: 250 2.1.5 RCPT TO accepted
         S: 452 4.5.3 Service unavailable, recipients per message limit reached
         C: DATA
         S: 354 send the message; end it with <CRLF>.<CRLF>
         C: A: b
         C:
         C: .
         S: 250 2.0.0 OK 71/A0-03127-08B31BA6
         C: MAIL FROM:<a@x.test> SIZE=101
         C: MAIL FROM:<a@elsewhere.test>
         C: MAIL FROM:<a@elsewhere.test>
         C: QUIT
         S: 552 5.3.4 message size limit exceeded
         S: 550 5.7.1 relaying denied
         S: 550 5.7.1 relaying denied
         S: 421 4.7.0 too many refusals, closing connection
         S: (closes)",
    );
    // A client that may relay goes on.
    let mut options = ServerOptions::named("mx.here.test");
    three(&mut options);
    let mut trusted = Dialogue::new(options);
    trusted.session.set_trusted(true);
    let said =
        trusted.exchange(&[b"MAIL FROM:<a@x.test>\r\n", &*b"RCPT TO:<b@elsewhere.test>\r\n".repeat(50)].concat());
    assert_eq!((said.matches("550 5.7.1").count(), trusted.closed), (50, false));
}

#[test]
fn recipients_over_a_limit_are_no_refusals_until_there_is_no_end_of_them() {
    let mut options = ServerOptions::named("mx.here.test");
    (options.limits.refusals_max, options.limits.message_recipients_max) = (3, 1);
    let mut crowd = Dialogue::new(options);
    let recipients = |number| b"RCPT TO:<b@here.test>\r\n".repeat(number);
    let said = crowd.exchange(&[b"MAIL FROM:<a@x.test>\r\n", &*recipients(1001)].concat());
    assert_eq!((said.matches("452 4.5.3").count(), crowd.closed), (1000, false));
    // A message that is taken begins the count anew; a transaction does not.
    let said = crowd.exchange(b"DATA\r\n");
    assert!(said.starts_with("354"), "{said}");
    let said = crowd.exchange(b"A: b\r\n\r\n.\r\nMAIL FROM:<a@x.test>\r\n");
    assert!(said.starts_with("250 2.0.0") && said.ends_with("250 2.1.0 MAIL FROM accepted\r\n"), "{said}");
    let said = crowd.exchange(&recipients(801));
    assert_eq!((said.matches("452 4.5.3").count(), crowd.closed), (800, false));
    let said = crowd.exchange(&[b"RSET\r\nMAIL FROM:<a@x.test>\r\n", &*recipients(204)].concat());
    assert_eq!((said.matches("452 4.5.3").count(), said.matches("421 4.7.0").count(), crowd.closed), (203, 1, true));
}

#[test]
fn a_client_that_has_sent_its_mail_and_is_silent_was_refused_nothing() {
    let mail = "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>
         C: A: b
         C:
         C: .
         S: 250 2.0.0 OK 71/A0-03127-08B31BA6";
    let end = "T: 300
         S: 421 4.4.2 timed out waiting for the client, closing connection
         S: (closes)";
    assert_eq!(transcript(&format!("{mail}\n{end}")).refusals, [""; 0]);
    let begun = "C: MAIL FROM:<a@x.test>\nS: 250 2.1.0 MAIL FROM accepted";
    assert_eq!(transcript(&format!("{mail}\n{begun}\n{end}")).refusals.len(), 1, "a transaction broke off");
    assert_eq!(transcript(end).refusals.len(), 1, "no mail has come");
}

#[test]
fn a_silent_or_slow_client_is_told_and_dropped() {
    transcript(
        "T: 299
         C: NOO\\
         T: 1
         S: 421 4.4.2 timed out waiting for the client, closing connection
         S: (closes)",
    );
    let trickle = "C: a\\\nT: 179\n".repeat(20);
    transcript(&format!(
        "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>
         {trickle}
         C: a\\
         T: 180
         S: 421 4.4.2 timed out waiting for the client, closing connection
         S: (closes)"
    ));
}

#[test]
fn a_session_ends_between_messages_once_it_is_too_old() {
    with(
        |options| options.timeouts.session = std::time::Duration::from_secs(250),
        "C: NOOP
         S: 250 2.0.0 OK
         T: 200
         C: MAIL FROM:<a@x.test>
         C: RSET
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.0.0 OK
         T: 50
         C: MAIL FROM:<a@x.test>
         S: 421 4.4.2 session lifetime reached, closing connection
         S: (closes)",
    );
}

#[test]
fn shutdown_lets_a_coming_message_finish() {
    let mut dialogue = transcript(
        "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>",
    );
    dialogue.session.shutdown();
    assert_eq!(dialogue.exchange(b"text\r\n"), "");
    let farewell = "421 4.3.2 Service shutting down, closing connection\r\n";
    assert_eq!(dialogue.exchange(b".\r\n"), format!("250 2.0.0 OK 71/A0-03127-08B31BA6\r\n{farewell}"));
    assert!(dialogue.closed);

    let mut idle = transcript("");
    idle.session.shutdown();
    assert_eq!(idle.exchange(b""), farewell);
}

#[test]
fn a_session_of_an_old_configuration_ends_at_the_next_mail_or_rset() {
    for verb in ["MAIL FROM:<a@x.test>", "RSET"] {
        let mut dialogue = transcript("");
        dialogue.session.reconfigured(Reply::new(421, (4, 3, 2), "Reconfiguration in progress"));
        assert_eq!(dialogue.exchange(b"NOOP\r\n"), "250 2.0.0 OK\r\n");
        let said = dialogue.exchange(format!("{verb}\r\n").as_bytes());
        assert_eq!((&*said, dialogue.closed), ("421 4.3.2 Reconfiguration in progress\r\n", true));
    }
}

#[test]
fn policy_can_show_a_client_the_door() {
    let dialogue = transcript(
        "C: MAIL FROM:<a@leave.test>
         C: NOOP
         S: 421 4.7.0 please leave
         S: (closes)",
    );
    assert_eq!(dialogue.refusals, ["awaiting mailfrom: 421 4.7.0 please leave"]);
}

#[test]
fn extensions_that_are_not_offered_are_not_understood() {
    with(
        |options| {
            options.extensions.size = false;
            options.extensions.pipelining = false;
            options.extensions.eight_bit_mime = false;
            options.allow_null_reverse_path = false;
            options.allow_address_literal = false;
            options.blanks.trailing = true;
            options.reverse_path_domain = Some("here.test".into());
        },
        "C: EHLO pc
         S: 250-mx.here.test says EHLO to 192.0.2.9:4242
         S: 250 ENHANCEDSTATUSCODES
         C: MAIL FROM:<a@x.test> SIZE=1
         C: MAIL FROM:<>
         C: MAIL FROM:<a@[192.0.2.1]>
         C: MAIL FROM:<ann>
         C: RSET\\x20
         S: 555 5.5.4 parameter not recognized
         S: 550 5.7.1 null envelope sender not accepted
         S: 550 5.7.1 address literals not accepted
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.0.0 OK",
    );
}

#[test]
fn mended_lines_hide_no_second_message_and_the_session_goes_on() {
    let fix = |options: &mut ServerOptions| {
        options.lines = LineRules { lone_in_headers: Lone::Fix, lone_in_body: Lone::Fix, long: LongLines::Reject(998) };
    };
    let dialogue = with(
        fix,
        "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>
         C: Subject: x\\n\\nfirst\\n.\\nMAIL FROM:<evil@x.test>\\n.
         C: more
         C: .
         S: 250 2.0.0 OK 71/A0-03127-08B31BA6
         C: NOOP
         S: 250 2.0.0 OK",
    );
    let text = String::from_utf8(dialogue.stored[0].clone()).unwrap();
    assert_eq!(text, "Trace: t\r\nSubject: x\r\n\r\nfirst\r\n..\r\nMAIL FROM:<evil@x.test>\r\n..\r\nmore\r\n.\r\n");
    // Of what was sent behind its imitation of an end, a client that waits for a reply learns at last.
    with(
        fix,
        "C: MAIL FROM:<a@x.test>
         C: RCPT TO:<b@here.test>
         C: DATA
         S: 250 2.1.0 MAIL FROM accepted
         S: 250 2.1.5 RCPT TO accepted
         S: 354 send the message; end it with <CRLF>.<CRLF>
         C: Subject: x\\n.\\n\\
         T: 181
         S: 550 5.6.0 lone CR or LF in message
         S: (closes)",
    );
}

fn offers_tls(options: &mut ServerOptions) {
    options.extensions.starttls = true;
}

#[test]
fn starttls_forgets_the_client_and_is_offered_once() {
    let dialogue = with(
        offers_tls,
        "C: EHLO pc
         S: 250-mx.here.test says EHLO to 192.0.2.9:4242
         S: 250-ENHANCEDSTATUSCODES
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-SIZE 26214400
         S: 250 STARTTLS
         C: STARTTLS now
         S: 501 5.5.4 Syntax error (no parameters allowed)
         C: MAIL FROM:<a@x.test>
         S: 250 2.1.0 MAIL FROM accepted
         C: STARTTLS
         S: 503 5.5.1 STARTTLS within a mail transaction
         C: RSET
         S: 250 2.0.0 OK
         C: starttls
         S: 220 2.0.0 ready to start TLS
         S: (handshake)
         C: STARTTLS
         S: 503 5.5.1 TLS is already in effect
         C: EHLO pc
         S: 250-mx.here.test says EHLO to 192.0.2.9:4242
         S: 250-ENHANCEDSTATUSCODES
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250 SIZE 26214400",
    );
    assert!(dialogue.session.is_secured());
    let dialogue = with(
        offers_tls,
        "C: HELO pc
         S: 250 mx.here.test says HELO to 192.0.2.9:4242
         C: STARTTLS
         S: 220 2.0.0 ready to start TLS
         S: (handshake)",
    );
    assert!(dialogue.session.helo().is_none(), "what came in the clear is forgotten");
    transcript(
        "C: STARTTLS
         S: 502 5.5.1 STARTTLS is not offered",
    );
}

#[test]
fn nothing_that_came_in_the_clear_behind_starttls_is_obeyed() {
    let dialogue = with(
        offers_tls,
        "C: STARTTLS
         C: MAIL FROM:<injected@x.test>
         S: 554 5.5.0 improper command pipelining, closing connection
         S: (closes)",
    );
    assert!(!dialogue.session.is_secured());
    let dialogue = with(
        |options| {
            offers_tls(options);
            options.injection = Injection::Ignore;
        },
        "C: STARTTLS
         C: MAIL FROM:<injected@x.test>
         C: RCPT TO:<b@here.test>
         S: 220 2.0.0 ready to start TLS
         S: (handshake)
         C: RCPT TO:<b@here.test>
         S: 503 5.5.1 RCPT TO without MAIL FROM",
    );
    assert!(dialogue.session.is_secured());
}

#[test]
fn where_tls_is_required_nothing_about_mail_goes_before_it() {
    with(
        |options| {
            offers_tls(options);
            options.require_tls = true;
        },
        "C: HELO pc
         S: 250 mx.here.test says HELO to 192.0.2.9:4242
         C: MAIL FROM:<a@x.test>
         S: 530 5.7.0 must issue a STARTTLS command first
         C: VRFY ann
         S: 530 5.7.0 must issue a STARTTLS command first
         C: DATA
         S: 530 5.7.0 must issue a STARTTLS command first
         C: NOOP
         S: 250 2.0.0 OK
         C: STARTTLS
         S: 220 2.0.0 ready to start TLS
         S: (handshake)
         C: MAIL FROM:<a@x.test>
         S: 250 2.1.0 MAIL FROM accepted
         C: QUIT
         S: 221 2.3.0 mx.here.test closing connection
         S: (closes)",
    );
}
