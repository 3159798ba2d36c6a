//! How the descriptors of the process are shared out: connections, inbound and outbound, never take the last of them, and
//! neither kind takes all that connections may have.
//!
//! The rest is the house's: spool, logs, DNS, console. The kernel gives the lowest free number, so a descriptor's own number
//! says how many are open: a connection whose number is too high came too late. The limit is read each time, for it may be
//! changed while the process runs. Any thread; never blocks.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};

/// The shares. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Descriptors(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Open before the first connection.
    house: AtomicU64,
    /// What tests say instead of the system; zero: the system says it.
    limit: AtomicU64,
}

/// What connections may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Descriptors that the process may have open.
    pub limit: u64,
    /// Of these kept from connections: what the house had open when it began to listen, and as much again as it may need.
    pub house: u64,
    /// Most inbound sessions.
    pub inbound_max: usize,
    /// Most outbound connections.
    pub outbound_max: usize,
    /// Most sessions of the console, which come out of what is kept for the house.
    pub console_max: usize,
}

impl Descriptors {
    /// As if the system gave so many. For tests.
    pub fn of(limit: u64) -> Self {
        let descriptors = Self::default();
        descriptors.0.limit.store(limit, Ordering::Relaxed);
        descriptors
    }

    /// Everything but connections is open now: counts it.
    pub fn take_stock(&self) {
        // With the lowest number that is free every number below it is taken.
        if let Ok(next) = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 0) {
            self.0.house.store(next.as_raw_fd().unsigned_abs().into(), Ordering::Relaxed);
        }
    }

    /// The shares now; `None` if the system sets no limit.
    pub fn shares(&self) -> Option<Shares> {
        let limit = self.limit()?;
        let open = self.0.house.load(Ordering::Relaxed);
        let house = open.saturating_add(reserve(limit, open));
        // A quarter is left to the other kind, whatever crowd comes or domain is busy.
        let connections = limit.saturating_sub(house);
        let most = usize::try_from(connections - connections / 4).unwrap_or(usize::MAX).max(1);
        let console = usize::try_from(reserve(limit, open) / CONSOLE_PART).unwrap_or(usize::MAX).max(CONSOLE_MIN);
        Some(Shares { limit, house, inbound_max: most, outbound_max: most, console_max: console })
    }

    /// Whether a connection that has just been given this descriptor leaves the house's share alone.
    pub fn admit(&self, connection: &impl AsFd) -> bool {
        let Some(limit) = self.limit() else { return true };
        let number: BorrowedFd<'_> = connection.as_fd();
        let number = u64::from(number.as_raw_fd().unsigned_abs());
        number < limit.saturating_sub(reserve(limit, self.0.house.load(Ordering::Relaxed)))
    }

    /// Questions to DNS servers, each with a socket, that may be under way at once; at most `wanted`.
    pub fn questions_max(&self, wanted: usize) -> usize {
        let half = |limit| usize::try_from(reserve(limit, 0) / 2).unwrap_or(usize::MAX);
        self.limit().map_or(wanted, |limit| half(limit).clamp(1, wanted.max(1)))
    }

    fn limit(&self) -> Option<u64> {
        match self.0.limit.load(Ordering::Relaxed) {
            0 => getrlimit(Resource::Nofile).current,
            limit => Some(limit),
        }
    }
}

/// What is kept free for the house: an eighth, within bounds; where there is hardly more than is `open` already, half of that.
fn reserve(limit: u64, open: u64) -> u64 {
    (limit / 8).clamp(RESERVE_MIN, RESERVE_MAX).min(limit.saturating_sub(open) / 2)
}

/// The part of the house's reserve that the console may have: the rest is for spool, logs and DNS, whatever its clients do.
const CONSOLE_PART: u64 = 4;
/// However short descriptors are, an operator can look.
const CONSOLE_MIN: usize = 2;
/// For the console, a spool segment, a log and a few questions to the DNS.
const RESERVE_MIN: u64 = 24;
/// Beyond that the house does not need more.
const RESERVE_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_connection_leaves_a_quarter_to_the_other_and_the_rest_to_the_house() {
        for limit in [1, 64, 100, 128, 1024, 20_000, 3_000_000] {
            let descriptors = Descriptors::of(limit);
            descriptors.0.house.store(45, Ordering::Relaxed);
            let Shares { house, inbound_max, outbound_max, .. } = descriptors.shares().expect("a limit");
            let connections = limit.saturating_sub(house);
            for most in [inbound_max as u64, outbound_max as u64] {
                assert!(1 <= most && (most <= connections || connections == 0), "{limit}: {most} of {connections}");
                assert!(connections.saturating_sub(most) == connections / 4 || connections < 4, "{limit}: {most}");
            }
        }
        let of_many = Descriptors::of(20_000).shares().expect("a limit");
        assert_eq!((of_many.house, of_many.outbound_max, of_many.console_max), (1024, 14_232, 256));
        assert_eq!(Descriptors::of(128).shares().map(|shares| shares.console_max), Some(6));
        assert_eq!(Descriptors::of(20_000).questions_max(500), 500);
        assert_eq!(Descriptors::of(128).questions_max(500), 12);
    }

    #[test]
    fn a_connection_whose_number_is_too_high_has_come_too_late() {
        let connection = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 100).expect("a descriptor");
        let number = u64::from(connection.as_raw_fd().unsigned_abs());
        assert!(Descriptors::of(number + RESERVE_MIN + 1).admit(&connection));
        assert!(!Descriptors::of(number + RESERVE_MIN).admit(&connection));
    }
}
