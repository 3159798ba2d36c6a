//! A log stream: lines from many threads, in order, to one outlet.
//!
//! [`LogFile::append`] formats into a buffer under a short mutex and returns; the writer's thread
//! ([`crate::LogWriter`]) swaps the buffer and writes it out. No caller ever waits for a disk.
//!
//! At the bounds: a buffer that has reached [`BUFFER_OCTETS_MAX`] takes no more lines; they are lost, counted in
//! `logging.lines.lost{path}`, and reported at most once a minute. An outlet that fails (a full disk, a program that
//! ended) is reported once and tried again every second; what was taken before is kept and written when it recovers. One
//! that takes nothing just now (a full pipe) is asked again soon.
//!
//! Invariant: a line is in the outlet once and whole, or is counted as lost.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use scheduler::{Clock, Counter, MemoryCharge, MemoryOwner};

use smtp::text;

use crate::line::Stamp;
use crate::outlet::Outlet;
use crate::writer::Doorbell;

/// A handle on a log stream. Cloning shares the stream.
#[derive(Clone, Debug)]
pub struct LogFile(Arc<Stream>);

/// Appends one heartbeat line.
pub type HeartbeatLine = fn(&mut Vec<u8>, Stamp, Duration);

/// Keeps a heartbeat going; dropping it ends it.
#[derive(Debug)]
pub struct Heartbeat(#[expect(dead_code, reason = "held for its drop")] Arc<Beat>);

impl LogFile {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        Self(stream)
    }

    /// Takes one line, with or without its LF, of whatever octets: it becomes one line of UTF-8. False if the buffer was
    /// full and the line is lost.
    pub fn write_line(&self, line: &[u8]) -> bool {
        self.append(|out| {
            out.extend_from_slice(text::one_line_of(line.strip_suffix(b"\n").unwrap_or(line)).as_bytes());
            out.push(b'\n');
        })
    }

    /// As [`LogFile::write_line`], but `format` appends the line, with its LF, to the stream's own buffer, made of the
    /// pieces of [`crate::line`]. It runs under the stream's mutex, so it only formats.
    pub fn append(&self, format: impl FnOnce(&mut Vec<u8>)) -> bool {
        let was_empty = {
            let mut buffer = self.0.buffer();
            if self.0.buffer_octets_max <= buffer.bytes.len() {
                buffer.lost += 1;
                self.0.lost.add(1);
                return false;
            }
            let was_empty = buffer.bytes.is_empty();
            let begin = buffer.bytes.len();
            format(&mut buffer.bytes);
            debug_assert!(is_one_line(&buffer.bytes[begin..]), "a log line is one line of UTF-8");
            let held = buffer.bytes.capacity();
            buffer.charge.set(held);
            was_empty
        };
        if was_empty {
            self.0.doorbell.ring();
        }
        true
    }

    /// Has a heartbeat line written every `every` while the answer lives; zero for none. If there are several, the newest
    /// counts: a new generation takes over without a gap, and one that is refused leaves the old one beating.
    #[must_use]
    pub fn heartbeat(&self, every: Duration, stamp: Stamp, line: HeartbeatLine) -> Heartbeat {
        let beat = Arc::new(Beat { every, stamp, line });
        if !every.is_zero() {
            lock(&self.0.beats).of.push(Arc::downgrade(&beat));
            self.0.doorbell.ring();
        }
        Heartbeat(beat)
    }

    /// Opens the path again, so that a renamed file is left behind; lines not yet written go to the new one. On failure
    /// the old file stays in use. May block: not for a loop.
    pub fn reopen(&self) -> io::Result<()> {
        lock(&self.0.sink).outlet.reopen()
    }

    /// Writes out what was taken so far. May block: for shutdown and tests.
    pub fn flush(&self) {
        self.0.drain();
    }

    /// The path, for messages.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Whether the last write failed.
    pub fn is_failing(&self) -> bool {
        self.0.failing.load(Ordering::Relaxed)
    }
}

/// What is shared by the handles and the writer.
pub(crate) struct Stream {
    pub(crate) path: String,
    pub(crate) buffer_octets_max: usize,
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) lost: Counter,
    clock: Clock,
    buffer: Mutex<Buffer>,
    sink: Mutex<Sink>,
    beats: Mutex<Beats>,
    failing: AtomicBool,
}

/// Lines not yet taken by the writer.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    charge: MemoryCharge,
    /// Lines refused since the last report.
    lost: u64,
    /// When that was.
    reported: Option<Instant>,
}

/// How far a stream was written out, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Drained {
    /// Everything.
    All,
    /// The outlet takes no more just now.
    Later,
    /// The outlet failed.
    Failing,
}

