//! Event loops: named threads, each with a current-thread runtime whose tasks need no lock and no `Send`.
//!
//! Work comes in through a loop's mailbox, as closures that any thread may post; results go out by whatever the closure
//! carries. A session, a connection or a queue is spawned on one loop and stays there for its life.
//! Nothing that runs here may block: that is what thread pools are for, and the watchdog tells on it.
//!
//! Invariant: after `LoopPool::shutdown` returns, none of the pool's threads exists and every task on them was dropped.
//! The mailbox has no bound of its own: what is posted is bounded where it is admitted (connections, queues, jobs).

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};

use crate::measure::Measure;
use crate::{Counter, Meters, Watchdog};

/// One named pool of event loops (`eventloop "name" { concurrency = N }`).
pub struct LoopPool {
    name: String,
    loops: Vec<LoopHandle>,
    threads: Vec<JoinHandle<()>>,
}

impl LoopPool {
    /// Starts `concurrency` loops (at least one), threads `loop name/0`, `loop name/1` and so on.
    pub fn start(name: &str, concurrency: usize, watchdog: &Watchdog, meters: &Meters) -> io::Result<Self> {
        let mut pool = Self { name: name.to_owned(), loops: Vec::new(), threads: Vec::new() };
        for index in 0..concurrency.max(1) {
            // On an error the loops started so far end with `pool`.
            pool.start_loop(index, watchdog, meters)?;
        }
        Ok(pool)
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its loops, by index.
    pub fn loops(&self) -> &[LoopHandle] {
        &self.loops
    }

    /// Ends every loop: what its mailbox holds is still started, its tasks are dropped where they wait, its thread is
    /// joined. Whoever wants tasks to finish first tells them and waits before calling this. Not for a thread of the
    /// pool.
    pub fn shutdown(self) {
        drop(self);
    }

    fn start_loop(&mut self, index: usize, watchdog: &Watchdog, meters: &Meters) -> io::Result<()> {
        let (handle, mailbox) = new_loop(&format!("{}/{index}", self.name), index, meters);
        let (started, outcome) = std::sync::mpsc::channel();
        let thread =
            std::thread::Builder::new().name(format!("loop {}", handle.name())).stack_size(STACK_BYTES).spawn({
                let (handle, watchdog) = (handle.clone(), watchdog.clone());
                move || match runtime() {
                    Err(error) => drop(started.send(Err(error))),
                    Ok(runtime) => {
                        drop(started.send(Ok(())));
                        run(&runtime, &handle, &watchdog, mailbox.open_until_stopped());
                    }
                }
            })?;
        self.threads.push(thread);
        self.loops.push(handle);
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the event loop's thread died while starting")))
    }
}

impl Drop for LoopPool {
    fn drop(&mut self) {
        for handle in &self.loops {
            handle.send(Letter::Stop);
        }
        for thread in self.threads.drain(..) {
            // The thread catches what its tasks do; a panic that reached its top was already reported by the hook.
            drop(thread.join());
        }
    }
}

/// The address of one event loop: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct LoopHandle(Arc<Shared>);

struct Shared {
    id: u64,
    name: String,
    index: usize,
    mailbox: mpsc::UnboundedSender<Letter>,
    meter: LoopMeter,
}

/// `scheduler.loop.{name}.…`: tasks and letters that came and went, letters that came after the end, panics.
#[derive(Clone)]
struct LoopMeter {
    tasks_entered: Counter,
    tasks_left: Counter,
    letters_entered: Counter,
    letters_left: Counter,
    letters_refused: Counter,
    panics: Counter,
}

impl LoopHandle {
    /// Makes the calling `LocalRuntime` (or `LocalSet`) a loop of that name. For simulations, where every loop shares
    /// one runtime in paused time; the real ones come from [`LoopPool`] and [`crate::Master`].
    pub fn adopt(name: &str, meters: &Meters) -> Self {
        let (handle, mailbox) = new_loop(name, 0, meters);
        tokio::task::spawn_local(mailbox.open_until_stopped());
        handle
    }

    /// `pool/index`, or `master`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The loop's place in its pool.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Whether the caller runs on this loop. An adopted loop is nobody's thread: always false there.
    pub fn is_current(&self) -> bool {
        CURRENT.get() == self.0.id
    }

