//! The client core and the server core of this crate, talking to each other in memory in pieces of any size.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::address::Mailbox;
use crate::reply::Reply;
use crate::server::Step;
use crate::{Phase as Asked, ServerOptions, ServerSession, Verdict};

/// Message number, and which of its recipients the server refuses.
type Message = (usize, Vec<bool>);

struct Pair {
    client: ClientSession,
    server: ServerSession,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    input: BytesMut,
    stored: Vec<(usize, Vec<u8>)>,
    outcomes: Vec<Vec<bool>>,
    writes: usize,
    over: bool,
    now: Instant,
}

impl Pair {
    fn new(pipelining: bool) -> Self {
        #[allow(clippy::disallowed_methods)] // an origin to count from
        let now = Instant::now();
        let options =
            ClientOptions { ehlo_name: "client.test".into(), timeouts: Timeouts::default(), pipelining, lmtp: false };
        Self {
            client: ClientSession::new(options, now),
            server: ServerSession::new(Arc::new(ServerOptions::named("mx.test")), "192.0.2.1", now),
            to_server: Vec::new(),
            to_client: Vec::new(),
            input: BytesMut::new(),
            stored: Vec::new(),
            outcomes: Vec::new(),
            writes: 0,
            over: false,
            now,
        }
    }

    fn client_turn(&mut self, waiting: &mut VecDeque<Message>) {
        while let Some(event) = self.client.event() {
            match event {
                Event::Open => {}
                Event::Over(end) => {
                    assert_eq!(end, End::Quiet);
                    self.over = true;
                }
                Event::Done(done) => self
                    .outcomes
                    .push(done.outcomes.iter().map(|outcome| matches!(outcome, Outcome::Delivered(_))).collect()),
            }
        }
        while self.client.accepts_transaction() {
            let Some((number, refused)) = waiting.pop_front() else {
                self.client.quit();
                break;
            };
            let path = |(place, refused): (usize, &bool)| {
                let local_part = if *refused { "no" } else { "yes" };
                ForwardPath(Mailbox::parse(&format!("{local_part}{place}@there.test")).unwrap())
            };
            let paths: Vec<ForwardPath> = refused.iter().enumerate().map(path).collect();
            self.client.submit(&ReversePath::Null, &paths, body(number), false);
        }
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = self.client.outbox().slices(&mut slices);
        let octets: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        self.writes += usize::from(!octets.is_empty());
        self.to_server.extend_from_slice(&octets);
        self.client.sent(octets.len(), self.now);
    }

    fn server_turn(&mut self) {
        loop {
            match self.server.advance(&mut self.input, self.now) {
                Step::NeedBytes | Step::Hangup => break,
                Step::StartTls => unreachable!("it is not offered"),
                Step::Refused(_) => {}
                Step::Ask(asked) => {
                    let refuse = asked == Asked::RcptTo
                        && self.server.forward_path().is_some_and(|path| path.as_str().starts_with("no"));
                    let no = Verdict::Refuse(Reply::new(550, (5, 1, 1), "no such user"));
                    self.server.answer(if refuse { no } else { Verdict::Accept }, self.now);
                }
                Step::Store(received) => {
                    self.stored.push((received.transaction.forward_paths.len(), received.body.to_vec()));
                    self.server.stored(Reply::new(250, (2, 0, 0), "OK"), self.now);
                }
            }
        }
        self.to_client.append(self.server.output());
    }

    /// Lets both talk until the session is over.
    fn run(&mut self, messages: &[Message], step: usize) {
        let mut waiting: VecDeque<Message> = messages.iter().cloned().collect();
        self.server_turn();
        for _ in 0..200_000 {
            let cut = step.min(self.to_client.len());
            let piece: Vec<u8> = self.to_client.drain(..cut).collect();
            self.client.input(&piece, self.now);
            self.client_turn(&mut waiting);
            let cut = step.min(self.to_server.len());
            self.input.extend_from_slice(&self.to_server[..cut]);
            self.to_server.drain(..cut);
            self.server_turn();
            if self.over {
                return;
            }
        }
        panic!("the two wait for each other");
    }
}

fn body(number: usize) -> Bytes {
    format!("Subject: {number}\r\n\r\n{}..\r\n.\r\n", "line of text\r\n".repeat(number % 7)).into()
}

proptest! {
    #[test]
    fn what_the_client_sends_the_server_stores(
        refusals in proptest::collection::vec(proptest::collection::vec(proptest::bool::weighted(0.3), 1..4), 1..8),
        step in 1usize..200,
        pipelining: bool,
    ) {
        let messages: Vec<Message> = refusals.into_iter().enumerate().collect();
        let mut pair = Pair::new(pipelining);
        pair.run(&messages, step);
        let taken = |refused: &[bool]| refused.iter().map(|refused| !refused).collect::<Vec<bool>>();
        let outcomes: Vec<Vec<bool>> = messages.iter().map(|(_, refused)| taken(refused)).collect();
        prop_assert_eq!(&pair.outcomes, &outcomes);
        let stored: Vec<(usize, Vec<u8>)> = messages
            .iter()
            .filter(|(_, refused)| refused.iter().any(|refused| !refused))
            .map(|(number, refused)| (refused.iter().filter(|refused| !**refused).count(), body(*number).to_vec()))
            .collect();
        prop_assert_eq!(&pair.stored, &stored);
    }
}

#[test]
fn a_busy_session_writes_once_a_message() {
    let messages: Vec<Message> = (0..100).map(|number| (number, vec![false])).collect();
    let mut pair = Pair::new(true);
    pair.run(&messages, usize::MAX);
    assert_eq!(pair.stored.len(), 100);
    assert_eq!(pair.writes, 100 + 3, "and EHLO, the first MAIL, and QUIT");
}
