//! Transcripts of client sessions, and what hostile servers may not do to one.
//!
//! In a transcript `S:` is a line from the server, `C:` a line the session must send then, `C+` marks that it must be in
//! the same write as the line before, and `->` is an event the shell must be told. Replies on lines that follow each other
//! come in one packet: nothing is sent between them.

use std::fmt::Write as _;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::address::Mailbox;

mod places;
mod steps;

const BODY: &[u8] = b"Subject: x\r\n\r\nhello\r\n.\r\n";

fn options() -> ClientOptions {
    ClientOptions { ehlo_name: "client.test".into(), timeouts: Timeouts::default(), pipelining: true, lmtp: false }
}

#[allow(clippy::disallowed_methods)] // any origin will do: tests only add to it
fn start() -> Instant {
    Instant::now()
}

fn reverse_path() -> ReversePath {
    ReversePath::Mailbox(Mailbox::parse("a@here.test").unwrap())
}

fn forward_paths(count: usize) -> Vec<ForwardPath> {
    (1..=count).map(|n| ForwardPath(Mailbox::parse(&format!("b{n}@there.test")).unwrap())).collect()
}

/// Drives a session: gives it a message of so many recipients whenever it takes one, and writes down what it does.
struct Shell {
    session: ClientSession,
    messages: VecDeque<usize>,
    submitted: usize,
    seen: String,
    now: Instant,
}

impl Shell {
    fn new(messages: &[usize], lmtp: bool) -> Self {
        let now = start();
        let session = ClientSession::new(ClientOptions { lmtp, ..options() }, now);
        Self { session, messages: messages.iter().copied().collect(), submitted: 0, seen: String::new(), now }
    }

    fn server_says(&mut self, octets: &[u8]) {
        self.session.input(octets, self.now);
        self.turn();
    }

    /// Takes events, submits, and sends all there is in one write.
    fn turn(&mut self) {
        while let Some(event) = self.session.event() {
            self.note(event);
        }
        while self.session.accepts_transaction()
            && let Some(recipients) = self.messages.pop_front()
        {
            let paths = forward_paths(recipients);
            self.session.submit(&reverse_path(), &paths, Bytes::from_static(BODY), false);
            self.submitted += 1;
            while let Some(event) = self.session.event() {
                self.note(event);
            }
        }
        self.write();
    }

    fn write(&mut self) {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = self.session.outbox().slices(&mut slices);
        let octets: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        let text = String::from_utf8(octets).unwrap().replace(std::str::from_utf8(BODY).unwrap(), "(body)\r\n");
        for (n, line) in text.lines().enumerate() {
            writeln!(self.seen, "{} {line}", if n == 0 { "C:" } else { "C+" }).unwrap();
        }
        let all = self.session.outbox().len();
        self.session.sent(all, self.now);
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Open => self.seen.push_str("-> open\n"),
            Event::Over(end) => {
                let how = match &end {
                    End::Quiet => "",
                    End::Refused(_) => " refused",
                    End::Broken(_) => " broken",
                    End::OutOfStep(_) => " out of step",
                };
                let failure = end.failure().map_or_else(String::new, |failure| format!(" {}", shown(failure)));
                writeln!(self.seen, "-> over{how}{failure}").unwrap();
            }
            Event::Done(done) => {
                for outcome in done.outcomes {
                    match outcome {
                        Outcome::Delivered(reply) => writeln!(self.seen, "-> delivered {reply}").unwrap(),
                        Outcome::Failed(failure) => writeln!(self.seen, "-> failed {}", shown(&failure)).unwrap(),
                        Outcome::Untried => self.seen.push_str("-> untried\n"),
                    }
                }
            }
        }
    }
}

fn shown(failure: &Failure) -> String {
    format!("@{} {}", failure.stage.number(), failure.reply)
}

