//! The allocator: jemalloc, for it gives back what a burst has left, and tells what it keeps.
//!
//! Measured against the allocator of glibc with the `--burst` part of tests/bench; the figures stand in ARCHITECTURE.md.

use tikv_jemalloc_ctl::{background_thread, epoch, max_background_threads, stats};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Octets, as the allocator counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    /// Asked for and not given back, rounded up to its sizes.
    pub allocated: u64,
    /// Of the pages that these lie in.
    pub active: u64,
    /// Active pages, its own books, and pages that it will give back soon.
    pub resident: u64,
    /// Addresses it keeps without memory behind them.
    pub retained: u64,
}

/// Has pages that were freed given back by a thread of the allocator's own, about ten seconds later, also where nothing is
/// allocated meanwhile. To be called once the process has the rights it keeps: the thread has those of its maker.
pub fn give_back_in_background() {
    let started = max_background_threads::write(1).and_then(|()| background_thread::write(true));
    if let Err(error) = started {
        tracing::warn!(target: "MEMORY", "freed memory is given back only as more is freed: {error}");
    }
}

/// What the allocator counts now.
pub fn figures() -> Option<Allocated> {
    // The figures are those of the last epoch.
    epoch::advance().ok()?;
    let octets = |read: tikv_jemalloc_ctl::Result<usize>| read.ok().map(|octets| octets as u64);
    Some(Allocated {
        allocated: octets(stats::allocated::read())?,
        active: octets(stats::active::read())?,
        resident: octets(stats::resident::read())?,
        retained: octets(stats::retained::read())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted() {
        let before = figures().expect("the allocator tells");
        let held = vec![1_u8; 8 << 20];
        let now = figures().expect("the allocator tells");
        assert!(before.allocated + (7 << 20) < now.allocated, "{before:?} {now:?} {}", held.len());
        assert!(now.allocated <= now.active && now.active <= now.resident, "{now:?}");
    }
}
