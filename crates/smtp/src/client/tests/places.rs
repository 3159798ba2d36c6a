//! Who is charged with a reply, by its code and its place (`verdict` has the table).

use super::*;

const TWO: &str =
    "C: MAIL FROM:<a@here.test> SIZE=21\nC+ RCPT TO:<b1@there.test>\nC+ RCPT TO:<b2@there.test>\nC+ DATA\n";

#[test]
fn recipients_beyond_a_limit_are_left_for_another_transaction() {
    for reply in ["552 too many", "452 4.5.3 too many"] {
        let mut shell = Shell::new(&[3], false);
        shell.server_says(b"220 x\r\n");
        shell.server_says(b"250-x\r\n250 PIPELINING\r\n");
        shell.server_says(format!("250 ok\r\n250 ok\r\n{reply}\r\n{reply}\r\n354 go\r\n").as_bytes());
        shell.session.input(b"250 2.0.0 taken\r\n", shell.now);
        let Some(Event::Done(done)) = shell.session.event() else { panic!("the transaction is over") };
        assert!(matches!(done.outcomes[..], [Outcome::Delivered(_), Outcome::Untried, Outcome::Untried]), "{done:?}");
        assert_eq!(done.recipients_max, Some(1));
    }
}

#[test]
fn to_the_first_recipient_the_same_codes_speak_of_its_mailbox() {
    transcript(
        &[2],
        &format!(
            "{OPENING}{TWO}S: 250 ok
             S: 552 5.2.2 over quota
             S: 452 4.2.2 full
             S: 503 5.5.1 no recipients
             -> failed @5 552 5.2.2 over quota
             -> failed @5 452 4.2.2 full"
        ),
    );
}

#[test]
fn a_full_mailbox_behind_others_goes_again_and_is_no_limit() {
    let mut shell = Shell::new(&[2], false);
    shell.server_says(b"220 x\r\n");
    shell.server_says(b"250-x\r\n250 PIPELINING\r\n");
    shell.server_says(b"250 ok\r\n250 ok\r\n552 5.2.2 over quota\r\n354 go\r\n");
    shell.session.input(b"250 2.0.0 taken\r\n", shell.now);
    let Some(Event::Done(done)) = shell.session.event() else { panic!("the transaction is over") };
    assert!(matches!(done.outcomes[..], [Outcome::Delivered(_), Outcome::Untried]), "{done:?}");
    assert_eq!(done.recipients_max, None);
}

#[test]
fn a_421_to_one_recipient_is_an_answer_to_that_one_only() {
    transcript(
        &[3],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ RCPT TO:<b2@there.test>
             C+ RCPT TO:<b3@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 421 4.7.0 bye
             -> untried
             -> failed @5 421 4.7.0 bye
             -> untried
             -> over refused @5 421 4.7.0 bye"
        ),
    );
}

#[test]
fn a_421_in_the_place_of_mail_is_an_answer_to_no_message() {
    transcript(
        &[2],
        &format!("{OPENING}{TWO}S: 421 4.3.2 bye\n-> untried\n-> untried\n-> over refused @3 421 4.3.2 bye"),
    );
}

#[test]
fn a_421_to_data_or_the_dot_is_an_answer_to_all_that_were_taken() {
    transcript(
        &[2],
        &format!(
            "{OPENING}{TWO}S: 250 ok
             S: 550 5.1.1 no
             S: 250 ok
             S: 421 4.3.2 bye
             -> failed @5 550 5.1.1 no
             -> failed @7 421 4.3.2 bye
             -> over refused @7 421 4.3.2 bye"
        ),
    );
    transcript(
        &[2],
        &format!(
            "{LMTP_OPENING}{}S: 250 ok
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (body)
             S: 421 4.3.2 bye
             -> failed @9 421 4.3.2 bye
             -> failed @9 451 4.4.2 [internal] connection closed by remote host
             -> over refused @9 421 4.3.2 bye",
            TWO.replace(" SIZE=21", "")
        ),
    );
}

