//! One control connection: greets, reads requests, runs them in order, writes the replies.
//!
//! In comes an accepted stream and who is behind it; commands go to the registry. Runs on the master scheduler. Decides
//! nothing about commands.
//!
//! Invariant: whatever bytes arrive, at most one request is held in memory, and the worst that happens is that this
//! connection is closed, counted and logged.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use scheduler::{Clock, Counter, Measure, Meters};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::accounting::{Account, AccountEvent, Accounting};
use crate::commands::{Commands, Outcome};
use crate::peer::{Peer, UserNames};
use crate::session::SessionState;
use crate::wire::{Answer, HEADER_BYTES, Header, Hello, Kind, Request, Status, WireError};

/// How long things may take on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the end of one reply to the last byte of the next request; also for a client to take a reply.
    pub idle: Duration,
    /// For a command. One that takes longer is abandoned at its next await and answered with FAILED.
    pub command: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), command: Duration::from_secs(300) }
    }
}

/// Who is at the other end of a control connection, and where it came in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub peer: Peer,
    /// The Listen stanza.
    pub listen: Arc<str>,
}

/// What all control connections share.
pub struct Console {
    commands: Rc<Commands>,
    accounting: RefCell<Option<Accounting>>,
    user_names: RefCell<UserNames>,
    greeting: Vec<u8>,
    clock: Clock,
    connections: Counter,
    connections_left: Counter,
    completed: Counter,
    failed: Counter,
    garbage: Counter,
}

impl Console {
    /// A console over a registry; `product` and `version` are what the greeting says.
    pub fn new(product: &str, version: &str, commands: Rc<Commands>, clock: Clock, meters: &Meters) -> Rc<Self> {
        Rc::new(Self {
            commands,
            accounting: RefCell::default(),
            user_names: RefCell::default(),
            greeting: Hello { product: product.to_owned(), version: version.to_owned() }.encode(),
            clock,
            connections: meters.counter("console.connections"),
            connections_left: meters.counter("console.connections.left"),
            completed: meters.counter("console.commands.completed"),
            failed: meters.counter("console.commands.failed"),
            garbage: meters.counter("console.garbage"),
        })
    }

    /// Replaces the names peers on Unix sockets are known by; until then they are numbers.
    pub fn set_user_names(&self, names: UserNames) {
        self.user_names.replace(names);
    }

    /// Sets where connections and commands are accounted for; until then they are not.
    pub fn set_accounting(&self, accounting: Accounting) {
        self.accounting.replace(Some(accounting));
    }

    /// Who is behind a Unix socket.
    pub fn peer_of(&self, socket: impl AsFd) -> io::Result<Peer> {
        Peer::of_unix_socket(socket, &self.user_names.borrow())
    }

    /// Serves one connection to its end. Once `stop` resolves no further request is read; a running command still ends and
    /// is answered.
    pub async fn serve<S>(self: Rc<Self>, stream: S, caller: Caller, limits: Limits, stop: impl Future<Output = ()>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connections.add(1);
        let left = Left(self.connections_left.clone());
        let Caller { peer, listen } = caller;
        let mut session =
            Session { console: &self, stream, peer: Rc::new(peer), listen, limits, state: SessionState::default() };
        if session.peer.user().is_some() {
            session.account(AccountEvent::Identified);
        }
        match session.converse(pin!(stop)).await {
            Ok(()) => tracing::debug!(target: "CONSOLE", "{} left", session.peer),
            Err(End::Idle) => {
                tracing::debug!(target: "CONSOLE", "{} sent no command for {:?}", session.peer, limits.idle)
            }
            Err(End::Stalled) => {
                tracing::info!(target: "CONSOLE", "{} did not take its reply for {:?}; closing", session.peer, limits.idle);
            }
            Err(End::Io(error)) => tracing::debug!(target: "CONSOLE", "{} was lost: {error}", session.peer),
            Err(End::Garbage(why)) => {
                self.garbage.add(1);
                tracing::warn!(target: "CONSOLE", "{} sent no request: {why}; closing", session.peer);
            }
        }
        drop(left);
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

/// Counts a connection as ended even when its task is dropped.
struct Left(Counter);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.add(1);
    }
}

