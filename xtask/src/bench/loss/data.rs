//! Made-up batches between the two ends that training goes through.

use clap::ValueEnum;
use rand::{Rng, RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How the embeddings of a batch lie to each other.
///
/// What decides the work of an implementation that skips comparisons is how many of them are
/// saturated: so far apart, in units of `tau_rank`, that their sigmoid is 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// Similar within a class (0.7 to 0.9), unlike across classes: nearly all comparisons saturated
    Separated,
    /// All alike, within 0.05 of each other: none saturated, all ranks far beyond k, no gradient
    Collapsed,
    /// All alike, but one class 0.1 closer than the others: none saturated, and a gradient
    Close,
}

impl Data {
    /// The name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Separated => "separated",
            Self::Collapsed => "collapsed",
            Self::Close => "close",
        }
    }

    /// Unit vectors, `dim` numbers to a row, a row for each label.
    pub fn embeddings(self, labels: &[i64], dim: usize) -> Vec<f32> {
        let parts = match self {
            Self::Separated => [0.0, 1.0, 0.25],
            Self::Collapsed => [1.0, 0.0, 0.0045 * (dim as f64).sqrt()],
            Self::Close => [0.8, 0.1, 0.1],
        };
        unit_rows(labels, dim, parts)
    }
}

/// Unit vectors, a row for each label, of which a part is a common direction, one that of the class and one
/// the item's alone. Random directions have products of about 1/√d.
pub fn unit_rows(labels: &[i64], dim: usize, parts: [f64; 3]) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let common = unit_normal(&mut rng, dim);
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let centres: Vec<_> = (0..classes).map(|_| unit_normal(&mut rng, dim)).collect();
    let [shared, of_class, own] = parts.map(f64::sqrt);
    let mut rows = Vec::with_capacity(labels.len() * dim);
    for &label in labels {
        let noise = unit_normal(&mut rng, dim);
        let centre = &centres[label as usize];
        let row: Vec<f64> = (0..dim)
            .map(|i| shared * common[i] + of_class * centre[i] + own * noise[i])
            .collect();
        rows.extend(unit(row).into_iter().map(|x| x as f32));
    }
    rows
}

/// Classes of `size`, in no order.
pub fn labels(items: usize, size: usize) -> Vec<i64> {
    let mut labels: Vec<i64> = (0..items).map(|item| (item / size) as i64).collect();
    labels.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    labels
}

fn unit(vector: Vec<f64>) -> Vec<f64> {
    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.into_iter().map(|x| x / norm).collect()
}

/// A direction, all equally likely.
fn unit_normal(rng: &mut impl Rng, dim: usize) -> Vec<f64> {
    // Box and Muller: two uniform numbers give a normal one.
    let mut normal = || {
        let (radius, angle): (f64, f64) = (rng.random(), rng.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    };
    unit((0..dim).map(|_| normal()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The extreme similarities within and across classes.
    fn ranges(data: Data) -> [[f32; 2]; 2] {
        let (dim, labels) = (512, labels(240, 4));
        let rows = data.embeddings(&labels, dim);
        let row = |i: usize| &rows[i * dim..(i + 1) * dim];
        let mut ranges = [[f32::MAX, f32::MIN]; 2];
        for i in 0..labels.len() {
            for j in 0..i {
                let product = row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f32>();
                let [low, high] = &mut ranges[usize::from(labels[i] != labels[j])];
                (*low, *high) = (low.min(product), high.max(product));
            }
        }
        ranges
    }

    #[test]
    fn separated_classes_are_far_apart() {
        let [within, across] = ranges(Data::Separated);
        assert!(within[0] > 0.7 && within[1] < 0.9, "{within:?}");
        assert!(across[0] > -0.3 && across[1] < 0.3, "{across:?}");
    }

    #[test]
    fn collapsed_embeddings_are_all_alike() {
        let [within, across] = ranges(Data::Collapsed);
        let low = within[0].min(across[0]);
        let high = within[1].max(across[1]);
        assert!(high - low < 0.05, "{low} to {high}");
    }

    #[test]
    fn close_classes_overlap_softly() {
        let [within, across] = ranges(Data::Close);
        assert!(within[1] - across[0] < 0.2, "{within:?} {across:?}");
        assert!(within[0] > across[1], "{within:?} {across:?}");
    }
}
