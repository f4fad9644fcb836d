//! Products of query and gallery rows, the same bits wherever a pair lies in a block.
//!
//! An exact rank compares similarities for equality: an item that ties with a positive goes before
//! or after it by its id. That makes sense only if the similarity of a pair is one number. In a
//! general matrix product it is not: the order of summation depends on the shape of the block and
//! on where in it the pair lies, so that two identical items may differ in the last bit, and a rank
//! with the block size. Here every element is one chain `acc = q[k]·g[k] + acc`, k ascending from
//! acc = 0, in one accumulator lane, whatever surrounds it. Blocks are padded with zero rows to the
//! shape of the micro kernel, so there is no second code path at the edges.
//!
//! Between machines the last bit may still differ: the multiply-add is fused where the processor
//! can do so.

mod reach;

use pulp::{Arch, Simd, WithSimd};

pub(crate) use reach::{QueryLanes, Reached};

/// Queries a micro tile holds: 6 × 2 vectors of accumulators, 2 of gallery items and 1 of a query
/// fill the 16 registers of AVX2, and hide the latency of the multiply-add everywhere.
const QUERIES: usize = 6;

/// Vectors of gallery items a micro tile holds.
const VECTORS: usize = 2;

/// The product kernel for the processor it runs on.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    arch: Arch,
    /// Values of a vector.
    lanes: usize,
    /// Gallery items of a micro tile.
    width: usize,
}

/// Rows interleaved for the kernel: groups of `width` rows, and in a group all rows' value 0, all
/// rows' value 1, ...
#[derive(Default)]
pub(crate) struct Packed {
    data: Vec<f32>,
    groups: usize,
}

/// Similarities `[queries, items]`, row-major with a stride that includes the padding.
#[derive(Default)]
pub(crate) struct Products {
    data: Vec<f32>,
    stride: usize,
}

impl Products {
    /// Similarities of query `q` of the block to the first `items` items of the tile.
    pub(crate) fn row_mut(&mut self, q: usize, items: usize) -> &mut [f32] {
        &mut self.data[q * self.stride..][..items]
    }
}

impl Kernel {
    pub(crate) fn detect() -> Self {
        let arch = Arch::new();
        let lanes = arch.dispatch(Lanes);
        Self {
            arch,
            lanes,
            width: VECTORS * lanes,
        }
    }

    /// Runs `f` compiled for the processor, so that plain loops in it vectorise.
    pub(crate) fn run<R>(self, f: impl FnOnce() -> R) -> R {
        self.arch.dispatch(f)
    }

    /// The same for a loop in vectors.
    pub(crate) fn dispatch<Op: WithSimd>(self, op: Op) -> Op::Output {
        self.arch.dispatch(op)
    }

    pub(crate) fn pack_queries<'a>(
        self,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
        dim: usize,
        packed: &mut Packed,
    ) {
        pack::<QUERIES>(rows, dim, QUERIES, packed);
    }

    pub(crate) fn pack_items<'a>(
        self,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
        dim: usize,
        packed: &mut Packed,
    ) {
        // More rows at a time would make longer writes, but rows a power of two apart compete for
        // the same few places of the first cache.
        if self.width.is_multiple_of(8) {
            self.run(|| pack::<8>(rows, dim, self.width, packed));
        } else {
            pack::<VECTORS>(rows, dim, self.width, packed);
        }
    }

    /// All dot products of packed queries and items.
    pub(crate) fn multiply(
        self,
        queries: &Packed,
        items: &Packed,
        dim: usize,
        products: &mut Products,
    ) {
        products.stride = items.groups * self.width;
        products
            .data
            .resize(queries.groups * QUERIES * products.stride, 0.0);
        self.arch.dispatch(Multiply {
            queries,
            items,
            dim,
            products,
        });
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Multiply<'a> {
    queries: &'a Packed,
    items: &'a Packed,
    dim: usize,
    products: &'a mut Products,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            queries,
            items,
            dim,
            products,
        } = self;
        let width = VECTORS * S::F32_LANES;
        let stripes = products.data.chunks_exact_mut(QUERIES * products.stride);
        for (query, stripe) in queries.data.chunks_exact(QUERIES * dim).zip(stripes) {
            let (query, _) = query.as_chunks::<QUERIES>();
            for (group, item) in items.data.chunks_exact(width * dim).enumerate() {
                let (item, _) = S::as_simd_f32s(item);
                let (item, _) = item.as_chunks::<VECTORS>();

                let mut acc = [[simd.splat_f32s(0.0); VECTORS]; QUERIES];
                for (q, g) in query.iter().zip(item) {
                    for i in 0..QUERIES {
                        let q = simd.splat_f32s(q[i]);
                        for j in 0..VECTORS {
                            acc[i][j] = simd.mul_add_e_f32s(q, g[j], acc[i][j]);
                        }
                    }
                }

                for (row, acc) in stripe.chunks_exact_mut(products.stride).zip(&acc) {
                    let (row, _) = S::as_mut_simd_f32s(&mut row[group * width..][..width]);
                    row.copy_from_slice(acc);
                }
            }
        }
    }
}

