//! Every metric as a function of the ranks of one query's positives.
//!
//! `ranks` are ascending and start at 1, as [`PositiveRanks::of`](crate::PositiveRanks::of) gives
//! them. Written with them, `R = ranks.len()` is the number of positives, `ranks[j]` (`j` from 0)
//! is the rank of the `j + 1`-th, the number of positives within the first `k` is `hits(k) = |{r ∈
//! ranks : r ≤ k}|`, and the precision at the rank of positive `j` is `(j + 1) / ranks[j]`.
//!
//! | metric | formula | source |
//! |---|---|---|
//! | [`recall_at_k`] | `1 if hits(k) ≥ 1 else 0` | Jégou, Douze, Schmid, 2011; in metric learning since Oh Song et al., 2016 |
//! | [`ir_recall_at_k`] | `hits(k) / R` | the recall of information retrieval |
//! | [`precision_at_k`] | `hits(k) / k` | |
//! | [`r_precision`] | `hits(R) / R` | Musgrave, Belongie, Lim, "A Metric Learning Reality Check", 2020 |
//! | [`map_at_r`] | `1/R Σ_{j: ranks[j] ≤ R} (j + 1) / ranks[j]` | the same |
//! | [`map_at_k`] | `1/min(R, k) Σ_{j: ranks[j] ≤ k} (j + 1) / ranks[j]` | Weyand et al., 2020 (Google Landmarks v2) |
//! | [`average_precision`] | `1/R Σ_j (j + 1) / ranks[j]` | |
//! | [`average_precision_trapezoid`] | `1/R Σ_j (p0_j + p1_j) / 2` | Philbin et al., 2007 (Oxford buildings) |
//! | [`mp_at_k`] | `hits(kq) / kq`, `kq = min(ranks[R − 1], k)` | Radenović et al., 2018 (revisited Oxford and Paris) |
//! | [`reciprocal_rank`] | `1 / ranks[0]` | |
//!
//! All are in `0..=1`. A query without positives has no value by these formulae: the functions
//! return 0, and what it does to a mean is for [`evaluate`](crate::evaluate()) to say. So do they for
//! `k = 0`.
//!
//! None depends on the number of items ranked: where the gallery has fewer than `k` items, the
//! missing ones count as wrong.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

use crate::EvalError;

/// 1 if a positive is among the first `k` items, else 0. Also known as hit rate and, as a function
/// of `k`, as the cumulative match characteristic (CMC).
pub fn recall_at_k(ranks: &[u32], k: usize) -> f64 {
    if hits(ranks, k) > 0 { 1.0 } else { 0.0 }
}

/// The share of the positives that are among the first `k` items: what information retrieval calls
/// recall. In metric learning that word means [`recall_at_k`].
pub fn ir_recall_at_k(ranks: &[u32], k: usize) -> f64 {
    ratio(hits(ranks, k), ranks.len())
}

/// The share of positives among the first `k` items.
pub fn precision_at_k(ranks: &[u32], k: usize) -> f64 {
    ratio(hits(ranks, k), k)
}

/// The share of positives among the first `R` items, where `R` is the number of positives.
pub fn r_precision(ranks: &[u32]) -> f64 {
    precision_at_k(ranks, ranks.len())
}

/// `map@r`: the average precision cut off at rank `R`, where `R` is the number of positives.
pub fn map_at_r(ranks: &[u32]) -> f64 {
    let within = hits(ranks, ranks.len());
    mean(precisions(&ranks[..within]), ranks.len())
}

/// `map@k`: the average precision among the first `k` items, of which a query with more positives can have no
/// more than `k`.
pub fn map_at_k(ranks: &[u32], k: usize) -> f64 {
    let within = hits(ranks, k);
    mean(precisions(&ranks[..within]), ranks.len().min(k))
}

/// Average precision as the finite sum over positives of the precision at their ranks.
pub fn average_precision(ranks: &[u32]) -> f64 {
    mean(precisions(ranks), ranks.len())
}

/// Average precision as the area under the precision-recall curve by the trapezoidal rule, the
/// convention of the Oxford and Paris landmark benchmarks: at positive `j` the precisions just
/// before it, `p0 = j / (ranks[j] − 1)` (1 at the first rank), and at it, `p1 = (j + 1) /
/// ranks[j]`, are averaged.
pub fn average_precision_trapezoid(ranks: &[u32]) -> f64 {
    let before = ranks.iter().enumerate().map(|(j, &rank)| match rank {
        0 | 1 => 1.0,
        _ => j as f64 / f64::from(rank - 1),
    });
    let areas = before
        .zip(precisions(ranks))
        .map(|(p0, p1)| (p0 + p1) / 2.0);
    mean(areas, ranks.len())
}

