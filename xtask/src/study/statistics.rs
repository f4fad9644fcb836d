//! Means over seeds, and how sure they are.

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Resamples of [`paired`].
const RESAMPLES: usize = 2_000;

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    pub mean: f64,
    /// Of a sample; 0 of one value.
    pub deviation: f64,
    /// Half of the interval of Student's t; none of one value.
    pub half: Option<f64>,
}

impl Mean {
    /// Of the results of several seeds; none of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if values.len() > 1 {
            (squares / (count - 1.0)).sqrt()
        } else {
            0.0
        };
        let half = quantile(values.len() - 1).map(|t| t * deviation / count.sqrt());
        Some(Self {
            mean,
            deviation,
            half,
        })
    }
}

/// The 97.5th percentile of Student's t with so many degrees of freedom.
fn quantile(freedom: usize) -> Option<f64> {
    const T: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    match freedom {
        0 => None,
        few => Some(T.get(few - 1).copied().unwrap_or(1.96)),
    }
}

/// A difference of two means with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    pub difference: f64,
    pub low: f64,
    pub high: f64,
}

impl Difference {
    /// Whether chance is an unlikely cause.
    pub fn is_clear(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// How much greater the values of `other` are than those of `first`: a run a row, a query a column. Queries
/// are drawn anew with replacement, the same for both, and so are the runs of either side: another test and
/// other seeds at once.
pub fn paired(first: &[Vec<f64>], other: &[Vec<f64>]) -> Result<Difference> {
    let queries = first.first().map_or(0, Vec::len);
    ensure!(queries > 0 && !other.is_empty(), "nothing to compare");
    ensure!(
        first.iter().chain(other).all(|run| run.len() == queries),
        "runs that judge other queries cannot be compared"
    );
    let mean =
        |runs: &[Vec<f64>]| runs.iter().flatten().sum::<f64>() / (runs.len() * queries) as f64;
    let runs = first.len() + other.len();
    let mut differences: Vec<f64> = (0..RESAMPLES as u64)
        .into_par_iter()
        .map(|resample| {
            let mut random = ChaCha8Rng::seed_from_u64(resample);
            let mut sums = vec![0.0_f64; runs];
            for _ in 0..queries {
                let query = random.random_range(0..queries);
                for (sum, run) in sums.iter_mut().zip(first.iter().chain(other)) {
                    *sum += run[query];
                }
            }
            let (of_first, of_other) = sums.split_at(first.len());
            let mut drawn = |sums: &[f64]| {
                let draws = (0..sums.len()).map(|_| sums[random.random_range(0..sums.len())]);
                draws.sum::<f64>() / (sums.len() * queries) as f64
            };
            let first = drawn(of_first);
            drawn(of_other) - first
        })
        .collect();
    differences.sort_by(f64::total_cmp);
    let at = |share: f64| differences[((RESAMPLES - 1) as f64 * share).round() as usize];
    Ok(Difference {
        difference: mean(other) - mean(first),
        low: at(0.025),
        high: at(0.975),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let mean = Mean::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((mean.mean, mean.deviation), (2.0, 1.0));
        // 4.303 · 1 / √3, from a table.
        assert!((mean.half.unwrap() - 2.4843).abs() < 1e-3);
        assert_eq!(Mean::of(&[1.0]).unwrap().half, None);
        assert_eq!(Mean::of(&[]), None);
    }

    #[test]
    fn a_difference_is_clear_where_queries_and_seeds_agree() {
        let run = |hits: usize, shift: usize| -> Vec<f64> {
            (0..400)
                .map(|query| f64::from(u8::from((query + shift) % 400 < hits)))
                .collect()
        };
        let few: Vec<_> = (0..5).map(|seed| run(200, seed)).collect();
        let many: Vec<_> = (0..5).map(|seed| run(260, seed)).collect();
        let found = paired(&few, &many).unwrap();
        assert!((found.difference - 0.15).abs() < 1e-12);
        assert!(found.is_clear() && found.low < 0.15 && 0.15 < found.high);

        let same = paired(&few, &few).unwrap();
        assert_eq!(same.difference, 0.0);
        assert!(!same.is_clear());
        // Seeds that differ more than the sides do leave it open.
        let wild: Vec<_> = [100, 420].map(|hits| run(hits, 0)).into();
        assert!(!paired(&few, &wild).unwrap().is_clear());
        assert!(paired(&few, &[vec![1.0; 3]]).is_err());
    }
}
