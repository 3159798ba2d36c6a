//! The socket side of a session: reads into buffers that an idle session does not hold, writes once a turn, waits with
//! one timer.
//!
//! Invariant: between turns a link holds octets only if the client has begun a command and not ended it, and then no more
//! room than those need.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use netlistener::{StopSignal, Stream};
use scheduler::{MemoryCharge, MemoryOwner};
use tls::ServerContext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Sleep;

/// Octets read at once.
const READ_OCTETS: usize = 65_536;
/// Buffers a loop keeps for its next turns.
const SPARE_BUFFERS_MAX: usize = 4;
/// An output buffer that grew beyond this is not kept.
const OUTPUT_OCTETS_KEPT: usize = 4096;
/// How long, and for how many octets, a client is listened to after the last word, so that the word arrives.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1_048_576;

/// The read buffers of a loop: as many as sessions are in a turn at once, which is few.
pub(crate) struct Buffers {
    spare: RefCell<Vec<BytesMut>>,
    /// Those in use and spare ones.
    all: Cell<usize>,
    charge: RefCell<MemoryCharge>,
}

impl Buffers {
    /// None yet; those to come are charged to `owner`.
    pub(crate) fn new(owner: &MemoryOwner) -> Self {
        Self { spare: RefCell::default(), all: Cell::default(), charge: RefCell::new(owner.charge(0)) }
    }

    fn take(&self) -> BytesMut {
        let spare = self.spare.borrow_mut().pop();
        let mut buffer = spare.unwrap_or_else(|| {
            self.grown_to(self.all.get() + 1);
            BytesMut::new()
        });
        buffer.reserve(READ_OCTETS);
        buffer
    }

    fn give_back(&self, mut buffer: BytesMut) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            spare.push(buffer);
        } else {
            self.grown_to(self.all.get() - 1);
        }
    }

    fn grown_to(&self, all: usize) {
        self.all.set(all);
        self.charge.borrow_mut().set(all * READ_OCTETS);
    }
}

/// Why a wait ended.
pub(crate) enum Event {
    /// The input has grown.
    Bytes,
    /// The client has closed, or the connection broke.
    Closed,
    /// The deadline has passed.
    Deadline,
    /// The daemon is stopping.
    Stop,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.settle_input();
    }
}

/// A session's connection.
pub(crate) struct Link {
    stream: Stream,
    buffers: Rc<Buffers>,
    /// What has been read and not been used.
    pub(crate) input: BytesMut,
    pooled: bool,
    sleep: Pin<Box<Sleep>>,
    armed: bool,
    stop: StopSignal,
    stop_seen: bool,
    stopped: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Link {
    pub(crate) fn new(stream: Stream, buffers: Rc<Buffers>, stop: StopSignal, deadline: Instant) -> Self {
        let waiting = stop.clone();
        Self {
            stream,
            buffers,
            input: BytesMut::new(),
            pooled: false,
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
            armed: false,
            stop,
            stop_seen: false,
            stopped: Some(Box::pin(async move { waiting.requested().await })),
        }
    }

    /// Sends and empties `output`. A client that takes nothing for `patience` is given up.
    pub(crate) async fn send(&mut self, output: &mut Vec<u8>, patience: Duration) -> io::Result<()> {
        if !output.is_empty() {
            let sent = async {
                self.stream.write_all(output).await?;
                self.stream.flush().await
            };
            tokio::time::timeout(patience, sent).await??;
            output.clear();
            if OUTPUT_OCTETS_KEPT < output.capacity() {
                *output = Vec::new();
            }
        }
        Ok(())
    }

    /// Shakes hands within `patience`, unless the daemon stops. What came ahead of it is forgotten. After an error nothing is left
    /// of the connection.
    pub(crate) async fn secure(&mut self, context: ServerContext, patience: Duration) -> io::Result<()> {
        self.settle_input();
        self.input.clear();
        tokio::select! {
            secured = tokio::time::timeout(patience, self.stream.secure(context)) => secured?,
            () = self.stop.requested() => Err(io::Error::other("the daemon stops")),
        }
    }

    /// What the handshake has come to; none in the clear.
    pub(crate) fn tls(&self) -> Option<&tls::Facts> {
        self.stream.tls()
    }

    /// Waits for octets, the deadline or the end of the daemon.
    pub(crate) async fn wait(&mut self, deadline: Instant) -> Event {
        self.settle_input();
        poll_fn(|cx| self.poll_wait(cx, deadline)).await
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<Event> {
        if let Poll::Ready(read) = self.poll_read(cx) {
            return Poll::Ready(if matches!(read, Ok(1..)) { Event::Bytes } else { Event::Closed });
        }
        if !self.stop_seen {
            let stopped = self.stopped.as_mut().is_none_or(|stopped| stopped.as_mut().poll(cx).is_ready());
            if stopped || self.stop.is_requested() {
                self.stop_seen = true;
                self.stopped = None;
                return Poll::Ready(Event::Stop);
            }
        }
        self.poll_deadline(cx, deadline.into())
    }

    /// The timer is moved only when it fires too early or would fire too late: in a busy session, hardly ever.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: tokio::time::Instant) -> Poll<Event> {
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
            self.armed = false;
        }
        while !self.armed || self.sleep.is_elapsed() {
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.armed = true;
            } else if deadline <= self.sleep.deadline() {
                return Poll::Ready(Event::Deadline);
            } else {
                self.sleep.as_mut().reset(deadline);
                self.armed = false;
            }
        }
        Poll::Pending
    }

    /// A buffer is taken only once there is something to read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            if !self.pooled {
                let mut buffer = self.buffers.take();
                buffer.extend_from_slice(&self.input);
                self.input = buffer;
                self.pooled = true;
            }
            let mut read = std::pin::pin!(self.stream.read_buf(&mut self.input));
            match read.as_mut().poll(cx) {
                Poll::Ready(result) => return Poll::Ready(result),
                // The readiness was of the past; ask again, without a buffer if it is gone.
                Poll::Pending => self.settle_input(),
            }
        }
    }

    /// Gives the buffer back, and keeps what is left in one of its size.
    fn settle_input(&mut self) {
        if self.pooled {
            let rest = BytesMut::from(&self.input[..]);
            self.buffers.give_back(std::mem::replace(&mut self.input, rest));
            self.pooled = false;
        }
    }

    /// Closes so that the last words arrive: a socket closed with unread octets in it would take them back.
    pub(crate) async fn close(mut self) {
        // Under TLS there is a last word to write, which a client that reads nothing never takes.
        if !matches!(tokio::time::timeout(LINGER, self.stream.shutdown()).await, Ok(Ok(()))) {
            return;
        }
        let mut discarded = 0;
        let drain = async {
            while discarded < LINGER_OCTETS {
                self.settle_input();
                self.input.clear();
                match poll_fn(|cx| self.poll_read(cx)).await {
                    Ok(octets @ 1..) => discarded += octets,
                    _ => break,
                }
            }
        };
        // A client that does not close in time is closed all the same.
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}
