//! Lines on their way into a program. One owner, which never waits for the program.
//!
//! At most [`PENDING_OCTETS_MAX`] are kept here until the pipe takes them; then the answer is `WouldBlock`. A program that
//! ends is started again, after a second at first and after a minute at most; until then the answer is an error that says
//! so. The line it was in the middle of is given to the next one from its start; what it had taken and not worked off is
//! its own loss.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use io_wrapper::Stream;
use scheduler::Clock;

use crate::address::Address;
use crate::program::{Leaving, Program, Settings};

/// A program and what it has not taken yet.
pub(crate) struct PipeStream {
    address: Address,
    settings: Arc<RwLock<Settings>>,
    clock: Clock,
    state: State,
    leaving: VecDeque<Leaving>,
    /// Whole lines; the first `sent` octets are in the pipe.
    pending: Vec<u8>,
    sent: usize,
}

enum State {
    Running {
        program: Program,
        since: Instant,
        delay: Duration,
    },
    /// To be started again at `next`.
    Ended {
        how: String,
        next: Instant,
        delay: Duration,
    },
    /// Never to be started again.
    Over {
        how: String,
    },
}

impl PipeStream {
    /// Starts the program.
    pub(crate) fn open(address: Address, settings: Arc<RwLock<Settings>>, clock: Clock) -> io::Result<Self> {
        let now = settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let program = Program::start(&address, &now)?;
        let state = State::Running { program, since: clock.now(), delay: now.first_delay };
        Ok(Self { address, settings, clock, state, leaving: VecDeque::new(), pending: Vec::new(), sent: 0 })
    }

    /// Brings what is pending into the pipe.
    fn push(&mut self) -> io::Result<()> {
        self.leaving.retain_mut(|left| left.ended().is_none());
        while self.sent < self.pending.len() {
            self.revive()?;
            let State::Running { program, .. } = &self.state else { return Err(io::ErrorKind::WouldBlock.into()) };
            match program.write(&self.pending[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => self.end(&error),
            }
        }
        self.pending.clear();
        self.sent = 0;
        Ok(())
    }

    /// Starts the program again if that is due; an error if it does not run now.
    fn revive(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        if let State::Ended { next, delay, .. } = &self.state
            && *next <= now
        {
            let delay = *delay;
            match Program::start(&self.address, &self.settings()) {
                Ok(program) => self.state = State::Running { program, since: now, delay },
                Err(error) => {
                    let next = now + delay;
                    self.state =
                        State::Ended { how: format!("it does not start: {error}"), next, delay: longer(delay) };
                }
            }
        }
        let path = &self.address.path;
        match &self.state {
            State::Running { .. } => Ok(()),
            State::Ended { how, next, .. } => {
                let seconds = next.saturating_duration_since(now).as_secs_f64();
                Err(io::Error::other(format!("{path}: {how}; it is started again in {seconds:.0} s")))
            }
            State::Over { how } => Err(io::Error::other(format!("{path}: {how}; reinvoke=0 keeps it ended"))),
        }
    }

    /// The program no longer reads: the line it was in the middle of starts anew with the next one.
    fn end(&mut self, error: &io::Error) {
        let before = &self.pending[..self.sent];
        self.sent = before.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        let over = State::Over { how: String::new() };
        let State::Running { program, since, delay } = std::mem::replace(&mut self.state, over) else { return };
        let mut left = program.leave();
        let how = left.ended().map_or_else(|| error.to_string(), |status| format!("it ended ({status})"));
        self.leaving.push_back(left);
        let now = self.clock.now();
        let lived_long = DELAY_MAX <= now.saturating_duration_since(since);
        let delay = if lived_long { self.settings().first_delay } else { delay };
        if self.address.reinvoke {
            self.state = State::Ended { how, next: now + delay, delay: longer(delay) };
        } else {
            self.state = State::Over { how };
        }
    }

    fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Stream for PipeStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push()?;
        let piece = &bytes[..bytes.len().min(PENDING_OCTETS_MAX)];
        let whole = piece.iter().rposition(|&octet| octet == b'\n').map_or(piece.len(), |at| at + 1);
        self.pending.extend_from_slice(&piece[..whole]);
        // They are ours now: trouble is told by the next write or flush.
        let _ = self.push();
        Ok(whole)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }

    /// Ends the program's input and starts it anew, so that it opens its own files anew. The old one may go on working
    /// for as long as it needs.
    fn reopen(&mut self) -> io::Result<()> {
        let settings = self.settings();
        let program = Program::start(&self.address, &settings)?;
        let since = self.clock.now();
        // What was taken so far belongs to the old one, as far as it takes it.
        let _ = self.push();
        let new = State::Running { program, since, delay: settings.first_delay };
        let before = &self.pending[..self.sent];
        self.sent = before.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        if let State::Running { program, .. } = std::mem::replace(&mut self.state, new) {
            self.leaving.push_back(program.leave());
        }
        Ok(())
    }

    fn pollable(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Running { program, .. } => Some(program.input()),
            State::Ended { .. } | State::Over { .. } => None,
        }
    }

    /// Gives what is pending to the program, ends its input and waits for its end (`timeout`).
    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.push()
    }
}

impl Drop for PipeStream {
    fn drop(&mut self) {
        // Whoever wants to know how it went calls close.
        let _ = self.push();
        let timeout = self.settings().timeout;
        let over = State::Over { how: String::new() };
        if let State::Running { program, .. } = std::mem::replace(&mut self.state, over) {
            self.leaving.push_back(program.leave());
        }
        self.leaving.drain(..).for_each(|left| left.wait(timeout));
    }
}

fn longer(delay: Duration) -> Duration {
    (delay * 2).min(DELAY_MAX)
}

const PENDING_OCTETS_MAX: usize = 64 << 10;
const DELAY_MAX: Duration = Duration::from_secs(60);
