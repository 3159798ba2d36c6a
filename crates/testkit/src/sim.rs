//! Simulated time: a runtime whose clock stands still until everybody waits, then jumps to the next deadline.
//!
//! Days of retries pass in milliseconds, and the same run gives the same order. Real sockets and threads do not belong in
//! here: the clock would jump while they work.

use std::time::{Duration, SystemTime};

use scheduler::Clock;
use tokio::runtime::{Builder, LocalOptions};

/// Runs a future in simulated time on a loop like the daemon's own (current thread, `!Send` tasks allowed). The clock given
/// to `make` starts at [`epoch`].
pub fn run<T, F: Future<Output = T>>(make: impl FnOnce(Clock) -> F) -> T {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    let runtime = builder.build_local(LocalOptions::default()).expect("a tokio runtime");
    runtime.block_on(async { make(Clock::simulated(epoch())).await })
}

/// The wall time at which every simulation starts: 2030-01-01T00:00:00Z.
pub fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

/// Lets simulated time pass, running whatever becomes due.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_day_passes_at_once_for_every_clock() {
        run(async |clock| {
            let shared = Rc::new(std::cell::Cell::new(0));
            let counting = shared.clone();
            tokio::task::spawn_local(async move {
                loop {
                    pass(Duration::from_secs(3600)).await;
                    counting.set(counting.get() + 1);
                }
            });
            pass(Duration::from_secs(86_401)).await;
            assert_eq!(shared.get(), 24);
            assert_eq!(clock.wall().duration_since(epoch()).unwrap(), Duration::from_secs(86_401));
        });
    }
}
