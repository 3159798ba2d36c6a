//! How a connection waits: for octets either way, for what is read ahead, for outcomes to be settled, for the deadline of the
//! session, and, when it has nothing to do, for somebody with mail.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Connection;

impl Connection {
    /// Waits until something has happened, and tells the session.
    pub(super) async fn progress(&mut self) {
        let idle = self.session.is_idle() && self.upcoming.is_empty() && self.may_take_more();
        let mut parked = false;
        std::future::poll_fn(|context| {
            if std::mem::take(&mut parked) && self.unpark() {
                return Poll::Ready(());
            }
            if self.poll(context).is_ready() {
                return Poll::Ready(());
            }
            if idle && !self.maintainer.park(&self.status, context.waker()) {
                return Poll::Ready(());
            }
            parked = idle;
            Poll::Pending
        })
        .await;
    }

    /// No longer offers itself for work; whether somebody took the offer, or wants one of its slots.
    fn unpark(&self) -> bool {
        let is_taken = self.status.parked.take().is_none();
        !self.maintainer.unpark(&self.status) || is_taken
    }

    /// What has come is read before anything is written: a reply that was there before its command was is no answer to it, and the
    /// session must not learn of it too late to know.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.poll_read(context).is_ready() {
            return Poll::Ready(());
        }
        if self.poll_write(context) {
            if self.poll_read(context).is_pending() {
                self.session.closed();
            }
            return Poll::Ready(());
        }
        if self.poll_upcoming(context).is_ready() {
            return Poll::Ready(());
        }
        if self.poll_settling(context).is_ready() {
            return Poll::Ready(());
        }
        // A session that is idle only because the disk is slow is not to end for that.
        let waits_for_spool = self.session.is_idle() && !self.upcoming.is_empty();
        if !waits_for_spool && self.alarm.poll(self.session.deadline(), context).is_ready() {
            self.session.deadline_passed();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Sends what there is to send; `true` if the connection no longer takes it. What the server said before it closed may
    /// still be there to read, so that comes first.
    fn poll_write(&mut self, context: &mut Context<'_>) -> bool {
        while !self.session.outbox().is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let filled = self.session.outbox().slices(&mut slices);
            match Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..filled]) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(octets)) => {
                    let now = self.maintainer.deps.clock.now();
                    self.session.sent(octets, now);
                    self.status.enter(self.session.stage(), now);
                }
                Poll::Pending => return false,
            }
        }
        false
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut buffer = ReadBuf::new(&mut self.buffer[..]);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let now = self.maintainer.deps.clock.now();
                self.session.input(buffer.filled(), now);
                self.status.enter(self.session.stage(), now);
            }
            Poll::Ready(_) => self.session.closed(),
        }
        Poll::Ready(())
    }

    fn poll_settling(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut settled = false;
        while let Poll::Ready(Some(_)) = self.unlinking.poll_join_next(context) {
            settled = true;
        }
        self.status.unlinking.set(!self.unlinking.is_empty());
        while let Poll::Ready(Some(_)) = self.settling.poll_join_next(context) {
            settled = true;
        }
        if settled { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Slices of one vectored write: a body between two groups of commands, and room for a cut one.
const WRITE_SLICES: usize = 8;
