//! Items as they lie in memory against queries in lanes: which pairs reach the floor of their query.
//!
//! Where a few queries meet very many items, most of the time beside the products goes into bringing items into a layout
//! and similarities into memory, to find that almost none of them matters. So here it is the queries that are laid out,
//! once, and an item's values are spread over the lanes as they come. A similarity is the same chain of multiply-adds as in
//! [`Kernel::multiply`], to the last bit, and is compared where it arose: in its register.

use pulp::{Simd, WithSimd, bytemuck};

use super::{Kernel, Packed, pack};

/// Items of a micro tile beside one vector of queries, two and three.
///
/// Two vectors and 6 items are 12 accumulators: they hide the latency of the multiply-add, and with its operands fill the 16
/// registers of AVX2. Where there are 32 and vectors are as long as that, three and 8 take fewer loads for as many products.
const ITEMS: [usize; 3] = [8, 6, 8];

/// Vectors of queries of a micro tile.
fn widest(lanes: usize) -> usize {
    if lanes >= 16 { 3 } else { 2 }
}

/// Queries in groups of a few vectors: in each all queries' value 0, all queries' value 1, ...
pub(crate) struct QueryLanes {
    kernel: Kernel,
    dim: usize,
    groups: Vec<Group>,
}

struct Group {
    /// The number of the first query.
    first: usize,
    /// How many vectors it fills.
    vectors: usize,
    queries: Vec<f32>,
    /// The least similarity of each query that matters; infinite if none does, and for padding.
    floors: Vec<f32>,
}

/// The items that reach the floor of a query.
#[derive(Clone, Default)]
pub(crate) struct Reached {
    pub similarities: Vec<f32>,
    /// Places, ascending.
    pub items: Vec<u32>,
}

impl Reached {
    pub fn clear(&mut self) {
        self.similarities.clear();
        self.items.clear();
    }
}

impl QueryLanes {
    /// A multiple of the items of every micro tile.
    pub const ITEMS: usize = 24;

    /// `queries` lie one after the other, and there is a floor for each.
    pub fn new(kernel: Kernel, queries: &[f32], dim: usize, floors: &[f32]) -> Self {
        let lanes = kernel.lanes;
        let mut groups = Vec::new();
        let mut first = 0;
        while first < floors.len() {
            let vectors = (floors.len() - first).div_ceil(lanes).min(widest(lanes));
            let width = vectors * lanes;
            let last = (first + width).min(floors.len());
            let mut packed = Packed::default();
            let rows = queries[first * dim..last * dim].chunks_exact(dim);
            pack::<1>(rows, dim, width, &mut packed);
            let mut of_group = floors[first..last].to_vec();
            of_group.resize(width, f32::INFINITY);
            groups.push(Group {
                first,
                vectors,
                queries: packed.data,
                floors: of_group,
            });
            first = last;
        }
        Self {
            kernel,
            dim,
            groups,
        }
    }

    /// Adds to `reached`, of which there is one for each query, the items of a tile `[items, dim]` that reach its floor.
    /// Their places begin with `first`.
    pub fn reach(&self, items: &[f32], first: usize, reached: &mut [Reached]) {
        self.kernel.arch.dispatch(Reach {
            lanes: self,
            items,
            first,
            reached,
        });
    }
}

struct Reach<'a> {
    lanes: &'a QueryLanes,
    items: &'a [f32],
    first: usize,
    reached: &'a mut [Reached],
}

