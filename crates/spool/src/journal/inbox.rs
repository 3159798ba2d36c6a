//! The inbox: what event loops, recovery and upkeep want written, in order, for the one committer.
//!
//! Pushing is one short lock and, when the committer sleeps, one wake. Stores and rewrites are committed at once; unlinks
//! ride with the next commit, but wait no longer than [`LINGER`] and no longer than until half the backlog is full.
//!
//! Invariants: octets waiting and unlinks not yet durable are bounded; an operation never overtakes an earlier one.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::batch::size_of_store;
use super::index::Place;
use crate::chain::Staged;
use crate::error::SpoolError;
use crate::ticket::Promise;

/// One thing to write.
pub enum Op {
    /// A body with its headers, or changed headers alone: one group.
    Store(Staged, Promise<()>),
    /// The message is finished.
    Unlink(u64),
    /// Records to be written anew because their segment is to be freed; a commit of its own.
    Copies(Vec<Copied>, Promise<()>),
    /// Nothing follows.
    Close(Promise<()>),
}

/// What an operation may take of a device that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: new mail is refused.
    Mail,
    /// The headroom: moving mail frees more than it takes.
    Move,
    /// What of the reserves is not owed to unlinks: the few survivors of a segment that is all but dead.
    Few,
    /// The same, but nothing of the headroom: changed envelopes come again and again.
    Rewrite,
    /// A reserve, but for the last one: unlinks, and the end.
    Unlink,
    /// Any reserve: what stands in the reserves already is moved together.
    Merge,
}

/// One record to be written anew.
#[derive(Clone, Debug)]
pub enum Copied {
    /// Headers of a message, if they still stand there.
    Headers {
        /// The message.
        id: u64,
        /// Its batch.
        batch: u64,
        /// Where they stand.
        from: Place,
        /// What they say.
        payload: Bytes,
        /// They stand in a reserve.
        reserve: bool,
    },
    /// A body, if it still stands there.
    Body {
        /// Its number in the index.
        number: u32,
        /// Its batch.
        batch: u64,
        /// Where it stands.
        from: Place,
        /// Its octets.
        payload: Bytes,
        /// It stands in a reserve.
        reserve: bool,
    },
    /// An unlink record, if it is still needed. `from` is none for one that recovery makes.
    Unlink {
        /// The message.
        id: u64,
        /// The segments its headers may stand in.
        range: (u32, u32),
        /// The segment it stands in.
        from: Option<u32>,
        /// It stands in a reserve.
        reserve: bool,
    },
}

impl Copied {
    const fn is_in_reserve(&self) -> bool {
        match self {
            Self::Headers { reserve, .. } | Self::Body { reserve, .. } | Self::Unlink { reserve, .. } => *reserve,
        }
    }
}

/// The queue before the committer.
pub struct Inbox {
    state: Mutex<State>,
    pushed: Condvar,
    waiting_bytes_max: u64,
    unlinks_max: usize,
}

#[derive(Default)]
struct State {
    ops: VecDeque<Op>,
    /// Operations that do not wait for others.
    urgent: usize,
    waiting_bytes: u64,
    /// Unlinks admitted and not yet durable.
    unlinks: usize,
    /// Unlinks at the door: their owners wait.
    outside: VecDeque<(u64, Promise<()>)>,
    sleeping: bool,
    /// The committer lets a batch gather until there are so many urgent operations.
    enough: usize,
    closed: bool,
}

impl Inbox {
    /// An empty inbox with its bounds.
    pub fn new(waiting_bytes_max: u64, unlinks_max: usize) -> Self {
        Self { state: Mutex::default(), pushed: Condvar::new(), waiting_bytes_max, unlinks_max: unlinks_max.max(1) }
    }

    /// Hands over an operation that is to be committed at once. A refused one is answered here.
    pub fn push(&self, op: Op) {
        let octets = op.octets();
        let mut state = self.lock();
        let refusal = match &op {
            _ if state.closed => Some(SpoolError::Closed),
            Op::Store(..) if self.waiting_bytes_max < state.waiting_bytes + octets && state.waiting_bytes != 0 => {
                Some(SpoolError::Overloaded { waiting_bytes: state.waiting_bytes })
            }
            _ => None,
        };
        if let Some(refusal) = refusal {
            drop(state);
            op.refuse(refusal);
            return;
        }
        state.closed = matches!(op, Op::Close(_));
        state.waiting_bytes += octets;
        state.urgent += 1;
        state.ops.push_back(op);
        self.wake(state);
    }