/// Plays the `S:` lines of a transcript and checks that the whole dialogue is the transcript.
fn transcript(messages: &[usize], expected: &str) {
    let expected: String = expected.lines().map(|line| line.trim().to_owned() + "\n").collect();
    let mut shell = Shell::new(messages, expected.contains("C: LHLO"));
    let mut said = String::new();
    let mut lines = expected.lines().peekable();
    while let Some(line) = lines.next() {
        match line.split_once(' ') {
            Some(("S:", reply)) => said.push_str(&format!("{reply}\r\n")),
            _ if line == "(close)" => {
                writeln!(shell.seen, "(close)").unwrap();
                shell.session.closed();
                shell.turn();
            }
            _ if line == "(deadline)" => {
                writeln!(shell.seen, "(deadline)").unwrap();
                shell.session.deadline_passed();
                shell.turn();
            }
            _ => {}
        }
        if !said.is_empty() && !lines.peek().is_some_and(|next| next.starts_with("S:")) {
            for reply in said.lines() {
                writeln!(shell.seen, "S: {reply}").unwrap();
            }
            shell.server_says(std::mem::take(&mut said).as_bytes());
        }
    }
    assert_eq!(shell.seen, expected, "\n--- got\n{}--- expected\n{expected}", shell.seen);
}

const OPENING: &str =
    "S: 220 mx.there.test\nC: EHLO client.test\nS: 250-mx.there.test\nS: 250-SIZE 1000\nS: 250 PIPELINING\n-> open\n";

#[test]
fn a_body_and_the_next_transaction_leave_in_one_write() {
    transcript(
        &[1, 1],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 2.1.0 ok
             S: 250 2.1.5 ok
             S: 354 go
             C: (body)
             C+ MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 2.0.0 queued as 1
             S: 250 2.1.0 ok
             S: 250 2.1.5 ok
             S: 354 go
             -> delivered 250 2.0.0 queued as 1
             C: (body)
             S: 250 2.0.0 queued as 2
             -> delivered 250 2.0.0 queued as 2
             (deadline)
             C: QUIT
             S: 221 bye
             -> over"
        ),
    );
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    transcript(
        &[2],
        "S: 220 mx
         C: EHLO client.test
         S: 502 what
         C: HELO client.test
         S: 250 mx
         -> open
         C: MAIL FROM:<a@here.test>
         S: 250 ok
         C: RCPT TO:<b1@there.test>
         S: 550 5.1.1 no
         C: RCPT TO:<b2@there.test>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (body)
         S: 250 fine
         -> failed @5 550 5.1.1 no
         -> delivered 250 fine",
    );
}

#[test]
fn without_pipelining_a_refused_mail_or_the_last_refused_rcpt_ends_the_transaction() {
    transcript(
        &[1, 1, 1],
        "S: 220 mx
         C: EHLO client.test
         S: 250 mx
         -> open
         C: MAIL FROM:<a@here.test>
         S: 450 4.7.1 later
         -> failed @3 450 4.7.1 later
         C: MAIL FROM:<a@here.test>
         S: 250 ok
         C: RCPT TO:<b1@there.test>
         S: 550 5.1.1 no
         -> failed @5 550 5.1.1 no
         C: RSET
         S: 250 ok
         C: MAIL FROM:<a@here.test>
         S: 250 ok
         C: RCPT TO:<b1@there.test>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (body)
         S: 250 ok
         -> delivered 250 ok",
    );
}

#[test]
fn a_refused_recipient_is_followed_by_rset_in_the_next_group() {
    transcript(
        &[1, 1],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 550-5.1.1 no such
             S: 550 5.1.1 user
             S: 554 5.5.1 no valid recipients
             -> failed @5 550 5.1.1 no such user
             C: RSET
             C+ MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 reset
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (body)
             S: 452 4.3.1 full
             -> failed @9 452 4.3.1 full"
        ),
    );
}

#[test]
fn a_354_without_recipients_gets_a_lone_dot() {
    transcript(
        &[1],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 450 4.2.1 busy
             S: 354 go on then
             C: .
             S: 250 took nothing
             -> failed @5 450 4.2.1 busy"
        ),
    );
}

