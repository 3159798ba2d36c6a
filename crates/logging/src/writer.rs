//! The writers: threads that bring the lines of every stream to its outlet.
//!
//! One thread serves all plain files and standard error. Any other outlet (a program, a socket, a journaled log) may wait
//! for somebody else, so it has a thread of its own, and one that hangs holds up no other log. Each sleeps until a stream
//! that was empty gets a line, gathers for [`GATHER`], then writes each stream's buffer with one call. So a busy log
//! costs a few hundred writes a second however many lines it takes, and an idle one nothing but its heartbeat.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use io_wrapper::{Flags, IoWrappers};
use scheduler::{Clock, Measure, Meters};

use crate::file::{BUFFER_OCTETS_MAX, Drained, LogFile, Stream, lock};
use crate::outlet::Outlet;

/// Opens streams and owns the threads that write them. Cloning shares it.
#[derive(Clone)]
pub struct LogWriter(Arc<Writer>);

struct Writer {
    clock: Clock,
    meters: Meters,
    wrappers: IoWrappers,
    /// Files and standard error.
    files: Arc<Lane>,
    /// Each other outlet.
    others: Mutex<Vec<Arc<Lane>>>,
    /// Whether the threads run; changed under the lock of `others`.
    has_begun: AtomicBool,
}

/// One thread and the streams it writes.
struct Lane {
    clock: Clock,
    doorbell: Arc<Doorbell>,
    streams: Mutex<Vec<Arc<Stream>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Whether the thread ends with its last stream.
    is_passing: bool,
}

impl LogWriter {
    /// A writer whose threads run. `wrappers` opens what logs are written to.
    pub fn start(clock: Clock, meters: &Meters, wrappers: IoWrappers) -> io::Result<Self> {
        let writer = Self::new(clock, meters, wrappers);
        writer.begin()?;
        Ok(writer)
    }

    /// A writer without a thread: lines wait until it begins, or is flushed.
    pub fn new(clock: Clock, meters: &Meters, wrappers: IoWrappers) -> Self {
        let (files, meters) = (Arc::new(Lane::new(clock, false)), meters.clone());
        Self(Arc::new(Writer {
            clock,
            meters,
            wrappers,
            files,
            others: Mutex::default(),
            has_begun: AtomicBool::new(false),
        }))
    }

    /// Starts the threads.
    pub fn begin(&self) -> io::Result<()> {
        let others = lock(&self.0.others);
        self.0.has_begun.store(true, Ordering::Release);
        self.0.files.start(FILES_THREAD)?;
        others.iter().try_for_each(|lane| lane.start(OUTLET_THREAD))
    }

    /// Whether [`LogWriter::open`] would take this name, as far as the name tells. Opens nothing.
    pub fn check(&self, url: &str) -> Result<(), io_wrapper::Error> {
        self.0.wrappers.check(url, Flags::APPEND)
    }

    /// Opens a log for appending, by plain path or URL; missing folders are made. `mode` is that of a new file, less the
    /// process's umask. A name that is open already gives the same stream, so that a reload keeps it. May block.
    pub fn open(&self, url: &str, mode: u32) -> Result<LogFile, io_wrapper::Error> {
        let name = url.strip_prefix("file://").unwrap_or(url);
        let open = || self.0.wrappers.mkpath_and_open(url, Flags::APPEND, mode).map(Outlet::Url);
        if io_wrapper::is_file(url) {
            return self.stream(&self.0.files, name, open, BUFFER_OCTETS_MAX);
        }
        let mut others = lock(&self.0.others);
        if let Some(file) = others.iter().find_map(|lane| lane.find(name)) {
            return Ok(file);
        }
        let lane = Arc::new(Lane::new(self.0.clock, true));
        let file = self.stream(&lane, name, open, BUFFER_OCTETS_MAX)?;
        let started = if self.0.has_begun.load(Ordering::Acquire) { lane.start(OUTLET_THREAD) } else { Ok(()) };
        started.map_err(|source| io_wrapper::Error::Io {
            doing: "starting a thread for",
            url: url.to_owned(),
            source,
        })?;
        others.retain(|lane| !lane.has_ended());
        others.push(lane);
        Ok(file)
    }

    /// The standard error stream.
    pub fn stderr(&self) -> LogFile {
        let Ok(file) = self.stream::<Infallible>(&self.0.files, "stderr", || Ok(Outlet::Stderr), BUFFER_OCTETS_MAX);
        file
    }

