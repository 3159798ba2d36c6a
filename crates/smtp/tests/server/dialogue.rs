//! A shell for server sessions without a socket: plays transcripts, and runs scripts in any chunks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use smtp::server::Step;
use smtp::{Phase, Reply, ServerOptions, ServerSession, Verdict};

/// A session, its client's time, and what it has handed over.
pub struct Dialogue {
    pub session: ServerSession,
    pub now: Instant,
    pub stored: Vec<Vec<u8>>,
    pub refusals: Vec<String>,
    /// Refusals that are counted and not logged.
    pub repeated_refusals: usize,
    pub closed: bool,
    input: BytesMut,
}

impl Dialogue {
    pub fn new(options: ServerOptions) -> Self {
        #[allow(clippy::disallowed_methods)] // an origin to count from; nothing is measured
        let now = Instant::now();
        let session = ServerSession::new(Arc::new(options), "192.0.2.9:4242", now);
        let (stored, refusals, input) = (Vec::new(), Vec::new(), BytesMut::new());
        Self { session, now, stored, refusals, repeated_refusals: 0, closed: false, input }
    }

    /// Gives octets to the session; returns what it sends back.
    pub fn exchange(&mut self, octets: &[u8]) -> String {
        self.input.extend_from_slice(octets);
        while !self.closed {
            match self.session.advance(&mut self.input, self.now) {
                Step::NeedBytes => break,
                Step::Hangup => self.closed = true,
                Step::Ask(phase) => {
                    let verdict = self.verdict(phase);
                    self.session.answer(verdict, self.now);
                }
                Step::Store(received) => {
                    self.stored.push(received.body.to_vec());
                    self.session.stored(Reply::new(250, (2, 0, 0), "OK 71/A0-03127-08B31BA6"), self.now);
                }
                // The handshake of these tests succeeds, and shows in the transcript.
                Step::StartTls => {
                    self.session.output().extend_from_slice(b"(handshake)\r\n");
                    self.session.secured(self.now);
                }
                Step::Refused(refusal) if refusal.repeated => self.repeated_refusals += 1,
                Step::Refused(refusal) => {
                    self.refusals.push(format!("{}: {}", refusal.state.as_str(), refusal.reply));
                }
            }
        }
        String::from_utf8(std::mem::take(self.session.output())).expect("replies are text")
    }

    /// Policy of these tests: nobody relays to `elsewhere.test`, and `leave.test` is shown the door.
    fn verdict(&self, phase: Phase) -> Verdict {
        let text = match phase {
            Phase::RcptTo => self.session.forward_path().expect("asked about one").as_str(),
            Phase::MailFrom => self.session.transaction().expect("asked about one").reverse_path.as_str(),
            _ => "",
        };
        if text.ends_with("@elsewhere.test") {
            Verdict::Refuse(Reply::new(550, (5, 7, 1), "relaying denied"))
        } else if text.ends_with("@leave.test") {
            Verdict::Disconnect(Reply::new(421, (4, 7, 0), "please leave"))
        } else if phase == Phase::Data {
            Verdict::AcceptWithTrace(b"Trace: t\r\n".to_vec())
        } else {
            Verdict::Accept
        }
    }
}

/// Plays a transcript: consecutive `C:` lines are sent at once, `T:` lets seconds pass, and what the server says must be
/// the `S:` lines; `S: (closes)` is the end of the connection. In `C:` lines `\r`, `\n`, `\0`, `\xHH` are octets, and a
/// `\` at the end keeps the CRLF off.
pub fn play(options: ServerOptions, transcript: &str) -> Dialogue {
    let mut dialogue = Dialogue::new(options);
    let mut said = dialogue.exchange(b"");
    let mut sent: Vec<u8> = Vec::new();
    for line in transcript.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        let (who, text) = line.split_at(line.len().min(2));
        let text = text.strip_prefix(' ').unwrap_or(text);
        match who {
            "C:" => sent.extend(octets(text)),
            "T:" => {
                said.push_str(&dialogue.exchange(&std::mem::take(&mut sent)));
                pass(&mut dialogue, &mut said, text.parse().expect("seconds"));
            }
            "S:" => {
                said.push_str(&dialogue.exchange(&std::mem::take(&mut sent)));
                if text == "(closes)" {
                    assert!(dialogue.closed && said.is_empty(), "expected the end of the connection, not {said:?}");
                    continue;
                }
                let (first, rest) = said.split_once("\r\n").unwrap_or((&said, ""));
                assert_eq!(first, text, "in\n{transcript}\nthe rest being {rest:?}");
                said = rest.to_owned();
            }
            _ => panic!("no such party: {line}"),
        }
    }
    said.push_str(&dialogue.exchange(&sent));
    assert_eq!(said, "", "said at the end of\n{transcript}");
    dialogue
}

fn pass(dialogue: &mut Dialogue, said: &mut String, seconds: u64) {
    dialogue.now += Duration::from_secs(seconds);
    if dialogue.session.deadline() <= dialogue.now && !dialogue.closed {
        dialogue.session.timed_out();
        said.push_str(&dialogue.exchange(b""));
    }
}

fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        match rest.next() {
            Some(b'r') => octets.push(b'\r'),
            Some(b'n') => octets.push(b'\n'),
            Some(b'0') => octets.push(0),
            Some(b'x') => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                octets.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            None => return octets,
            Some(other) => octets.push(other),
        }
    }
    octets.extend_from_slice(b"\r\n");
    octets
}
