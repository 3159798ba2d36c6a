//! One thread pool: a queue of blocking jobs and the threads that work it off.
//!
//! Jobs come in from any thread; how each ends is told by its completion mode. Threads are started when a job finds
//! none idle, up to the concurrency, and end when they have been idle for a while beyond the floor. At a full backlog
//! the submitter waits: that is the brake which keeps a fast producer (unlinking, above all) within reach of the
//! disk.
//!
//! A job that unwinds is caught, counted and logged, and its thread lives on. Whether a panic unwinds at all is the process's
//! decision, which spares contained jobs (`containment`). A thread itself can only end by its own decision.
//!
//! Invariant: a job taken by `submit` runs exactly once, or is told as skipped by the shutdown.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::containment::contain;
use crate::job::{Completion, Job, Outcome, Rejected};
use crate::measure::Measure;
use crate::{Clock, Counter, Meters, PoolStats};

/// In which order queued jobs are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    #[default]
    Fifo,
    /// Youngest first: for work whose value fades, at the price of starving the oldest under overload.
    Lifo,
}

/// What an operator can set of a pool. All of it may change while the pool works; the reference lets only concurrency
/// and stack size change online, here a new backlog limit holds from the next submission on too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Threads at most. 0 runs every job inline, on the thread that submits it.
    pub concurrency: usize,
    /// Threads that stay when idle.
    pub floor: usize,
    /// What `concurrency` is cut to if the work would be wrong with more threads, whatever the operator sets.
    pub max: Option<usize>,
    /// Queued jobs at which submitters start to wait; 0 for no limit.
    pub backlog: usize,
    /// Stack of threads started from now on.
    pub stack_bytes: usize,
    /// Order of the queued jobs.
    pub order: Order,
    /// How long a thread beyond the floor stays idle before it ends.
    pub idle: Duration,
}

impl PoolSettings {
    /// That many threads; no floor, no backlog limit, FIFO, idle threads end after a minute.
    pub const fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            floor: 0,
            max: None,
            backlog: 0,
            stack_bytes: 2 << 20,
            order: Order::Fifo,
            idle: Duration::from_secs(60),
        }
    }

    /// Limits the queue.
    pub const fn backlog(mut self, jobs: usize) -> Self {
        self.backlog = jobs;
        self
    }

    fn threads_max(&self) -> usize {
        self.max.map_or(self.concurrency, |max| max.min(self.concurrency))
    }
}

/// A thread pool. Cloning shares it; usable from any thread.
#[derive(Clone)]
pub struct ThreadPool(Arc<Pool>);

struct Pool {
    name: String,
    clock: Clock,
    state: Mutex<State>,
    /// A job was queued, or the settings changed, or the end has come.
    work: Condvar,
    /// The queue got shorter: for submitters that block, and for those that await.
    room: Condvar,
    room_async: Notify,
    panics: Counter,
    waited: Counter,
    entered: Counter,
    left: Counter,
}

struct State {
    settings: PoolSettings,
    queue: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that exist, and those of them that wait for work.
    alive: usize,
    idle: usize,
    /// Jobs that run, inline ones among them.
    running: usize,
    closed: bool,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    starts: u64,
    running_at_starts: u64,
    saturated_starts: u64,
    finished: u64,
    wallclock: Duration,
}

/// Counts a submitter that has to wait once, however often it looks.
#[derive(Default)]
struct Waits {
    counted: bool,
}

impl Waits {
    fn count(&mut self, waited: &Counter) {
        waited.add(u64::from(!self.counted));
        self.counted = true;
    }
}

