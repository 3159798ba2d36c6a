//! Takes connections from one listening socket on one loop, and turns away those that may not come in.
//!
//! Every client gets an answer: one over a cap, one that is denied, and one that comes when connections have all the
//! descriptors they may have. Should the house have taken the others, too, each socket has one in reserve for that. A proxy
//! that does not say for whom it comes gets none: what it speaks is not known. Invariant: no error of `accept` ends the loop.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use scheduler::{Counter, Descriptors, Lack, Measure, Meters, Step};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tracing::{debug, error};

use crate::kind::{Client, NetlistenerType, Turned};
use crate::occupancy::{Admission, Occupancy, Party, Seat};
use crate::proxy::{self, Announced};
use crate::station::{Handed, Order, Station, StationHandle, lightest};
use crate::stream::Socket;
use crate::turned_away::{TurnedAway, Why};

/// How long to wait when nothing can be accepted.
const BACK_OFF: Duration = Duration::from_millis(200);
/// What the operator can do.
const RAISE: &str = "raise the limit (ulimit -n, LimitNOFILE=) or lower the session caps";
const WANT_OF_DESCRIPTORS: Why = Why {
    text: "connections have all the descriptors they may have; raise the limit (ulimit -n, LimitNOFILE=) or lower the session \
        caps",
    is_shortage: true,
};

const CONSOLE_IS_FULL: Why = Why {
    text: "the console has as many sessions as its share of the descriptors allows; close some or raise the limit (ulimit -n, \
        LimitNOFILE=)",
    is_shortage: true,
};

/// A bound socket on its way to a loop.
pub(crate) enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// What decides who comes in through a socket, and where to.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) listen: Arc<str>,
    pub(crate) kind: Arc<dyn NetlistenerType>,
    /// The stations of the pool that serves this socket.
    pub(crate) stations: Arc<[StationHandle]>,
    pub(crate) occupancy: Arc<Occupancy>,
    pub(crate) admission: AdmissionRule,
    pub(crate) descriptors: Descriptors,
    pub(crate) meter: DoorMeter,
}

/// What the configuration says now of a client at a Listen stanza.
pub(crate) type AdmissionRule = Arc<dyn Fn(&'static str, &Arc<str>, Option<IpAddr>) -> Admission + Send + Sync>;

/// `netlistener.{word}.…`
#[derive(Clone)]
pub(crate) struct DoorMeter {
    /// Connections that became sessions.
    accepted: Counter,
    /// Those of them that went to another loop, and those that could not.
    handed_over: Counter,
    hand_over_failed: Counter,
    /// Connections turned away: by always_deny; at a cap on sessions or on waiting proxies; without a PROXY header; for want
    /// of memory; for want of descriptors, or beyond their share.
    denied: Counter,
    over_limit: Counter,
    without_proxy_header: Counter,
    overloaded: Counter,
    out_of_descriptors: Counter,
    /// Connections that were gone before they were accepted.
    failed: Counter,
}

impl DoorMeter {
    pub(crate) fn new(word: &str, meters: &Meters) -> Self {
        let counter = |event: &str| meters.counter(&format!("netlistener.{word}.{event}"));
        Self {
            accepted: counter("accepted"),
            handed_over: counter("handed_over"),
            hand_over_failed: counter("hand_over_failed"),
            denied: counter("denied"),
            over_limit: counter("over_limit"),
            without_proxy_header: counter("without_proxy_header"),
            overloaded: counter("overloaded"),
            out_of_descriptors: counter("out_of_descriptors"),
            failed: counter("failed"),
        }
    }
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListeningSocket {
    fn settle(listening: Listening) -> io::Result<Self> {
        match listening {
            Listening::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
            Listening::Unix(listener) => UnixListener::from_std(listener).map(Self::Unix),
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| (Socket::Tcp(stream), Some(peer))),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }

    /// A descriptor to give up when there is no other.
    fn reserve(&self) -> Option<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned().ok(),
            Self::Unix(listener) => listener.as_fd().try_clone_to_owned().ok(),
        }
    }
}

