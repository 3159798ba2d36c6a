//! A reply answers what was sent whole before it began, and nothing else.

use super::*;
use bytes::Bytes;

/// `MAIL`, `RCPT` and `DATA` of one recipient, in one group.
const GROUP: &str = "C: MAIL FROM:<a@here.test> SIZE=21\nC+ RCPT TO:<b1@there.test>\nC+ DATA\n";
const AHEAD: &str = "451 4.4.2 [internal] response to what was not sent yet";

#[test]
fn good_news_of_a_body_that_was_not_sent_is_none() {
    transcript(
        &[1],
        &format!(
            "{OPENING}{GROUP}S: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 ok\n-> untried\n-> over out of step @8 {AHEAD}"
        ),
    );
}

#[test]
fn lmtp_is_not_believed_for_any_recipient_before_the_dot() {
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
             S: 250 one
             S: 250 two
             -> untried
             -> untried
             -> over out of step @8 {AHEAD}"
        ),
    );
}

#[test]
fn lmtp_replies_beyond_the_recipients_are_no_answers_to_the_next_mail() {
    transcript(
        &[1],
        &format!(
            "{LMTP_OPENING}C: MAIL FROM:<a@here.test>
             C+ RCPT TO:<b1@there.test>
             C+ DATA
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (body)
             S: 250 one
             S: 250 two
             -> delivered 250 one
             -> over out of step @1 451 4.4.2 [internal] unexpected response while idle"
        ),
    );
}

#[test]
fn a_greeting_with_the_reply_to_ehlo_behind_it_opens_no_session() {
    transcript(&[1], &format!("S: 220 mx\nS: 250 mx\n-> over out of step @10 {AHEAD}"));
    transcript(&[1], "S: 250 mx\n-> over out of step @12 451 4.4.2 [internal] invalid banner");
}

#[test]
fn a_reply_said_twice_is_not_the_answer_to_the_next_command() {
    for (spoken, heard, stage) in [
        ("C: MAIL FROM:<a@here.test>", "S: 250 ok\nS: 250 ok", 4),
        ("C: MAIL FROM:<a@here.test>\nS: 250 ok\nC: RCPT TO:<b1@there.test>", "S: 250 ok\nS: 354 go", 6),
        (
            "C: MAIL FROM:<a@here.test>\nS: 250 ok\nC: RCPT TO:<b1@there.test>\nS: 250 ok\nC: DATA",
            "S: 354 go\nS: 250 ok",
            8,
        ),
    ] {
        transcript(
            &[1],
            &format!(
                "S: 220 mx\nC: EHLO client.test\nS: 250 mx\n-> open\n{spoken}\n{heard}
                 -> untried\n-> over out of step @{stage} {AHEAD}"
            ),
        );
    }
}

#[test]
fn what_is_left_over_from_a_message_is_not_taken_for_the_next() {
    let served = format!("{OPENING}{GROUP}S: 250 ok\nS: 250 ok\nS: 354 go\nC: (body)\n");
    transcript(
        &[1],
        &format!(
            "{served}S: 250 mine\nS: 250 surplus\n-> delivered 250 mine
             -> over out of step @1 451 4.4.2 [internal] unexpected response while idle"
        ),
    );
    // Under PIPELINING it stands in the place of the next answer, and each of those in the place of another.
    transcript(
        &[1, 1],
        &format!(
            "{served}{}S: 250 mine\nS: 250 surplus\nS: 250 ok\nS: 250 ok\nS: 354 go\n-> delivered 250 mine\n-> untried
             -> over out of step @7 451 4.4.2 [internal] invalid response for DATA",
            GROUP.replace("C: ", "C+ ")
        ),
    );
    let mut shell = Shell::new(&[1, 1], false);
    shell.server_says(b"220 x\r\n");
    shell.server_says(b"250-x\r\n250 PIPELINING\r\n");
    shell.server_says(b"250 ok\r\n550 no\r\n554 none\r\n");
    assert!(shell.seen.contains("RSET"), "{}", shell.seen);
    shell.seen.clear();
    shell.session.quit();
    shell.server_says(b"250 reset\r\n250 ok\r\n550 no\r\n554 none\r\n221 bye\r\n");
    assert!(shell.seen.ends_with(&format!("-> over out of step @1 {AHEAD}\n")), "{}", shell.seen);
}

#[test]
fn a_reply_that_began_before_the_command_was_sent_does_not_answer_it() {
    let mut shell = Shell::new(&[1], false);
    shell.server_says(b"220 x\r\n");
    shell.server_says(b"250-x\r\n250 PIPELINING\r\n");
    shell.server_says(b"250 ok\r\n250 ok\r\n354 go\r\n25");
    shell.seen.clear();
    shell.server_says(b"0 delivered\r\n");
    // It was sent by then, so it may have been taken.
    assert_eq!(shell.seen, format!("-> failed @9 {AHEAD}\n-> over out of step @9 {AHEAD}\n"));
}

/// A session with the body of its one message in the outbox, and so many octets of it sent.
fn within_body(recipients: usize, lmtp: bool, sent: usize) -> Shell {
    let mut shell = Shell::new(&[recipients], lmtp);
    shell.server_says(b"220 x\r\n");
    shell.server_says(b"250-x\r\n250 PIPELINING\r\n");
    shell.server_says("250 ok\r\n".repeat(1 + recipients).as_bytes());
    shell.session.input(b"354 go\r\n", shell.now);
    assert_eq!(shell.session.outbox().len(), BODY.len());
    shell.session.sent(sent, shell.now);
    shell.seen.clear();
    shell
}

