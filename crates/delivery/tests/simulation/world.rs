//! Delivery whole, in simulated time: engine, queues, memory spool, network and logs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use config::{Configuration, Environment, Lookup, Opt, Registry, scopes};
use delivery::{Bouncer, Deps, Engine, EngineHandle, FailedMessage, Local, NotStored};
use hooks::{Answer, HookSet, HookSetBuilder};
use logging::{FailureRecord, LogDelivery, LogPermanentFailure, LogTransientFailure};
use message::{Body, DeliveryState, Envelope, IdGenerator, MessageId, Origin, Protocol, QueueName};
use queue::Intake;
use scheduler::{Clock, Descriptors, LoopHandle, LoopPool, MemoryPressure, Meters, Random, ThreadPools, Watchdog};
use smtp::{ForwardPath, Mailbox, ReversePath};
use spool::chain::{BodyIn, CommitSet, HeadersOut, IoCaller, IoResult};
use spool::{IoModule, Memory, Promise, ReadPool, Spool, SpoolError};

use crate::network::Network;

/// Runs what a pool would run: at once, or after a pause.
#[derive(Default)]
struct Reads(Arc<Mutex<Duration>>);

impl ReadPool for Reads {
    fn submit(&self, job: spool::Job) {
        let pause = *self.0.lock().unwrap();
        if pause == Duration::ZERO {
            return job();
        }
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            job();
        });
    }
}

/// Keeps unlinks waiting while it is shut, as a spool whose backlog is full does; refuses headers while it is full.
#[derive(Default)]
pub struct Door {
    staged: AtomicBool,
    full: AtomicBool,
    waiting: Mutex<Option<Vec<Promise<()>>>>,
}

impl Door {
    pub fn shut(&self) {
        *self.waiting.lock().unwrap() = Some(Vec::new());
    }

    /// From now on there is no room for headers.
    pub fn fill(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    /// Lets in who waits; how many.
    pub fn open(&self) -> usize {
        let waiting = self.waiting.lock().unwrap().take().unwrap_or_default();
        let count = waiting.len();
        waiting.into_iter().for_each(|promise| promise.keep(Ok(())));
        count
    }
}

impl IoModule for Door {
    fn name(&self) -> &str {
        "door"
    }

    fn write_headers(&self, _: IoCaller, _: &mut CommitSet, _: &mut HeadersOut<'_>, _: bool) -> IoResult {
        if self.full.load(Ordering::Relaxed) {
            return IoResult::Fail(SpoolError::Full { wanted_bytes: 1, free_bytes: 0 });
        }
        IoResult::Cont
    }

    fn unlink_headers(&self, _: IoCaller, _: &mut CommitSet, _: MessageId) -> IoResult {
        self.staged.store(true, Ordering::Relaxed);
        IoResult::Cont
    }

    fn commit(&self, set: &mut CommitSet) {
        if self.staged.swap(false, Ordering::Relaxed)
            && let Some(waiting) = &mut *self.waiting.lock().unwrap()
        {
            waiting.push(set.part());
        }
    }
}

/// A disk that gives no body while it is shut: who reads one waits on its thread.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    shut: bool,
    waiting: usize,
    faults: Vec<SpoolError>,
}

impl Gate {
    pub fn shut(&self) {
        self.state.lock().unwrap().shut = true;
    }

    pub fn open(&self) {
        self.state.lock().unwrap().shut = false;
        self.changed.notify_all();
    }

    /// The next body that is read cannot be.
    pub fn fail(&self, fault: SpoolError) {
        self.state.lock().unwrap().faults.push(fault);
    }

    /// Threads that wait for it.
    pub fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting
    }
}

impl IoModule for Gate {
    fn name(&self) -> &str {
        "gate"
    }

    fn read_body(&self, _: IoCaller, _: &mut BodyIn) -> IoResult {
        let mut state = self.state.lock().unwrap();
        if let Some(fault) = state.faults.pop() {
            return IoResult::Fail(fault);
        }
        state.waiting += 1;
        // A loop that read here by itself could not have it opened: the test is to fail then, and not to hang.
        let (mut state, _) = self.changed.wait_timeout_while(state, GATE_LIMIT, |state| state.shut).unwrap();
        state.waiting -= 1;
        IoResult::Cont
    }
}