impl Totals {
    fn average_wallclock(&self) -> Duration {
        let nanos = self.wallclock.as_nanos() / u128::from(self.finished.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Why a job was not taken just now.
enum Refusal {
    Full(Job),
    Final(Rejected),
}

impl ThreadPool {
    pub(crate) fn new(name: &str, settings: PoolSettings, clock: Clock, meters: &Meters) -> Self {
        let counter = |event: &str| meters.counter(&format!("scheduler.pool.{name}.{event}"));
        Self(Arc::new(Pool {
            name: name.to_owned(),
            clock,
            state: Mutex::new(State {
                settings,
                queue: VecDeque::new(),
                threads: Vec::new(),
                alive: 0,
                idle: 0,
                running: 0,
                closed: false,
                totals: Totals::default(),
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            room_async: Notify::new(),
            panics: counter("panics"),
            waited: counter("waited"),
            entered: counter("entered"),
            left: counter("left"),
        }))
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs a job on the pool and gives its result. Dropping the future before the job is queued takes it back; after
    /// that the job runs and its result is lost.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Rejected> {
        let (answer, answered) = oneshot::channel();
        // The submitter may be gone by then.
        self.submit(Job::new(move || drop(answer.send(job())))).await?;
        // The sender is only lost unsent when the job unwinds.
        answered.await.map_err(|_| Rejected::Panicked)
    }

    /// As [`ThreadPool::run`], for work over octets from strangers: a panic in it is [`Rejected::Panicked`], whatever a panic does
    /// to the process elsewhere.
    pub async fn run_contained<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Rejected> {
        self.run(move || contain(job)).await
    }

    /// Queues a job, or runs it if it is to run inline. Waits while the backlog is full. Usable on a loop.
    pub async fn submit(&self, job: Job) -> Result<(), Rejected> {
        let mut job = job;
        let mut waits = Waits::default();
        loop {
            // Made before looking, so that room made in between is not missed.
            let room = self.0.room_async.notified();
            match self.0.take(self, job) {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(rejected)) => return Err(rejected),
                Err(Refusal::Full(refused)) => job = refused,
            }
            waits.count(&self.0.waited);
            room.await;
        }
    }

    /// As [`ThreadPool::submit`], for threads that may block. Never for a loop.
    pub fn submit_blocking(&self, job: Job) -> Result<(), Rejected> {
        let mut job = job;
        let mut waits = Waits::default();
        loop {
            match self.0.take(self, job) {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(rejected)) => return Err(rejected),
                Err(Refusal::Full(refused)) => job = refused,
            }
            waits.count(&self.0.waited);
            let state = self.0.lock();
            drop(self.0.room.wait_while(state, |state| state.full() && !state.closed));
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> PoolStats {
        let state = self.0.lock();
        let totals = &state.totals;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        PoolStats {
            name: self.0.name.clone(),
            concurrency: state.settings.threads_max(),
            invocations: self.0.entered.get(),
            average_concurrency: share(totals.running_at_starts, totals.starts),
            saturation: share(totals.saturated_starts, totals.starts),
            average_wallclock: totals.average_wallclock(),
            threads_active: state.alive - state.idle,
            threads_inactive: state.idle,
            queued: state.queue.len(),
            waited: self.0.waited.get(),
            panics: self.0.panics.get(),
        }
    }

    /// Replaces the settings; threads beyond the new concurrency end after their job.
    pub(crate) fn configure(&self, settings: PoolSettings) {
        let mut state = self.0.lock();
        state.settings = settings;
        // Failing to start more threads leaves the work to those there are.
        while state.wants_thread() && self.0.start_thread(self, &mut state).is_ok() {}
        drop(state);
        self.0.work.notify_all();
        self.0.make_room_for_all();
    }

    /// Takes no new jobs and drops the skippable ones that are queued.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let (skipped, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut state.queue).into_iter().partition(|job| job.skip_on_shutdown);
        state.queue = kept;
        drop(state);
        self.0.work.notify_all();
        self.0.make_room_for_all();
        skipped.into_iter().for_each(|job| self.0.told(job.skip()));
    }

    /// Waits until the queue has drained and every thread has ended. After [`ThreadPool::close`], not on one of its
    /// threads.
    pub(crate) fn join(&self) {
        loop {
            let threads = std::mem::take(&mut self.0.lock().threads);
            if threads.is_empty() {
                return;
            }
            // A worker catches its jobs' panics, so there is nothing to learn from the result.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}

impl State {
    fn full(&self) -> bool {
        self.settings.backlog != 0 && self.settings.backlog <= self.queue.len()
    }

    /// Whether the queue holds more than the idle threads will take, and one more thread is allowed.
    fn wants_thread(&self) -> bool {
        self.idle < self.queue.len() && self.alive < self.settings.threads_max()
    }

    /// Whether a thread that finds no job, or has just done one, is one too many. With concurrency 0 what was queued
    /// before is still worked off.
    fn surplus(&self) -> bool {
        let allowed = self.settings.threads_max();
        allowed < self.alive && (allowed != 0 || self.queue.is_empty())
    }

    fn next_job(&mut self) -> Option<Job> {
        match self.settings.order {
            Order::Fifo => self.queue.pop_front(),
            Order::Lifo => self.queue.pop_back(),
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of jobs runs under the lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, handle: &ThreadPool, job: Job) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refusal::Final(Rejected::ShuttingDown));
        }
        if matches!(job.completion, Completion::Sync) || state.settings.threads_max() == 0 {
            self.entered.add(1);
            drop(self.work_on(state, job));
            return Ok(());
        }
        if state.full() {
            return Err(Refusal::Full(job));
        }
        state.queue.push_back(job);
        if state.wants_thread()
            && let Err(error) = self.start_thread(handle, &mut state)
        {
            tracing::error!(target: "THREADS", "thread pool {}: cannot start a thread: {error}", self.name);
            if state.alive == 0 {
                state.queue.pop_back();
                return Err(Refusal::Final(Rejected::NoThread));
            }
        }
        self.entered.add(1);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    fn start_thread(&self, handle: &ThreadPool, state: &mut State) -> std::io::Result<()> {
        let name = format!("{}/{}", self.name, state.alive);
        let builder = std::thread::Builder::new().name(name).stack_size(state.settings.stack_bytes);
        let pool = handle.0.clone();
        let thread = builder.spawn(move || pool.worker())?;
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
        state.alive += 1;
        Ok(())
    }

    /// A thread of the pool, from its first job to its end.
    fn worker(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.next_job() {
                self.room.notify_one();
                self.room_async.notify_one();
                state = self.work_on(state, job);
            } else if state.closed {
                break;
            } else {
                let timed_out;
                (state, timed_out) = self.wait_for_work(state);
                if timed_out && state.queue.is_empty() && state.settings.floor < state.alive {
                    break;
                }
            }
            if state.surplus() {
                break;
            }
        }
        state.alive -= 1;
        drop(state);
        // A wake-up that came for this thread must not be lost with it.
        self.work.notify_one();
    }

    /// Waits idle. True if it took as long as a thread beyond the floor may.
    fn wait_for_work<'a>(&self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
        state.idle += 1;
        let (mut state, timed_out) = if state.settings.floor < state.alive {
            let idle = state.settings.idle;
            let (state, wait) = self.work.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            (state, wait.timed_out())
        } else {
            (self.work.wait(state).unwrap_or_else(PoisonError::into_inner), false)
        };
        state.idle -= 1;
        (state, timed_out)
    }

    /// Does one job outside the lock, and the accounts around it.
    fn work_on<'a>(&'a self, mut state: MutexGuard<'a, State>, job: Job) -> MutexGuard<'a, State> {
        state.running += 1;
        let (running, allowed) = (state.running, state.settings.threads_max());
        state.totals.starts += 1;
        state.totals.running_at_starts += running as u64;
        state.totals.saturated_starts += u64::from(allowed <= running);
        drop(state);
        let start = self.clock.now();
        let done = job.run();
        let wallclock = self.clock.now().saturating_duration_since(start);
        let mut state = self.lock();
        state.running -= 1;
        state.totals.finished += 1;
        state.totals.wallclock += wallclock;
        drop(state);
        // Told after the accounts, so that whoever is told sees them settled.
        self.told(done);
        self.lock()
    }

    fn told(&self, done: crate::job::Done) {
        self.left.add(1);
        let panicked = done.outcome == Outcome::Panicked;
        if !done.tell() || panicked {
            self.panics.add(1);
            tracing::error!(target: "THREADS", "a job of thread pool {} panicked", self.name);
        }
    }

    fn make_room_for_all(&self) {
        self.room.notify_all();
        self.room_async.notify_waiters();
    }
}

/// What is counted of thread pools.
pub const MEASURES: &[Measure] = &[
    Measure::counter("scheduler.pool.*.entered", "jobs", "Jobs that a thread pool took.").by(&["pool"]),
    Measure::counter(
        "scheduler.pool.*.left",
        "jobs",
        "Jobs of a thread pool that ended, were run by their submitter, or were dropped at a stop.",
    )
    .by(&["pool"]),
    Measure::counter(
        "scheduler.pool.*.waited",
        "jobs",
        "Jobs whose submitter had to wait for room in the pool's backlog.",
    )
    .by(&["pool"]),
    Measure::counter(
        "scheduler.pool.*.panics",
        "panics",
        "Jobs of a thread pool that ended by a panic over the content of one message, which fails that message. Any other panic ends the daemon.",
    )
    .by(&["pool"]),
];