    fn stream<E>(
        &self,
        lane: &Lane,
        path: &str,
        open: impl FnOnce() -> Result<Outlet, E>,
        buffer_octets_max: usize,
    ) -> Result<LogFile, E> {
        let mut streams = lock(&lane.streams);
        if let Some(stream) = streams.iter().find(|stream| stream.path == path) {
            return Ok(LogFile::new(stream.clone()));
        }
        let lost = self.0.meters.counter(&format!("logging.lines.lost{{{path}}}"));
        let (outlet, doorbell) = (open()?, lane.doorbell.clone());
        let owner = self.0.meters.memory("logging:buffers");
        let stream =
            Arc::new(Stream::new(path.to_owned(), outlet, buffer_octets_max, doorbell, lost, &owner, lane.clock));
        streams.push(stream.clone());
        Ok(LogFile::new(stream))
    }

    /// Writes out what every stream has taken, as far as its outlet takes it. May block.
    pub fn flush(&self) {
        for lane in self.lanes() {
            lane.drain();
        }
    }

    /// Ends the threads and writes out what is left; an outlet that takes nothing is waited for a second. Streams still
    /// take lines after this; a flush writes them. May block.
    pub fn stop(&self) {
        let lanes = self.lanes();
        lanes.iter().for_each(|lane| lane.ask_to_stop());
        for lane in lanes {
            if let Some(thread) = lock(&lane.thread).take() {
                // It cannot have panicked without a report; nothing is left to do about it here.
                let _ = thread.join();
            }
            let mut tries = LAST_TRIES;
            while lane.drain() == Drained::Later && 0 < tries {
                std::thread::sleep(AGAIN);
                tries -= 1;
            }
        }
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        let others = lock(&self.0.others);
        std::iter::once(&self.0.files).chain(others.iter()).cloned().collect()
    }
}

impl Lane {
    fn new(clock: Clock, is_passing: bool) -> Self {
        let (doorbell, streams, thread) = (Arc::default(), Mutex::default(), Mutex::default());
        Self { clock, doorbell, streams, thread, is_passing }
    }

