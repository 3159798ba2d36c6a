//! The drivers of `jlog://folder=>subscriber?max_bytes=N` and of its alias `cluster://`.
//!
//! Written: each line is a record, without its LF; a flush returns when it is durable. The subscriber in the name is
//! added when the log is opened for writing, and begins with the oldest record, so that nothing is removed unread. Read:
//! each record comes with an LF; `sync` acknowledges every record that was handed out to its end, and reopening goes
//! back to the first that was not. Blocks for the disk.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use io_wrapper::{Driver, Flags, Stream};

use crate::folder::{Folder, Position, Start};
use crate::{Reader, SEGMENT_OCTETS, Writer};

/// The driver of one of the two schemes.
#[derive(Clone, Debug)]
pub struct JlogDriver {
    scheme: &'static str,
    /// The subscriber of a name that does not say one.
    subscriber: Option<&'static str>,
    /// Open writers by folder: two names of one log in one process share it.
    writers: Arc<Mutex<HashMap<String, Weak<Mutex<Writer>>>>>,
}

impl JlogDriver {
    /// The drivers of `jlog`, and of `cluster`, whose subscriber is `master` unless the name says another.
    pub fn both() -> [Self; 2] {
        let writers = Arc::<Mutex<HashMap<_, _>>>::default();
        [("jlog", None), ("cluster", Some("master"))].map(|(scheme, subscriber)| Self {
            scheme,
            subscriber,
            writers: writers.clone(),
        })
    }

    fn writer(&self, path: &str, mode: u32) -> io::Result<Arc<Mutex<Writer>>> {
        let mut writers = lock(&self.writers);
        writers.retain(|_, writer| 0 < writer.strong_count());
        if let Some(writer) = writers.get(path).and_then(Weak::upgrade) {
            return Ok(writer);
        }
        let writer = Arc::new(Mutex::new(Writer::open(Folder::new(path), mode)?));
        writers.insert(path.to_owned(), Arc::downgrade(&writer));
        Ok(writer)
    }

    /// The folder, the subscriber, and the bound if there is one.
    fn parse<'r>(&self, rest: &'r str) -> io::Result<(&'r str, Option<&'r str>, Option<u64>)> {
        let (rest, octets_max) = match rest.rsplit_once(MAX_BYTES) {
            None => (rest, None),
            Some((rest, digits)) => (rest, Some(bound(digits)?)),
        };
        let (path, subscriber) = match rest.split_once("=>") {
            Some((path, subscriber)) => (path, Some(subscriber)),
            None => (rest, self.subscriber),
        };
        if !path.starts_with('/') {
            let text = format!("a journaled log is named {}:///full/path=>subscriber", self.scheme);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let path = path.trim_end_matches('/');
        Ok((if path.is_empty() { "/" } else { path }, subscriber, octets_max))
    }
}

impl Driver for JlogDriver {
    fn scheme(&self) -> &str {
        self.scheme
    }

    fn check(&self, rest: &str, flags: Flags) -> io::Result<()> {
        let (path, subscriber, _) = self.parse(rest)?;
        if let Some(subscriber) = subscriber {
            Folder::new(path).allows(subscriber)?;
        }
        match (flags.read, flags.append) {
            (true, false) if !flags.write && subscriber.is_none() => Err(without_subscriber()),
            (true, false) if !flags.write => Ok(()),
            (false, true) => Ok(()),
            _ => Err(neither_read_nor_appended()),
        }
    }

    fn open(&self, rest: &str, flags: Flags, mode: u32) -> io::Result<Box<dyn Stream>> {
        let (path, subscriber, octets_max) = self.parse(rest)?;
        match (flags.read, flags.append) {
            (true, false) if !flags.write => {
                let subscriber = subscriber.ok_or_else(without_subscriber)?;
                let reader = Reader::open(Folder::new(path), subscriber)?;
                Ok(Box::new(Reading { reader, octets: Vec::new(), given: 0, open: None, done: None }))
            }
            (false, true) => {
                let writer = self.writer(path, mode)?;
                if let Some(subscriber) = subscriber {
                    lock(&writer).folder().subscribe(subscriber, Start::Oldest)?;
                }
                if let Some(octets_max) = octets_max {
                    lock(&writer).bound(octets_max);
                }
                Ok(Box::new(Writing { writer, line: Vec::new() }))
            }
            _ => Err(neither_read_nor_appended()),
        }
    }
}

fn without_subscriber() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "who reads a journaled log says as whom: path=>subscriber")
}

fn neither_read_nor_appended() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a journaled log is either read or appended to")
}

/// Lines on their way into the log.
struct Writing {
    writer: Arc<Mutex<Writer>>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl Stream for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut writer = lock(&self.writer);
        if PENDING_OCTETS_MAX <= writer.pending_octets() + self.line.len() {
            writer.flush()?;
        }
        let bytes = &bytes[..bytes.len().min(PENDING_OCTETS_MAX)];
        for line in bytes.split_inclusive(|&octet| octet == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) if self.line.is_empty() => writer.append(line)?,
                Some(end) => {
                    self.line.extend_from_slice(end);
                    writer.append(&std::mem::take(&mut self.line))?;
                }
                None => self.line.extend_from_slice(line),
            }
        }
        Ok(bytes.len())
    }

    /// Durable when it returns. A line without its LF waits for the rest of it.
    fn flush(&mut self) -> io::Result<()> {
        lock(&self.writer).flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()
    }

    fn size(&self) -> io::Result<u64> {
        lock(&self.writer).folder().octets()
    }

    /// There is nothing to rotate; what was taken is made durable.
    fn reopen(&mut self) -> io::Result<()> {
        self.flush()
    }

    fn close(mut self: Box<Self>) -> io::Result<()> {
        let rest = std::mem::take(&mut self.line);
        let mut writer = lock(&self.writer);
        if !rest.is_empty() {
            writer.append(&rest)?;
        }
        writer.flush()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Whoever wants to know how it went calls close.
        let _ = self.flush();
    }
}

/// Records on their way to a subscriber.
struct Reading {
    reader: Reader,
    /// The record being handed out, with its LF; `given` octets of it are.
    octets: Vec<u8>,
    given: usize,
    /// The end of that record.
    open: Option<Position>,
    /// The end of the last one that was handed out whole.
    done: Option<Position>,
}

impl Stream for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.octets.len() {
            let Some(record) = self.reader.next_record()? else { return Ok(0) };
            self.octets = record.octets;
            self.octets.push(b'\n');
            (self.given, self.open) = (0, Some(record.end));
        }
        let left = &self.octets[self.given..];
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.given += count;
        if self.given == self.octets.len() {
            self.done = self.open.take().or(self.done);
        }
        Ok(count)
    }

    /// Acknowledges what was handed out.
    fn sync(&mut self) -> io::Result<()> {
        self.done.map_or(Ok(()), |done| self.reader.acknowledge(done))
    }

    fn size(&self) -> io::Result<u64> {
        self.reader.folder().octets()
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.reader.rewind()?;
        (self.octets, self.given, self.open, self.done) = (Vec::new(), 0, None, None);
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The octets a log may have: two segments at least, or it would be thrown away as it is written.
fn bound(digits: &str) -> io::Result<u64> {
    let octets_max = digits.parse().ok().filter(|octets_max| 2 * SEGMENT_OCTETS <= *octets_max);
    octets_max.ok_or_else(|| {
        let text = format!("max_bytes is {digits:?}: it must be a number of at least {}", 2 * SEGMENT_OCTETS);
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

const MAX_BYTES: &str = "?max_bytes=";
const PENDING_OCTETS_MAX: usize = 1 << 20;
