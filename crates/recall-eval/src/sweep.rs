//! Queries against a list of gallery items, a tile of similarities at a time.

use std::ops::Range;

use crate::Embeddings;
use crate::kernel::{Kernel, Packed, Products};

/// Gallery items of a tile: at 512 dimensions half a mebibyte, about what the caches of one core
/// hold.
pub(crate) const TILE: usize = 256;

/// Queries of a block, by default: up to 512, so that bringing a gallery item into the kernel's
/// layout costs little beside its products, but in small sets a few blocks for each thread.
pub(crate) fn block_size(queries: usize) -> usize {
    queries
        .div_ceil(4 * rayon::current_num_threads())
        .clamp(64, 512)
}

/// One block of queries in the kernel's layout.
pub(crate) struct Sweep {
    kernel: Kernel,
    dim: usize,
    tile: usize,
    queries: Packed,
}

/// The buffers to multiply a block with, for one block after the other.
#[derive(Default)]
pub(crate) struct Buffers {
    items: Packed,
    products: Products,
}

impl Sweep {
    /// `tile` is capped at [`TILE`]: it must be at least 1.
    pub(crate) fn new<'q>(
        kernel: Kernel,
        queries: impl ExactSizeIterator<Item = &'q [f32]>,
        dim: usize,
        tile: usize,
    ) -> Self {
        let mut packed = Packed::default();
        kernel.pack_queries(queries, dim, &mut packed);
        Self {
            kernel,
            dim,
            tile: tile.clamp(1, TILE),
            queries: packed,
        }
    }

    /// Calls `visit` with the similarities of the queries to consecutive items, of which the range
    /// is given.
    pub(crate) fn over(
        &self,
        items: impl Items,
        buffers: &mut Buffers,
        mut visit: impl FnMut(Kernel, Range<usize>, &mut Products),
    ) {
        let Buffers {
            items: packed,
            products,
        } = buffers;
        let mut start = 0;
        while start < items.len() {
            let end = (start + self.tile).min(items.len());
            let rows = (start..end).map(|at| items.row(at));
            self.kernel.pack_items(rows, self.dim, packed);
            (self.kernel).multiply(&self.queries, packed, self.dim, products);
            visit(self.kernel, start..end, products);
            start = end;
        }
    }
}

/// Gallery items to sweep over.
pub(crate) trait Items {
    fn len(&self) -> usize;
    fn row(&self, at: usize) -> &[f32];
}

/// Rows one after the other, `[rows, dim]`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub values: &'a [f32],
    pub dim: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(embeddings: &'a Embeddings) -> Self {
        Self {
            values: embeddings.as_slice(),
            dim: embeddings.dim(),
        }
    }
}

impl Items for Rows<'_> {
    fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.dim..][..self.dim]
    }
}

/// Some of the rows, by their numbers.
pub(crate) struct Chosen<'a> {
    pub rows: Rows<'a>,
    pub which: &'a [u32],
}

impl Items for Chosen<'_> {
    fn len(&self) -> usize {
        self.which.len()
    }

    fn row(&self, at: usize) -> &[f32] {
        self.rows.row(self.which[at] as usize)
    }
}
