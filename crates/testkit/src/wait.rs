//! Waiting for something outside the process, bounded.

use std::time::Duration;

/// Polls `done` every few milliseconds until it holds, at most `limit`; whether it held in the end. Blocks.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let clock = scheduler::Clock::system();
    let end = clock.now() + limit;
    loop {
        if done() {
            return true;
        }
        if end <= clock.now() {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

const STEP: Duration = Duration::from_millis(3);
