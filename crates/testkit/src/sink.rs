//! An SMTP server for tests: takes every message, remembers it, and misbehaves on request.
//!
//! Runs in this process on its own thread, so it serves blocking tests, asynchronous tests and real child daemons alike.
//! Behaves as RFC 5321 says until [`Sink::on`] installs a rule; rules may come and go while connections are open.

mod record;
mod script;
mod session;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use record::Record;
pub use record::Transaction;
use script::Script;
pub use script::{Action, Rule};

/// A running SMTP sink; stops when dropped.
pub struct Sink {
    addr: SocketAddr,
    shared: Arc<Shared>,
    control: UnboundedSender<(Control, mpsc::Sender<io::Result<()>>)>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Starts on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port on 127.0.0.1")
    }

    /// Starts on a chosen address.
    pub fn start_at(addr: SocketAddr) -> io::Result<Self> {
        let listener = listen(addr)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new());
        let (control, orders) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = shared.clone();
        let thread = std::thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || runtime.block_on(accept(addr, listener, serving, orders)))?;
        Ok(Self { addr, shared, control, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Makes `action` happen at `step`: `CONNECT`, `EHLO`, `HELO`, `MAIL`, `RCPT`, `DATA`, `DOT` (the end of data), `RSET`,
    /// `QUIT` or any other verb. A plain string is a reply. The newest rule that matches wins.
    pub fn on(&self, step: &str, action: impl Into<Action>) -> Rule {
        self.shared.script.add(step, action.into())
    }

    /// Forgets all rules.
    pub fn behave(&self) {
        self.shared.script.clear();
    }

    /// Replaces the EHLO keywords; the default is `PIPELINING`, `SIZE`, `8BITMIME`, `ENHANCEDSTATUSCODES`.
    pub fn offer(&self, keywords: &[&str]) {
        let keywords = keywords.iter().map(|&word| word.to_owned()).collect();
        *self.shared.keywords.lock().unwrap_or_else(PoisonError::into_inner) = keywords;
    }

    /// Announces this SIZE and refuses bigger messages with 552.
    pub fn limit_size(&self, bytes: u64) {
        self.shared.size_max.store(bytes, Ordering::Relaxed);
        self.offer(&["PIPELINING", &format!("SIZE {bytes}"), "8BITMIME", "ENHANCEDSTATUSCODES"]);
    }

    /// Keeps envelopes and test ids but no bodies from now on: for loads of many big messages.
    pub fn discard_bodies(&self) {
        self.shared.discard.store(true, Ordering::Relaxed);
    }

    /// Serves a stream of the caller's, such as one end of `tokio::io::duplex`, as if it had been accepted; await it or spawn
    /// it on the caller's runtime. So a client in simulated time can talk to the sink.
    pub fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> impl Future<Output = ()> + use<S> {
        session::serve(stream, self.shared.clone())
    }

    /// Closes the listening socket, so that connecting is refused; open connections stay.
    pub fn refuse_connections(&self) {
        self.order(Control::Refuse).expect("the sink's thread runs");
    }

    /// Listens again on the same address.
    pub fn accept_connections(&self) {
        self.order(Control::Accept).expect("the sink's port is still free");
    }

    /// Cuts every connection that has been greeted.
    pub fn hang_up(&self) {
        self.order(Control::HangUp).expect("the sink's thread runs");
    }

    /// The messages so far, in order of arrival.
    pub fn messages(&self) -> Vec<Arc<Transaction>> {
        self.shared.record.lock().messages.clone()
    }

    /// How many messages have come.
    pub fn count(&self) -> usize {
        self.shared.record.lock().messages.len()
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> u64 {
        self.shared.record.lock().connections
    }

    /// How many connections are open now, and the most there ever were.
    pub fn open_connections(&self) -> (u64, u64) {
        let tables = self.shared.record.lock();
        (tables.open, tables.open_peak)
    }

    /// The first 20 000 command lines with the number of their connection.
    pub fn commands(&self) -> Vec<(u64, String)> {
        self.shared.record.lock().commands.clone()
    }

    /// How often each `X-Test-Id` arrived.
    pub fn ids(&self) -> HashMap<String, u64> {
        self.shared.record.ids()
    }

    /// Forgets messages and commands, keeps counting connections.
    pub fn clear(&self) {
        self.shared.record.clear();
    }

    /// Blocks until `n` messages have come and returns all there are. Panics after `limit`, saying what did come.
    pub fn wait_for(&self, n: usize, limit: Duration) -> Vec<Arc<Transaction>> {
        if !self.wait_until(limit, |messages| n <= messages.len()) {
            let tail: Vec<_> = self.commands().into_iter().rev().take(20).collect();
            panic!(
                "the sink has {} of {n} messages after {limit:?}; last commands (newest first): {tail:#?}",
                self.count()
            );
        }
        self.messages()
    }

    /// Blocks until `done` holds of the messages, at most `limit`; whether it holds in the end.
    pub fn wait_until(&self, limit: Duration, done: impl FnMut(&[Arc<Transaction>]) -> bool) -> bool {
        self.shared.record.wait(limit, done)
    }

    /// Waits until `n` messages have come, without blocking the runtime it is awaited on.
    pub async fn arrived(&self, n: usize) -> Vec<Arc<Transaction>> {
        self.shared.record.arrived(n).await;
        self.messages()
    }

    fn order(&self, control: Control) -> io::Result<()> {
        let (done, answer) = mpsc::channel();
        let gone = || io::Error::other("the sink's thread has ended");
        self.control.send((control, done)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.order(Control::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the connections share with the test.
struct Shared {
    script: Script,
    record: Record,
    keywords: Mutex<Vec<String>>,
    size_max: AtomicU64,
    discard: AtomicBool,
}

/// What is kept of a message.
#[derive(PartialEq, Eq)]
enum Retain {
    Bodies,
    Envelopes,
}

impl Shared {
    fn new() -> Self {
        Self {
            script: Script::default(),
            record: Record::new(),
            keywords: Mutex::new(["PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"].map(str::to_owned).into()),
            size_max: AtomicU64::new(256 * 1024 * 1024),
            discard: AtomicBool::new(false),
        }
    }

    fn greeting(&self) -> String {
        let keywords = self.keywords.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = keywords.iter().map(|word| format!("250-{word}")).collect();
        lines.insert(0, "250-sink.test".to_owned());
        if let Some(last) = lines.last_mut() {
            last.replace_range(3..4, " ");
        }
        lines.join("\n")
    }

    fn size_max(&self) -> u64 {
        self.size_max.load(Ordering::Relaxed)
    }

    fn retain(&self) -> Retain {
        if self.discard.load(Ordering::Relaxed) { Retain::Envelopes } else { Retain::Bodies }
    }
}

enum Control {
    Refuse,
    Accept,
    HangUp,
    Stop,
}

type Orders = UnboundedReceiver<(Control, mpsc::Sender<io::Result<()>>)>;

/// The sink's thread: accepts, serves, and obeys orders.
async fn accept(addr: SocketAddr, listener: TcpListener, shared: Arc<Shared>, mut orders: Orders) {
    let mut listener = tokio::net::TcpListener::from_std(listener).ok();
    let mut sessions = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => {
                let Some((order, done)) = order else { return };
                let result = match order {
                    Control::Refuse => { listener = None; Ok(()) }
                    Control::Accept => relisten(addr, &mut listener),
                    Control::HangUp => { sessions.shutdown().await; Ok(()) }
                    Control::Stop => return,
                };
                let _ = done.send(result);
            }
            Ok((stream, _)) = accepted => {
                // Replies are written whole; waiting for more would only slow the peer down.
                let _ = stream.set_nodelay(true);
                sessions.spawn(session::serve(stream, shared.clone()));
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

fn relisten(addr: SocketAddr, listener: &mut Option<tokio::net::TcpListener>) -> io::Result<()> {
    if listener.is_none() {
        *listener = Some(tokio::net::TcpListener::from_std(listen(addr)?)?);
    }
    Ok(())
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Enough for a test that opens thousands of connections at once.
const BACKLOG: i32 = 4096;
