use std::ops::Range;

use super::super::shape::Conv2dShape;

/// The most positions in a patch.
const MOST_POSITIONS: usize = 400;

/// Numbers from one row of a patch's values to the next: room for the positions and for a vector
/// behind them, and an odd number of cache lines, so that rows do not compete for the same places
/// in the cache.
pub(super) const ROW: usize = MOST_POSITIONS + 32;

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

/// The most columns and lines in a patch.
pub(super) fn patch_size(shape: &Conv2dShape) -> [usize; 2] {
    let width = shape.out_width();
    let columns = width.div_ceil(width.div_ceil(MOST_POSITIONS));
    [columns, MOST_POSITIONS / columns]
}

/// All positions, patch by patch.
pub(super) fn patches(shape: &Conv2dShape) -> impl Iterator<Item = Patch> {
    let [columns, lines] = patch_size(shape);
    let (width, all) = (shape.out_width(), shape.n * shape.out_height());
    (0..all).step_by(lines).flat_map(move |line| {
        (0..width).step_by(columns).map(move |column| Patch {
            lines: line..(line + lines).min(all),
            columns: column..(column + columns).min(width),
        })
    })
}
