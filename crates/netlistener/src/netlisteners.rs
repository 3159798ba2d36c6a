//! All listeners of the process: compares what a generation asks for with what runs, and changes only the difference.
//!
//! Lives on the master scheduler. [`Netlisteners::prepare`] binds what is new and fails without having changed anything;
//! [`Netlisteners::commit`] cannot fail. Invariant: a socket that both the old and the new generation want is not
//! touched, so a reload refuses no client.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use scheduler::{Descriptors, LoopHandle, Meters};
use tokio::sync::watch;
use tracing::info;

use crate::accept::{AdmissionRule, Door, DoorMeter, Listening};
use crate::error::{ListenError, Problem};
use crate::kind::NetlistenerType;
use crate::occupancy::Occupancy;
use crate::options::ListenSpec;
use crate::own::OwnAddresses;
use crate::socket::{self, Bound, SocketName};
use crate::station::{Order, StationHandle};

/// The listeners of the process.
pub struct Netlisteners {
    kinds: BTreeMap<&'static str, Arc<dyn NetlistenerType>>,
    pools: HashMap<String, Arc<[StationHandle]>>,
    default_pool: String,
    running: BTreeMap<Name, Running>,
    occupancy: Arc<Occupancy>,
    admission: AdmissionRule,
    paused: watch::Sender<bool>,
    own: OwnAddresses,
    descriptors: Descriptors,
    meters: Meters,
    next_key: u64,
}

/// A listener type's word and a socket's canonical address.
type Name = (&'static str, String);

struct Running {
    key: u64,
    endpoint: Endpoint,
    stations: Arc<[StationHandle]>,
    /// Of a Unix socket; removed when it is no longer listened on.
    #[expect(dead_code, reason = "held for its drop")]
    socket: Option<SocketName>,
}

/// A socket that is being listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's word.
    pub word: &'static str,
    /// The Listen stanza's name, as the configuration spells it.
    pub listen: Arc<str>,
    /// The address in fact bound; none for a Unix socket.
    pub local: Option<SocketAddr>,
}

impl fmt::Display for Endpoint {
    /// `esmtp_listener on 127.0.0.1:25`: the address in fact bound, or the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local {
            Some(local) => write!(f, "{} on {local}", self.word),
            None => write!(f, "{} on {}", self.word, self.listen),
        }
    }
}

/// What a generation changes, with its new sockets bound. Dropping it closes them.
pub struct Plan {
    start: Vec<(ListenSpec, Bound, Arc<[StationHandle]>)>,
    keep: BTreeMap<Name, ListenSpec>,
}

/// The stations of a pool from another one on, so that listeners of few loops each do not all have the same.
fn beginning_at(stations: &[StationHandle], place: usize) -> Arc<[StationHandle]> {
    let mut stations = stations.to_vec();
    let first = place.checked_rem(stations.len()).unwrap_or(0);
    stations.rotate_left(first);
    stations.into()
}

impl Netlisteners {
    /// No listeners yet. `pools` are the event loop pools by name; a Listen stanza that names none is served by
    /// `default_pool`. `admission` says what the current generation thinks of a client: see [`crate::admission`].
    pub fn new(
        pools: HashMap<String, Vec<LoopHandle>>,
        default_pool: &str,
        admission: impl Fn(&'static str, &Arc<str>, Option<std::net::IpAddr>) -> crate::Admission + Send + Sync + 'static,
        meters: &Meters,
    ) -> Self {
        let paused = watch::Sender::new(false);
        let station = |on: &LoopHandle| StationHandle::open(on, paused.subscribe());
        let pools = pools.into_iter().map(|(name, loops)| (name, loops.iter().map(station).collect())).collect();
        Self {
            kinds: BTreeMap::new(),
            pools,
            default_pool: default_pool.to_owned(),
            running: BTreeMap::new(),
            occupancy: Arc::default(),
            admission: Arc::new(admission),
            paused,
            own: OwnAddresses::default(),
            descriptors: Descriptors::default(),
            meters: meters.clone(),
            next_key: 0,
        }
    }

    /// Keeps within these shares of the descriptors.
    pub fn within(mut self, descriptors: &Descriptors) -> Self {
        self.descriptors = descriptors.clone();
        self
    }

    /// The addresses that lead here, now and later.
    pub fn own_addresses(&self) -> OwnAddresses {
        self.own.clone()
    }

    /// Adds a listener type. Its stanzas are seen from the next [`Netlisteners::prepare`] on.
    pub fn register(&mut self, kind: Arc<dyn NetlistenerType>) {
        self.kinds.insert(kind.word(), kind);
    }

    /// The words of the registered types.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.keys().copied()
    }