    /// Runs `make` on the loop's thread and spawns the future it returns there. Never runs anything before it returns.
    /// Calls from one thread start in their order. After the loop's end the task is dropped, and counted as refused.
    pub fn spawn<F, Fut>(&self, make: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let tally = Tally::enter(&self.0.meter);
        let task = move || {
            tokio::task::spawn_local(async move {
                let _tally = tally;
                make().await;
            });
        };
        if self.is_current() { task() } else { self.post(task) }
    }

    /// Runs a short closure on the loop, in the order of posting: the cheapest way to hand a value over.
    pub fn post(&self, closure: impl FnOnce() + Send + 'static) {
        self.0.meter.letters_entered.add(1);
        self.send(Letter::Closure(Box::new(closure)));
    }

    /// Runs on the loop, awaits the result from anywhere. `None` if the loop has ended or the task panicked.
    pub async fn call<F, Fut, T>(&self, make: F) -> Option<T>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.spawn(move || async move {
            // The caller may have given up waiting.
            drop(answer.send(make().await));
        });
        answered.await.ok()
    }

    fn send(&self, letter: Letter) {
        if self.0.mailbox.send(letter).is_err() {
            self.0.meter.letters_refused.add(1);
        }
    }
}

impl std::fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LoopHandle").field(&self.name()).finish()
    }
}

impl PartialEq for LoopHandle {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for LoopHandle {}

pub(crate) enum Letter {
    Closure(Box<dyn FnOnce() + Send>),
    Stop,
}

/// The receiving end of a loop.
pub(crate) struct Mailbox {
    letters: mpsc::UnboundedReceiver<Letter>,
    meter: LoopMeter,
}

impl Mailbox {
    /// Runs what arrives until told to stop; then what had arrived by then, and nothing more.
    pub(crate) async fn open_until_stopped(mut self) {
        while let Some(letter) = self.letters.recv().await {
            match letter {
                Letter::Closure(closure) => self.run(closure),
                Letter::Stop => self.letters.close(),
            }
        }
        // Tasks started by the last letters get their first turn before the runtime drops them.
        tokio::task::yield_now().await;
    }

    fn run(&self, closure: Box<dyn FnOnce() + Send>) {
        self.meter.letters_left.add(1);
        if catch_unwind(AssertUnwindSafe(closure)).is_err() {
            self.meter.panics.add(1);
        }
    }
}

pub(crate) fn new_loop(name: &str, index: usize, meters: &Meters) -> (LoopHandle, Mailbox) {
    let counter = |event: &str| meters.counter(&format!("scheduler.loop.{name}.{event}"));
    let meter = LoopMeter {
        tasks_entered: counter("tasks.entered"),
        tasks_left: counter("tasks.left"),
        letters_entered: counter("mailbox.entered"),
        letters_left: counter("mailbox.left"),
        letters_refused: counter("mailbox.refused"),
        panics: counter("panics"),
    };
    let (mailbox, letters) = mpsc::unbounded_channel();
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let shared = Shared { id, name: name.to_owned(), index, mailbox, meter: meter.clone() };
    (LoopHandle(Arc::new(shared)), Mailbox { letters, meter })
}

/// The runtime of one loop. It is not `Send`: made on the thread that will run it.
pub(crate) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
        .build_local(LocalOptions::default())
}

/// Makes the calling thread `handle`'s loop while `until` runs. Its heart beats meanwhile.
pub(crate) fn run<T>(
    runtime: &LocalRuntime,
    handle: &LoopHandle,
    watchdog: &Watchdog,
    until: impl Future<Output = T>,
) -> T {
    CURRENT.set(handle.0.id);
    let heart = watchdog.watch(handle.name());
    let result = runtime.block_on(async {
        tokio::task::spawn_local(heart.beat_forever());
        until.await
    });
    CURRENT.set(NOBODY);
    result
}

/// Counts a task out on every way it can end, and a panic among them: tokio keeps the loop alive after one, so without
/// this a lost session or queue would be silent.
struct Tally(LoopMeter);

impl Tally {
    fn enter(meter: &LoopMeter) -> Self {
        meter.tasks_entered.add(1);
        Self(meter.clone())
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.0.tasks_left.add(1);
        if std::thread::panicking() {
            self.0.panics.add(1);
            let thread = std::thread::current();
            tracing::error!(target: "THREADS", "a task of {} panicked and was dropped", thread.name().unwrap_or("?"));
        }
    }
}

