//! The part of netlistener that lives on one event loop: its listening sockets, its services, its sessions.
//!
//! Orders come through a channel from the master scheduler and from stations that hand connections over; they are
//! obeyed in order. Invariant: a connection is served on exactly one station, and its seat goes with it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scheduler::{Counter, LoopHandle};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::accept::{self, Door, Listening};
use crate::kind::{Accepted, Client, NetlistenerType, Service};
use crate::occupancy::Seat;
use crate::stop::StopSignal;
use crate::stream::{Loose, Socket, Stream};

/// The way to a station, from any thread.
#[derive(Clone)]
pub(crate) struct StationHandle {
    orders: mpsc::UnboundedSender<Order>,
    /// Sessions on this loop.
    pub(crate) load: Arc<AtomicUsize>,
}

/// What a station is told.
pub(crate) enum Order {
    /// Accept here from now on.
    Listen(u64, Listening, Door),
    /// Close that socket.
    Unlisten(u64),
    /// Serve a connection that was accepted elsewhere.
    Serve(Handed),
    /// Close every socket and tell every session to end.
    Stop,
}

/// A connection on its way to the loop that serves it.
pub(crate) struct Handed {
    pub(crate) socket: Loose,
    pub(crate) client: Client,
    pub(crate) kind: Arc<dyn NetlistenerType>,
    pub(crate) seat: Seat,
    /// Counts it, should it not get there.
    pub(crate) failed: Counter,
}

/// Seen by the tasks of one loop.
pub(crate) struct Station {
    on: LoopHandle,
    pub(crate) handle: StationHandle,
    services: std::cell::RefCell<HashMap<&'static str, Rc<dyn Service>>>,
    pub(crate) stop: StopSignal,
}

impl StationHandle {
    /// Opens a station on a loop. It lives as long as the loop, or as its handles.
    pub(crate) fn open(on: &LoopHandle, paused: watch::Receiver<bool>) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let handle = Self { orders, load: Arc::default() };
        on.spawn({
            let (on, handle) = (on.clone(), handle.clone());
            move || {
                let services = std::cell::RefCell::default();
                run(Rc::new(Station { on, handle, services, stop: StopSignal::default() }), inbox, paused)
            }
        });
        handle
    }

    /// Sends an order; whether it was taken. A loop that has ended takes none; its sessions ended with it.
    pub(crate) fn order(&self, order: Order) -> bool {
        self.orders.send(order).is_ok()
    }
}

async fn run(station: Rc<Station>, mut inbox: mpsc::UnboundedReceiver<Order>, paused: watch::Receiver<bool>) {
    let mut accepting: HashMap<u64, JoinHandle<()>> = HashMap::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Listen(key, listening, door) => {
                let task = accept::run(station.clone(), listening, door, paused.clone());
                accepting.insert(key, tokio::task::spawn_local(task));
            }
            Order::Unlisten(key) => {
                // Dropping the task closes the socket.
                if let Some(task) = accepting.remove(&key) {
                    task.abort();
                }
            }
            Order::Serve(handed) => station.welcome(handed),
            Order::Stop => {
                accepting.drain().for_each(|(_, task)| task.abort());
                station.stop.request();
            }
        }
    }
}

impl Station {
    /// Serves a connection that comes from another loop.
    fn welcome(&self, handed: Handed) {
        let Handed { socket, client, kind, seat, failed } = handed;
        match socket.settle() {
            Ok(socket) => self.serve(&kind, socket, client, seat),
            Err(error) => accept::hand_over_failed(&failed, client.peer, error),
        }
    }

    /// Serves a connection on this loop.
    pub(crate) fn serve(&self, kind: &Arc<dyn NetlistenerType>, socket: Socket, client: Client, seat: Seat) {
        let accepted = Accepted { stream: Stream::Plain(socket), client, stop: self.stop.clone(), seat };
        tokio::task::spawn_local(self.service(kind).serve(accepted));
    }

    fn service(&self, kind: &Arc<dyn NetlistenerType>) -> Rc<dyn Service> {
        let mut services = self.services.borrow_mut();
        services.entry(kind.word()).or_insert_with(|| kind.start(&self.on)).clone()
    }
}

/// Of the first `loops` stations (zero: of all) the one with the fewest sessions, unless the one at `here` is among them and
/// has hardly more: moving a connection costs a wake-up.
pub(crate) fn lightest(stations: &[StationHandle], loops: usize, here: &Arc<AtomicUsize>) -> Option<StationHandle> {
    let serving = stations.get(..loops).filter(|serving| !serving.is_empty()).unwrap_or(stations);
    let load = |station: &StationHandle| station.load.load(Ordering::Relaxed);
    let lightest = serving.iter().min_by_key(|station| load(station))?;
    let may_stay = serving.iter().any(|station| Arc::ptr_eq(&station.load, here));
    let worth_moving = !may_stay || load(lightest) + 2 <= here.load(Ordering::Relaxed);
    worth_moving.then(|| lightest.clone())
}