    /// Binds the sockets among `wanted` that are not listened on yet.
    pub fn prepare(&self, wanted: Vec<ListenSpec>) -> Result<Plan, ListenError> {
        let mut plan = Plan { start: Vec::new(), keep: BTreeMap::new() };
        for (place, spec) in wanted.into_iter().enumerate() {
            // Also of a socket that stays where it is: the next start would refuse what is let pass here.
            let pool = spec.event_loop.as_deref().unwrap_or(&self.default_pool);
            let stations = self.pools.get(pool).cloned().ok_or_else(|| ListenError {
                word: spec.word,
                listen: spec.listen.to_string(),
                problem: Problem::NoSuchPool(pool.to_owned()),
            })?;
            let name = (spec.word, spec.address.to_string());
            if self.running.contains_key(&name) {
                plan.keep.insert(name, spec);
                continue;
            }
            let stations = beginning_at(&stations, place);
            let accepting = if spec.concurrency == 0 { stations.len() } else { spec.concurrency.min(stations.len()) };
            let bound =
                socket::bind(&spec, accepting).map_err(|error| error.unless_own(&spec, self.running_addresses()))?;
            plan.start.push((spec, bound, stations));
        }
        Ok(plan)
    }

    /// Whether [`Netlisteners::prepare`] would succeed now; nothing is left of the question.
    pub fn check(&self, wanted: &[ListenSpec]) -> Result<(), ListenError> {
        let is_new = |spec: &&ListenSpec| !self.running.contains_key(&(spec.word, spec.address.to_string()));
        wanted
            .iter()
            .filter(is_new)
            .try_for_each(|spec| socket::probe(spec).map_err(|error| error.unless_own(spec, self.running_addresses())))
    }

    fn running_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.running.values().filter_map(|running| running.endpoint.local)
    }

    /// Starts what is new and stops what is gone. Sessions of a stopped listener go on.
    pub fn commit(&mut self, plan: Plan) {
        let kept = std::mem::take(&mut self.running);
        for (name, running) in kept {
            if let Some(spec) = plan.keep.get(&name) {
                socket::set_mode(spec);
                self.running.insert(name, running);
            } else {
                info!(target: "NET", "{} no longer listens on {}", name.0, name.1);
                for station in running.stations.iter() {
                    station.order(Order::Unlisten(running.key));
                }
            }
        }
        for (spec, bound, stations) in plan.start {
            self.start(spec, bound, stations);
        }
        self.own.set(self.running_addresses());
    }

    fn start(&mut self, spec: ListenSpec, bound: Bound, stations: Arc<[StationHandle]>) {
        let Some(kind) = self.kinds.get(spec.word).cloned() else { return };
        self.next_key += 1;
        let key = self.next_key;
        let door = Door {
            listen: spec.listen.clone(),
            kind,
            stations: stations.clone(),
            occupancy: self.occupancy.clone(),
            admission: self.admission.clone(),
            descriptors: self.descriptors.clone(),
            meter: DoorMeter::new(spec.word, &self.meters),
        };
        let (mut local, mut socket) = (None, None);
        match bound {
            Bound::Tcp(listeners) => {
                for (station, listener) in stations.iter().zip(listeners) {
                    local = listener.local_addr().ok();
                    station.order(Order::Listen(key, Listening::Tcp(listener), door.clone()));
                }
            }
            Bound::Unix(listener, name) => {
                socket = Some(name);
                if let Some(station) = stations.first() {
                    station.order(Order::Listen(key, Listening::Unix(listener), door));
                }
            }
        }
        let endpoint = Endpoint { word: spec.word, listen: spec.listen, local };
        info!(target: "NET", "{} listens on {}", endpoint.word, spec.address);
        self.running.insert((spec.word, spec.address.to_string()), Running { key, endpoint, stations, socket });
    }

    /// What is being listened on.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.running.values().map(|running| &running.endpoint)
    }

    /// Sessions now.
    pub fn sessions(&self) -> usize {
        self.occupancy.sessions()
    }

    /// Stops accepting, without closing the sockets: clients wait in the backlog.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Accepts again.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    /// Closes every socket and tells every session to end. Await [`Netlisteners::drained`] for as long as they may take.
    pub fn stop(&mut self) {
        self.running.clear();
        for station in self.pools.values().flat_map(|stations| stations.iter()) {
            station.order(Order::Stop);
        }
    }

    /// Resolves when the last session has ended.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let occupancy = self.occupancy.clone();
        async move { occupancy.empty().await }
    }
}