thread_local! {
    /// The id of the loop that this thread runs.
    static CURRENT: Cell<u64> = const { Cell::new(NOBODY) };
}

const NOBODY: u64 = 0;
/// Process-wide, because thread-local `CURRENT` is: ids only tell loops apart, they carry no state.
static NEXT_ID: AtomicU64 = AtomicU64::new(NOBODY + 1);
/// Debug builds hold large futures on the stack while they are made; only touched pages cost memory.
const STACK_BYTES: usize = 4 << 20;
/// Task polls between looks at the sockets. Small enough that a burst of ready sessions cannot starve accept, large
/// enough that the extra epoll_wait stays under 1 % of the work between (a turn is 5-20 microseconds).
const EVENT_INTERVAL: u32 = 61;
/// Local wake-ups served between looks at the queue that other threads wake through (journal, thread pools).
const GLOBAL_QUEUE_INTERVAL: u32 = 31;

/// What is counted of event loops.
pub const MEASURES: &[Measure] = &[
    Measure::counter("scheduler.loop.*.tasks.entered", "tasks", "Tasks that were begun on an event loop: sessions, connections, queues and what they do beside.").by(&["loop"]),
    Measure::counter("scheduler.loop.*.tasks.left", "tasks", "Those of them that ended.").by(&["loop"]),
    Measure::counter("scheduler.loop.*.mailbox.entered", "closures", "Pieces of work that other threads sent to an event loop.").by(&["loop"]),
    Measure::counter("scheduler.loop.*.mailbox.left", "closures", "Those of them that were run.").by(&["loop"]),
    Measure::counter("scheduler.loop.*.mailbox.refused", "closures", "Those that came after the loop had been told to stop, and were not taken.").by(&["loop"]),
    Measure::counter("scheduler.loop.*.panics", "panics", "Pieces of work and tasks of an event loop that ended by a panic. There it ends the daemon, so a running one has none.").by(&["loop"]),
    Measure::counter("scheduler.loop.*.blocked", "times", "Times that an event loop was silent for longer than watchdog_interval.").by(&["loop"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn pool(concurrency: usize) -> (LoopPool, Meters) {
        let meters = Meters::new();
        (LoopPool::start("default", concurrency, &Watchdog::off(), &meters).unwrap(), meters)
    }

    #[tokio::test]
    async fn a_call_runs_on_the_loops_own_thread_and_answers() {
        let (pool, _) = pool(2);
        for (index, handle) in pool.loops().iter().enumerate() {
            let asked = handle.clone();
            let (name, current) = handle
                .call(move || {
                    let unsendable = Rc::new(asked);
                    async move { (std::thread::current().name().map(str::to_owned), unsendable.is_current()) }
                })
                .await
                .unwrap();
            assert_eq!(name.unwrap(), format!("loop default/{index}"));
            assert!(current && !handle.is_current());
            assert_eq!(handle.index(), index);
        }
        pool.shutdown();
    }

    #[tokio::test]
    async fn posts_arrive_in_order_and_a_panic_ends_only_its_own_task() {
        let (pool, meters) = pool(1);
        let (seen, order) = std::sync::mpsc::channel();
        let handle = pool.loops()[0].clone();
        for n in 0..3 {
            let seen = seen.clone();
            handle.post(move || seen.send(n).unwrap());
        }
        handle.post(|| panic!("expected by the test"));
        assert_eq!(handle.call(|| async { panic!("expected by the test") }).await, None::<()>);
        assert_eq!(handle.call(|| async { 7 }).await, Some(7));
        pool.shutdown();
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(meters.get("scheduler.loop.default/0.panics"), 2);
    }

    #[tokio::test]
    async fn shutdown_drops_waiting_tasks_and_later_calls_answer_none() {
        let (pool, meters) = pool(1);
        let handle = pool.loops()[0].clone();
        handle.spawn(std::future::pending::<()>);
        pool.shutdown();
        assert_eq!(handle.call(|| async { 1 }).await, None);
        assert_eq!(meters.get("scheduler.loop.default/0.tasks.left"), 2);
        assert_eq!(meters.get("scheduler.loop.default/0.mailbox.refused"), 1);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn an_adopted_loop_follows_simulated_time() {
        let handle = LoopHandle::adopt("simulated", &Meters::new());
        let slept = handle.call(|| async {
            tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
            true
        });
        assert_eq!(slept.await, Some(true));
    }
}
