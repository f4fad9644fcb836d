use std::thread;
use std::time::Duration;

use crate::{HubError, HubSettings};

/// Why a step failed, and whether it is worth another attempt.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// May be gone soon: no answer, a cut, a server under load. What happened, as part of a sentence.
    Passing(String),
    /// Stays.
    Lasting(HubError),
}

impl From<HubError> for Trouble {
    fn from(error: HubError) -> Self {
        Self::Lasting(error)
    }
}

/// Counts attempts that did not get on, and waits longer after each.
pub(crate) struct Patience {
    failures: u32,
    attempts: u32,
    backoff: Duration,
}

impl Patience {
    pub(crate) fn new(settings: &HubSettings) -> Self {
        Self {
            failures: 0,
            attempts: settings.attempts,
            backoff: settings.backoff,
        }
    }

    /// Something came, so the count begins anew: a long transfer may be cut often.
    pub(crate) fn renew(&mut self) {
        self.failures = 0;
    }

    /// Waits before another attempt. False when there is none left.
    pub(crate) fn wait(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.attempts {
            return false;
        }
        let doublings = (self.failures - 1).min(6);
        thread::sleep(self.backoff.saturating_mul(1 << doublings));
        true
    }
}
