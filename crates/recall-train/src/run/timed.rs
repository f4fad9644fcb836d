//! How long ranks exchange numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use recall_step::{Collective, CollectiveError};

/// Ranks, and the time that this one has spent in exchanges with the others, waiting for the slowest included.
#[derive(Debug)]
pub(super) struct Timed {
    ranks: Arc<dyn Collective>,
    nanoseconds: AtomicU64,
}

impl Timed {
    pub fn new(ranks: Arc<dyn Collective>) -> Self {
        Self {
            ranks,
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// The time since this was asked last.
    pub fn take(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.swap(0, Ordering::Relaxed))
    }

    fn timed<T>(&self, exchange: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let received = exchange();
        let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(spent, Ordering::Relaxed);
        received
    }
}

impl Collective for Timed {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.timed(|| self.ranks.all_to_all(parts))
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.timed(|| self.ranks.all_gather(own))
    }

    fn all_reduce(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.timed(|| self.ranks.all_reduce(values))
    }
}
