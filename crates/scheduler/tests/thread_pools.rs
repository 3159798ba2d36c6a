//! Thread pools: concurrency, backlog, order, completion modes, panics and shutdown. No test waits for time: jobs are
//! held and released through channels.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use scheduler::{
    Clock, Completion, Job, LoopPool, Meters, Order, Outcome, PoolSettings, Rejected, ThreadPool, ThreadPools, Watchdog,
};

fn pools() -> ThreadPools {
    ThreadPools::new(Clock::system(), &Meters::new())
}

fn pool(settings: PoolSettings) -> (ThreadPools, ThreadPool) {
    let pools = pools();
    pools.configure("test", settings);
    let pool = pools.get("test");
    (pools, pool)
}

/// A job that says when it runs and then holds its thread until the sender is dropped.
fn held(pool: &ThreadPool) -> Sender<()> {
    let (release, released) = channel::<()>();
    let (started, running) = channel();
    let job = Job::new(move || {
        started.send(()).unwrap();
        assert!(released.recv().is_err(), "nothing is sent");
    });
    pool.submit_blocking(job).unwrap();
    running.recv().unwrap();
    release
}

/// Jobs that note their number when they run.
fn noting() -> (impl Fn(u32) -> Job, Receiver<u32>) {
    let (note, noted) = channel();
    let job = move |number| {
        let note = note.clone();
        Job::new(move || note.send(number).unwrap())
    };
    (job, noted)
}

#[tokio::test]
async fn a_job_runs_on_a_thread_of_its_pool_and_gives_its_result() {
    let pools = pools();
    let name = pools.get("SwapIn").run(|| std::thread::current().name().map(str::to_owned)).await.unwrap();
    assert_eq!(name.as_deref(), Some("SwapIn/0"));
    pools.shutdown();
}

#[test]
fn the_predefined_pools_are_there_and_have_no_threads_yet() {
    let stats = pools().stats();
    let seen: Vec<_> = stats.iter().map(|pool| (pool.name.as_str(), pool.concurrency, pool.threads())).collect();
    let expected = [
        ("Batch_Unlink", 4, 0),
        ("Close", 0, 0),
        ("CPU", 4, 0),
        ("IO", 50, 0),
        ("SpoolIn", 1, 0),
        ("SwapIn", 5, 0),
        ("SwapOut", 5, 0),
        ("Unlink", 6, 0),
    ];
    assert_eq!(seen, expected);
    assert_eq!(ThreadPools::predefined("unlink").backlog, 100);
}

#[test]
fn names_do_not_tell_case_and_an_unknown_one_means_io() {
    let pools = pools();
    assert_eq!(pools.get("swapout").name(), "SwapOut");
    assert_eq!(pools.get("swapoot").name(), "IO");
    assert!(pools.find("swapoot").is_none());
}

#[tokio::test]
async fn concurrency_zero_runs_inline() {
    let here = std::thread::current().id();
    let pools = pools();
    assert_eq!(pools.get("Close").run(|| std::thread::current().id()).await, Ok(here));
    let stats = pools.get("Close").stats();
    assert_eq!((stats.invocations, stats.threads()), (1, 0));
}

#[test]
fn threads_are_started_when_a_job_finds_none_idle_and_never_beyond_the_concurrency() {
    let (pools, pool) = pool(PoolSettings::new(2));
    let (job, noted) = noting();
    let first = held(&pool);
    assert_eq!(pool.stats().threads_active, 1);
    let second = held(&pool);
    pool.submit_blocking(job(1)).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.threads_active, stats.queued, stats.invocations), (2, 1, 3));
    drop(first);
    assert_eq!(noted.recv(), Ok(1));
    drop(second);
    pools.shutdown();
    let stats = pool.stats();
    assert_eq!((stats.threads(), stats.queued), (0, 0));
    // Starts found 1, 2 and 2 jobs running; the last two found every thread busy.
    assert_eq!((stats.average_concurrency * 3.0).round(), 5.0);
    assert_eq!((stats.saturation * 3.0).round(), 2.0);
}

#[test]
fn a_correctness_limit_holds_whatever_the_operator_sets() {
    let (_, pool) = pool(PoolSettings { max: Some(1), ..PoolSettings::new(8) });
    assert_eq!(pool.stats().concurrency, 1);
}

