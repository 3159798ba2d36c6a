//! Master scheduler, event loops, thread pools, timers, heartbeats, clocks and counters.
//!
//! Knows nothing of mail or of configuration files.

mod clock;
mod meters;

pub use clock::Clock;
pub use meters::{Counter, Meters};
