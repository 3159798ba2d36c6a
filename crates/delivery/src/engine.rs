//! The door of delivery: started once over its loops, then reached through the intake and this handle from any thread.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::{Configuration, Generation};
use message::IdGenerator;
use queue::{Intake, ResidentOwners};
use scheduler::{Clock, Descriptors, LoopHandle, MemoryPressure, Meters, Random, ThreadPools};
use spool::{Spool, StateFile};
use tokio::sync::{mpsc, oneshot};

use crate::lacks::Lacks;
use crate::limits::Limits;
use crate::maintainer::{Maintainer, Order, Shared};
use crate::notes::Notes;
use crate::seams::{Bouncer, Connector, Itself, Names};
use crate::trace::Tracers;

/// What delivery is built on.
#[derive(Clone)]
pub struct Deps {
    /// Each attempt uses the generation that is current when it begins; log hooks come with it, as its
    /// `hooks::HookSet` extension.
    pub configuration: Configuration,
    /// Where bodies are read from and finished messages unlinked.
    pub spool: Spool,
    /// The resolver.
    pub names: Arc<dyn Names>,
    /// The network.
    pub connector: Arc<dyn Connector>,
    /// What this process is in it.
    pub itself: Arc<dyn Itself>,
    /// How many connections there may be.
    pub descriptors: Descriptors,
    /// For connections.
    pub ids: Arc<IdGenerator>,
    /// The clock.
    pub clock: Clock,
    /// For the order of hosts of one preference.
    pub random: Random,
    /// Where delivery counts.
    pub meters: Meters,
    /// For writing mailboxes.
    pub pools: ThreadPools,
    /// Read, to hold less while memory is short.
    pub pressure: MemoryPressure,
    /// Where the spent parts of throttles are noted for the next start; without it a restart opens new windows.
    pub throttle_notes: Option<StateFile>,
    /// This machine's name in a generation, for EHLO and mailbox files.
    pub hostname: Hostname,
}

/// What a generation calls this machine.
pub type Hostname = Arc<dyn Fn(&Generation) -> Arc<str> + Send + Sync>;

/// Delivery.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Starts a maintainer on each loop. `bouncer` makes the sender of notifications, which enqueues them through the
    /// intake it is given. Reads the last note of throttles, so it blocks for a moment.
    pub fn start(
        loops: &[LoopHandle],
        deps: Deps,
        bouncer: impl FnOnce(&Intake) -> Arc<dyn Bouncer>,
    ) -> (Intake, EngineHandle) {
        let (intake, arrivals) = queue::intake(loops.len(), INTAKE_CAPACITY, ResidentOwners::new(&deps.meters));
        let bouncer = bouncer(&intake);
        let notes = deps.throttle_notes.clone().map(|file| Notes::open(file, deps.clock, deps.pools.clone()));
        let (limits, notes) =
            notes.map_or_else(|| (Arc::<Limits>::default(), None), |(limits, notes)| (limits, Some(notes)));
        if let (Some(notes), Some(first)) = (notes.clone(), loops.first()) {
            first.spawn(|| notes.run());
        }
        let lacks = Arc::new(Lacks::new(&deps.meters));
        let (mut orders, tracers) = (Vec::new(), Tracers::default());
        for (event_loop, arrivals) in loops.iter().zip(arrivals) {
            let (sender, receiver) = mpsc::channel(ORDERS_CAPACITY);
            orders.push(sender);
            let deps = deps.clone();
            let (limits, lacks, intake) = (limits.clone(), lacks.clone(), intake.downgrade());
            let shared = Shared { loops: loops.len(), limits, lacks, intake, tracers: tracers.clone() };
            let (label, bouncer) = (event_loop.name().to_owned(), bouncer.clone());
            event_loop.spawn(move || {
                let (maintainer, granted) = Maintainer::new(deps, bouncer, &label, shared);
                Rc::new(maintainer).run(arrivals, receiver, granted)
            });
        }
        (intake, EngineHandle { orders: orders.into(), clock: deps.clock, spool: deps.spool, notes, tracers })
    }
}

/// Reaches the maintainers of every loop, from any thread. Cloning shares it.
#[derive(Clone)]
pub struct EngineHandle {
    orders: Arc<[mpsc::Sender<Order>]>,
    pub(crate) clock: Clock,
    pub(crate) spool: Spool,
    notes: Option<Arc<Notes>>,
    tracers: Tracers,
}

impl EngineHandle {
    /// Who wants dialogues with hosts recorded.
    pub fn tracers(&self) -> &Tracers {
        &self.tracers
    }

    /// Ends delivery: no new attempts; those under way finish, or are cut off after `grace` and so return to their queue,
    /// for what is not settled is still in the spool. Messages in attempts that were cut off.
    pub async fn stop(&self, grace: Duration) -> usize {
        let cut_off = self.drain(grace).await;
        if let Some(notes) = &self.notes {
            notes.close().await;
        }
        cut_off
    }

    async fn drain(&self, grace: Duration) -> usize {
        let deadline = self.clock.now() + grace;
        self.each(|maintainer| maintainer.stop()).await;
        loop {
            let busy: usize = self.each(|maintainer| maintainer.tasks()).await.into_iter().sum();
            if busy == 0 {
                return 0;
            }
            if deadline <= self.clock.now() {
                let in_flight = |maintainer: &Rc<Maintainer>| maintainer.queues.borrow().totals().in_flight;
                return self.each(in_flight).await.into_iter().sum();
            }
            tokio::time::sleep(STOP_POLL).await;
        }
    }

    /// Has every queue looked at under the generation now in effect: call it after a reload, so that mail which was suspended
    /// or held goes at once and not at the next sweep.
    pub async fn refresh(&self) {
        self.each(|maintainer| maintainer.refresh()).await;
    }

    /// Memory has become short: every loop lets go of what it can, now and not when it would next have looked. Any thread;
    /// never waits.
    pub fn look_at_memory(&self) {
        for orders in self.orders.iter() {
            // A loop that has no room for an order looks a little later.
            let _ = orders.try_send(Box::new(|maintainer| maintainer.memory_became_short()));
        }
    }

    /// Asks every loop, and gathers the answers. A loop that has ended gives none.
    pub(crate) async fn each<T: Send + 'static>(
        &self,
        ask: impl Fn(&Rc<Maintainer>) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let mut answers = Vec::new();
        for orders in self.orders.iter() {
            let (answer, answered) = oneshot::channel();
            let ask = ask.clone();
            let order: Order = Box::new(move |maintainer| drop(answer.send(ask(maintainer))));
            if orders.send(order).await.is_ok() {
                answers.push(answered);
            }
        }
        let mut gathered = Vec::new();
        for answer in answers {
            gathered.extend(answer.await.ok());
        }
        gathered
    }
}

/// Messages under way to one loop before reception waits.
const INTAKE_CAPACITY: usize = 1024;
/// Orders under way to one loop.
const ORDERS_CAPACITY: usize = 64;
/// How often a stop looks whether all is done.
const STOP_POLL: Duration = Duration::from_millis(20);