#[test]
fn queued_jobs_start_in_the_pools_order() {
    for (order, expected) in [(Order::Fifo, [1, 2, 3]), (Order::Lifo, [3, 2, 1])] {
        let (pools, pool) = pool(PoolSettings { order, ..PoolSettings::new(1) });
        let (job, noted) = noting();
        let hold = held(&pool);
        (1..=3).for_each(|number| pool.submit_blocking(job(number)).unwrap());
        drop(hold);
        pools.shutdown();
        assert_eq!(noted.try_iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn at_a_full_backlog_the_submitter_waits_until_there_is_room() {
    let (pools, pool) = pool(PoolSettings::new(1).backlog(1));
    let (job, noted) = noting();
    let hold = held(&pool);
    pool.submit(job(1)).await.unwrap();
    let mut waiting = Box::pin(pool.submit(job(2)));
    assert!(matches!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    assert_eq!((pool.stats().queued, pool.stats().waited), (1, 1));
    drop(hold);
    waiting.await.unwrap();
    pools.shutdown();
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_blocking_submitter_waits_too_and_a_larger_backlog_lets_it_go() {
    let (pools, pool) = pool(PoolSettings::new(1).backlog(1));
    let (job, noted) = noting();
    let hold = held(&pool);
    pool.submit_blocking(job(1)).unwrap();
    let submitter = std::thread::spawn({
        let (pool, job) = (pool.clone(), job(2));
        move || pool.submit_blocking(job)
    });
    while pool.stats().waited == 0 {
        std::thread::yield_now();
    }
    pools.configure("test", PoolSettings::new(1).backlog(2));
    submitter.join().unwrap().unwrap();
    drop(hold);
    pools.shutdown();
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn concurrency_changes_while_the_pool_works() {
    let (pools, pool) = pool(PoolSettings::new(1));
    let (job, noted) = noting();
    let hold = held(&pool);
    pool.submit_blocking(job(1)).unwrap();
    pools.configure("test", PoolSettings::new(2));
    assert_eq!(noted.recv(), Ok(1), "the second thread takes what was queued");
    pools.configure("test", PoolSettings::new(1));
    while pool.stats().threads() != 1 {
        std::thread::yield_now();
    }
    drop(hold);
    pools.shutdown();
}

#[test]
fn idle_threads_end_down_to_the_floor() {
    let (pools, pool) = pool(PoolSettings { floor: 1, idle: std::time::Duration::ZERO, ..PoolSettings::new(3) });
    drop([held(&pool), held(&pool), held(&pool)]);
    while pool.stats().threads() != 1 {
        std::thread::yield_now();
    }
    pools.shutdown();
}

#[test]
fn turning_a_pool_inline_still_works_off_what_was_queued() {
    let (pools, pool) = pool(PoolSettings::new(1));
    let (job, noted) = noting();
    let hold = held(&pool);
    pool.submit_blocking(job(1)).unwrap();
    pools.configure("test", PoolSettings::new(0));
    drop(hold);
    assert_eq!(noted.recv(), Ok(1));
    pools.shutdown();
}

struct Woken(AtomicBool, Mutex<Sender<()>>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        self.1.lock().unwrap().send(()).unwrap();
    }
}

#[test]
fn each_completion_mode_tells_the_end_in_its_place() {
    let (pools, pool) = pool(PoolSettings::new(1));
    let (told, tell) = channel();
    let teller = |what: &'static str| {
        let told = told.clone();
        Box::new(move |outcome: Outcome| {
            told.send((what, outcome, std::thread::current().name().unwrap_or("?").to_owned())).unwrap();
        })
    };

    pool.submit_blocking(Job::new(|| ()).completion(Completion::Callback(teller("callback")))).unwrap();
    assert_eq!(tell.recv().unwrap(), ("callback", Outcome::Finished, "test/0".to_owned()));

    let loops = LoopPool::start("default", 1, &Watchdog::off(), &Meters::new()).unwrap();
    let sched = Completion::CallbackSched(loops.loops()[0].clone(), teller("scheduler"));
    pool.submit_blocking(Job::new(|| panic!("expected by the test")).completion(sched)).unwrap();
    assert_eq!(tell.recv().unwrap(), ("scheduler", Outcome::Panicked, "loop default/0".to_owned()));
    loops.shutdown();

    let (woke, wakes) = channel();
    let event = Arc::new(Woken(AtomicBool::new(false), Mutex::new(woke)));
    pool.submit_blocking(Job::new(|| ()).completion(Completion::Event(event.clone().into()))).unwrap();
    wakes.recv().unwrap();
    assert!(event.0.load(Ordering::SeqCst));

    let semaphore = Arc::new(tokio::sync::Semaphore::new(0));
    pool.submit_blocking(Job::new(|| ()).completion(Completion::Semaphore(semaphore.clone()))).unwrap();
    while semaphore.try_acquire().is_err() {
        std::thread::yield_now();
    }

    let (ran, here) = (channel(), std::thread::current().id());
    let inline = move || ran.0.send(std::thread::current().id()).unwrap();
    pool.submit_blocking(Job::new(inline).completion(Completion::Sync)).unwrap();
    assert_eq!(ran.1.try_recv(), Ok(here));
    pools.shutdown();
}

#[tokio::test]
async fn a_panicking_job_is_counted_and_its_thread_lives_on() {
    let (pools, pool) = pool(PoolSettings::new(1));
    assert_eq!(pool.run(|| panic!("expected by the test")).await, Err::<(), _>(Rejected::Panicked));
    assert_eq!(pool.run(|| 7).await, Ok(7));
    pools.shutdown();
    assert_eq!(pool.stats().panics, 1);
}

#[tokio::test]
async fn shutdown_drains_the_queue_but_for_what_may_be_skipped() {
    let (pools, pool) = pool(PoolSettings::new(1));
    let (job, noted) = noting();
    let (told, tell) = channel();
    let hold = held(&pool);
    pool.submit(job(1)).await.unwrap();
    let skippable = job(2).skip_on_shutdown();
    let completion = Completion::Callback(Box::new(move |outcome| told.send(outcome).unwrap()));
    pool.submit(skippable.completion(completion)).await.unwrap();
    let closing = std::thread::spawn({
        let pools = pools.clone();
        move || pools.shutdown()
    });
    assert_eq!(tell.recv(), Ok(Outcome::Skipped));
    assert_eq!(pool.run(|| ()).await, Err(Rejected::ShuttingDown));
    drop(hold);
    closing.join().unwrap();
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), [1]);
}
