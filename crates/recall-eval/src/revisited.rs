//! The protocol of the revisited Oxford and Paris landmark benchmarks (Radenović, Iscen, Tolias,
//! Avrithis, Chum, "Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking", 2018).
//!
//! For each query, database images that show its landmark are graded as easy or hard, and those
//! where it cannot be told as junk. Three set-ups make positives and junk of them:
//!
//! | set-up | positives | junk |
//! |---|---|---|
//! | easy | easy | junk, hard |
//! | medium | easy, hard | junk |
//! | hard | hard | junk, easy |
//!
//! The benchmarks report [`Metric::MapTrapezoid`] and [`Metric::MpAt`] 1, 5 and 10. A query without
//! positives in a set-up is left out of its means ([`EmptyQueries::Skip`]).
//!
//! [`Metric::MapTrapezoid`]: crate::Metric::MapTrapezoid
//! [`Metric::MpAt`]: crate::Metric::MpAt
//! [`EmptyQueries::Skip`]: crate::EmptyQueries::Skip

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::{Embeddings, EvalError, Retrieval};

/// The graded database images of one query: ids, in any order, each in one list only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct QueryTruth {
    /// Show the landmark, and are easily recognised.
    pub easy: Vec<u32>,
    /// Show the landmark, but from an odd view, occluded, or under other difficulties.
    pub hard: Vec<u32>,
    /// Neither right nor wrong answers.
    pub junk: Vec<u32>,
}

/// Which images a query must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The easy ones; hard ones are ignored.
    Easy,
    /// Easy and hard ones.
    Medium,
    /// The hard ones; easy ones are ignored.
    Hard,
}

impl Setup {
    /// All three, in the order benchmarks report them.
    pub const ALL: [Self; 3] = [Self::Easy, Self::Medium, Self::Hard];

    /// The positives and the junk of a query, each ascending.
    ///
    /// ```
    /// use recall_eval::revisited::{QueryTruth, Setup};
    ///
    /// let truth = QueryTruth { easy: vec![4, 1], hard: vec![7], junk: vec![2] };
    /// assert_eq!(Setup::Medium.split(&truth), (vec![1, 4, 7], vec![2]));
    /// assert_eq!(Setup::Hard.split(&truth), (vec![7], vec![1, 2, 4]));
    /// ```
    pub fn split(self, truth: &QueryTruth) -> (Vec<u32>, Vec<u32>) {
        let QueryTruth { easy, hard, junk } = truth;
        let union = |lists: &[&[u32]]| {
            let mut ids = lists.concat();
            ids.sort_unstable();
            ids
        };
        match self {
            Self::Easy => (union(&[easy]), union(&[junk, hard])),
            Self::Medium => (union(&[easy, hard]), union(&[junk])),
            Self::Hard => (union(&[hard]), union(&[junk, easy])),
        }
    }

    /// Every query against the database, with the positives and the junk of this set-up.
    ///
    /// # Errors
    ///
    /// If there is not one ground truth for each query, if an id is in two of its lists or not in
    /// the database, and those of
    /// [`Retrieval::query_against_gallery`].
    pub fn retrieval<'a>(
        self,
        queries: &'a Embeddings,
        database: &'a Embeddings,
        truth: &[QueryTruth],
    ) -> Result<Retrieval<'a>, EvalError> {
        check_truth(truth)?;
        let (positives, junk) = truth.iter().map(|truth| self.split(truth)).unzip();
        Retrieval::query_against_gallery_with(queries, database, positives)?.junk(junk)
    }
}

/// That no item is listed twice.
pub(crate) fn check_truth(truth: &[QueryTruth]) -> Result<(), EvalError> {
    for (query, QueryTruth { easy, hard, junk }) in truth.iter().enumerate() {
        let mut ids = [easy.as_slice(), hard, junk].concat();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(EvalError::AmbiguousTruth { query, id: pair[0] });
        }
    }
    Ok(())
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        })
    }
}

impl FromStr for Setup {
    type Err = EvalError;

    fn from_str(name: &str) -> Result<Self, EvalError> {
        let found = Self::ALL
            .into_iter()
            .find(|setup| setup.to_string() == name);
        found.ok_or_else(|| EvalError::UnknownSetup { name: name.into() })
    }
}
