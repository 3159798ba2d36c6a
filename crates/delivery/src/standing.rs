//! What one binding knows of one address while it deals with it: how long it takes, how many sessions it has room for, how
//! many recipients a transaction may have there, and whether it is in doubt.
//!
//! An address in doubt has ended a session in the middle of a message, or has not kept to the protocol: it is tried after all
//! others, until it answers for a message or the time is over. It is not left alone; that is for `hosts`.
//!
//! Shared by the connections of one loop. Invariant: `open` is at most `sessions`, and both are zero without a [`Dial`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One address under one binding.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// How long it takes, in decaying averages: the last eight or so count.
    pub(crate) connect: Cell<Option<Duration>>,
    pub(crate) deliver: Cell<Option<Duration>>,
    /// Connections that are opening or open.
    sessions: Cell<usize>,
    /// Those that the host has greeted.
    open: Cell<usize>,
    room: Cell<Option<Room>>,
    recipients: Cell<Option<(usize, Instant)>>,
    doubt: RefCell<Option<Doubt>>,
}

/// The sessions a host took when it refused one more.
#[derive(Clone, Copy, Debug)]
struct Room {
    most: usize,
    /// When one more may be tried.
    more_at: Instant,
}

#[derive(Clone, Debug)]
struct Doubt {
    at: Instant,
    until: Instant,
    /// Sessions in a row that gave reason for it.
    times: u32,
    why: Arc<str>,
}

/// The place of one connection in the counts of its address, from the first packet to the last.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) standing: Rc<Standing>,
    is_open: Cell<bool>,
}

impl Standing {
    /// A connection is begun.
    pub(crate) fn dial(self: Rc<Self>) -> Dial {
        self.sessions.set(self.sessions.get() + 1);
        Dial { standing: self, is_open: Cell::new(false) }
    }

    /// Whether it takes one more session, as far as is known.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.room.get().is_none_or(|room| self.sessions.get() < room.most + usize::from(room.more_at <= now))
    }

    /// Most recipients of one transaction, as far as is known.
    pub(crate) fn recipients_max(&self, now: Instant) -> usize {
        self.recipients.get().filter(|(_, until)| now < *until).map_or(usize::MAX, |(most, _)| most)
    }

    /// It said that more than so many are too many.
    pub(crate) fn takes_recipients(&self, most: usize, now: Instant) {
        self.recipients.set(Some((most.max(1), now + RECIPIENTS_KEPT)));
    }

    /// It has answered for a message.
    pub(crate) fn served(&self) {
        *self.doubt.borrow_mut() = None;
    }

    /// It is in doubt for so long; how many times in a row by now.
    pub(crate) fn doubted(&self, now: Instant, pause: Duration, why: Arc<str>) -> u32 {
        let mut doubt = self.doubt.borrow_mut();
        let (until, times) = doubt.as_ref().map_or((now, 0), |known| (known.until, known.times));
        let times = times.saturating_add(1);
        *doubt = Some(Doubt { at: now, until: until.max(now + pause), times, why });
        times
    }

    /// When it last gave reason for doubt, and which, while it is in doubt.
    pub(crate) fn broke_off(&self, now: Instant) -> Option<(Instant, Arc<str>)> {
        self.doubt.borrow().as_ref().filter(|doubt| now < doubt.until).map(|doubt| (doubt.at, doubt.why.clone()))
    }

    /// Whether others are to be tried before it.
    pub(crate) fn is_doubted(&self, now: Instant) -> bool {
        self.doubt.borrow().as_ref().is_some_and(|doubt| now < doubt.until)
    }

    /// Whether anything is known that is not to be forgotten yet.
    pub(crate) fn is_of_use(&self, now: Instant) -> bool {
        self.is_doubted(now) || self.recipients.get().is_some_and(|(_, until)| now < until)
    }

    /// A session opened, so long after the connection was begun.
    pub(crate) fn connected(&self, took: Duration) {
        self.connect.set(Some(decayed(self.connect.get(), took)));
    }

    /// A message was taken, so long after it was given to the session.
    pub(crate) fn delivered(&self, took: Duration) {
        self.deliver.set(Some(decayed(self.deliver.get(), took)));
    }
}

impl Dial {
    /// The host has greeted. One session more than it was thought to have room for makes room for the next.
    pub(crate) fn greeted(&self, now: Instant) {
        if self.is_open.replace(true) {
            return;
        }
        let (standing, open) = (&self.standing, self.standing.open.get() + 1);
        standing.open.set(open);
        if standing.room.get().is_some_and(|room| room.most < open) {
            standing.room.set(Some(Room { most: open, more_at: now }));
        }
    }

    /// Open sessions with the address beside this one.
    pub(crate) fn others(&self) -> usize {
        self.standing.open.get() - usize::from(self.is_open.get())
    }

    /// As [`Dial::others`], with those that are still opening.
    pub(crate) fn others_begun(&self) -> usize {
        self.standing.sessions.get() - 1
    }

    /// The host refused this session while others live: there is room for those, and one more is tried in a while.
    pub(crate) fn is_one_too_many(&self, now: Instant) {
        self.standing.room.set(Some(Room { most: self.others().max(1), more_at: now + ONE_MORE_AFTER }));
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        let standing = &self.standing;
        standing.sessions.set(standing.sessions.get() - 1);
        standing.open.set(self.others());
        if standing.sessions.get() == 0 {
            standing.room.set(None);
        }
    }
}

fn decayed(average: Option<Duration>, latest: Duration) -> Duration {
    average.map_or(latest, |average| (average * 7 + latest) / 8)
}

/// How long a host that refused one more session is believed.
const ONE_MORE_AFTER: Duration = Duration::from_secs(60);
/// How long a host's limit of recipients is believed.
const RECIPIENTS_KEPT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_lives_until_one_more_may_be_tried() {
        let (standing, now) = (Rc::<Standing>::default(), scheduler::Clock::system().now());
        let dial = |opens: bool| {
            let dial = standing.clone().dial();
            opens.then(|| dial.greeted(now));
            dial
        };
        let living = [dial(true), dial(true)];
        let third = dial(true);
        assert_eq!(third.others(), 2);
        third.is_one_too_many(now);
        drop(third);
        assert!(!standing.has_room(now), "two live, and that is all");
        let later = now + ONE_MORE_AFTER;
        assert!(standing.has_room(later));
        let third = dial(false);
        assert!(!standing.has_room(later), "one more, not two");
        third.greeted(later);
        assert!(standing.has_room(later), "it was taken, so the next may be");
        drop((living, third));
        assert!(standing.has_room(now), "nobody is left to measure by");
        assert_eq!((standing.sessions.get(), standing.open.get()), (0, 0));
    }

    #[test]
    fn doubt_ends_with_its_time_or_with_a_message_that_was_answered() {
        let (standing, now) = (Standing::default(), scheduler::Clock::system().now());
        let (pause, later) = (Duration::from_secs(60), now + Duration::from_secs(60));
        let why = || Arc::from("no response");
        assert_eq!((standing.doubted(now, pause, why()), standing.doubted(now, Duration::ZERO, why())), (1, 2));
        assert_eq!(standing.broke_off(now), Some((now, why())));
        assert!(standing.is_doubted(now) && !standing.is_doubted(later));
        standing.served();
        assert!(!standing.is_doubted(now));
        assert_eq!(standing.doubted(now, pause, why()), 1, "counted in a row");
    }
}