#[test]
fn a_break_off_before_the_dot_leaves_the_message_untried() {
    for (heard, stage) in [("", 3), ("S: 250 ok\n", 5), ("S: 250 ok\nS: 250 ok\nS: 550 no\n", 7)] {
        let failed = if stage == 7 { "-> failed @5 550 no" } else { "-> untried" };
        transcript(
            &[2],
            &format!(
                "{OPENING}{TWO}{heard}(close)\n-> untried\n{failed}
                 -> over broken @{stage} 451 4.4.2 [internal] connection closed by remote host"
            ),
        );
    }
}

#[test]
fn replies_that_follow_from_a_refused_mail_are_no_verdicts() {
    transcript(
        &[2, 1],
        &format!(
            "{OPENING}{TWO}S: 452 4.3.1 full
             S: 503 5.5.1 need MAIL
             S: 503 5.5.1 need MAIL
             S: 503 5.5.1 need RCPT
             -> failed @3 452 4.3.1 full
             -> failed @3 452 4.3.1 full
             C: RSET
             C+ MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA"
        ),
    );
}

#[test]
fn a_command_in_sequence_that_is_called_out_of_sequence_ends_the_session_and_fails_no_message() {
    for (heard, stage) in [("", 3), ("S: 250 ok\n", 5), ("S: 250 ok\nS: 250 ok\nS: 250 ok\n", 7)] {
        transcript(
            &[2],
            &format!(
                "{OPENING}{TWO}{heard}S: 503 5.5.1 bad sequence\n-> untried\n-> untried
                 -> over out of step @{stage} 503 5.5.1 bad sequence"
            ),
        );
    }
    let text = "451 4.4.2 [internal] invalid response for BODY: 503 5.5.1 bad sequence";
    transcript(
        &[2],
        &format!(
            "{OPENING}{TWO}S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: (body)\nS: 503 5.5.1 bad sequence
             -> failed @9 {text}\n-> failed @9 {text}\n-> over out of step @9 503 5.5.1 bad sequence"
        ),
    );
}

#[test]
fn parameters_that_are_offered_and_not_taken_are_left_out() {
    transcript(
        &[1],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 555 5.5.4 unsupported
             S: 503 5.5.1 need MAIL
             S: 503 5.5.1 need MAIL
             -> untried"
        ),
    );
    let mut shell = Shell::new(&[1], false);
    shell.server_says(b"220 x\r\n");
    shell.server_says(b"250-x\r\n250-SIZE\r\n250-8BITMIME\r\n250 PIPELINING\r\n");
    shell.server_says(b"555 5.5.4 unsupported\r\n503 no\r\n503 no\r\n");
    assert!(!shell.session.extensions().eight_bit_mime, "what has 8 bits is converted from now on");
    shell.messages.push_back(1);
    shell.seen.clear();
    shell.turn();
    assert!(shell.seen.starts_with("C: RSET\nC+ MAIL FROM:<a@here.test>\n"), "{}", shell.seen);
    shell.seen.clear();
    shell.server_says(b"250 ok\r\n555 5.5.4 never\r\n503 no\r\n503 no\r\n");
    assert_eq!(shell.seen, "-> failed @3 555 5.5.4 never\n", "without parameters it is a verdict");
}

#[test]
fn a_host_that_takes_no_mail_is_not_asked_for_helo() {
    for reply in ["521 5.3.2 no mail here", "554 5.3.2 no service"] {
        transcript(&[1], &format!("S: 220 mx\nC: EHLO client.test\nS: {reply}\n-> over refused @11 {reply}"));
    }
}

#[test]
fn a_code_for_unknown_commands_behind_a_body_ends_the_session() {
    transcript(
        &[2],
        &format!(
            "{OPENING}{TWO}S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: (body)\nS: 500 5.5.2 what
             -> failed @9 500 5.5.2 what\n-> failed @9 500 5.5.2 what\n-> over"
        ),
    );
}