/// Interleaves rows, `N` at a time; `width` is a multiple of `N`.
#[inline(always)]
fn pack<'a, const N: usize>(
    mut rows: impl ExactSizeIterator<Item = &'a [f32]>,
    dim: usize,
    width: usize,
    packed: &mut Packed,
) {
    packed.groups = rows.len().div_ceil(width);
    packed.data.resize(packed.groups * width * dim, 0.0);
    // Where rows end within a group. Something else may be there from an earlier block.
    let zeros = vec![0.0; dim];
    for group in packed.data.chunks_exact_mut(width * dim) {
        for column in (0..width).step_by(N) {
            // Of one known length, so that no access below needs a check.
            let rows: [&[f32]; N] = std::array::from_fn(|_| &rows.next().unwrap_or(&zeros)[..dim]);
            for (k, values) in group.chunks_exact_mut(width).enumerate().take(dim) {
                let values: &mut [f32] = &mut values[column..column + N];
                values.copy_from_slice(&rows.map(|row| row[k]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn product(queries: &[f32], items: &[f32], dim: usize) -> Vec<Vec<f32>> {
        let kernel = Kernel::detect();
        let (mut q, mut g, mut products) = <(Packed, Packed, Products)>::default();
        kernel.pack_queries(queries.chunks_exact(dim), dim, &mut q);
        kernel.pack_items(items.chunks_exact(dim), dim, &mut g);
        kernel.multiply(&q, &g, dim, &mut products);
        let items = items.len() / dim;
        (0..queries.len() / dim)
            .map(|i| products.row_mut(i, items).to_vec())
            .collect()
    }

    #[test]
    fn agrees_with_f64() {
        for dim in [1, 3, 16, 129] {
            let (queries, items) = (values(13 * dim, 1), values(71 * dim, 2));
            let products = product(&queries, &items, dim);
            for (query, row) in queries.chunks_exact(dim).zip(&products) {
                for (item, &got) in items.chunks_exact(dim).zip(row) {
                    let want: f64 = query
                        .iter()
                        .zip(item)
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum();
                    assert!((want - f64::from(got)).abs() < 1e-5, "{dim}: {want} {got}");
                }
            }
        }
    }

    #[test]
    fn the_same_bits_alone_as_in_a_block() {
        let dim = 37;
        let (queries, items) = (values(11 * dim, 3), values(67 * dim, 4));
        let block = product(&queries, &items, dim);
        for (query, row) in queries.chunks_exact(dim).zip(&block) {
            for (item, &got) in items.chunks_exact(dim).zip(row) {
                assert_eq!(product(query, item, dim)[0][0].to_bits(), got.to_bits());
                // And with the roles exchanged.
                assert_eq!(product(item, query, dim)[0][0].to_bits(), got.to_bits());
            }
        }
    }

    #[test]
    fn a_buffer_that_was_larger_before() {
        let kernel = Kernel::detect();
        let (mut q, mut g, mut products) = <(Packed, Packed, Products)>::default();
        for (queries, items) in [(20, 90), (1, 1), (7, 33)] {
            let (a, b) = (values(queries * 5, 5), values(items * 5, 6));
            kernel.pack_queries(a.chunks_exact(5), 5, &mut q);
            kernel.pack_items(b.chunks_exact(5), 5, &mut g);
            kernel.multiply(&q, &g, 5, &mut products);
            let fresh = product(&a, &b, 5);
            for (i, row) in fresh.iter().enumerate() {
                assert_eq!(products.row_mut(i, items), row);
            }
        }
    }
}