#[test]
fn a_refused_data_fails_the_accepted_recipients() {
    transcript(
        &[2],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ RCPT TO:<b2@there.test>
             C+ DATA
             S: 250 ok
             S: 550 5.1.1 no
             S: 250 ok
             S: 451 4.3.0 not now
             -> failed @5 550 5.1.1 no
             -> failed @7 451 4.3.0 not now"
        ),
    );
}

#[test]
fn a_421_ends_the_session_and_leaves_later_mail_untried() {
    transcript(
        &[1, 1],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (body)
             C+ MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 421 4.3.2 going down
             -> failed @9 421 4.3.2 going down
             -> untried
             -> over refused @9 421 4.3.2 going down"
        ),
    );
}

#[test]
fn a_close_between_messages_costs_the_next_one_nothing() {
    transcript(
        &[1, 1],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (body)
             C+ MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 taken
             -> delivered 250 taken
             (close)
             -> untried
             -> over broken @3 451 4.4.2 [internal] connection closed by remote host"
        ),
    );
}

/// Two messages, the second of which leaves in one group with the body of the first.
fn two_in_one_group() -> String {
    format!(
        "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
         C+ RCPT TO:<b1@there.test>
         C+ DATA
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: (body)
         C+ MAIL FROM:<a@here.test> SIZE=21
         C+ RCPT TO:<b1@there.test>
         C+ DATA"
    )
}

#[test]
fn a_refusal_behind_the_reply_to_the_dot_judges_no_message_that_was_said_in_advance() {
    for refusal in ["550 5.7.1 so many messages are enough", "451 4.7.0 slow down", "554 bye"] {
        transcript(
            &[1, 1],
            &format!(
                "{}
                 S: 250 taken
                 S: {refusal}
                 -> delivered 250 taken
                 (close)
                 -> untried
                 -> over refused @3 {refusal}",
                two_in_one_group()
            ),
        );
    }
}

#[test]
fn a_mail_that_was_refused_in_advance_is_said_again_in_turn_and_then_its_answer_holds() {
    let again = |answers: &str| {
        format!(
            "{}
             S: 250 taken
             S: 550 5.7.1 not from you
             S: 503 5.5.1 no
             S: 503 5.5.1 no
             -> delivered 250 taken
             -> untried
             C: RSET
             C+ MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 reset
             {answers}",
            two_in_one_group()
        )
    };
    let refused = "S: 550 5.7.1 not from you
                   S: 503 5.5.1 no
                   S: 503 5.5.1 no
                   -> failed @3 550 5.7.1 not from you";
    transcript(&[1, 1, 1], &again(refused));
    // Once that is cleared up, mail goes in one group again.
    let taken = "S: 250 ok
                 S: 250 ok
                 S: 354 go
                 C: (body)
                 C+ MAIL FROM:<a@here.test> SIZE=21
                 C+ RCPT TO:<b1@there.test>
                 C+ DATA";
    transcript(&[1, 1, 1, 1], &again(taken));
}

#[test]
fn a_close_or_silence_after_the_dot_is_a_transient_failure() {
    for (event, text) in [("(close)", "connection closed by remote host"), ("(deadline)", "no response for BODY")] {
        transcript(
            &[1],
            &format!(
                "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
                 C+ RCPT TO:<b1@there.test>
                 C+ DATA
                 S: 250 ok
                 S: 250 ok
                 S: 354 go
                 C: (body)
                 {event}
                 -> failed @9 451 4.4.2 [internal] {text}
                 -> over broken @9 451 4.4.2 [internal] {text}"
            ),
        );
    }
}

#[test]
fn a_session_that_cannot_open_says_why() {
    transcript(&[1], "S: 554 5.7.1 go away\n-> over refused @12 554 5.7.1 go away");
    transcript(&[1], "(deadline)\n-> over broken @12 451 4.4.2 [internal] no banner");
    transcript(&[1], "S: hello there\n-> over out of step @12 451 4.4.2 [internal] invalid banner");
    transcript(&[1], "S: 220 x\nC: EHLO client.test\nS: 421 busy\n-> over refused @11 421 busy");
}

