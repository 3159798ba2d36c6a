//! One timer for a connection's life: re-armed only when it would ring too late, so that a deadline which moves with every
//! message costs nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// Rings at a deadline that may move.
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(deadline.into())) }
    }

    /// Ready once `deadline` has passed.
    pub(crate) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(context).is_ready() {
            if deadline <= self.sleep.deadline() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_it_was_asked_for_last() {
        let start = tokio::time::Instant::now().into_std();
        let mut alarm = Alarm::new(start + Duration::from_secs(5));
        for (deadline, rings_at) in [(300, 300), (310, 310)] {
            let deadline = start + Duration::from_secs(deadline);
            std::future::poll_fn(|context| alarm.poll(deadline, context)).await;
            assert_eq!(tokio::time::Instant::now().into_std(), start + Duration::from_secs(rings_at));
        }
        let sooner = start + Duration::from_secs(311);
        let mut alarm = Alarm::new(start + Duration::from_secs(9999));
        std::future::poll_fn(|context| alarm.poll(sooner, context)).await;
        assert_eq!(tokio::time::Instant::now().into_std(), sooner);
    }
}
