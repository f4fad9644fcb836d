//! Rows of features by a formula: any part of them is the same wherever and in whatever order it is made.

use std::ops::Range;

/// The share of a row's square length that is its class's. Rows of one class then have a similarity of about
/// 0.4, as many others by chance in an embedding of 128 numbers among tens of thousands: some positives are
/// found and some not, so that the loss is far from both of its ends and nearly every query has a gradient.
const OF_CLASS: f32 = 0.4;

/// Rows of classes that take turns: row `i` is of class `i % classes`.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    pub classes: usize,
    pub dim: usize,
}

impl Rows {
    /// The classes of some rows.
    pub fn labels(&self, rows: Range<usize>) -> Vec<i64> {
        rows.map(|row| (row % self.classes) as i64).collect()
    }

    /// Some rows, one behind the other.
    pub fn values(&self, rows: Range<usize>) -> Vec<f32> {
        let (of_class, own) = (OF_CLASS.sqrt(), (1.0 - OF_CLASS).sqrt());
        let mut values = Vec::with_capacity(rows.len() * self.dim);
        for row in rows {
            let (class, row) = ((row % self.classes) as u64, row as u64);
            for first in (0..self.dim).step_by(4) {
                let centre = uniform(class, first as u64 | CENTRE);
                let noise = uniform(row, first as u64);
                let four = (0..4).map(|i| of_class * centre[i] + own * noise[i]);
                values.extend(four.take(self.dim - first));
            }
        }
        values
    }
}

/// Tells the numbers of a class from those of a row.
const CENTRE: u64 = 1 << 63;

/// Four numbers between -1 and 1 that belong to two others.
fn uniform(row: u64, column: u64) -> [f32; 4] {
    let bits = mixed(mixed(row) ^ column);
    [0, 16, 32, 48].map(|shift| (bits >> shift) as u16 as f32 / 32_768.0 - 1.0)
}

/// A step of SplitMix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_part_of_the_whole() {
        let rows = Rows { classes: 5, dim: 7 };
        let all = rows.values(0..20);
        assert_eq!(all.len(), 20 * 7);
        assert_eq!(rows.values(6..9), all[6 * 7..9 * 7]);
        assert_eq!(rows.labels(4..7), [4, 0, 1]);
    }

    #[test]
    fn rows_of_a_class_are_alike_and_others_are_not() {
        let dim = 512;
        let values = Rows { classes: 10, dim }.values(0..40);
        let row = |i: usize| &values[i * dim..][..dim];
        let product = |i, j| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f32>();
        let cosine = |i, j| product(i, j) / (product(i, i) * product(j, j)).sqrt();
        for i in 0..40 {
            for j in 0..i {
                let expected = if i % 10 == j % 10 { OF_CLASS } else { 0.0 };
                assert!((cosine(i, j) - expected).abs() < 0.2, "{i} and {j}");
            }
        }
    }
}