/// Longer than [`WATCHDOG_LIMIT`].
const GATE_LIMIT: Duration = Duration::from_secs(25);
/// How long a loop of [`on_a_loop`] may be silent.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(10);

/// What the bouncer was told.
#[derive(Clone, Default)]
pub struct Bounces {
    pub told: Arc<Mutex<Vec<FailedMessage>>>,
    pub broken: Arc<Mutex<bool>>,
    /// The next one panics.
    pub panics: Arc<Mutex<bool>>,
    /// How long storing one takes.
    pub pause: Arc<Mutex<Duration>>,
}

impl Bouncer for Bounces {
    fn bounce<'a>(&'a self, failed: &'a FailedMessage, stored: &'a dyn Fn()) -> Local<'a, Result<(), NotStored>> {
        Box::pin(async move {
            let pause = *self.pause.lock().unwrap();
            if pause != Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
            if std::mem::take(&mut *self.panics.lock().unwrap()) {
                panic!("the bouncer panics");
            }
            if *self.broken.lock().unwrap() {
                return Err(NotStored("disk full".to_owned()));
            }
            self.told.lock().unwrap().push(failed.clone());
            stored();
            Ok(())
        })
    }
}

pub struct World {
    pub network: Network,
    pub intake: Intake,
    pub engine: EngineHandle,
    pub bounces: Bounces,
    pub meters: Meters,
    pub memory: Arc<Memory>,
    pub door: Arc<Door>,
    pub gate: Arc<Gate>,
    /// How long reading from the spool takes.
    pub read_pause: Arc<Mutex<Duration>>,
    /// Says how short memory is.
    pub pressure: MemoryPressure,
    pub spool: Spool,
    pub clock: Clock,
    ids: Arc<IdGenerator>,
    log: Log,
    configuration: Configuration,
    directory: tempfile::TempDir,
}

type Log = Arc<Mutex<Vec<String>>>;

/// The name of this machine.
static HOSTNAME: Opt<String> = Opt::new("hostname", "here.test", scopes::GLOBAL, "The name of this machine.");
/// Every message's.
const BODY: Body = Body::from_static(b"Subject: x\r\n\r\nhello\r\n.\r\n");

/// Runs a scenario in simulated time under a configuration.
pub fn simulate<F: Future<Output = ()>>(configuration: &str, scenario: impl FnOnce(World) -> F) {
    testkit::sim::run(|clock| {
        let world = World::new(clock, configuration);
        scenario(world)
    });
}

/// Runs a scenario that needs real threads, in real time.
pub fn for_real<F: Future<Output = ()>>(configuration: &str, scenario: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async { scenario(World::new(Clock::simulated(testkit::sim::epoch()), configuration)).await });
}

/// Runs a scenario in real time against delivery on an event loop of its own, which a watchdog watches, with a pool of threads
/// that read bodies through a gate.
pub fn on_a_loop<F: Future<Output = ()>>(configuration: &str, scenario: impl FnOnce(World, Arc<Gate>) -> F) {
    let (clock, meters, gate) = (Clock::system(), Meters::new(), Arc::<Gate>::default());
    let watchdog = Watchdog::start(clock, WATCHDOG_LIMIT, &meters, |_| {}).unwrap();
    let pool = LoopPool::start("test", 1, &watchdog, &meters).unwrap();
    let pools = ThreadPools::new(clock, &meters);
    let ground = Ground {
        loops: pool.loops().to_vec(),
        reads: Arc::new(pools.get("SwapIn")),
        gate: gate.clone(),
        read_pause: Arc::default(),
        meters,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        scenario(World::over(ground, Clock::simulated(testkit::sim::epoch()), configuration), gate).await
    });
    pool.shutdown();
}

/// What delivery stands on.
struct Ground {
    loops: Vec<LoopHandle>,
    reads: Arc<dyn ReadPool>,
    gate: Arc<Gate>,
    read_pause: Arc<Mutex<Duration>>,
    meters: Meters,
}

impl World {
    /// Two loops that are this thread.
    fn new(clock: Clock, text: &str) -> Self {
        let (meters, read_pause) = (Meters::new(), Arc::<Mutex<Duration>>::default());
        let loops = vec![LoopHandle::adopt("test/0", &meters), LoopHandle::adopt("test/1", &meters)];
        let (reads, gate) = (Arc::new(Reads(read_pause.clone())), Arc::default());
        Self::over(Ground { loops, reads, gate, read_pause, meters }, clock, text)
    }