/// Accepts until it is dropped; waits while `paused`.
pub(crate) async fn run(station: Rc<Station>, listening: Listening, door: Door, mut paused: watch::Receiver<bool>) {
    let socket = match ListeningSocket::settle(listening) {
        Ok(socket) => socket,
        Err(error) => return error!(target: "NET", "cannot accept on {}: {error}", door.listen),
    };
    let mut reserve = socket.reserve();
    let desk = Rc::new(Desk { turned_away: TurnedAway::at(&door.listen), station, door, waiting: Cell::new(0) });
    let mut clients_wait = false;
    loop {
        // The sender lives as long as the listeners; without it nobody can pause.
        let _ = paused.wait_for(|paused| !paused).await;
        match socket.accept().await {
            Ok((stream, peer)) => {
                clients_wait = false;
                desk.receive(stream, peer);
            }
            Err(error) if is_exhaustion(&error) => {
                let answered = desk.turn_away_with(&mut reserve, &socket).await;
                reserve = socket.reserve();
                if answered && reserve.is_some() {
                    continue;
                }
                if !std::mem::replace(&mut clients_wait, true) {
                    error!(target: "FD", "no descriptor even to refuse a connection to {}: {error}; its clients wait, {RAISE}",
                        desk.door.listen);
                }
                tokio::time::sleep(BACK_OFF).await;
                reserve = reserve.or_else(|| socket.reserve());
            }
            Err(error) => {
                // The client left before it was accepted, or the like: nothing is wrong with the socket.
                desk.door.meter.failed.add(1);
                debug!(target: "NET", "accept on {}: {error}", desk.door.listen);
            }
        }
    }
}

/// Whether what the process lacks keeps clients out, and not the client that is next.
fn is_exhaustion(error: &io::Error) -> bool {
    Lack::of(Step::Socket, error).is_some_and(Lack::is_of_all)
}

/// Where the connections of one socket on one loop are received.
struct Desk {
    station: Rc<Station>,
    door: Door,
    turned_away: Rc<TurnedAway>,
    /// Connections whose PROXY header has not come yet.
    waiting: Cell<usize>,
}

impl Desk {
    fn receive(self: &Rc<Self>, stream: Socket, peer: Option<SocketAddr>) {
        if !self.has_descriptor(&stream) {
            return self.refuse_for_want_of_descriptors(stream, peer);
        }
        let admission = self.admission(peer);
        let Some(timeout) = admission.proxy_timeout else {
            let local = stream.local();
            return self.admit(&admission, stream, peer, local);
        };
        if admission.waiting_max <= self.waiting.get() {
            self.door.meter.over_limit.add(1);
            return self
                .turned_away
                .tell(address(peer), "accept_queue_backlog connections wait for their PROXY header");
        }
        self.waiting.set(self.waiting.get() + 1);
        tokio::task::spawn_local(self.clone().hear(stream, peer, admission, timeout));
    }

    /// Whether the descriptor of a connection is one that connections may have. The operator's may have any.
    fn has_descriptor(&self, stream: &Socket) -> bool {
        self.door.kind.is_of_the_house() || self.door.descriptors.admit(stream)
    }

    /// Sessions that may be there together for one more to come in: of all that are not the house's, or of those that are.
    fn sessions_max(&self) -> usize {
        self.door.descriptors.shares().map_or(usize::MAX, |shares| match self.door.kind.is_of_the_house() {
            false => shares.inbound_max,
            true => shares.console_max,
        })
    }

    fn party(&self) -> Party {
        if self.door.kind.is_of_the_house() { Party::House } else { Party::Clients }
    }

    fn refuse_for_want_of_descriptors(&self, stream: Socket, peer: Option<SocketAddr>) {
        self.door.meter.out_of_descriptors.add(1);
        let why = if self.door.kind.is_of_the_house() { CONSOLE_IS_FULL } else { WANT_OF_DESCRIPTORS };
        self.turned_away.tell(address(peer), why);
        self.door.kind.turned_away(Turned::OutOfDescriptors, peer, stream.local());
        stream.say_and_close(self.door.kind.farewell(Turned::OutOfDescriptors));
    }