#[test]
fn a_refusal_in_the_middle_of_the_body_is_one_and_the_rest_is_not_sent() {
    for reply in ["452 4.3.1 full", "552 5.3.4 too big", "550 5.7.1 spam"] {
        for sent in 1..BODY.len() {
            let mut shell = within_body(1, false, sent);
            shell.server_says(format!("{reply}\r\n").as_bytes());
            assert_eq!(shell.seen, format!("-> failed @8 {reply}\n-> over\n"), "after {sent} octets");
            assert!(shell.session.outbox().is_empty());
        }
    }
    let mut shell = within_body(2, true, 1);
    shell.server_says(b"552 5.3.4 too big\r\n");
    assert_eq!(shell.seen, "-> failed @8 552 5.3.4 too big\n-> untried\n-> over\n");
}

#[test]
fn good_news_in_the_middle_of_the_body_is_none() {
    for sent in 0..BODY.len() {
        let mut shell = within_body(1, false, sent);
        shell.server_says(b"250 2.0.0 ok\r\n");
        assert_eq!(shell.seen, format!("-> untried\n-> over out of step @8 {AHEAD}\n"), "after {sent} octets");
    }
    let mut shell = within_body(1, false, BODY.len());
    shell.server_says(b"250 2.0.0 ok\r\n");
    assert_eq!(shell.seen, "-> delivered 250 2.0.0 ok\n");
}

#[test]
fn an_end_of_the_session_ahead_of_the_dot_is_no_verdict_on_the_message() {
    for (sent, reply) in [(0, "421 4.3.2 bye"), (5, "421 4.3.2 bye"), (0, "452 4.3.1 full"), (0, "550 5.7.1 no")] {
        let mut shell = within_body(1, false, sent);
        shell.server_says(format!("{reply}\r\n").as_bytes());
        assert_eq!(shell.seen, format!("-> untried\n-> over refused @8 {reply}\n"), "after {sent} octets");
    }
}

/// What happens next between a session and its server.
#[derive(Clone, Debug)]
enum Next {
    /// So many octets are sent.
    Send(usize),
    /// The server says what a server would say where the session stands.
    Fits,
    /// It says that, and the first octets of it may come before the rest.
    Says(&'static [u8], usize),
}

fn next() -> impl Strategy<Value = Next> {
    let replies = prop_oneof![
        4 => Just(&b"250 ok\r\n"[..]),
        3 => Just(&b"354 go\r\n"[..]),
        1 => Just(&b"250-long\r\n250 ok\r\n"[..]),
        1 => Just(&b"450 later\r\n"[..]),
        1 => Just(&b"452 full\r\n"[..]),
        1 => Just(&b"550 no\r\n"[..]),
    ];
    prop_oneof![
        4 => prop_oneof![2 => 1usize..20, 1 => Just(usize::MAX)].prop_map(Next::Send),
        4 => Just(Next::Fits),
        1 => (replies, 0usize..12).prop_map(|(reply, head)| Next::Says(reply, head)),
    ]
}

/// A session whose octets are counted by another hand than its own.
struct Counted {
    session: ClientSession,
    stream: Vec<u8>,
    delivered: usize,
    now: Instant,
}

impl Counted {
    /// Bodies that have left, dot included.
    fn bodies_sent(&self) -> usize {
        memchr::memmem::find_iter(&self.stream, b"hello\r\n.\r\n").count()
    }

    fn send(&mut self, octets: usize) {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = self.session.outbox().slices(&mut slices);
        let unsent: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        let sent = octets.min(unsent.len());
        self.stream.extend_from_slice(&unsent[..sent]);
        self.session.sent(sent, self.now);
    }

    /// Feeds replies whose first octet comes now or came when `bodies` had left.
    fn hear(&mut self, octets: &[u8], bodies: usize) {
        self.session.input(octets, self.now);
        while let Some(event) = self.session.event() {
            if let Event::Done(done) = event {
                let taken = done.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Delivered(_)));
                self.delivered += usize::from(taken);
                assert!(self.delivered <= bodies, "delivered ahead of the dot");
            }
        }
        while self.session.accepts_transaction() {
            self.session.submit(&reverse_path(), &forward_paths(2), Bytes::from_static(BODY), false);
        }
    }

    fn fitting(&self) -> &'static [u8] {
        match self.session.stage() {
            Stage::ReadingBanner => b"220 x\r\n",
            Stage::DuringEhlo | Stage::AfterEhlo => b"250-x\r\n250 PIPELINING\r\n",
            Stage::DuringData | Stage::AfterData => b"354 go\r\n",
            _ => b"250 ok\r\n",
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_delivered_before_its_dot_was_sent(
        script in proptest::collection::vec(next(), 0..120),
        pipelining: bool,
        lmtp: bool,
    ) {
        let now = start();
        let session = ClientSession::new(ClientOptions { pipelining, lmtp, ..options() }, now);
        let mut counted = Counted { session, stream: Vec::new(), delivered: 0, now };
        for next in script {
            let bodies = counted.bodies_sent();
            match next {
                Next::Send(octets) => counted.send(octets),
                Next::Fits => counted.hear(counted.fitting(), bodies),
                Next::Says(reply, head) => {
                    let (head, tail) = reply.split_at(head.min(reply.len()));
                    counted.hear(head, bodies);
                    if !head.is_empty() {
                        counted.send(usize::MAX);
                    }
                    let bodies = if head.is_empty() || head == reply { counted.bodies_sent() } else { bodies };
                    counted.hear(tail, bodies);
                }
            }
        }
    }
}
