//! Outbound dialogues as the operator wants to read them: what went to a host and what came back, line by line, in a file.
//!
//! A tracer is looked for when a connection opens, so a connection that nobody traces costs nothing; its lines go where log
//! lines go, which never waits for a disk. The octets of a message are counted and not written.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use logging::LogFile;
use message::{MessageId, QueueName};
use scheduler::Clock;
use smtp::text;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::orders::Selection;
use crate::seams::Stream;

/// The tracers there are. Cloning shares them.
#[derive(Clone, Default)]
pub struct Tracers {
    all: Arc<Mutex<Vec<Tracer>>>,
    last: Arc<AtomicU64>,
}

/// One tracer, as the operator sees it.
#[derive(Clone)]
pub struct Tracer {
    /// Its number.
    pub id: u64,
    /// The queues whose connections it records.
    pub of: Selection,
    /// Where to.
    pub file: LogFile,
    lives: Arc<AtomicBool>,
}

impl Tracers {
    /// Records connections that open from now on; the number of the tracer. `None` if there are too many.
    pub fn add(&self, of: Selection, file: LogFile) -> Option<u64> {
        let mut all = self.lock();
        if TRACERS_MAX <= all.len() {
            return None;
        }
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        all.push(Tracer { id, of, file, lives: Arc::new(AtomicBool::new(true)) });
        Some(id)
    }

    /// All of them.
    pub fn list(&self) -> Vec<Tracer> {
        self.lock().clone()
    }

    /// Ends one, for connections that are open too; `false` if there is none of that number.
    pub fn remove(&self, id: u64) -> bool {
        let mut all = self.lock();
        let before = all.len();
        all.iter().filter(|tracer| tracer.id == id).for_each(|tracer| tracer.lives.store(false, Ordering::Relaxed));
        all.retain(|tracer| tracer.id != id);
        all.len() < before
    }

    /// The stream of a connection that has just opened, recorded if somebody wants that.
    pub(crate) fn watch(
        &self,
        stream: Box<dyn Stream>,
        queue: &QueueName,
        (connection, remote): (MessageId, SocketAddr),
        clock: Clock,
    ) -> Box<dyn Stream> {
        let tracers: Vec<Tracer> = self.lock().iter().filter(|tracer| tracer.of.holds(queue)).cloned().collect();
        if tracers.is_empty() {
            return stream;
        }
        let said = Said { tracers, connection, remote, clock };
        said.line('=', format!("connected for {} of binding {}", queue.domain, queue.binding).as_bytes());
        Box::new(Traced { stream, said, sent: Lines::default(), heard: Lines::default(), body: None })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tracer>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes lines for all tracers of a connection.
struct Said {
    tracers: Vec<Tracer>,
    connection: MessageId,
    remote: SocketAddr,
    clock: Clock,
}

impl Said {
    fn line(&self, mark: char, octets: &[u8]) {
        let at = self.clock.unix();
        let line = text::one_line_of(&octets[..octets.len().min(LINE_OCTETS_MAX)]).into_owned();
        for tracer in self.tracers.iter().filter(|tracer| tracer.lives.load(Ordering::Relaxed)) {
            tracer.file.append(|out| {
                let head = format!(
                    "{}.{:06} {} {} {mark} {line}\n",
                    at.as_secs(),
                    at.subsec_micros(),
                    self.connection,
                    self.remote
                );
                out.extend_from_slice(head.as_bytes());
            });
        }
    }
}

/// A line that is not whole yet.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Adds octets and gives each whole line to `each`.
    fn add(&mut self, octets: &[u8], mut each: impl FnMut(&[u8])) {
        for octet in octets {
            match octet {
                b'\n' => {
                    let line = self.0.strip_suffix(b"\r").unwrap_or(&self.0);
                    each(line);
                    self.0.clear();
                }
                octet if self.0.len() < LINE_OCTETS_MAX => self.0.push(*octet),
                _ => {}
            }
        }
    }
}

struct Traced {
    stream: Box<dyn Stream>,
    said: Said,
    sent: Lines,
    heard: Lines,
    /// Octets of the message that is being sent, once the host has said 354.
    body: Option<u64>,
}

impl Traced {
    fn sent(&mut self, octets: &[u8]) {
        let Self { said, sent, body, .. } = self;
        sent.add(octets, |line| match body {
            Some(octets) if line == b"." => {
                said.line('>', format!("({octets} octets of a message)").as_bytes());
                said.line('>', line);
                *body = None;
            }
            Some(octets) => *octets += line.len() as u64 + 2,
            None => said.line('>', line),
        });
    }

    fn heard(&mut self, octets: &[u8]) {
        let Self { said, heard, body, .. } = self;
        heard.add(octets, |line| {
            if line.starts_with(b"354") {
                *body = Some(0);
            }
            said.line('<', line);
        });
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.said.line('=', b"closed");
    }
}

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Traced {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        if let Poll::Ready(Ok(count)) = written {
            self.sent(&octets[..count]);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(count)) = written {
            let mut left = count;
            for slice in slices {
                let part = left.min(slice.len());
                self.sent(&slice[..part]);
                left -= part;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Tracers at once.
const TRACERS_MAX: usize = 64;
/// Octets of a line that are written.
const LINE_OCTETS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come_and_bounded() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for part in [&b"MAIL FR"[..], b"OM:<a@b>\r\nRCPT", b" TO:<c@d>\r\n", &[b'x'; 5000], b"\n"] {
            lines.add(part, |line| seen.push(line.to_vec()));
        }
        assert_eq!(seen[..2], [b"MAIL FROM:<a@b>".to_vec(), b"RCPT TO:<c@d>".to_vec()]);
        assert_eq!(seen[2].len(), LINE_OCTETS_MAX);
    }
}
