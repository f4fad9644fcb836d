//! Queries against a list of gallery items, a tile of similarities at a time.

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

/// One block of queries and the buffers to multiply it with.
pub(crate) struct Sweep<'a> {
    kernel: Kernel,
    gallery: &'a Embeddings,
    tile: usize,
    queries: Packed,
    items: Packed,
    products: Products,
}

impl<'a> Sweep<'a> {
    /// `tile` is capped at [`TILE`]: it must be at least 1.
    pub(crate) fn new<'q>(
        kernel: Kernel,
        queries: impl ExactSizeIterator<Item = &'q [f32]>,
        gallery: &'a Embeddings,
        tile: usize,
    ) -> Self {
        let mut packed = Packed::default();
        kernel.pack_queries(queries, gallery.dim(), &mut packed);
        Self {
            kernel,
            gallery,
            tile: tile.clamp(1, TILE),
            queries: packed,
            items: Packed::default(),
            products: Products::default(),
        }
    }

    /// Calls `visit` with the similarities of the queries to `items` consecutive items of `ids`,
    /// from `start` on.
    pub(crate) fn over(
        &mut self,
        ids: impl Ids,
        mut visit: impl FnMut(Kernel, std::ops::Range<usize>, &mut Products),
    ) {
        let mut start = 0;
        while start < ids.len() {
            let end = (start + self.tile).min(ids.len());
            let gallery = self.gallery;
            let rows = (start..end).map(|at| gallery.row(ids.id(at)));
            self.kernel.pack_items(rows, gallery.dim(), &mut self.items);
            self.kernel.multiply(
                &self.queries,
                &self.items,
                gallery.dim(),
                &mut self.products,
            );
            visit(self.kernel, start..end, &mut self.products);
            start = end;
        }
    }
}

/// Gallery items to sweep over.
pub(crate) trait Ids {
    fn len(&self) -> usize;
    fn id(&self, at: usize) -> usize;
}

/// The first so many items of the gallery.
pub(crate) struct First(pub usize);

impl Ids for First {
    fn len(&self) -> usize {
        self.0
    }

    fn id(&self, at: usize) -> usize {
        at
    }
}

impl Ids for &[u32] {
    fn len(&self) -> usize {
        <[u32]>::len(self)
    }

    fn id(&self, at: usize) -> usize {
        self[at] as usize
    }
}