    fn over(ground: Ground, clock: Clock, text: &str) -> Self {
        let Ground { loops, reads, gate, read_pause, meters } = ground;
        let directory = tempfile::tempdir().unwrap();
        let mut registry = Registry::new();
        registry.add_all(queue::OPTIONS);
        registry.add_all(delivery::OPTIONS);
        registry.add(&HOSTNAME);
        let path = directory.path().join("ecelerity.conf");
        std::fs::write(&path, text.replace("DIRECTORY", directory.path().to_str().unwrap())).unwrap();
        let log = Log::default();
        let hooks = hooks(&log, clock);
        let configuration = Configuration::load_with(registry, &path, Environment::default(), &mut |generation| {
            generation.extend::<HookSet>(hooks.clone());
            Ok(())
        });
        let configuration = configuration.unwrap_or_else(|errors| panic!("{errors}"));
        let (network, bounces) = (Network::default(), Bounces::default());
        let memory = Arc::new(Memory::new());
        let door = Arc::new(Door::default());
        let spool =
            Spool::charging(meters.memory(message::BODIES), vec![gate.clone(), door.clone(), memory.clone()], reads);
        let ids = Arc::new(IdGenerator::new(clock, 1, None));
        let pressure = MemoryPressure::default();
        let deps = Deps {
            configuration: configuration.clone(),
            spool: spool.clone(),
            names: Arc::new(network.clone()),
            connector: Arc::new(network.clone()),
            itself: Arc::new(network.clone()),
            descriptors: Descriptors::of(1 << 20),
            ids: ids.clone(),
            clock,
            random: Random::seeded(7),
            meters: meters.clone(),
            pools: ThreadPools::new(clock, &meters),
            pressure: pressure.clone(),
            throttle_notes: None,
            hostname: Arc::new(|generation| generation.get(&HOSTNAME, &Lookup::Global).into()),
        };
        let bouncer: Arc<dyn Bouncer> = Arc::new(bounces.clone());
        let (intake, engine) = Engine::start(&loops, deps, |_| bouncer);
        Self {
            network,
            intake,
            engine,
            bounces,
            meters,
            memory,
            door,
            gate,
            read_pause,
            pressure,
            spool,
            clock,
            ids,
            log,
            configuration,
            directory,
        }
    }

    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub fn reload(&self, text: &str) {
        std::fs::write(self.directory().join("ecelerity.conf"), text).unwrap();
        let hooks = hooks(&self.log, self.clock);
        self.configuration
            .reload(&mut |generation| {
                generation.extend::<HookSet>(hooks.clone());
                Ok(())
            })
            .unwrap_or_else(|errors| panic!("{errors}"));
    }

    /// One message to each recipient: spooled, then queued, as reception does it.
    pub async fn send(&self, reverse_path: &str, recipients: &[&str]) -> MessageId {
        let envelopes = self.spooled(reverse_path, recipients).await;
        let batch = envelopes[0].batch;
        for waiting in self.intake.offer(envelopes, &BODY) {
            assert!(self.intake.give(waiting).await);
        }
        batch
    }

    /// One message that leaves by a binding.
    pub async fn send_by(&self, binding: &str, recipient: &str) {
        for mut envelope in self.spooled(crate::FROM, &[recipient]).await {
            envelope.queue.binding = binding.into();
            assert!(self.intake.enqueue(envelope, BODY).await);
        }
    }

    /// One message to each recipient with a body of its own.
    pub async fn send_body(&self, recipients: &[&str], body: &'static [u8]) {
        self.send_changed(recipients, body, |_, _| {}).await;
    }

    /// As [`World::send_body`], with something changed in the envelope of each recipient.
    pub async fn send_changed(&self, recipients: &[&str], body: &'static [u8], change: impl Fn(usize, &mut Envelope)) {
        let body = Body::from_static(body);
        let batch = self.ids.next();
        let mut envelopes = Vec::new();
        for (place, recipient) in recipients.iter().enumerate() {
            let id = if place == 0 { batch } else { self.ids.next() };
            let envelope = self.envelope(id, batch, crate::FROM, recipient, &body);
            let mut envelope = Envelope { eight_bit: !body.is_ascii(), ..envelope };
            change(place, &mut envelope);
            envelopes.push(envelope);
        }
        self.spool.store(&body, &envelopes).await.unwrap();
        for waiting in self.intake.offer(envelopes, &body) {
            assert!(self.intake.give(waiting).await);
        }
    }