    fn start(self: &Arc<Self>, name: &str) -> io::Result<()> {
        let working = self.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || working.work())?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    fn ask_to_stop(&self) {
        self.doorbell.stopping.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    fn work(&self) {
        let _ = self.doorbell.thread.set(std::thread::current());
        let mut wait = Duration::ZERO;
        while !self.doorbell.stopping.load(Ordering::Acquire) && !self.has_ended() {
            if self.doorbell.wait(wait) {
                std::thread::sleep(GATHER);
            }
            self.doorbell.rung.store(false, Ordering::Release);
            let next_beat = self.beat();
            wait = match self.drain() {
                Drained::All => IDLE_MAX,
                Drained::Later => AGAIN,
                Drained::Failing => RETRY,
            };
            if let Some(next_beat) = next_beat {
                wait = wait.min(next_beat.saturating_duration_since(self.clock.now()));
            }
        }
    }

    /// Adds the heartbeats that are due; when the next one is.
    fn beat(&self) -> Option<Instant> {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        self.in_use().iter().filter_map(|stream| stream.beat(now, unix)).min()
    }

    /// Writes every stream out; the worst that happened. Streams without a handle are closed afterwards, unless they
    /// have lines that may still be written.
    fn drain(&self) -> Drained {
        let streams = lock(&self.streams).clone();
        let drained = streams.iter().map(|stream| stream.drain()).max().unwrap_or(Drained::All);
        drop(streams);
        if drained == Drained::All {
            lock(&self.streams).retain(|stream| 1 < Arc::strong_count(stream));
        }
        drained
    }

    fn in_use(&self) -> Vec<Arc<Stream>> {
        lock(&self.streams).iter().filter(|stream| 1 < Arc::strong_count(stream)).cloned().collect()
    }

    fn find(&self, path: &str) -> Option<LogFile> {
        let streams = lock(&self.streams);
        streams.iter().find(|stream| stream.path == path).map(|stream| LogFile::new(stream.clone()))
    }

    fn has_ended(&self) -> bool {
        self.is_passing && lock(&self.streams).is_empty()
    }
}

/// Wakes the writer's thread, once however often it is rung before the thread looks.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    rung: AtomicBool,
    stopping: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Doorbell {
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Waits until it is rung or `timeout` has passed; whether it was rung.
    fn wait(&self, timeout: Duration) -> bool {
        if !self.rung.load(Ordering::Acquire) {
            std::thread::park_timeout(timeout);
        }
        self.rung.load(Ordering::Acquire)
    }
}

const FILES_THREAD: &str = "log writer";
const OUTLET_THREAD: &str = "log outlet";

/// How long lines are gathered before they are written.
pub const GATHER: Duration = Duration::from_millis(5);

/// How soon an outlet that takes nothing just now is asked again.
const AGAIN: Duration = Duration::from_millis(20);
const LAST_TRIES: u32 = 50;
const RETRY: Duration = Duration::from_secs(1);
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What is counted of logs.
pub const MEASURES: &[Measure] = &[Measure::counter(
    "logging.lines.lost{*}",
    "lines",
    "Log lines that were dropped because the buffer of their log was full.",
)
.by(&["log"])];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{self, Stamp};
    use crate::{Level, Paniclog};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn scratch() -> (tempfile::TempDir, LogWriter, Meters) {
        let meters = Meters::new();
        (tempfile::tempdir().unwrap(), LogWriter::start(Clock::system(), &meters, IoWrappers::new()).unwrap(), meters)
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_in_each_threads_order() {
        let (folder, writer, _) = scratch();
        let path = folder.path().join("logs/mainlog.ec");
        let file = writer.open(path.to_str().unwrap(), 0o640).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let file = file.clone();
                scope.spawn(move || {
                    (0..1000).for_each(|n| assert!(file.write_line(format!("{thread} {n}").as_bytes())))
                });
            }
        });
        writer.stop();
        let text = read(&path);
        for thread in 0..4 {
            let prefix = format!("{thread} ");
            let numbers = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse::<usize>().ok());
            assert!(numbers.eq(0..1000));
        }
        assert_eq!(text.lines().count(), 4000);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn rotation_loses_no_line() {
        let (folder, writer, _) = scratch();
        let (path, rotated) = (folder.path().join("mainlog.ec"), folder.path().join("mainlog.ec.1"));
        let file = writer.open(&format!("file://{}", path.display()), 0o644).unwrap();
        file.write_line(b"one");
        file.flush();
        std::fs::rename(&path, &rotated).unwrap();
        file.write_line(b"two");
        file.flush();
        file.reopen().unwrap();
        file.write_line(b"three");
        file.flush();
        assert_eq!((read(&rotated).as_str(), read(&path).as_str()), ("one\ntwo\n", "three\n"));
    }

    #[test]
    fn a_path_that_cannot_be_opened_again_keeps_the_old_file() {
        let (folder, writer, _) = scratch();
        let path = folder.path().join("a/mainlog.ec");
        let file = writer.open(path.to_str().unwrap(), 0o644).unwrap();
        std::fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert!(file.reopen().is_err());
        file.write_line(b"kept");
        file.flush();
        assert_eq!(read(&folder.path().join("b/mainlog.ec")), "kept\n");
    }

    /// A device that is full until it is given room, and writes three octets at a time.
    #[derive(Clone, Default)]
    struct Device(Arc<Mutex<Room>>);

    #[derive(Default)]
    struct Room {
        has_room: bool,
        is_busy: bool,
        written: Vec<u8>,
    }

    impl io_wrapper::Driver for Device {
        fn scheme(&self) -> &str {
            "device"
        }

        fn open(&self, _: &str, _: Flags, _: u32) -> io::Result<Box<dyn io_wrapper::Stream>> {
            Ok(Box::new(self.clone()))
        }
    }

    impl io_wrapper::Stream for Device {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = lock(&self.0);
            if room.is_busy {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if !room.has_room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(3);
            room.written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn close(self: Box<Self>) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_nothing_up_to_the_bound_and_is_reported_once() {
        let (_folder, writer, meters) = scratch();
        writer.stop();
        let device = Device::default();
        writer.0.wrappers.register(Arc::new(device.clone())).unwrap();
        let open = || writer.0.wrappers.open("device://", Flags::APPEND, 0).map(Outlet::Url);
        let file = writer.stream(&writer.0.files, "device://", open, 10).unwrap();
        let paniclog = Paniclog::new(Clock::system(), writer.stderr());
        let subscriber = tracing_subscriber::registry().with(paniclog.clone());
        tracing::subscriber::with_default(subscriber, || {
            // The first lines go to the writer's side, which cannot write them; the next ones fill the buffer.
            assert!(file.write_line(b"one two three"));
            file.flush();
            assert!(file.is_failing());
            assert!(file.write_line(b"four five six"));
            file.flush();
            assert!(!file.write_line(b"lost") && !file.write_line(b"lost"));
            lock(&device.0).has_room = true;
            file.flush();
            assert!(!file.is_failing() && file.write_line(b"seven"));
            file.flush();
        });
        assert_eq!(lock(&device.0).written, b"one two three\nfour five six\nseven\n");
        assert_eq!(meters.get("logging.lines.lost{device://}"), 2);
        let said = |level| paniclog.recent(level).into_iter().map(|entry| entry.message).collect::<Vec<_>>();
        assert_eq!(said(Level::Critical).len(), 1);
        assert!(said(Level::Critical)[0].starts_with("cannot write device://"));
        assert_eq!(
            said(Level::Error),
            [
                "2 lines of device:// are lost: they came faster than they could be written",
                "device:// is being written again"
            ]
        );
    }

    /// Hangs in its first write until it is let go.
    struct Hung(Arc<Mutex<()>>);

    impl io_wrapper::Driver for Hung {
        fn scheme(&self) -> &str {
            "hung"
        }

        fn open(&self, _: &str, _: Flags, _: u32) -> io::Result<Box<dyn io_wrapper::Stream>> {
            Ok(Box::new(Hung(self.0.clone())))
        }
    }

    impl io_wrapper::Stream for Hung {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(lock(&self.0));
            Ok(bytes.len())
        }

        fn close(self: Box<Self>) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_outlet_that_hangs_holds_up_no_other_log() {
        let (folder, writer, _) = scratch();
        let gate = Arc::new(Mutex::new(()));
        writer.0.wrappers.register(Arc::new(Hung(gate.clone()))).unwrap();
        let path = folder.path().join("mainlog.ec");
        let hung = writer.open("hung://there", 0).unwrap();
        let file = writer.open(path.to_str().unwrap(), 0o644).unwrap();
        let held = lock(&gate);
        assert!(hung.write_line(b"waits"));
        assert!(file.write_line(b"arrives"));
        // Brought by the thread of the files; only a line that never comes would fail this.
        while read(&path) != "arrives\n" {
            std::thread::sleep(GATHER);
        }
        drop(held);
        writer.stop();
    }

    #[test]
    fn an_outlet_that_takes_nothing_just_now_is_not_failing_and_gets_every_line_later() {
        let (_folder, writer, _) = scratch();
        writer.stop();
        let device = Device::default();
        device.0.lock().unwrap().is_busy = true;
        writer.0.wrappers.register(Arc::new(device.clone())).unwrap();
        let file = writer.open("device://", 0).unwrap();
        assert!(file.write_line(b"one"));
        file.flush();
        assert!(!file.is_failing() && lock(&device.0).written.is_empty());
        *lock(&device.0) = Room { has_room: true, ..Room::default() };
        assert!(file.write_line(b"two"));
        file.flush();
        assert_eq!(lock(&device.0).written, b"one\ntwo\n");
    }

    #[test]
    fn an_outlet_that_nobody_uses_any_more_is_closed_and_its_thread_ends() {
        let (_folder, writer, _) = scratch();
        let memory = io_wrapper::MemoryDriver::new();
        writer.0.wrappers.register(Arc::new(memory.clone())).unwrap();
        let file = writer.open("memory://a", 0).unwrap();
        let again = writer.open("memory://a", 0).unwrap();
        file.write_line(b"one");
        drop((file, again));
        let lane = writer.lanes().pop().unwrap();
        lane.doorbell.ring();
        let thread = lock(&lane.thread).take().unwrap();
        thread.join().unwrap();
        assert_eq!(memory.contents("a").unwrap(), b"one\n");
        let other = writer.open("memory://b", 0).unwrap();
        assert_eq!(writer.lanes().len(), 2, "the files, and the one just opened");
        drop(other);
    }

    #[test]
    fn the_same_path_is_the_same_stream_and_other_schemes_are_refused() {
        let (folder, writer, _) = scratch();
        let path = folder.path().join("x");
        let one = writer.open(path.to_str().unwrap(), 0o644).unwrap();
        let two = writer.open(&format!("file://{}", path.display()), 0o644).unwrap();
        one.write_line(b"a");
        two.write_line(b"b");
        writer.flush();
        assert_eq!(read(&path), "a\nb\n");
        assert!(writer.open("jlog:///x=>y", 0o644).unwrap_err().to_string().contains("jlog://"));
    }

    #[test]
    fn a_heartbeat_comes_at_once_then_by_its_period_and_the_newest_counts() {
        let (folder, writer, _) = scratch();
        writer.stop();
        let path = folder.path().join("x");
        let file = writer.open(path.to_str().unwrap(), 0o644).unwrap();
        let running = file.heartbeat(Duration::from_secs(60), Stamp::Seconds, line::heartbeat);
        let stream = lock(&writer.0.files.streams)[0].clone();
        let start = writer.0.clock.now();
        let beat = |second| stream.beat(start + Duration::from_secs(second), Duration::from_secs(1000 + second));
        for second in [0, 59, 60] {
            beat(second);
        }
        let refused = file.heartbeat(Duration::from_secs(5), Stamp::Seconds, line::heartbeat);
        beat(65);
        drop(refused);
        let next = beat(70);
        assert_eq!(next, Some(start + Duration::from_secs(125)));
        drop(running);
        assert_eq!(beat(999), None);
        writer.flush();
        assert_eq!(read(&path), "1000@@@@M1\n1060@@@@M1\n1065@@@@M1\n");
    }
}