#[test]
fn a_positive_reply_of_the_wrong_kind_is_garbage() {
    transcript(
        &[1],
        &format!(
            "{OPENING}C: MAIL FROM:<a@here.test> SIZE=21
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 250 ok
             -> untried
             -> over out of step @7 451 4.4.2 [internal] invalid response for DATA"
        ),
    );
}

#[test]
fn a_message_over_the_declared_size_is_not_sent() {
    let mut shell = Shell::new(&[], false);
    shell.server_says(b"220 x\r\n");
    shell.server_says(b"250-x\r\n250 SIZE 10\r\n");
    shell.messages.push_back(1);
    shell.seen.clear();
    shell.turn();
    let text = "-> failed @2 552 5.3.4 [internal] message size exceeds the limit declared by the remote host\n";
    assert_eq!(shell.seen, text);
    assert!(shell.session.is_idle());
}

#[test]
fn each_stage_has_its_deadline() {
    let mut shell = Shell::new(&[1], false);
    let now = shell.now;
    let after = |shell: &Shell| (shell.session.deadline() - now).as_secs();
    assert_eq!(after(&shell), 300);
    shell.server_says(b"220 x\r\n");
    shell.server_says(b"250-x\r\n250 PIPELINING\r\n");
    shell.now += Duration::from_secs(10);
    shell.server_says(b"250 ok\r\n");
    assert_eq!(after(&shell), 310);
    shell.now += Duration::from_secs(10);
    shell.server_says(b"250 ok\r\n354");
    assert_eq!(after(&shell), 620);
    shell.now += Duration::from_secs(10);
    shell.server_says(b"-go");
    assert_eq!(after(&shell), 620, "half a reply is no progress");
}

/// What a server may say, in and out of place.
fn server_lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => Just(&b"250 ok\r\n"[..]),
        4 => Just(&b"354 go\r\n"[..]),
        2 => Just(&b"220 x\r\n"[..]),
        2 => Just(&b"250-x\r\n250-PIPELINING\r\n250 SIZE 100\r\n"[..]),
        2 => Just(&b"450 4.2.1 later\r\n"[..]),
        2 => Just(&b"550-5.1.1 no\r\n550 5.1.1 no\r\n"[..]),
        1 => Just(&b"421 bye\r\n"[..]),
        1 => Just(&b"25"[..]),
        1 => Just(&b"\xff\0\r\n"[..]),
    ];
    proptest::collection::vec(line, 0..60).prop_map(|lines| lines.concat())
}

/// A server that answers what it is asked, with codes of its own choosing, and never speaks first.
struct Answers<'a> {
    codes: std::iter::Cycle<std::slice::Iter<'a, u16>>,
}

impl Answers<'_> {
    fn to(&mut self, seen: &str) -> Vec<u8> {
        let mut replies = String::new();
        for line in seen.lines().filter_map(|line| line.strip_prefix("C: ").or(line.strip_prefix("C+ "))) {
            let code = *self.codes.next().unwrap();
            let reply = match line.split([' ', ':']).next().unwrap() {
                "EHLO" => "250-x\r\n250 PIPELINING\r\n".to_owned(),
                "DATA" if code < 300 => "354 go\r\n".to_owned(),
                _ => format!("{code}-first\r\n{code} second\r\n"),
            };
            replies.push_str(&reply);
        }
        replies.into_bytes()
    }
}

fn outcomes(codes: &[u16], step: usize) -> Vec<String> {
    let mut shell = Shell::new(&[1, 3, 2, 1, 1], false);
    let mut answers = Answers { codes: codes.iter().cycle() };
    let mut said = b"220 x\r\n".to_vec();
    let mut shown = Vec::new();
    while !said.is_empty() {
        shell.seen.clear();
        for piece in said.chunks(step) {
            shell.server_says(piece);
        }
        shown.extend(shell.seen.lines().filter(|line| line.starts_with("->")).map(str::to_owned));
        said = answers.to(&shell.seen);
    }
    shown
}