    /// Waits, in real time, until a counter has come that far.
    pub async fn until(&self, meter: &str, count: u64) {
        while self.meters.get(meter) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// One message to each recipient, in the spool and not yet queued.
    pub async fn spooled(&self, reverse_path: &str, recipients: &[&str]) -> Vec<Envelope> {
        let batch = self.ids.next();
        let mut envelopes = Vec::new();
        for (place, recipient) in recipients.iter().enumerate() {
            let id = if place == 0 { batch } else { self.ids.next() };
            envelopes.push(self.envelope(id, batch, reverse_path, recipient, &BODY));
        }
        self.spool.store(&BODY, &envelopes).await.unwrap();
        envelopes
    }

    fn envelope(&self, id: MessageId, batch: MessageId, from: &str, to: &str, body: &Body) -> Envelope {
        let forward_path = ForwardPath(Mailbox::parse(to).unwrap());
        let generation = self.configuration.current();
        let domain = queue::routing_domain(&generation, "default", "default", forward_path.mailbox().domain());
        Envelope {
            id,
            batch,
            reverse_path: Mailbox::parse(from).map_or(ReversePath::Null, ReversePath::Mailbox),
            forward_path,
            created: self.clock.unix(),
            body_bytes: body.len() as u64,
            eight_bit: false,
            origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: MessageId::NULL },
            queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain },
            delivery: DeliveryState::default(),
            context: message::Context::default(),
            edits: None,
            particulars: None,
        }
    }

    /// Lets seconds pass.
    pub async fn pass(&self, seconds: u64) {
        testkit::sim::pass(Duration::from_secs(seconds)).await;
    }

    /// Lets milliseconds pass.
    pub async fn pass_milliseconds(&self, milliseconds: u64) {
        testkit::sim::pass(Duration::from_millis(milliseconds)).await;
    }

    /// The loop that the default binding's queue of a domain is on.
    pub fn loop_of(&self, domain: &str) -> usize {
        let queue = QueueName { binding_group: "default".into(), binding: "default".into(), domain: domain.into() };
        self.intake.owner(&queue)
    }

    /// The log so far: `second kind recipient …`, and forgets it.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// Messages left in the spool.
    pub fn stored(&self) -> usize {
        self.memory.len().0
    }
}

fn hooks(log: &Log, clock: Clock) -> Arc<HookSet> {
    let mut builder = HookSetBuilder::new();
    let second = move || (clock.wall().duration_since(testkit::sim::epoch()).unwrap()).as_secs();
    let failure = move |log: &Log, kind: char, record: &FailureRecord<'_>| {
        let remote = record.remote.map_or_else(|| "-".to_owned(), |remote| remote.to_string());
        let line = format!(
            "{} {kind} {} stage={} retries={} {remote} {}",
            second(),
            record.envelope.forward_path.as_str(),
            record.stage.number(),
            record.envelope.delivery.retries,
            record.reply
        );
        log.lock().unwrap().push(line);
    };
    let delivered = log.clone();
    builder.last::<LogDelivery>(
        "test",
        Arc::new(move |record| {
            let remote = record.remote.map_or_else(|| "-".to_owned(), |remote| remote.to_string());
            let (recipient, retries) = (record.envelope.forward_path.as_str(), record.envelope.delivery.retries);
            delivered.lock().unwrap().push(format!("{} D {recipient} retries={retries} {remote}", second()));
            Answer::Done(())
        }),
    );
    let transient = log.clone();
    builder.last::<LogTransientFailure>(
        "test",
        Arc::new(move |record| {
            failure(&transient, 'T', record);
            Answer::Done(())
        }),
    );
    let permanent = log.clone();
    builder.last::<LogPermanentFailure>(
        "test",
        Arc::new(move |record| {
            failure(&permanent, 'P', record);
            Answer::Done(())
        }),
    );
    builder.finish()
}
