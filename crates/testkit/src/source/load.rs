//! Many SMTP sessions at once, each message with a unique `X-Test-Id`, and a book of which ones were acknowledged.
//!
//! Runs on its own thread. The book is the point: an id is in `acknowledged` only if the 250 after its final dot was read,
//! in `doubtful` if the connection broke between the dot and the reply, so a crash test knows what must not be lost.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// Concurrent sessions.
    pub sessions: usize,
    /// Messages in all.
    pub messages: usize,
    /// Bytes of one message, at least; header included.
    pub bytes: usize,
    /// Messages a session sends before it quits and connects anew.
    pub messages_per_session: usize,
    /// The reverse-path of every message.
    pub reverse_path: String,
    /// Forward-paths; `{n}` becomes the message's number.
    pub forward_paths: Vec<String>,
    /// Sends MAIL, RCPT and DATA in one write (RFC 2920).
    pub pipelining: bool,
    /// Beginning of every test id; make it different for loads whose books are compared together.
    pub prefix: String,
    /// After a lost connection or a 4xx: connect again and go on with the next message, instead of ending the session.
    pub persistent: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            sessions: 10,
            messages: 100,
            bytes: 1024,
            messages_per_session: usize::MAX,
            reverse_path: "source@client.test".to_owned(),
            forward_paths: vec!["user{n}@sink.test".to_owned()],
            pipelining: true,
            prefix: "load".to_owned(),
            persistent: false,
        }
    }
}

/// The book of a load.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Ids whose final dot was answered 250.
    pub acknowledged: Vec<String>,
    /// Ids refused, with the reply.
    pub refused: Vec<(String, String)>,
    /// Ids whose final dot was sent but whose answer never came.
    pub doubtful: Vec<String>,
    /// Connections that could not be made or broke, in words; the first thousand.
    pub troubles: Vec<String>,
}

impl Load {
    /// Sends everything and returns the book. Blocks.
    pub fn run(&self, addr: SocketAddr) -> LoadReport {
        self.start(addr).join()
    }

    /// Sends from a thread of its own.
    pub fn start(&self, addr: SocketAddr) -> RunningLoad {
        let shared = Arc::new(Shared {
            addr,
            load: self.clone(),
            waiting: Mutex::new((0..self.messages).collect()),
            report: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let sending = shared.clone();
        let thread = std::thread::Builder::new().name("source".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
            runtime.block_on(async {
                let mut sessions = tokio::task::JoinSet::new();
                for _ in 0..sending.load.sessions {
                    sessions.spawn(session(sending.clone()));
                }
                sessions.join_all().await;
            });
        });
        RunningLoad { shared, thread: Some(thread.expect("a thread for the load")) }
    }
}

/// A load that is being sent.
pub struct RunningLoad {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl RunningLoad {
    /// How many messages are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.report().acknowledged.len()
    }

    /// Begins no further message; those on their way are finished or found doubtful.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until everything is sent (or stopped) and returns the book.
    pub fn join(mut self) -> LoadReport {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load's thread does not panic");
        }
        std::mem::take(&mut *self.shared.report())
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Shared {
    addr: SocketAddr,
    load: Load,
    waiting: Mutex<VecDeque<usize>>,
    report: Mutex<LoadReport>,
    stop: AtomicBool,
}

impl Shared {
    fn report(&self) -> std::sync::MutexGuard<'_, LoadReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn trouble(&self, error: &io::Error) {
        let mut report = self.report();
        if report.troubles.len() < TROUBLES_MAX {
            report.troubles.push(error.to_string());
        }
    }
}

/// One of the concurrent sessions: connects as often as it must.
async fn session(shared: Arc<Shared>) {
    let mut next = shared.next();
    while let Some(first) = next {
        let outcome = connection(&shared, first).await;
        next = outcome.unwrap_or_else(|(error, unsent)| {
            shared.trouble(&error);
            unsent
        });
        if next.is_some_and(|n| n == first) {
            if !shared.load.persistent || shared.stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(RECONNECT).await;
        }
        next = next.or_else(|| shared.next());
    }
}

/// One connection from greeting to QUIT. On failure also gives back the message whose dot was not yet sent.
async fn connection(shared: &Shared, first: usize) -> Result<Option<usize>, (io::Error, Option<usize>)> {
    let unsent = |error| (error, Some(first));
    let mut peer = Peer::connect(shared.addr).await.map_err(unsent)?;
    peer.expect(b'2').await.map_err(unsent)?;
    peer.say(b"EHLO source.test\r\n").await.map_err(unsent)?;
    peer.expect(b'2').await.map_err(unsent)?;
    let mut number = Some(first);
    for _ in 0..shared.load.messages_per_session {
        let Some(n) = number else { break };
        let message = Message::new(&shared.load, n);
        let outcome = message.send(&mut peer, shared.load.pipelining).await;
        let mut report = shared.report();
        match outcome {
            Ok(Outcome::Acknowledged) => report.acknowledged.push(message.id),
            Ok(Outcome::Refused(reply)) => report.refused.push((message.id, reply)),
            Err((error, Progress::Dotted)) => {
                report.doubtful.push(message.id);
                return Err((error, None));
            }
            Err((error, Progress::Open)) => return Err((error, Some(n))),
        }
        drop(report);
        number = shared.next();
    }
    // The messages are answered for; nothing depends on a polite end.
    let _ = peer.say(b"QUIT\r\n").await;
    Ok(number)
}

enum Outcome {
    Acknowledged,
    Refused(String),
}

enum Progress {
    Open,
    Dotted,
}

struct Message {
    id: String,
    envelope: Vec<String>,
    wire: Vec<u8>,
}

impl Message {
    fn new(load: &Load, n: usize) -> Self {
        let id = format!("{}-{n}", load.prefix);
        let mut envelope = vec![format!("MAIL FROM:<{}>\r\n", load.reverse_path)];
        let paths = load.forward_paths.iter().map(|path| path.replace("{n}", &n.to_string()));
        envelope.extend(paths.map(|path| format!("RCPT TO:<{path}>\r\n")));
        let mut wire = format!("X-Test-Id: {id}\r\nSubject: message {n}\r\n\r\n").into_bytes();
        wire.reserve(load.bytes + 80);
        while wire.len() < load.bytes {
            wire.extend_from_slice(LINE);
        }
        wire.extend_from_slice(b".\r\n");
        Self { id, envelope, wire }
    }