proptest! {
    #[test]
    fn any_cutting_of_the_replies_gives_the_same_outcomes(
        codes in proptest::collection::vec(prop_oneof![4 => Just(250u16), 1 => Just(450), 1 => Just(550), 1 => 400u16..600], 1..40),
        step in 1usize..60,
    ) {
        let whole = outcomes(&codes, usize::MAX);
        prop_assert!(1 < whole.len());
        prop_assert_eq!(outcomes(&codes, step), whole);
    }

    #[test]
    fn every_submitted_recipient_gets_one_outcome_and_the_session_one_end(script in server_lines(), step in 1usize..40) {
        let messages = [2, 1, 3, 1, 1];
        let mut shell = Shell::new(&messages, false);
        for piece in script.chunks(step) {
            shell.server_says(piece);
        }
        shell.session.closed();
        shell.turn();
        let recipients: usize = messages[..shell.submitted].iter().sum();
        let outcomes = shell.seen.lines().filter(|l| l.starts_with("-> ") && !l.starts_with("-> o")).count();
        prop_assert_eq!(outcomes, recipients);
        prop_assert_eq!(shell.seen.matches("-> over").count(), 1);
        prop_assert!(!shell.session.accepts_transaction());
    }
}

const LMTP_OPENING: &str =
    "S: 220 mx.there.test\nC: LHLO client.test\nS: 250-mx.there.test\nS: 250 PIPELINING\n-> open\n";

#[test]
fn lmtp_answers_the_end_of_data_once_for_each_recipient_that_was_taken() {
    transcript(
        &[3, 1],
        &format!(
            "{LMTP_OPENING}C: MAIL FROM:<a@here.test>
             C+ RCPT TO:<b1@there.test>
             C+ RCPT TO:<b2@there.test>
             C+ RCPT TO:<b3@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 550 5.1.1 no
             S: 250 ok
             S: 354 go
             C: (body)
             C+ MAIL FROM:<a@here.test>
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 2.0.0 one
             S: 452 4.2.2 b3 is full
             S: 250 ok
             S: 250 ok
             S: 354 go
             -> delivered 250 2.0.0 one
             -> failed @5 550 5.1.1 no
             -> failed @9 452 4.2.2 b3 is full
             C: (body)
             S: 250 2.0.0 two
             -> delivered 250 2.0.0 two"
        ),
    );
}

#[test]
fn lmtp_that_ends_between_two_replies_leaves_each_recipient_its_own_fate() {
    transcript(
        &[2],
        &format!(
            "{LMTP_OPENING}C: MAIL FROM:<a@here.test>
             C+ RCPT TO:<b1@there.test>
             C+ RCPT TO:<b2@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (body)
             S: 250 2.0.0 one
             (close)
             -> delivered 250 2.0.0 one
             -> failed @9 451 4.4.2 [internal] connection closed by remote host
             -> over broken @9 451 4.4.2 [internal] connection closed by remote host"
        ),
    );
}

#[test]
fn lmtp_without_a_recipient_has_no_reply_to_the_end_of_data_and_no_helo_to_fall_back_to() {
    transcript(
        &[1, 1],
        &format!(
            "{LMTP_OPENING}C: MAIL FROM:<a@here.test>
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 550 5.1.1 no
             S: 354 go
             -> failed @5 550 5.1.1 no
             C: .
             C+ MAIL FROM:<a@here.test>
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (body)
             S: 250 fine
             -> delivered 250 fine"
        ),
    );
    transcript(
        &[1],
        "S: 220 mx
         C: LHLO client.test
         S: 500 5.5.1 what
         -> over refused @11 500 5.5.1 what",
    );
}