    /// Spends the reserve on telling one waiting client; whether one was told.
    async fn turn_away_with(&self, reserve: &mut Option<OwnedFd>, socket: &ListeningSocket) -> bool {
        if reserve.take().is_none() {
            return false;
        }
        let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, socket.accept()).await else { return false };
        self.refuse_for_want_of_descriptors(stream, peer);
        true
    }

    /// Hears for whom a proxy comes, and receives it as that client.
    async fn hear(
        self: Rc<Self>,
        mut stream: Socket,
        proxy: Option<SocketAddr>,
        admission: Admission,
        timeout: Duration,
    ) {
        let announced = proxy::read(&mut stream, timeout).await;
        self.waiting.set(self.waiting.get() - 1);
        match announced {
            Ok(Announced::Client { peer, local }) => {
                self.admit(&self.admission(Some(peer)), stream, Some(peer), Some(local));
            }
            Ok(Announced::Proxy) => {
                let local = stream.local();
                self.admit(&admission, stream, proxy, local);
            }
            Err(why) => {
                self.door.meter.without_proxy_header.add(1);
                self.turned_away.tell(address(proxy), why.as_str());
            }
        }
    }

    fn admission(&self, peer: Option<SocketAddr>) -> Admission {
        (self.door.admission)(self.door.kind.word(), &self.door.listen, address(peer))
    }

    fn admit(&self, admission: &Admission, stream: Socket, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        let (station, door) = (&self.station, &self.door);
        if admission.denied {
            door.meter.denied.add(1);
            self.turned_away.tell(address(peer), "always_deny is set for it");
            door.kind.turned_away(Turned::Denied, peer, local);
            return stream.say_and_close(door.kind.farewell(Turned::Denied));
        }
        if door.kind.is_overloaded() {
            door.meter.overloaded.add(1);
            self.turned_away.tell(address(peer), "the process is short of memory");
            door.kind.turned_away(Turned::Overloaded, peer, local);
            return stream.say_and_close(door.kind.farewell(Turned::Overloaded));
        }
        let seat = match door.occupancy.take(&admission.caps, self.party(), self.sessions_max(), &station.handle.load) {
            Ok(seat) => seat,
            Err(Turned::OutOfDescriptors) => return self.refuse_for_want_of_descriptors(stream, peer),
            Err(turned) => {
                door.meter.over_limit.add(1);
                self.turned_away.tell(address(peer), "a cap on sessions is reached");
                door.kind.turned_away(turned, peer, local);
                return stream.say_and_close(door.kind.farewell(turned));
            }
        };
        door.meter.accepted.add(1);
        let client = Client { peer, local, listen: door.listen.clone() };
        match lightest(&door.stations, admission.loops, &station.handle.load) {
            None => station.serve(&door.kind, stream, client, seat),
            Some(other) => hand_over(door, &other, stream, client, seat),
        }
    }
}

/// An IPv4 address stays one on a socket of both families.
fn address(peer: Option<SocketAddr>) -> Option<IpAddr> {
    peer.map(|peer| peer.ip().to_canonical())
}

fn hand_over(door: &Door, other: &StationHandle, socket: Socket, client: Client, mut seat: Seat) {
    let peer = client.peer;
    match socket.loosen() {
        Ok(socket) => {
            door.meter.handed_over.add(1);
            seat.move_to(&other.load);
            let (kind, failed) = (door.kind.clone(), door.meter.hand_over_failed.clone());
            if !other.order(Order::Serve(Handed { socket, client, kind, seat, failed: failed.clone() })) {
                hand_over_failed(&failed, peer, "the other loop has ended");
            }
        }
        Err(error) => hand_over_failed(&door.meter.hand_over_failed, peer, error),
    }
}

/// Counts and logs a connection that is closed because it could not change loops; `meter` is its door's.
pub(crate) fn hand_over_failed(meter: &Counter, peer: Option<SocketAddr>, why: impl std::fmt::Display) {
    meter.add(1);
    let peer = peer.map_or_else(|| "a local client".to_owned(), |peer| peer.to_string());
    error!(target: "NET", "the connection of {peer} could not change loops and is closed: {why}");
}

/// What is counted at the door of each listener.
pub const MEASURES: &[Measure] = &[
    Measure::counter("netlistener.*.accepted", "connections", "Connections that became sessions.").by(&["listener"]),
    Measure::counter(
        "netlistener.*.handed_over",
        "connections",
        "Those of them that another event loop than the accepting one serves.",
    )
    .by(&["listener"]),
    Measure::counter(
        "netlistener.*.hand_over_failed",
        "connections",
        "Those that could not be brought to their loop, and were closed.",
    )
    .by(&["listener"]),
    Measure::counter("netlistener.*.denied", "connections", "Connections turned away by always_deny.")
        .by(&["listener"]),
    Measure::counter(
        "netlistener.*.over_limit",
        "connections",
        "Connections turned away at a cap: of sessions, or of connections that wait for their PROXY header.",
    )
    .by(&["listener"]),
    Measure::counter(
        "netlistener.*.without_proxy_header",
        "connections",
        "Connections closed because no PROXY header came in time, or what came was none.",
    )
    .by(&["listener"]),
    Measure::counter("netlistener.*.overloaded", "connections", "Connections turned away for want of memory.")
        .by(&["listener"]),
    Measure::counter(
        "netlistener.*.out_of_descriptors",
        "connections",
        "Connections turned away because descriptors, or their share of them, were used up.",
    )
    .by(&["listener"]),
    Measure::counter(
        "netlistener.*.failed",
        "connections",
        "Connections that were gone before they could be accepted.",
    )
    .by(&["listener"]),
];
