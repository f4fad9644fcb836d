//! A run over several processes, each of which does the same.

use std::ops::Range;
use std::sync::Arc;

use recall_step::{Collective, CollectiveError, Solo, share};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::timed::Timed;
use crate::RunError;

/// The processes that do a run together, of which this one is one.
///
/// All go through the same steps and evaluations, each with its share of the images, and come to the same
/// weights. Rank 0 alone writes to the folder of the run; the others only read checkpoints from there.
///
/// By default a process is by itself. `Arc<dyn Collective>` makes it one of several.
#[derive(Debug, Clone)]
pub struct Ranks(Arc<Timed>);

impl Default for Ranks {
    fn default() -> Self {
        Self(Arc::new(Timed::new(Arc::new(Solo))))
    }
}

impl From<Arc<dyn Collective>> for Ranks {
    fn from(ranks: Arc<dyn Collective>) -> Self {
        Self(Arc::new(Timed::new(ranks)))
    }
}

impl Ranks {
    /// Whether this is the process that writes.
    pub(crate) fn leads(&self) -> bool {
        self.0.rank() == 0
    }

    pub(crate) fn are_several(&self) -> bool {
        self.size() > 1
    }

    pub(crate) fn size(&self) -> usize {
        self.0.size()
    }

    pub(crate) fn collective(&self) -> Arc<dyn Collective> {
        Arc::clone(&self.0) as Arc<dyn Collective>
    }

    /// Seconds since the last call that this process spent in exchanges with the others; none if it is by itself.
    pub(crate) fn exchange_seconds(&self) -> Option<f64> {
        let spent = self.0.take();
        self.are_several().then_some(spent.as_secs_f64())
    }

    /// Which of so many images are this process's, in chunks of `chunk`.
    pub(crate) fn share(&self, images: usize, chunk: usize) -> Range<usize> {
        share(&*self.0, images, chunk)
    }

    /// What each rank hands in, in the order of ranks.
    pub(crate) fn gather<T: Serialize + DeserializeOwned>(
        &self,
        own: &T,
    ) -> Result<Vec<T>, RunError> {
        let all = self.0.all_gather(&to_bytes(own)?)?;
        let all = all.iter().enumerate();
        all.map(|(rank, bytes)| from_bytes(rank, bytes)).collect()
    }

    /// The numbers of all ranks, one behind the other.
    pub(crate) fn gather_numbers(&self, own: &[f32]) -> Result<Vec<f32>, RunError> {
        let own: Vec<u8> = own.iter().flat_map(|x| x.to_ne_bytes()).collect();
        let all = self.0.all_gather(&own)?;
        let words = all.iter().flat_map(|bytes| bytes.as_chunks().0);
        Ok(words.map(|word| f32::from_ne_bytes(*word)).collect())
    }

    /// Adds up the numbers of all ranks, in their order; those that a rank does not have are zeros.
    pub(crate) fn add(&self, own: &[f64]) -> Result<Vec<f64>, RunError> {
        if !self.are_several() {
            return Ok(own.to_vec());
        }
        let own: Vec<u8> = own.iter().flat_map(|x| x.to_ne_bytes()).collect();
        let mut sums: Vec<f64> = Vec::new();
        for theirs in self.0.all_gather(&own)? {
            let (theirs, _) = theirs.as_chunks();
            sums.resize(sums.len().max(theirs.len()), 0.0);
            for (sum, x) in sums.iter_mut().zip(theirs) {
                *sum += f64::from_ne_bytes(*x);
            }
        }
        Ok(sums)
    }

    /// Rank 0 tells the others what to go by.
    pub(crate) fn tell<T: Serialize>(&self, what: &T) -> Result<(), RunError> {
        if self.are_several() {
            self.0.all_gather(&to_bytes(what)?)?;
        }
        Ok(())
    }

    /// What rank 0 [tells](Self::tell).
    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        let told = self.0.all_gather(&[])?;
        from_bytes(0, told.first().map(Vec::as_slice).unwrap_or_default())
    }

    /// For each of these, whether it is so on any rank.
    pub(crate) fn any<const N: usize>(&self, own: [bool; N]) -> Result<[bool; N], RunError> {
        let mut any = own;
        if self.are_several() {
            for theirs in self.0.all_gather(&own.map(u8::from))? {
                let both = any.iter_mut().zip(theirs);
                both.for_each(|(any, there)| *any |= there != 0);
            }
        }
        Ok(any)
    }

    /// Waits for all ranks to come here.
    pub(crate) fn wait(&self) -> Result<(), RunError> {
        self.any([]).map(|[]| ())
    }

    /// Refuses to go on with ranks that have something else than this one: `what`, such as `other settings`.
    pub(crate) fn refuse_others(&self, what: &'static str, own: &str) -> Result<(), RunError> {
        if self.are_several() {
            let all = self.0.all_gather(own.as_bytes())?;
            let first = all.first();
            if let Some(rank) = all.iter().position(|theirs| Some(theirs) != first) {
                return Err(RunError::OtherRank { rank, what });
            }
        }
        Ok(())
    }
}

fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, CollectiveError> {
    serde_json::to_vec(value).map_err(|error| CollectiveError::Broken(error.to_string()))
}

fn from_bytes<T: DeserializeOwned>(rank: usize, bytes: &[u8]) -> Result<T, RunError> {
    serde_json::from_slice(bytes).map_err(|_| {
        let problem = "is at another place of the run".to_owned();
        CollectiveError::Differs { rank, problem }.into()
    })
}

#[cfg(test)]
mod tests {
    use recall_step::in_turns;

    use super::*;

    #[test]
    fn ranks_tell_each_other_and_refuse_what_differs() {
        let all = in_turns(3, |collective| {
            let rank = collective.rank();
            let ranks = Ranks::from(collective);
            let told: String = match ranks.leads() {
                true => ranks.tell(&"a place").map(|()| "a place".to_owned()),
                false => ranks.hear(),
            }
            .unwrap();
            assert_eq!(told, "a place");
            assert_eq!(ranks.gather(&rank).unwrap(), [0, 1, 2]);
            assert_eq!(ranks.any([rank == 1, false]).unwrap(), [true, false]);
            assert_eq!(ranks.add(&vec![1.5; rank]).unwrap(), [3.0, 1.5]);
            assert_eq!(ranks.gather_numbers(&vec![0.5; rank]).unwrap(), [0.5; 3]);
            ranks.wait().unwrap();
            ranks.refuse_others("other settings", "same").unwrap();
            let own = if rank == 2 { "x" } else { "y" };
            ranks
                .refuse_others("other settings", own)
                .unwrap_err()
                .to_string()
        });
        for said in all {
            assert!(
                said.starts_with("rank 2 has other settings than rank 0"),
                "{said}"
            );
        }
    }
}
