//! A spell in which the DNS gives one queue no host: how many lookups, since when, why, and when the next is due.
//!
//! A plain value, time as an argument. Only lookups that went to a server count; an answer that the resolver keeps is the
//! one that was counted. The pause doubles with each failure in a row, up to [`PAUSE_MAX`], and is drawn out by up to a
//! tenth, lest the domains that failed together ask together ever after.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use dns::DnsError;
use scheduler::Random;

/// The lookups of one queue.
#[derive(Debug, Default)]
pub(crate) struct Lookups(RefCell<Option<Spell>>);

/// Lookups in a row that gave no host.
#[derive(Clone, Debug)]
pub(crate) struct Spell {
    /// How many went to a server.
    pub(crate) failures: u64,
    /// The first of them.
    pub(crate) since: Instant,
    /// What came of the last.
    pub(crate) why: DnsError,
    /// The next is not before.
    pub(crate) next_at: Instant,
}

impl Lookups {
    /// A lookup gave no host; the spell as it stands then. `first_pause` is that after the first failure.
    pub(crate) fn failed(&self, why: DnsError, now: Instant, first_pause: Duration, random: &Random) -> Spell {
        let mut spell = self.0.borrow_mut();
        if let Some(known) = spell.as_ref().filter(|known| known.why == why && why.kept_until().is_some()) {
            return known.clone();
        }
        let (failures, since) = spell.as_ref().map_or((0, now), |known| (known.failures, known.since));
        let pause = pause(first_pause, failures, random);
        let counted = Spell { failures: failures.saturating_add(1), since, why, next_at: now + pause };
        *spell = Some(counted.clone());
        counted
    }

    /// The DNS gave hosts.
    pub(crate) fn answered(&self) {
        self.0.borrow_mut().take();
    }

    /// The spell, while it lasts.
    pub(crate) fn spell(&self) -> Option<Spell> {
        self.0.borrow().clone()
    }
}

fn pause(first: Duration, failures_before: u64, random: &Random) -> Duration {
    let doublings = u32::try_from(failures_before).unwrap_or(u32::MAX);
    let pause = first.saturating_mul(2_u32.saturating_pow(doublings)).min(PAUSE_MAX.max(first));
    let tenth = u64::try_from(pause.as_millis() / 10).unwrap_or(u64::MAX);
    pause + Duration::from_millis(random.below(tenth.saturating_add(1)))
}

/// The longest pause between two lookups, unless dns_failure_retry is longer.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_an_hour_and_differs_by_up_to_a_tenth() {
        let random = Random::seeded(7);
        for (first, failures, expected) in
            [(60, 0, 60), (60, 1, 120), (60, 5, 1920), (60, 6, 3600), (60, 99, 3600), (9000, 3, 9000), (0, 9, 0)]
        {
            let pause = pause(Duration::from_secs(first), failures, &random).as_secs_f64();
            let expected = f64::from(expected);
            assert!((expected..=expected * 1.1 + 0.001).contains(&pause), "{pause} for {expected}");
        }
    }

    #[test]
    fn an_answer_that_is_kept_counts_once() {
        let (lookups, now, random) = (Lookups::default(), scheduler::Clock::system().now(), Random::seeded(7));
        let minute = Duration::from_secs(60);
        let kept = |until| DnsError::NoRecords { name: "x.test".into(), until };
        let count = |why| lookups.failed(why, now, minute, &random).failures;
        assert_eq!((count(kept(Some(now + minute))), count(kept(Some(now + minute)))), (1, 1));
        assert_eq!((count(kept(Some(now + minute * 2))), count(kept(None)), count(kept(None))), (2, 3, 4));
        let timeout = || DnsError::Timeout { name: "x.test MX".into(), server: None };
        assert_eq!((count(timeout()), count(timeout())), (5, 6));
        lookups.answered();
        assert!(lookups.spell().is_none());
        assert_eq!(count(timeout()), 1);
    }
}