/// The precision at `k`, or at the rank of the last positive where that comes earlier, so that a
/// query with fewer than `k` positives can reach 1.
pub fn mp_at_k(ranks: &[u32], k: usize) -> f64 {
    let last = ranks.last().map_or(0, |&rank| rank as usize);
    precision_at_k(ranks, last.min(k))
}

/// One over the rank of the first positive.
pub fn reciprocal_rank(ranks: &[u32]) -> f64 {
    ranks.first().map_or(0.0, |&rank| 1.0 / f64::from(rank))
}

fn hits(ranks: &[u32], k: usize) -> usize {
    ranks.partition_point(|&rank| rank as usize <= k)
}

fn precisions(ranks: &[u32]) -> impl Iterator<Item = f64> {
    ranks
        .iter()
        .enumerate()
        .map(|(j, &rank)| (j + 1) as f64 / f64::from(rank))
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    if count == 0 {
        0.0
    } else {
        values.sum::<f64>() / count as f64
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// A metric by name.
///
/// Names are `recall@K`, `ir_recall@K`, `precision@K`, `mp@K`, `map@K` (with `K` = 1, 2, ...), `r_precision`,
/// `map@r`,
/// `map`, `map_trapezoid` and `mrr`; [`Display`](fmt::Display) writes what [`FromStr`] reads.
///
/// ```
/// use recall_eval::Metric;
///
/// assert_eq!("recall@10".parse::<Metric>()?, Metric::RecallAt(10));
/// assert_eq!(Metric::MapAtR.to_string(), "map@r");
/// assert!("recall@0".parse::<Metric>().is_err());
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// `recall@K`: the mean of [`recall_at_k`].
    RecallAt(usize),
    /// `ir_recall@K`: the mean of [`ir_recall_at_k`].
    IrRecallAt(usize),
    /// `precision@K`: the mean of [`precision_at_k`].
    PrecisionAt(usize),
    /// `r_precision`: the mean of [`r_precision`].
    RPrecision,
    /// `map@r`: the mean of [`map_at_r`].
    MapAtR,
    /// `map@K`: the mean of [`map_at_k`].
    MapAt(usize),
    /// `map`: the mean of [`average_precision`].
    Map,
    /// `map_trapezoid`: the mean of [`average_precision_trapezoid`].
    MapTrapezoid,
    /// `mp@K`: the mean of [`mp_at_k`].
    MpAt(usize),
    /// `mrr`: the mean of [`reciprocal_rank`].
    Mrr,
}

impl Metric {
    /// The value for one query, from the ascending ranks of its positives.
    pub fn of(self, ranks: &[u32]) -> f64 {
        match self {
            Self::RecallAt(k) => recall_at_k(ranks, k),
            Self::IrRecallAt(k) => ir_recall_at_k(ranks, k),
            Self::PrecisionAt(k) => precision_at_k(ranks, k),
            Self::RPrecision => r_precision(ranks),
            Self::MapAtR => map_at_r(ranks),
            Self::MapAt(k) => map_at_k(ranks, k),
            Self::Map => average_precision(ranks),
            Self::MapTrapezoid => average_precision_trapezoid(ranks),
            Self::MpAt(k) => mp_at_k(ranks, k),
            Self::Mrr => reciprocal_rank(ranks),
        }
    }

    /// The `K` of metrics that have one.
    pub fn cutoff(self) -> Option<usize> {
        match self {
            Self::RecallAt(k)
            | Self::IrRecallAt(k)
            | Self::PrecisionAt(k)
            | Self::MapAt(k)
            | Self::MpAt(k) => Some(k),
            _ => None,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecallAt(k) => write!(f, "recall@{k}"),
            Self::IrRecallAt(k) => write!(f, "ir_recall@{k}"),
            Self::PrecisionAt(k) => write!(f, "precision@{k}"),
            Self::RPrecision => f.write_str("r_precision"),
            Self::MapAtR => f.write_str("map@r"),
            Self::MapAt(k) => write!(f, "map@{k}"),
            Self::Map => f.write_str("map"),
            Self::MapTrapezoid => f.write_str("map_trapezoid"),
            Self::MpAt(k) => write!(f, "mp@{k}"),
            Self::Mrr => f.write_str("mrr"),
        }
    }
}

impl FromStr for Metric {
    type Err = EvalError;

    fn from_str(name: &str) -> Result<Self, EvalError> {
        // Lists are written with spaces behind their commas.
        let name = name.trim();
        let cut = |k: &str| {
            // `parse` also takes "+1" and "01", which Display would not write.
            let number = k
                .parse()
                .ok()
                .filter(|number: &usize| number.to_string() == k);
            match number {
                Some(0) => Err(EvalError::ZeroCutoff {
                    metric: name.into(),
                }),
                Some(k) => Ok(k),
                None => Err(EvalError::UnknownMetric { name: name.into() }),
            }
        };
        match name.split_once('@') {
            None if name == "r_precision" => Ok(Self::RPrecision),
            None if name == "map" => Ok(Self::Map),
            None if name == "map_trapezoid" => Ok(Self::MapTrapezoid),
            None if name == "mrr" => Ok(Self::Mrr),
            Some(("map", "r")) => Ok(Self::MapAtR),
            Some(("recall", k)) => cut(k).map(Self::RecallAt),
            Some(("ir_recall", k)) => cut(k).map(Self::IrRecallAt),
            Some(("precision", k)) => cut(k).map(Self::PrecisionAt),
            Some(("map", k)) => cut(k).map(Self::MapAt),
            Some(("mp", k)) => cut(k).map(Self::MpAt),
            _ => Err(EvalError::UnknownMetric { name: name.into() }),
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four positives, by hand.
    const RANKS: [u32; 4] = [1, 3, 4, 10];

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn by_hand() {
        assert_eq!([1, 2].map(|k| recall_at_k(&[2], k)), [0.0, 1.0]);
        assert!(close(ir_recall_at_k(&RANKS, 5), 3.0 / 4.0));
        assert!(close(precision_at_k(&RANKS, 5), 3.0 / 5.0));
        assert!(close(r_precision(&RANKS), 3.0 / 4.0));
        assert!(close(map_at_r(&RANKS), (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 4.0));
        assert!(close(map_at_k(&RANKS, 3), (1.0 + 2.0 / 3.0) / 3.0));
        assert!(close(map_at_k(&RANKS, 4), map_at_r(&RANKS)));
        let sum = 1.0 + 2.0 / 3.0 + 3.0 / 4.0 + 4.0 / 10.0;
        assert!(close(map_at_k(&RANKS, 100), sum / 4.0));
        assert!(close(average_precision(&RANKS), sum / 4.0));
        let before = 1.0 + 1.0 / 2.0 + 2.0 / 3.0 + 3.0 / 9.0;
        assert!(close(
            average_precision_trapezoid(&RANKS),
            (sum + before) / 8.0
        ));
        assert!(close(mp_at_k(&RANKS, 100), 4.0 / 10.0));
        assert!(close(mp_at_k(&RANKS, 2), 1.0 / 2.0));
        assert_eq!(mp_at_k(&[1, 2], 10), 1.0);
        assert!(close(reciprocal_rank(&[4, 5]), 0.25));
    }

    #[test]
    fn perfect_and_empty() {
        use Metric::*;
        let all = [
            RecallAt(3),
            IrRecallAt(3),
            PrecisionAt(3),
            RPrecision,
            MapAtR,
            MapAt(2),
            MapAt(100),
            Map,
            MapTrapezoid,
            MpAt(9),
            Mrr,
        ];
        for metric in all {
            assert_eq!(metric.of(&[1, 2, 3]), 1.0, "{metric}");
            assert_eq!(metric.of(&[]), 0.0, "{metric}");
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
        }
        for metric in [
            RecallAt(0),
            IrRecallAt(0),
            PrecisionAt(0),
            MapAt(0),
            MpAt(0),
        ] {
            assert_eq!(metric.of(&[1, 2, 3]), 0.0);
        }
    }

    #[test]
    fn names_that_are_none() {
        for name in [
            "",
            "recall",
            "recall@",
            "recall@-1",
            "recall@+1",
            "recall@01",
            "map@k",
            "MRR",
        ] {
            let error = name.parse::<Metric>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
        for name in ["recall@0", "ir_recall@0", "precision@0", "map@0", "mp@0"] {
            assert!(matches!(
                name.parse::<Metric>(),
                Err(EvalError::ZeroCutoff { .. })
            ));
        }
    }
}
