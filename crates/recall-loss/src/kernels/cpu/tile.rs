//! The similarities between two blocks of items, both ways.

use super::{
    arrangement::{Arrangement, BLOCK, Block, Mixture},
    setting::{EXCLUDED, Setting},
    side::Side,
};
use crate::kernels::product::multiply;

/// Similarities of the items of a block to those of another, `[BLOCK, BLOCK]` with a margin of
/// excluded ones, and the same transposed. Items of one class are excluded: `within` compares them.
pub(super) struct Tile {
    pub(super) rows: Vec<f32>,
    pub(super) columns: Vec<f32>,
    /// `[rows, rows]` of the blocks: products of real rows.
    real: Vec<f32>,
    /// `[rows, BLOCK]`: these with mixed columns.
    half: Vec<f32>,
    left: Side,
    right: Side,
    /// The greatest similarity of items of two classes.
    pub(super) greatest: f32,
}

impl Default for Tile {
    fn default() -> Self {
        Self {
            rows: vec![0.0; BLOCK * BLOCK],
            columns: vec![0.0; BLOCK * BLOCK],
            real: Vec::new(),
            half: Vec::new(),
            left: Side::default(),
            right: Side::default(),
            greatest: 0.0,
        }
    }
}

impl Tile {
    /// Makes ready for the tiles of a block with others.
    pub(super) fn begin(&mut self, setting: &Setting<'_>, left: &Block) {
        self.left.take(setting, &left.rows);
    }

    /// The embeddings of both blocks' rows.
    pub(super) fn sides<'a>(
        &'a self,
        setting: &Setting<'a>,
        left: &Block,
        right: &Block,
    ) -> (&'a [f32], &'a [f32]) {
        (
            self.left.values(setting, &left.rows),
            self.right.values(setting, &right.rows),
        )
    }

    /// Computes the similarities between the block that was begun with and another, of neighbours; from
    /// what [`products`](Self::products) gave for them, if that was kept.
    pub(super) fn compute(
        &mut self,
        setting: &Setting<'_>,
        arrangement: &Arrangement,
        left: &Block,
        right: &Block,
        kept: Option<&[f32]>,
    ) {
        self.right.take(setting, &right.rows);
        let left_rows = self.left.matrix(setting, &left.rows);
        let right_rows = self.right.matrix(setting, &right.rows).transposed();
        match (&left.mixtures, &right.mixtures) {
            (Some(left_mixtures), Some(right_mixtures)) => {
                let count = right.rows.len();
                self.real.resize(left.rows.len() * count, 0.0);
                match kept {
                    Some(kept) => self.real.copy_from_slice(kept),
                    None => multiply(&mut self.real, count, false, left_rows, right_rows),
                }
                self.mix(count, left.rows.len(), left_mixtures, right_mixtures);
            }
            _ => match kept {
                Some(kept) => self.rows[..kept.len()].copy_from_slice(kept),
                None => multiply(&mut self.rows, BLOCK, false, left_rows, right_rows),
            },
        }

        let (width, columns) = (right.items.len(), right.span());
        let padded = width.next_multiple_of(LANES);
        self.greatest = EXCLUDED;
        for (row, &position) in self.rows.chunks_exact_mut(BLOCK).zip(&left.items) {
            row[width..padded].fill(EXCLUDED);
            let class = &arrangement.classes[arrangement.class[position] as usize].items;
            if class.end > columns.start && class.start < columns.end {
                let start = class.start.max(columns.start) - columns.start;
                let end = class.end.min(columns.end) - columns.start;
                row[start..end].fill(EXCLUDED);
            }
            self.greatest = greatest(&row[..padded]).max(self.greatest);
        }
    }

    /// What took a matrix product to compute.
    pub(super) fn products(&self, left: &Block) -> &[f32] {
        match left.mixtures {
            Some(_) => &self.real,
            None => &self.rows[..left.items.len() * BLOCK],
        }
    }

    /// Mixes columns, then rows, of the products of real rows.
    fn mix(&mut self, count: usize, rows: usize, left: &[Mixture], right: &[Mixture]) {
        self.half.resize(rows * BLOCK, 0.0);
        for (half, real) in self
            .half
            .chunks_exact_mut(BLOCK)
            .zip(self.real.chunks_exact(count))
        {
            for (value, mixture) in half.iter_mut().zip(right) {
                *value = mixture.alpha * real[mixture.first]
                    + (1.0 - mixture.alpha) * real[mixture.second];
            }
        }
        for (row, mixture) in self.rows.chunks_exact_mut(BLOCK).zip(left) {
            let first = &self.half[mixture.first * BLOCK..][..BLOCK];
            let second = &self.half[mixture.second * BLOCK..][..BLOCK];
            for ((value, a), b) in row.iter_mut().zip(first).zip(second) {
                *value = mixture.alpha * a + (1.0 - mixture.alpha) * b;
            }
        }
    }

    /// Makes `columns` the transpose of `rows`.
    pub(super) fn flip(&mut self, left: &Block, right: &Block) {
        let (height, width) = (left.items.len(), right.items.len());
        transpose(&self.rows, &mut self.columns, height, width);
        let padded = height.next_multiple_of(LANES);
        for column in self.columns.chunks_exact_mut(BLOCK).take(width) {
            column[height..padded].fill(EXCLUDED);
        }
    }
}

/// Rows of a tile with as many similarities as there are items, and padding.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) width: usize,
}

impl<'a> Rows<'a> {
    /// One row, padded with excluded similarities to whole vectors.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * BLOCK..][..self.width.next_multiple_of(LANES)]
    }
}

/// Rows of tiles end at multiples of this, the longest vector of any instruction set.
pub(super) const LANES: usize = 16;

const _: () = assert!(BLOCK.is_multiple_of(LANES));

/// Transposes the upper left `[height, width]` of a `[BLOCK, BLOCK]` square, in patches that stay in
/// the nearest cache.
#[inline(always)]
pub(super) fn transpose(from: &[f32], to: &mut [f32], height: usize, width: usize) {
    for top in (0..height.next_multiple_of(LANES)).step_by(LANES) {
        for left in (0..width.next_multiple_of(LANES)).step_by(LANES) {
            for column in 0..LANES {
                let target = &mut to[(left + column) * BLOCK + top..][..LANES];
                for (row, value) in target.iter_mut().enumerate() {
                    *value = from[(top + row) * BLOCK + left + column];
                }
            }
        }
    }
}

#[inline(always)]
fn greatest(row: &[f32]) -> f32 {
    let mut lanes = [EXCLUDED; LANES];
    for chunk in row.chunks_exact(LANES) {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.into_iter().fold(EXCLUDED, f32::max)
}
