//! The retry schedule and expiry of one message (reference: operations.md section 4). Pure arithmetic.

/// A message that is over age when an attempt fails.
pub const EXCEEDED_MAX_TIME: &str = "554 5.4.7 [internal] exceeded max time without delivery";
/// A message that used up its retries.
pub const EXCEEDED_MAX_RETRIES: &str = "554 5.4.7 [internal] exceeded max retries without delivery";
/// A message that was over age before its attempt, under never_attempt_expired_messages.
pub const NOT_ATTEMPTED: &str = "554 5.4.5 [internal] Delivery not attempted (message expired)";

/// The retry options in force for one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Seconds before the first retry.
    pub retry_interval: u64,
    /// Ceiling of the doubling interval, in seconds.
    pub max_retry_interval: u64,
    /// Retries a message has; `None` for as many as fit before it expires.
    pub max_retries: Option<u32>,
    /// Seconds a message may live.
    pub message_expiration: u64,
    /// Fail an over-age message untried.
    pub never_attempt_expired: bool,
}

impl Default for RetryOptions {
    /// The documented defaults.
    fn default() -> Self {
        let unlimited = Self {
            retry_interval: 1200,
            max_retry_interval: 43_200,
            max_retries: None,
            message_expiration: 86_400,
            never_attempt_expired: false,
        };
        Self { max_retries: Some(unlimited.auto_retries()), ..unlimited }
    }
}

/// What a transient failure means for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait for so many seconds.
    RetryIn(u64),
    /// Fail for good, with that text.
    Expired(&'static str),
}

impl RetryOptions {
    /// Seconds to wait after the failure numbered `failures` (the first is 1):
    /// `min(retry_interval * 2^(failures-1), max_retry_interval)`.
    pub fn delay(&self, failures: u32) -> u64 {
        let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        self.retry_interval.saturating_mul(doubled).min(self.max_retry_interval)
    }

    /// What `auto` means: the smallest number of failures after which the uncapped back-off, added up, exceeds
    /// message_expiration. Defaults: 7, since 1200 * (2^7 - 1) is the first sum over 86400. A message flushed by hand uses
    /// its retries up earlier; one under a low max_retry_interval needs a number or `none` instead.
    pub fn auto_retries(&self) -> u32 {
        let enough = |failures: &u32| {
            let doublings = 1_u64.checked_shl(*failures).map_or(u64::MAX, |power| power - 1);
            self.message_expiration < self.retry_interval.saturating_mul(doublings)
        };
        (1..=u64::BITS).find(enough).unwrap_or(u64::BITS)
    }

    /// The verdict on a message `age` seconds old whose attempt just failed for the `failures`th time.
    pub(crate) fn after_failure(&self, failures: u32, age: u64) -> Verdict {
        if self.message_expiration < age {
            Verdict::Expired(EXCEEDED_MAX_TIME)
        } else if self.max_retries.is_some_and(|retries| retries < failures) {
            Verdict::Expired(EXCEEDED_MAX_RETRIES)
        } else {
            Verdict::RetryIn(self.delay(failures))
        }
    }

    /// The text to fail a message with before its attempt, if it may not have one.
    pub(crate) fn before_attempt(&self, age: u64) -> Option<&'static str> {
        (self.never_attempt_expired && self.message_expiration < age).then_some(NOT_ATTEMPTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_doubles_up_to_its_ceiling() {
        let options = RetryOptions::default();
        let delays: Vec<u64> = (1..=8).map(|failures| options.delay(failures)).collect();
        assert_eq!(delays, [1200, 2400, 4800, 9600, 19_200, 38_400, 43_200, 43_200]);
        assert_eq!(options.delay(u32::MAX), 43_200);
        assert_eq!(RetryOptions { retry_interval: 60, max_retry_interval: 60, ..options }.delay(9), 60);
    }

    #[test]
    fn auto_is_the_first_count_whose_back_off_exceeds_the_expiration() {
        let auto = |retry_interval, message_expiration| {
            RetryOptions { retry_interval, message_expiration, ..RetryOptions::default() }.auto_retries()
        };
        assert_eq!(auto(1200, 86_400), 7);
        assert_eq!(auto(1200, 604_800), 9);
        assert_eq!(auto(100, 99), 1);
        assert_eq!(auto(100, 100), 2);
        assert_eq!(auto(1, u64::MAX), 64);
    }

    #[test]
    fn a_message_fails_by_age_or_by_count_whichever_is_first_and_only_at_a_failure() {
        let options = RetryOptions { max_retries: Some(2), message_expiration: 100, ..RetryOptions::default() };
        assert_eq!(options.after_failure(2, 100), Verdict::RetryIn(2400));
        assert_eq!(options.after_failure(3, 100), Verdict::Expired(EXCEEDED_MAX_RETRIES));
        assert_eq!(options.after_failure(1, 101), Verdict::Expired(EXCEEDED_MAX_TIME));
        let never = RetryOptions { max_retries: Some(0), ..options };
        assert_eq!(never.after_failure(1, 0), Verdict::Expired(EXCEEDED_MAX_RETRIES));
        assert_eq!(options.before_attempt(101), None);
        let strict = RetryOptions { never_attempt_expired: true, ..options };
        assert_eq!((strict.before_attempt(100), strict.before_attempt(101)), (None, Some(NOT_ATTEMPTED)));
    }
}
