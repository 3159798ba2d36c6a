//! Master scheduler, event loops, thread pools, timers, heartbeats, clocks and counters.
//!
//! Where to run what: state that belongs to one loop lives in tasks of a [`LoopHandle`]; whatever spans the process
//! lives on the [`Master`]; whatever blocks is a [`Job`] of a [`ThreadPool`]. A [`Watchdog`] names the loop that
//! broke the rule.
//!
//! Knows nothing of mail or of configuration files.

mod clock;
mod containment;
mod descriptors;
mod event_loop;
mod job;
mod lack;
mod marks;
mod master;
mod measure;
mod memory;
mod meters;
mod pool_stats;
mod pressure;
mod random;
mod reservation;
mod slab;
mod thread_pool;
mod thread_pools;
mod watchdog;
mod wheel;

pub use clock::Clock;
pub use containment::is_contained;
pub use descriptors::{Descriptors, Shares};
pub use event_loop::{LoopHandle, LoopPool};
pub use job::{Completion, Job, Outcome, Rejected};
pub use lack::{Lack, Step};
pub use marks::MemoryMarks;
pub use master::Master;
pub use measure::{Kind, Measure};
pub use memory::{MemoryCharge, MemoryOwner};
pub use meters::{Counter, Meters};
pub use pool_stats::PoolStats;
pub use pressure::{MemoryPressure, Pressure};
pub use random::Random;
pub use reservation::{MemoryShare, Reservation};
pub use thread_pool::{Order, PoolSettings, ThreadPool};
pub use thread_pools::ThreadPools;
pub use watchdog::{Report, Watchdog};
pub use wheel::{Key, Wheel};

/// What this crate counts.
pub fn measures() -> impl Iterator<Item = &'static Measure> {
    [event_loop::MEASURES, thread_pool::MEASURES, memory::MEASURES].into_iter().flatten()
}