    async fn send(&self, peer: &mut Peer, pipelining: bool) -> Result<Outcome, (io::Error, Progress)> {
        let open = |error| (error, Progress::Open);
        let mut refusal = None;
        let mut steps = self.envelope.clone();
        steps.push("DATA\r\n".to_owned());
        if pipelining {
            peer.say(steps.concat().as_bytes()).await.map_err(open)?;
        }
        for (at, step) in steps.iter().enumerate() {
            let is_data = at == self.envelope.len();
            if !pipelining {
                if let Some(reply) = refusal {
                    peer.say(b"RSET\r\n").await.map_err(open)?;
                    peer.reply().await.map_err(open)?;
                    return Ok(Outcome::Refused(reply));
                }
                peer.say(step.as_bytes()).await.map_err(open)?;
            }
            let reply = peer.reply().await.map_err(open)?;
            let good = if is_data { b'3' } else { b'2' };
            if reply.as_bytes().first() != Some(&good) {
                refusal.get_or_insert(reply);
            } else if is_data && let Some(reply) = refusal.take() {
                // DATA went through for the recipients that were accepted; this book wants all or nothing.
                peer.say(b".\r\n").await.map_err(open)?;
                peer.reply().await.map_err(open)?;
                return Ok(Outcome::Refused(reply));
            }
        }
        if let Some(reply) = refusal {
            peer.say(b"RSET\r\n").await.map_err(open)?;
            peer.reply().await.map_err(open)?;
            return Ok(Outcome::Refused(reply));
        }
        // Once a byte of the last write may be out, the dot may be too.
        let dotted = |error| (error, Progress::Dotted);
        peer.say(&self.wire).await.map_err(dotted)?;
        let reply = peer.reply().await.map_err(dotted)?;
        Ok(if reply.starts_with('2') { Outcome::Acknowledged } else { Outcome::Refused(reply) })
    }
}

struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = timed(TcpStream::connect(addr)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: BytesMut::with_capacity(4096) })
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        timed(self.stream.write_all(bytes)).await
    }

    /// Reads one reply and returns its last line.
    async fn reply(&mut self) -> io::Result<String> {
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line = String::from_utf8_lossy(&self.input[..end]).trim_end().to_owned();
                self.input.advance(end + 1);
                if line.as_bytes().get(3) != Some(&b'-') {
                    return Ok(line);
                }
            }
            if timed(self.stream.read_buf(&mut self.input)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn expect(&mut self, class: u8) -> io::Result<()> {
        let reply = self.reply().await?;
        if reply.as_bytes().first() == Some(&class) { Ok(()) } else { Err(io::Error::other(reply)) }
    }
}

async fn timed<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

const LINE: &[u8] = b"The quick brown fox jumps over the lazy dog, again and again and again, 78 b.\r\n";
const PATIENCE: Duration = Duration::from_secs(60);
const RECONNECT: Duration = Duration::from_millis(20);
const TROUBLES_MAX: usize = 1000;
