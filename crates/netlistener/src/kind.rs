//! What a protocol brings to be a netlistener, and what it is given for each connection.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use scheduler::LoopHandle;

use crate::occupancy::Seat;
use crate::stop::StopSignal;
use crate::stream::Stream;

/// A protocol that can be listened for. Registered once, used from every thread.
pub trait NetlistenerType: Send + Sync + 'static {
    /// The word of its stanza: `esmtp_listener`.
    fn word(&self) -> &'static str;

    /// Makes the part that serves connections on one loop; called once a loop, on the loop. Must not block.
    fn start(&self, on: &LoopHandle) -> Rc<dyn Service>;

    /// Whether there is too little of something, such as memory, to take anybody in. Asked for every connection.
    fn is_overloaded(&self) -> bool {
        false
    }

    /// Whether its connections are the operator's, who must come in when others have taken all descriptors they may have.
    fn is_of_the_house(&self) -> bool {
        false
    }

    /// What a client that is turned away is told before the connection is closed; empty for a protocol without words.
    fn farewell(&self, turned: Turned) -> &'static [u8];

    /// A client is turned away with that; for a log of refusals. Called on the loop of the socket, so it may not block.
    fn turned_away(&self, turned: Turned, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        let _ = (turned, peer, local);
    }
}

/// Serves connections on one loop.
pub trait Service {
    /// The whole life of a connection. It ends when the future does; the loop must never be blocked.
    fn serve(self: Rc<Self>, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// Why a client is turned away at the door. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// A concurrency cap is reached.
    ConcurrencyLimit,
    /// The process has no descriptor for it: what is left is the house's.
    OutOfDescriptors,
    /// The peer is denied here.
    Denied,
    /// [`NetlistenerType::is_overloaded`].
    Overloaded,
}

/// Who has connected, and where.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Our end; none on a Unix socket.
    pub local: Option<SocketAddr>,
    /// The name of the Listen stanza, as the configuration spells it.
    pub listen: Arc<str>,
}

/// One accepted connection.
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Who is at the other end.
    pub client: Client,
    /// Requested when the daemon stops.
    pub stop: StopSignal,
    /// Counts the session until it is dropped.
    pub seat: Seat,
}