impl WithSimd for Reach<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let items = Tile {
            values: self.items,
            dim: self.lanes.dim,
            first: self.first,
        };
        for group in &self.lanes.groups {
            let reached = &mut self.reached[group.first..];
            match group.vectors {
                3 => group.reach::<S, 3, { ITEMS[2] }>(simd, items, reached),
                2 => group.reach::<S, 2, { ITEMS[1] }>(simd, items, reached),
                _ => group.reach::<S, 1, { ITEMS[0] }>(simd, items, reached),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Tile<'a> {
    values: &'a [f32],
    dim: usize,
    /// The place of the first.
    first: usize,
}

impl Group {
    #[inline(always)]
    fn reach<S: Simd, const VECTORS: usize, const ITEMS: usize>(
        &self,
        simd: S,
        items: Tile<'_>,
        reached: &mut [Reached],
    ) {
        let (queries, _) = S::as_simd_f32s(&self.queries);
        let (queries, _) = queries.as_chunks::<VECTORS>();
        let (floors, _) = S::as_simd_f32s(&self.floors);
        let Some(floors) = floors.first_chunk::<VECTORS>() else {
            return;
        };
        let count = items.values.len() / items.dim;
        for start in (0..count).step_by(ITEMS) {
            // Behind the last item it stands in for those that are not there. All rows are as long as the queries, so that
            // no access needs a check.
            let rows: [&[f32]; ITEMS] = std::array::from_fn(|i| {
                let row = &items.values[(start + i).min(count - 1) * items.dim..];
                &row[..queries.len()]
            });
            let mut acc = [[simd.splat_f32s(0.0); VECTORS]; ITEMS];
            for (k, query) in queries.iter().enumerate() {
                for i in 0..ITEMS {
                    let value = simd.splat_f32s(rows[i][k]);
                    for j in 0..VECTORS {
                        acc[i][j] = simd.mul_add_e_f32s(query[j], value, acc[i][j]);
                    }
                }
            }
            let mut any = simd.greater_than_or_equal_f32s(acc[0][0], floors[0]);
            for acc in &acc {
                for j in 0..VECTORS {
                    let here = simd.greater_than_or_equal_f32s(acc[j], floors[j]);
                    any = simd.or_m32s(any, here);
                }
            }
            if simd.first_true_m32s(any) < S::F32_LANES {
                for (item, acc) in (start..count).zip(&acc) {
                    self.take::<S, VECTORS>(simd, items.first + item, acc, reached);
                }
            }
        }
    }

    /// Takes the similarities of an item that reach the floors.
    #[inline(always)]
    fn take<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        item: usize,
        similarities: &[S::f32s; VECTORS],
        reached: &mut [Reached],
    ) {
        let (floors, _) = S::as_simd_f32s(&self.floors);
        let lanes: &[f32] = bytemuck::cast_slice(similarities);
        let vectors = similarities.iter().zip(floors);
        for ((at, (&similarity, &floor)), lanes) in (0..)
            .step_by(S::F32_LANES)
            .zip(vectors)
            .zip(lanes.chunks(S::F32_LANES))
        {
            let reaches = simd.greater_than_or_equal_f32s(similarity, floor);
            if simd.first_true_m32s(reaches) == S::F32_LANES {
                continue;
            }
            for (lane, &similarity) in (at..).zip(lanes) {
                if similarity >= self.floors[lane] {
                    let reached = &mut reached[lane];
                    reached.similarities.push(similarity);
                    reached.items.push(item as u32);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Products;
    use super::*;

    /// Few values, so that many similarities are equal.
    fn values(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 29) as f32 / 7.0 - 0.5
            })
            .collect()
    }

    #[test]
    fn the_bits_of_the_products_that_reach_a_floor() {
        let kernel = Kernel::detect();
        for (count, items, dim) in [
            (1, 1, 1),
            (7, 50, 3),
            (8, 6, 16),
            (70, 131, 33),
            (100, 23, 8),
        ] {
            let (queries, rows) = (values(count * dim, 1), values(items * dim, 2));
            let (mut q, mut g, mut products) = <(Packed, Packed, Products)>::default();
            kernel.pack_queries(queries.chunks_exact(dim), dim, &mut q);
            kernel.pack_items(rows.chunks_exact(dim), dim, &mut g);
            kernel.multiply(&q, &g, dim, &mut products);
            // That of an item, so that there is equality; no item; and all items.
            let floor = |q: usize| match q % 5 {
                3 => f32::INFINITY,
                4 => f32::NEG_INFINITY,
                _ => products.data[q * products.stride + q * 7 % items],
            };
            let floors: Vec<f32> = (0..count).map(floor).collect();
            let lanes = QueryLanes::new(kernel, &queries, dim, &floors);
            let mut reached = vec![Reached::default(); count];
            let half = items / 2;
            lanes.reach(&rows[..half * dim], 10, &mut reached);
            lanes.reach(&rows[half * dim..], 10 + half, &mut reached);
            for (q, (reached, floor)) in reached.iter().zip(floors).enumerate() {
                let row = products.row_mut(q, items);
                let wanted = (10..)
                    .zip(row)
                    .filter(|(_, similarity)| **similarity >= floor);
                let (places, similarities): (Vec<u32>, Vec<u32>) = wanted
                    .map(|(place, similarity)| (place, similarity.to_bits()))
                    .unzip();
                assert_eq!(reached.items, places);
                let bits = reached
                    .similarities
                    .iter()
                    .map(|similarity| similarity.to_bits());
                assert_eq!(bits.collect::<Vec<_>>(), similarities);
            }
        }
    }
}