/// The writer's side.
struct Sink {
    outlet: Outlet,
    /// Being written; its first `written` octets are.
    batch: Vec<u8>,
    charge: MemoryCharge,
    written: usize,
}

#[derive(Debug)]
struct Beat {
    every: Duration,
    stamp: Stamp,
    line: HeartbeatLine,
}

/// The heartbeats asked for, oldest first, and when there was one last.
#[derive(Default)]
struct Beats {
    of: Vec<Weak<Beat>>,
    last: Option<Instant>,
}

impl Stream {
    pub(crate) fn new(
        path: String,
        outlet: Outlet,
        buffer_octets_max: usize,
        doorbell: Arc<Doorbell>,
        lost: Counter,
        owner: &MemoryOwner,
        clock: Clock,
    ) -> Self {
        let (bytes, charge) = (Vec::new(), owner.charge(0));
        Self {
            path,
            buffer_octets_max,
            doorbell,
            lost,
            clock,
            buffer: Mutex::new(Buffer { bytes, charge, ..Buffer::default() }),
            sink: Mutex::new(Sink { outlet, batch: Vec::new(), charge: owner.charge(0), written: 0 }),
            beats: Mutex::default(),
            failing: AtomicBool::new(false),
        }
    }

    /// Writes out everything taken so far, as far as the outlet takes it.
    pub(crate) fn drain(&self) -> Drained {
        let outcome = {
            let mut sink = lock(&self.sink);
            self.write_out(&mut sink)
        };
        let lost = self.lost_to_report(self.clock.now());
        // Reported without a lock held: the report is itself a line of some stream.
        if 0 < lost {
            tracing::error!(target: "LOG1", "{lost} lines of {} are lost: they came faster than they could be written", self.path);
        }
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Drained::Later,
            outcome => {
                self.report(&outcome);
                if outcome.is_ok() { Drained::All } else { Drained::Failing }
            }
        }
    }

    /// How many lines were lost since the last report, if it is time for another one.
    fn lost_to_report(&self, now: Instant) -> u64 {
        let mut buffer = self.buffer();
        let is_due = buffer.reported.is_none_or(|last| REPORT_INTERVAL <= now.saturating_duration_since(last));
        if buffer.lost == 0 || !is_due {
            return 0;
        }
        buffer.reported = Some(now);
        std::mem::take(&mut buffer.lost)
    }

    fn write_out(&self, sink: &mut Sink) -> io::Result<()> {
        loop {
            while sink.written < sink.batch.len() {
                match sink.outlet.write(&sink.batch[sink.written..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => sink.written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            sink.batch.clear();
            // One burst is no reason to keep megabytes.
            sink.batch.shrink_to(KEPT_OCTETS);
            sink.charge.set(sink.batch.capacity());
            sink.written = 0;
            {
                let mut buffer = self.buffer();
                std::mem::swap(&mut sink.batch, &mut buffer.bytes);
                std::mem::swap(&mut sink.charge, &mut buffer.charge);
            }
            if sink.batch.is_empty() {
                return sink.outlet.flush();
            }
        }
    }

    fn report(&self, outcome: &io::Result<()>) {
        let was_failing = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error) if !was_failing => {
                tracing::error!(target: "LOG1", critical = true, "cannot write {}: {error}; lines are kept and writing is tried again every second", self.path);
            }
            Ok(()) if was_failing => tracing::error!(target: "LOG1", "{} is being written again", self.path),
            _ => {}
        }
    }

    /// Adds the heartbeat line if it is due; when the next one is.
    pub(crate) fn beat(self: &Arc<Self>, now: Instant, unix: Duration) -> Option<Instant> {
        let newest = {
            let mut beats = lock(&self.beats);
            beats.of.retain(|beat| 0 < beat.strong_count());
            let newest = beats.of.last().and_then(Weak::upgrade)?;
            if let Some(next) = beats.last.map(|last| last + newest.every)
                && now < next
            {
                return Some(next);
            }
            beats.last = Some(now);
            newest
        };
        LogFile(self.clone()).append(|out| (newest.line)(out, newest.stamp, unix));
        Some(now + newest.every)
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        lock(&self.buffer)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What every writer of a log owes its readers.
fn is_one_line(octets: &[u8]) -> bool {
    let line = octets.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    octets.is_empty() || line.is_some_and(|line| line.chars().all(text::stays_in_line))
}

/// A panic while a line is being formatted leaves at worst half a line.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many octets of lines a stream keeps while its outlet is slow.
pub const BUFFER_OCTETS_MAX: usize = 8 << 20;

const KEPT_OCTETS: usize = 1 << 20;
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
