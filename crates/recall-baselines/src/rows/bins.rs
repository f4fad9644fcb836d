//! Soft histograms: each value is shared by the two nodes that it lies between.

use burn::tensor::{Bool, DType, IndexingUpdateOp, Int, Tensor, backend::Backend};
use recall_loss::plain::gather_in_rows;

/// Nodes at equal steps. What lies beyond the first or the last belongs to that one alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bins {
    nodes: usize,
    start: f64,
    step: f64,
    /// Places between two nodes are in units of 2 to minus these.
    bits: u32,
}

/// Counts by bucket, several beside each other: a processor that has just written to a number waits to read it.
/// Bucket 0 is what lies before the first node, bucket `b` what lies between nodes `b − 1` and `b`, the last
/// what lies behind the last node. Each number holds a count and a sum of places between nodes, which
/// are whole numbers: no order of adding changes them.
pub(crate) type Counts = Vec<[u64; LANES]>;

/// How many counts are beside each other.
const LANES: usize = 4;
/// One more in a bucket. What is below has room for the places of a million values.
const ONE: u64 = 1 << COUNT;
const COUNT: u32 = 44;
/// Values whose places are computed at once.
const PART: usize = 256;

impl Bins {
    /// Nodes `start + r · step` for `r` below `nodes`, of which there are at least two and at most `MOST`. The
    /// step may be negative.
    pub fn new(nodes: usize, start: f64, step: f64) -> Self {
        Self {
            nodes,
            start,
            step,
            bits: (30 - (nodes + 1).ilog2()).min(22),
        }
    }

    /// Most nodes: so many leave places between them a fine grid.
    pub const MOST: usize = 1 << 14;

    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// How many nodes there are to one unit of values.
    pub fn per_unit(&self) -> f64 {
        1.0 / self.step
    }

    pub fn counts(&self) -> Counts {
        vec![[0; LANES]; self.nodes + 1]
    }

    /// Adds values to counts.
    #[inline(always)]
    pub fn count(&self, values: &[f32], counts: &mut Counts) {
        let mut places = [0; PART];
        for part in values.chunks(PART) {
            self.places(part, &mut places);
            let (groups, rest) = places[..part.len()].as_chunks::<LANES>();
            for group in groups {
                for (lane, &place) in group.iter().enumerate() {
                    let (bucket, within) = self.split(place);
                    let count = &mut counts[bucket][lane];
                    *count = count.wrapping_add(ONE + within);
                }
            }
            for &place in rest {
                let (bucket, within) = self.split(place);
                counts[bucket][0] = counts[bucket][0].wrapping_add(ONE + within);
            }
        }
    }

    /// Takes a value that has been counted out of the counts.
    #[inline(always)]
    pub fn discount(&self, value: f32, counts: &mut Counts) {
        let mut places = [0];
        self.places(&[value], &mut places);
        let (bucket, within) = self.split(places[0]);
        // It may have been added to another of them. Their sum is what counts, so they may wrap.
        counts[bucket][0] = counts[bucket][0].wrapping_sub(ONE + within);
    }

    /// How many values there are in a bucket, and the sum of where they are between its nodes, in units of
    /// [`unit`](Self::unit).
    pub fn sums(counts: &[u64; LANES]) -> [u64; 2] {
        let sum = counts
            .iter()
            .fold(0u64, |sum, &lane| sum.wrapping_add(lane));
        [sum >> COUNT, sum & (ONE - 1)]
    }

    /// What sums of places are in units of.
    fn unit(&self) -> f64 {
        1.0 / f64::from(1u32 << self.bits)
    }

    /// The weights of the nodes, of the sums of all buckets.
    pub fn weights(&self, sums: impl IntoIterator<Item = [u64; 2]>) -> Vec<f64> {
        let unit = self.unit();
        let mut weights = vec![0.0; self.nodes];
        for (bucket, [count, within]) in sums.into_iter().enumerate() {
            let (count, within) = (count as f64, within as f64 * unit);
            if bucket == 0 || bucket == self.nodes {
                weights[bucket.saturating_sub(1)] += count;
            } else {
                weights[bucket - 1] += count - within;
                weights[bucket] += within;
            }
        }
        weights
    }

    /// Replaces each value by what a table has for its bucket.
    #[inline(always)]
    pub fn look_up(&self, values: &mut [f32], table: &[f32]) {
        let mut places = [0; PART];
        for part in values.chunks_mut(PART) {
            self.places(part, &mut places);
            for (value, &place) in part.iter_mut().zip(&places) {
                *value = table[self.split(place).0];
            }
        }
    }