struct Session<'a, S> {
    console: &'a Console,
    stream: S,
    peer: Rc<Peer>,
    listen: Arc<str>,
    limits: Limits,
    state: SessionState,
}

/// Why a connection ended other than by the client closing it between two requests.
enum End {
    Idle,
    Stalled,
    Io(io::Error),
    Garbage(WireError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    async fn converse(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<(), End> {
        self.write(&self.console.greeting).await?;
        loop {
            let idle = self.limits.idle;
            let read = tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                read = timeout(idle, self.read_request()) => read,
            };
            let request = match read.map_err(|_| End::Idle)? {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(End::Garbage(why)) => {
                    if why != WireError::NotOurs {
                        let body = format!("bad request: {why}");
                        self.write(&Answer { status: Status::BadRequest, json: false, body }.encode()).await?;
                    }
                    return Err(End::Garbage(why));
                }
                Err(end) => return Err(end),
            };
            let outcome = self.run(&request).await;
            self.write(&outcome.encode()).await?;
        }
    }

    /// The next request, or nothing when the client has closed the connection where one would begin.
    async fn read_request(&mut self) -> Result<Option<Request>, End> {
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        while filled < HEADER_BYTES {
            match self.stream.read(&mut header[filled..]).await.map_err(End::Io)? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(End::Garbage(garbage_of(&header[..filled]))),
                bytes => filled += bytes,
            }
        }
        let header = Header::decode(&header).map_err(End::Garbage)?;
        if header.kind != Kind::Request {
            return Err(End::Garbage(WireError::Kind(header.kind as u8)));
        }
        let mut payload = vec![0; header.length];
        self.stream.read_exact(&mut payload).await.map_err(End::Io)?;
        Request::decode(&payload).map(Some).map_err(End::Garbage)
    }

    async fn run(&self, request: &Request) -> Outcome {
        let Limits { command, .. } = self.limits;
        let started = self.console.clock.now();
        let decided = |text: &str, allowed| self.account(AccountEvent::Command { text, allowed });
        let caller = (Rc::clone(&self.peer), self.state.clone());
        let run = self.console.commands.run_decided(&request.text, request.json, caller, &decided);
        let outcome = timeout(command, run).await.unwrap_or_else(|_| overdue(command, request.json));
        let took = self.console.clock.now() - started;
        let counter = if outcome.status == Status::Completed { &self.console.completed } else { &self.console.failed };
        counter.add(1);
        let text = request.text.escape_default();
        tracing::debug!(target: "CONSOLE", "{} ran '{text}': {} after {took:?}", self.peer, outcome.status);
        outcome
    }

    fn account(&self, event: AccountEvent<'_>) {
        if let Some(accounting) = &*self.console.accounting.borrow() {
            accounting(&Account { listen: &self.listen, peer: &self.peer, event });
        }
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), End> {
        let write = async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await
        };
        timeout(self.limits.idle, write).await.map_err(|_| End::Stalled)?.map_err(End::Io)
    }
}

/// A header that was cut short: ours or not shows at the first byte that differs.
fn garbage_of(bytes: &[u8]) -> WireError {
    if b"PR".starts_with(&bytes[..bytes.len().min(2)]) { WireError::Truncated } else { WireError::NotOurs }
}

fn overdue(limit: Duration, json: bool) -> Outcome {
    let text = format!("the command did not finish within {} seconds and was abandoned", limit.as_secs());
    let body = if json { serde_json::json!({ "status": "FAILED", "error": text }).to_string() } else { text };
    Answer { status: Status::Failed, json, body }
}

