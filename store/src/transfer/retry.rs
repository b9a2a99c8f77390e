//! When a failed attempt is followed by another one, and how long after.
//!
//! The pause doubles, with some chance in it so that many clients don't come back at the same moment. What the other side
//! asks for with `Retry-After` counts, as far as it is bearable.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::{Request, Retry, TransferError, TransferErrorKind, TransferResult};

/// How often and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts altogether (`download-attempts`); at least one is made.
    pub n_attempts: u32,
    /// The pause after the first.
    pub first_delay: Duration,
    /// No pause is longer, whatever the other side asks for.
    pub longest_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            n_attempts: 5,
            first_delay: Duration::from_millis(250),
            longest_delay: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// Returns the pause after attempt number `attempt`, counted from 1, which failed with `error`.
    pub fn delay(&self, attempt: u32, error: &TransferError) -> Duration {
        let exponent = attempt.saturating_sub(1).min(16);
        let doubled = self.first_delay.saturating_mul(1 << exponent);
        let jittered = doubled.mul_f64(1.0 + random_fraction() * 0.41);
        jittered.max(error.retry_after.unwrap_or_default()).min(self.longest_delay)
    }

    /// Calls `attempt` until it works, fails for good, or was called often enough. `offset` is for the observer.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(crate) fn run<T>(
        &self,
        request: &Request,
        offset: u64,
        mut attempt: impl FnMut() -> TransferResult<T>,
    ) -> TransferResult<T> {
        let mut n_failed = 0;
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            n_failed += 1;
            self.pause(request, offset, n_failed, error)?;
        }
    }

    /// Waits until the next attempt.
    ///
    /// # Errors
    /// `error`, if there will be none.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(crate) fn pause(
        &self,
        request: &Request,
        offset: u64,
        n_failed: u32,
        error: TransferError,
    ) -> TransferResult<()> {
        let n_attempts = request.n_attempts.unwrap_or(u32::MAX).min(self.n_attempts);
        if error.kind != TransferErrorKind::Transient || n_failed >= n_attempts {
            return Err(error);
        }
        let delay = self.delay(n_failed, &error);
        if let Some(observer) = &request.observer {
            let retry = Retry { error: &error, delay, attempt: n_failed, n_attempts, offset };
            observer.retrying(&retry);
        }
        if request.interrupt.sleep(delay) {
            return Err(TransferError::new(TransferErrorKind::Interrupted, &request.url, ""));
        }
        Ok(())
    }
}

/// Returns a number from 0 to 1. Nothing depends on its being hard to guess.
fn random_fraction() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: TransferErrorKind) -> TransferError {
        TransferError::new(kind, "u", "r")
    }

    #[test]
    fn delays_double_and_obey_the_other_side() {
        let policy = RetryPolicy::default();
        for (attempt, least) in [(1, 250), (2, 500), (3, 1000), (4, 2000)] {
            let delay = policy.delay(attempt, &error(TransferErrorKind::Transient)).as_millis();
            assert!((least..least * 3 / 2).contains(&delay), "{attempt}: {delay}");
        }
        let mut asked = error(TransferErrorKind::Transient);
        asked.retry_after = Some(Duration::from_secs(7));
        assert_eq!(policy.delay(1, &asked), Duration::from_secs(7));
        asked.retry_after = Some(Duration::from_secs(1 << 40));
        assert_eq!(policy.delay(1, &asked), policy.longest_delay);
        assert_eq!(policy.delay(u32::MAX, &error(TransferErrorKind::Transient)), policy.longest_delay);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let policy = RetryPolicy { n_attempts: 3, first_delay: Duration::ZERO, ..RetryPolicy::default() };
        for (kind, expected) in [
            (TransferErrorKind::Transient, 3),
            (TransferErrorKind::NotFound, 1),
            (TransferErrorKind::Forbidden, 1),
            (TransferErrorKind::Refused, 1),
            (TransferErrorKind::Interrupted, 1),
        ] {
            let mut n_calls = 0;
            let result: TransferResult<()> = policy.run(&Request::new("u"), 0, || {
                n_calls += 1;
                Err(error(kind))
            });
            assert_eq!((result.unwrap_err().kind, n_calls), (kind, expected));
        }
    }

    #[test]
    fn waiting_can_be_interrupted() {
        let policy = RetryPolicy { first_delay: Duration::from_secs(3600), ..RetryPolicy::default() };
        let request = Request::new("u").interrupt(&super::super::Interrupt::new(|| true));
        let result: TransferResult<()> = policy.run(&request, 0, || Err(error(TransferErrorKind::Transient)));
        assert_eq!(result.unwrap_err().kind, TransferErrorKind::Interrupted);
    }
}