    /// Where values are: the bucket, and in the lowest bits how far they are from its first node to its second.
    #[inline(always)]
    fn places(&self, values: &[f32], places: &mut [u32]) {
        // Adding one rounds to a whole number, the other to one that is not negative, in the lowest bits. A
        // conversion, which would have to look after what does not fit, is no vector instruction.
        const ROUND: f32 = 12_582_912.0;
        const WHOLE: f32 = 8_388_608.0;
        let (start, scale) = (self.start as f32, self.per_unit() as f32);
        // Whatever lies beyond is half a step beyond.
        let last = (self.nodes - 1) as f32 + 0.5;
        let unit = (1u32 << self.bits) as f32;
        for (place, &value) in places.iter_mut().zip(values) {
            let value = ((value - start) * scale).clamp(-0.5, last);
            let rounded = (value - 0.5) + ROUND;
            let within = (value - (rounded - ROUND)) * unit + WHOLE;
            let node = rounded.to_bits().wrapping_sub(ROUND.to_bits());
            *place = (node.wrapping_add(1) << (self.bits + 1))
                .wrapping_add(within.to_bits().wrapping_sub(WHOLE.to_bits()));
        }
    }

    #[inline(always)]
    fn split(&self, place: u32) -> (usize, u64) {
        let within = place & ((2 << self.bits) - 1);
        ((place >> (self.bits + 1)) as usize, u64::from(within))
    }

    /// Where values are, as tensors of single or double precision.
    pub fn located<B: Backend>(&self, values: Tensor<B, 2>) -> Located<B> {
        let last = (self.nodes - 1) as f64;
        let place = (values.sub_scalar(self.start)).mul_scalar(self.per_unit());
        let inside = (place.clone().greater_elem(0.0)).bool_and(place.clone().lower_elem(last));
        let place = place.clamp(0.0, last);
        let node = place.clone().floor().clamp_max(last - 1.0);
        Located {
            nodes: self.nodes,
            within: place - node.clone(),
            node: node.int(),
            inside,
        }
    }
}

/// Values in single precision if they are in half precision, which cannot count, nor hold what is one of many
/// pairs.
pub(crate) fn widened<B: Backend>(values: Tensor<B, 2>) -> Tensor<B, 2> {
    match values.dtype() {
        DType::F16 | DType::BF16 => values.cast(DType::F32),
        _ => values,
    }
}

/// Where values are between nodes.
pub(crate) struct Located<B: Backend> {
    nodes: usize,
    /// `[n, m]`: the node before each value, of which there is always one behind.
    pub node: Tensor<B, 2, Int>,
    /// `[n, m]`: how far it is from there to the next.
    within: Tensor<B, 2>,
    /// `[n, m]`: whether it lies between the first and the last node, so that it moves weight.
    pub inside: Tensor<B, 2, Bool>,
}

impl<B: Backend> Located<B> {
    /// The weights of the nodes, `[n, nodes]`, of the values of each row where the mask is true.
    pub fn weights(&self, mask: &Tensor<B, 2, Bool>) -> Tensor<B, 2> {
        let [rows, _] = self.within.dims();
        let options = (&self.within.device(), self.within.dtype());
        let none = mask.clone().bool_not();
        let behind = self.within.clone().mask_fill(none.clone(), 0.0);
        let before = (self.within.clone().neg().add_scalar(1.0)).mask_fill(none, 0.0);
        let add = IndexingUpdateOp::Add;
        Tensor::zeros([rows, self.nodes], options)
            .scatter(1, self.node.clone(), before, add)
            .scatter(1, self.node.clone().add_scalar(1), behind, add)
    }

    /// What the rows of a table `[n, nodes]` have for each value's node, and 0 for values that move no weight.
    pub fn look_up(&self, table: Tensor<B, 2>) -> Tensor<B, 2> {
        let found = gather_in_rows(table, self.node.clone());
        found.mask_fill(self.inside.clone().bool_not(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(values: &[f32], nodes: usize, start: f64, step: f64) -> Vec<f64> {
        let node = |r: usize| {
            let share = |&x: &f32| {
                let place = ((f64::from(x) - start) / step).clamp(0.0, (nodes - 1) as f64);
                (1.0 - (place - r as f64).abs()).max(0.0)
            };
            values.iter().map(share).sum::<f64>()
        };
        (0..nodes).map(node).collect()
    }

    #[test]
    fn counts_are_weights_of_triangles() {
        let values: Vec<f32> = (0..1003)
            .map(|i| ((i * 7919) % 1009) as f32 / 420.0 - 1.2)
            .collect();
        for (nodes, start, step) in [(2, 0.0, 1.0), (20, 1.0, -2.0 / 19.0), (201, -1.0, 0.01)] {
            let bins = Bins::new(nodes, start, step);
            let mut counts = bins.counts();
            bins.count(&values, &mut counts);
            bins.discount(values[5], &mut counts);
            let found = bins.weights(counts.iter().map(Bins::sums));
            let rest: Vec<f32> = [&values[..5], &values[6..]].concat();
            for (found, expected) in found.iter().zip(direct(&rest, nodes, start, step)) {
                assert!(
                    (found - expected).abs() <= 1e-4,
                    "{found} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn buckets_begin_and_end_with_what_lies_beyond() {
        let bins = Bins::new(3, 1.0, -1.0);
        let mut values = [1.5, 0.75, 0.25, -0.5, -1.0, -2.0];
        bins.look_up(&mut values, &[10.0, 11.0, 12.0, 13.0]);
        assert_eq!(values, [10.0, 11.0, 11.0, 12.0, 13.0, 13.0]);
    }
}
