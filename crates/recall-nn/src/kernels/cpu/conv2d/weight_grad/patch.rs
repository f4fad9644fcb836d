use std::ops::Range;

use super::super::shape::Conv2dShape;

/// The most vectors of positions in a patch. The sums of their lanes are added once for each patch,
/// which shorter ones would have to do more often; longer ones do not stay in the caches.
const MOST_VECTORS: usize = 50;

/// Positions that are worked on together: the same columns of some lines of the output. The lines
/// of all images are counted on.
pub(super) struct Patch {
    pub(super) lines: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Patch {
    pub(super) fn count(&self) -> usize {
        self.lines.len() * self.columns.len()
    }
}

/// How the positions are divided into patches.
#[derive(Clone, Copy)]
pub(super) struct Patches {
    /// The most columns in a patch.
    pub(super) columns: usize,
    /// The most lines in a patch.
    pub(super) lines: usize,
    /// Numbers from one row of a patch's values to the next.
    pub(super) pitch: usize,
}

impl Patches {
    pub(super) fn new(shape: &Conv2dShape, lanes: usize) -> Self {
        // A few lanes do not make a patch too short for what it costs beside.
        let most = MOST_VECTORS * lanes.max(8);
        let width = shape.out_width();
        let columns = width.div_ceil(width.div_ceil(most));
        Self {
            columns,
            lines: most / columns,
            // Room for a vector behind the positions; and an odd number of cache lines, so that
            // rows do not compete for the same places in the cache.
            pitch: ((most + 16).div_ceil(16) | 1) * 16,
        }
    }

    /// All patches.
    pub(super) fn of(self, shape: &Conv2dShape) -> impl Iterator<Item = Patch> {
        let (width, all) = (shape.out_width(), shape.n * shape.out_height());
        (0..all).step_by(self.lines).flat_map(move |line| {
            (0..width).step_by(self.columns).map(move |column| Patch {
                lines: line..(line + self.lines).min(all),
                columns: column..(column + self.columns).min(width),
            })
        })
    }
}