    /// Hands over an unlink. `wait` is asked for a promise when the backlog is full.
    pub fn push_unlink(&self, id: u64, wait: impl FnOnce() -> Promise<()>) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            wait().keep(Err(SpoolError::Closed));
            return;
        }
        if self.unlinks_max <= state.unlinks {
            let promise = wait();
            state.outside.push_back((id, promise));
            return;
        }
        state.unlinks += 1;
        state.ops.push_back(Op::Unlink(id));
        // The first one starts the committer's patience, the last ones end it.
        if state.unlinks == 1 || self.unlinks_max.div_ceil(2) <= state.unlinks {
            self.wake(state);
        }
    }

    /// Unlinks have become durable: lets those at the door in.
    pub fn unlinked(&self, count: usize) {
        let mut admitted = Vec::new();
        {
            let mut state = self.lock();
            state.unlinks = state.unlinks.saturating_sub(count);
            while state.unlinks < self.unlinks_max
                && let Some((id, promise)) = state.outside.pop_front()
            {
                state.unlinks += 1;
                state.ops.push_back(Op::Unlink(id));
                admitted.push(promise);
            }
        }
        for promise in admitted {
            promise.keep(Ok(()));
        }
    }

    /// Octets have been written or refused.
    pub fn settled(&self, octets: u64) {
        let mut state = self.lock();
        state.waiting_bytes = state.waiting_bytes.saturating_sub(octets);
    }

    /// Unlinks not yet durable, with those at the door; octets waiting.
    pub fn backlog(&self) -> (usize, u64) {
        let state = self.lock();
        (state.unlinks + state.outside.len(), state.waiting_bytes)
    }

    /// Blocks until there is something to commit, and moves it to `ops`. `unsettled` says that unlinks are still to be
    /// written from before, `linger` how long unlinks wait for company (see [`linger`]). With `restless` it returns with nothing
    /// when nothing has come for a moment. False once closed and empty.
    pub fn take(&self, ops: &mut VecDeque<Op>, unsettled: bool, linger: Duration, restless: bool) -> bool {
        let mut state = self.lock();
        let mut patience = true;
        loop {
            let crowded = self.unlinks_max.div_ceil(2) <= state.unlinks && !state.ops.is_empty();
            let pending = unsettled || !state.ops.is_empty();
            if state.urgent != 0 || crowded || (pending && !patience) {
                break;
            }
            if state.closed && state.ops.is_empty() {
                return false;
            }
            if !pending && restless && !patience {
                return true;
            }
            state.sleeping = true;
            state = if pending || restless {
                let patience_lasts = if pending { linger } else { MOMENT };
                let waited = self.pushed.wait_timeout(state, patience_lasts);
                let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                patience = !timeout.timed_out();
                state
            } else {
                self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
            state.sleeping = false;
        }
        state.urgent = 0;
        ops.append(&mut state.ops);
        true
    }

    /// Lets a batch gather: returns when `enough` urgent operations wait, or after `patience`.
    pub fn gather(&self, patience: Duration, enough: usize) {
        if patience.is_zero() {
            return;
        }
        let mut state = self.lock();
        state.enough = enough;
        state.sleeping = true;
        let gathering = |state: &mut State| state.urgent < enough && !state.closed;
        let waited = self.pushed.wait_timeout_while(state, patience, gathering);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.sleeping = false;
        state.enough = 0;
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let sleeping = state.sleeping && (state.enough <= state.urgent || state.closed);
        drop(state);
        if sleeping {
            self.pushed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Op {
    /// What it may take of a device that is full, if copies of up to `few` octets are few.
    pub fn claim(&self, few: u64) -> Claim {
        match self {
            Self::Store(staged, _) if !staged.bodies.is_empty() => Claim::Mail,
            Self::Store(..) => Claim::Rewrite,
            Self::Copies(copies, _) if copies.iter().all(Copied::is_in_reserve) => Claim::Merge,
            Self::Copies(..) if size_of_store(self) <= few => Claim::Few,
            Self::Copies(..) => Claim::Move,
            Self::Unlink(_) | Self::Close(_) => Claim::Unlink,
        }
    }

    /// Octets of memory it holds.
    pub fn octets(&self) -> u64 {
        match self {
            Self::Store(staged, _) => (staged.body_octets() + staged.encoded.len()) as u64,
            _ => 0,
        }
    }

    /// Answers that it was not done.
    pub fn refuse(self, error: SpoolError) {
        match self {
            Self::Store(_, promise) | Self::Copies(_, promise) | Self::Close(promise) => promise.keep(Err(error)),
            Self::Unlink(_) => {}
        }
    }
}

/// How long unlinks wait for company: longer where every commit takes some of what little room is left.
pub const fn linger(scarce: bool) -> Duration {
    if scarce { LINGER_WHEN_SCARCE } else { LINGER }
}

/// After so long without mail the committer notes how far it has got.
const MOMENT: Duration = Duration::from_millis(250);
/// How long unlinks wait for a message to ride with. A crash within it delivers what was delivered in it again.
const LINGER: Duration = Duration::from_millis(20);
/// The same on a full device, where every commit takes at least a sector of what little is left.
const LINGER_WHEN_SCARCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::Ticket;

    #[test]
    fn unlinks_past_the_backlog_wait_at_the_door() {
        let inbox = Inbox::new(1 << 20, 2);
        let never = || unreachable!("the backlog has room");
        inbox.push_unlink(1, never);
        inbox.push_unlink(2, never);
        let (promise, ticket) = Ticket::new();
        inbox.push_unlink(3, || promise);
        assert_eq!(inbox.backlog().0, 3);
        let mut ops = VecDeque::new();
        assert!(inbox.take(&mut ops, false, Duration::ZERO, false));
        assert_eq!(ops.len(), 2);
        inbox.unlinked(2);
        assert!(ticket.wait().is_ok());
        assert!(inbox.take(&mut ops, false, Duration::ZERO, false));
        assert!(matches!(ops.back(), Some(Op::Unlink(3))));
    }

    #[test]
    fn unlinks_wait_for_company_until_half_the_backlog_is_there_or_a_message_comes() {
        let hour = Duration::from_secs(3600);
        assert!(linger(false) < linger(true), "on scarce segments they share more");
        let inbox = Inbox::new(1 << 20, 8);
        let taken = |scope_push: &dyn Fn()| {
            std::thread::scope(|scope| {
                let taker = scope.spawn(|| {
                    let mut ops = VecDeque::new();
                    assert!(inbox.take(&mut ops, false, hour, false));
                    ops.len()
                });
                scope_push();
                taker.join().unwrap()
            })
        };
        let unlink = |id| inbox.push_unlink(id, || unreachable!("the backlog has room"));
        assert_eq!(taken(&|| (1..=4).for_each(unlink)), 4);
        inbox.unlinked(4);
        let store = || inbox.push(Op::Store(Staged::default(), Ticket::new().0));
        let both = taken(&|| {
            unlink(5);
            store();
        });
        assert_eq!(both, 2);
        inbox.unlinked(1);
        // Nobody came: after its patience it goes alone.
        unlink(6);
        let mut ops = VecDeque::new();
        assert!(inbox.take(&mut ops, false, Duration::ZERO, false));
        assert_eq!(ops.len(), 1);
    }

    #[test]
    fn a_batch_gathers_until_enough_are_there() {
        let inbox = Inbox::new(1 << 20, 2);
        let store = || inbox.push(Op::Store(Staged::default(), Ticket::new().0));
        std::thread::scope(|scope| {
            // Patient for an hour: what ends the wait is the third.
            let gathered = scope.spawn(|| inbox.gather(Duration::from_secs(3600), 3));
            (0..3).for_each(|_| store());
            gathered.join().unwrap();
        });
        let mut ops = VecDeque::new();
        assert!(inbox.take(&mut ops, false, Duration::ZERO, false));
        assert_eq!(ops.len(), 3);
    }

    #[test]
    fn more_octets_than_the_bound_are_refused() {
        let inbox = Inbox::new(10, 2);
        let store = |octets: &'static [u8]| {
            let (promise, ticket) = Ticket::new();
            let bodies = [(message::MessageId::NULL, Bytes::from_static(octets))].into();
            inbox.push(Op::Store(Staged { bodies, ..Staged::default() }, promise));
            ticket
        };
        let first = store(b"one message larger than all is taken");
        assert!(matches!(store(b"x").wait(), Err(SpoolError::Overloaded { waiting_bytes: 36 })));
        drop(inbox);
        assert!(matches!(first.wait(), Err(SpoolError::Closed)));
    }
}
