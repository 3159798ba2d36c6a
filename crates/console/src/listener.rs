//! The control listener as a netlistener type: brings accepted connections to the master scheduler.
//!
//! A netlistener accepts on whatever event loop its stanza names; commands run on the master scheduler. So the part on
//! the loop ([`ControlListener`]) hands the socket over and keeps the session's seat until it has ended, and the part on
//! the master ([`Arrivals`]) serves it. A stop request travels the same way.
//!
//! Invariant: a seat is given back only when its session is over, so the concurrency caps hold.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use config::{Configuration, Declared, Lookup, Opt, Seconds, scopes};
use netlistener::{Accepted, Client, NetlistenerType, Service, Socket as Plain, Stream, Turned};
use scheduler::LoopHandle;
use tokio::sync::{mpsc, oneshot};

use crate::peer::Peer;
use crate::serve::{Caller, Console, Limits};

/// Word of the stanza.
const WORD: &str = "control_listener";

/// Idle timeout of a control connection.
pub const TIMEOUT: Opt<Seconds> = Opt::new(
    "timeout",
    "60",
    scopes::CONTROL_LISTENER,
    "How long a control connection may be without a command before it is closed.",
);

/// Options of this crate.
pub const OPTIONS: &[&dyn Declared] = &[&TIMEOUT];

/// The listener type; register it with the netlisteners.
pub struct ControlListener {
    configuration: Configuration,
    master: mpsc::Sender<Arrival>,
}

/// Connections on their way to the master scheduler.
pub struct Arrivals(mpsc::Receiver<Arrival>);

/// One connection that changes loops.
struct Arrival {
    socket: Socket,
    listen: Arc<str>,
    limits: Limits,
    stop: oneshot::Receiver<()>,
    /// Dropped when the session is over.
    over: oneshot::Sender<()>,
}

/// A socket registered with no loop.
enum Socket {
    Unix(std::os::unix::net::UnixStream),
    Tcp(std::net::TcpStream, std::net::SocketAddr),
}

impl ControlListener {
    /// The type, and the end of it that the master scheduler serves with [`Arrivals::serve`].
    pub fn new(configuration: &Configuration) -> (Self, Arrivals) {
        let (master, arrivals) = mpsc::channel(ARRIVALS_MAX);
        (Self { configuration: configuration.clone(), master }, Arrivals(arrivals))
    }
}

impl NetlistenerType for ControlListener {
    fn word(&self) -> &'static str {
        WORD
    }

    fn start(&self, _: &LoopHandle) -> Rc<dyn Service> {
        Rc::new(Bridge { configuration: self.configuration.clone(), master: self.master.clone() })
    }

    fn is_of_the_house(&self) -> bool {
        true
    }

    fn farewell(&self, _: Turned) -> &'static [u8] {
        b"" // the client says what a connection closed before the greeting may mean
    }
}

/// The part on an event loop.
struct Bridge {
    configuration: Configuration,
    master: mpsc::Sender<Arrival>,
}

impl Service for Bridge {
    fn serve(self: Rc<Self>, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { self.hand_over(accepted).await })
    }
}

impl Bridge {
    async fn hand_over(&self, accepted: Accepted) {
        let Accepted { stream, client: Client { peer, listen, .. }, stop, seat } = accepted;
        let lookup = Lookup::Listener { kind: WORD, listen: &listen, peer: peer.map(|peer| peer.ip()) };
        let idle = self.configuration.current().get(&TIMEOUT, &lookup).into();
        let socket = match (stream, peer) {
            (Stream::Plain(Plain::Tcp(stream)), Some(peer)) => {
                stream.into_std().map(|stream| Socket::Tcp(stream, peer))
            }
            (Stream::Plain(Plain::Tcp(stream)), None) => {
                let peer = stream.peer_addr();
                peer.and_then(|peer| Ok(Socket::Tcp(stream.into_std()?, peer)))
            }
            (Stream::Plain(Plain::Unix(stream)), _) => stream.into_std().map(Socket::Unix),
            // The console speaks no TLS, and so asks for no handshake.
            (Stream::Secured(_) | Stream::Broken, _) => return,
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => return tracing::error!(target: "CONSOLE", "cannot take a connection on {listen}: {error}"),
        };
        let (stop_it, stopped) = oneshot::channel();
        let (over, mut is_over) = oneshot::channel();
        let limits = Limits { idle, ..Limits::default() };
        let arrival = Arrival { socket, listen: listen.clone(), limits, stop: stopped, over };
        if self.master.send(arrival).await.is_err() {
            return tracing::info!(target: "CONSOLE", "the console is closing; a connection on {listen} was not served");
        }
        tokio::select! {
            _ = &mut is_over => {}
            () = stop.requested() => {
                drop(stop_it);
                let _ = is_over.await; // resolves by being dropped
            }
        }
        drop(seat);
    }
}

impl Arrivals {
    /// Serves every connection that arrives, each in its own task, until the listener type and all its services are gone.
    /// Runs on the master scheduler.
    pub async fn serve(mut self, console: Rc<Console>) {
        while let Some(arrival) = self.0.recv().await {
            tokio::task::spawn_local(arrival.serve(Rc::clone(&console)));
        }
    }
}

impl Arrival {
    async fn serve(self, console: Rc<Console>) {
        let Self { socket, listen, limits, stop, over } = self;
        let stop = async {
            let _ = stop.await; // asked for by dropping the other end
        };
        if let Err(error) = socket.serve(console, listen, limits, stop).await {
            tracing::error!(target: "CONSOLE", "cannot serve a control connection: {error}");
        }
        drop(over);
    }
}

impl Socket {
    async fn serve(
        self,
        console: Rc<Console>,
        listen: Arc<str>,
        limits: Limits,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream, peer) => {
                let stream = tokio::net::TcpStream::from_std(stream)?;
                console.serve(stream, Caller { peer: Peer::Tcp(peer), listen }, limits, stop).await;
            }
            Self::Unix(stream) => {
                let peer = console.peer_of(&stream)?;
                console.serve(tokio::net::UnixStream::from_std(stream)?, Caller { peer, listen }, limits, stop).await;
            }
        }
        Ok(())
    }
}

/// Connections that may wait for the master scheduler to look; more wait on their loops, in their seats.
const ARRIVALS_MAX: usize = 16;