/// What the console counts.
pub const MEASURES: &[Measure] = &[
    Measure::counter("console.connections", "connections", "Console connections that were begun."),
    Measure::counter("console.connections.left", "connections", "Those of them that ended."),
    Measure::counter(
        "console.commands.completed",
        "commands",
        "Commands that were carried out. Completion and the like of a client count too.",
    ),
    Measure::counter("console.commands.failed", "commands", "Commands that were refused or failed."),
    Measure::counter(
        "console.garbage",
        "connections",
        "Console connections closed because what came on them was no request.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Command, Reply};
    use crate::wire::REQUEST_BYTES_MAX;
    use tokio::io::DuplexStream;
    use tokio::task::{JoinHandle, LocalSet};

    struct Bench {
        stop: tokio::sync::oneshot::Sender<()>,
        client: DuplexStream,
        served: JoinHandle<()>,
        meters: Meters,
        accounts: Rc<RefCell<Vec<String>>>,
    }

    fn start() -> Bench {
        let commands = Commands::new();
        let pid = Command::new("pid", "Process id.", |_| async { Ok(Reply::message("4817")) });
        let nap = Command::new("nap", "Answers after ten seconds.", |_| async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok(Reply::message("rested"))
        });
        commands.register(nap).unwrap();
        let sleep = Command::new("sleep", "Never answers.", |_| async { std::future::pending().await });
        commands.register(pid).unwrap();
        commands.register(sleep).unwrap();
        let meters = Meters::new();
        commands.set_guard(|_, text| text != "forbidden");
        let console = Console::new("Postrider", "1.2.3", commands, Clock::system(), &meters);
        let accounts: Rc<RefCell<Vec<String>>> = Rc::default();
        let kept = accounts.clone();
        console.set_accounting(Box::new(move |account| {
            kept.borrow_mut().push(format!("{} {} {:?}", account.listen, account.peer, account.event));
        }));
        let (client, server) = tokio::io::duplex(256);
        let peer = Peer::Unix { uid: 0, pid: 1, user: "root".into() };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_else(|_| unreachable!("the bench lives longer")) };
        let caller = Caller { peer, listen: "/tmp/2025".into() };
        let served = tokio::task::spawn_local(console.serve(server, caller, Limits::default(), stopped));
        Bench { stop, client, served, meters, accounts }
    }

    impl Bench {
        async fn frame(&mut self) -> (Header, Vec<u8>) {
            let mut header = [0; HEADER_BYTES];
            self.client.read_exact(&mut header).await.unwrap();
            let header = Header::decode(&header).unwrap();
            let mut payload = vec![0; header.length];
            self.client.read_exact(&mut payload).await.unwrap();
            (header, payload)
        }

        async fn answer(&mut self) -> Answer {
            Answer::decode(&self.frame().await.1).unwrap()
        }

        async fn send(&mut self, text: &str) {
            let request = Request { text: text.into(), json: false, user: "jan".into() };
            self.client.write_all(&request.encode()).await.unwrap();
        }

        /// Reads to the end and returns what was left to read.
        async fn ended(self) -> (Vec<u8>, Meters) {
            let Self { mut client, served, meters, stop: _stop, .. } = self;
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            served.await.unwrap();
            assert_eq!(meters.get("console.connections"), 1);
            assert_eq!(meters.get("console.connections.left"), 1);
            (rest, meters)
        }
    }

    /// Runs a test in simulated time with room for `!Send` tasks.
    fn local(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn requests_are_answered_in_order_after_a_greeting() {
        local(async {
            let mut bench = start();
            let hello = Hello::decode(&bench.frame().await.1).unwrap();
            assert_eq!(hello, Hello { product: "Postrider".into(), version: "1.2.3".into() });
            for text in ["pid", "nosuch", "pid"] {
                bench.send(text).await;
            }
            assert_eq!(bench.answer().await.body, "4817");
            assert_eq!(bench.answer().await.status, Status::Failed);
            assert_eq!(bench.answer().await.body, "4817");
            bench.client.shutdown().await.unwrap();
            let (rest, meters) = bench.ended().await;
            assert!(rest.is_empty());
            assert_eq!(meters.get("console.commands.completed"), 2);
            assert_eq!(meters.get("console.commands.failed"), 1);
            assert_eq!(meters.get("console.garbage"), 0);
        });
    }

    #[test]
    fn connections_and_commands_are_accounted_for() {
        local(async {
            let mut bench = start();
            bench.frame().await;
            for text in [" pid ", "forbidden", "nosuch 'x"] {
                bench.send(text).await;
            }
            assert_eq!(bench.answer().await.status, Status::Completed);
            assert_eq!(bench.answer().await.status, Status::NotAuthz);
            bench.answer().await;
            let expected = [
                "/tmp/2025 root (uid 0, pid 1) Identified",
                "/tmp/2025 root (uid 0, pid 1) Command { text: \"pid\", allowed: true }",
                "/tmp/2025 root (uid 0, pid 1) Command { text: \"forbidden\", allowed: false }",
            ];
            assert_eq!(*bench.accounts.borrow(), expected, "a line that cannot be read is no command");
        });
    }

    #[test]
    fn garbage_closes_the_connection_and_is_counted() {
        for garbage in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\0\0\0\0\0\0\0\0\0", b"EHLO x"] {
            local(async {
                let mut bench = start();
                bench.frame().await;
                bench.client.write_all(garbage).await.unwrap();
                bench.client.shutdown().await.unwrap();
                let (rest, meters) = bench.ended().await;
                assert!(rest.is_empty());
                assert_eq!(meters.get("console.garbage"), 1);
            });
        }
    }

    #[test]
    fn a_frame_that_is_ours_but_wrong_is_told_why() {
        let too_long = [&b"PR\x01\x02"[..], &(REQUEST_BYTES_MAX as u32 + 1).to_be_bytes()].concat();
        let cases = [
            (&b"PR\x09\x02\0\0\0\0"[..], "version 9"),
            (&too_long, "over the limit"),
            (b"PR\x01\x03\0\0\0\0", "frame kind 3"),
            (b"PR\x01\x02\0\0\0\x02\0\0", "longer than its frame"),
        ];
        for (bytes, expected) in cases {
            local(async {
                let mut bench = start();
                bench.frame().await;
                bench.client.write_all(bytes).await.unwrap();
                let answer = bench.answer().await;
                assert_eq!(answer.status, Status::BadRequest);
                assert!(answer.body.contains(expected), "{}", answer.body);
                assert_eq!(bench.ended().await.1.get("console.garbage"), 1);
            });
        }
    }

    #[test]
    fn a_silent_client_and_one_that_drips_are_closed_after_the_idle_timeout() {
        for sent in [&b""[..], b"PR\x01\x02\0\0"] {
            local(async {
                let mut bench = start();
                bench.frame().await;
                bench.client.write_all(sent).await.unwrap();
                let clock = Clock::simulated(std::time::SystemTime::UNIX_EPOCH);
                let before = clock.now();
                let (rest, meters) = bench.ended().await;
                assert!(rest.is_empty());
                assert_eq!((clock.now() - before).as_secs(), 60);
                assert_eq!(meters.get("console.garbage"), 0);
            });
        }
    }

    #[test]
    fn a_command_that_does_not_end_is_abandoned_and_the_connection_lives_on() {
        local(async {
            let mut bench = start();
            bench.frame().await;
            bench.send("sleep").await;
            let answer = bench.answer().await;
            assert_eq!(answer.body, "the command did not finish within 300 seconds and was abandoned");
            bench.send("pid").await;
            assert_eq!(bench.answer().await.body, "4817");
        });
    }

    #[test]
    fn a_stop_ends_an_idle_connection_at_once_and_a_busy_one_after_its_answer() {
        local(async {
            let mut idle = start();
            let mut busy = start();
            idle.frame().await;
            busy.frame().await;
            busy.send("nap").await;
            busy.send("pid").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            for bench in [&mut idle, &mut busy] {
                let stop = std::mem::replace(&mut bench.stop, tokio::sync::oneshot::channel().0);
                stop.send(()).unwrap();
            }
            assert!(idle.ended().await.0.is_empty());
            assert_eq!(busy.answer().await.body, "rested");
            let (rest, meters) = busy.ended().await;
            assert!(rest.is_empty(), "the second request was read after the stop");
            assert_eq!(meters.get("console.commands.completed"), 1);
        });
    }

    #[test]
    fn a_client_that_takes_no_reply_is_closed() {
        local(async {
            let mut bench = start();
            for _ in 0..64 {
                let request = Request { text: "help".into(), json: false, user: String::new() }.encode();
                if timeout(Duration::from_secs(120), bench.client.write_all(&request)).await.is_err() {
                    break;
                }
            }
            bench.served.await.unwrap();
            assert_eq!(bench.meters.get("console.connections.left"), 1);
        });
    }
}
