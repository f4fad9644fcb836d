//! Where the blocks of a batch sum their parts of the gradient while the queries of a share pass by.

use std::ops::Range;

use super::{
    arrangement::Block,
    steps::{add, cut},
};

/// The rows of each block: those of the gradient itself, or, where an earlier block has some of them, rows apart.
/// That happens only within a class that exceeds a block.
pub(super) struct Places {
    rows: Vec<Range<usize>>,
    is_apart: Vec<bool>,
    apart: Vec<f32>,
    dim: usize,
}

impl Places {
    pub(super) fn new(blocks: &[Block], dim: usize) -> Self {
        let rows: Vec<_> = blocks.iter().map(Block::span_of_rows).collect();
        let mut end = 0;
        let mut apart = 0;
        let mut is_apart = Vec::with_capacity(rows.len());
        for rows in &rows {
            is_apart.push(rows.start < end);
            if rows.start < end {
                apart += rows.len();
            } else {
                end = rows.end;
            }
        }
        Self {
            rows,
            is_apart,
            apart: vec![0.0; apart * dim],
            dim,
        }
    }

    /// The sums of each block, `[rows, dim]`, given the gradient in the order of classes.
    pub(super) fn sums<'a>(&'a mut self, mut gradient: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        let mut apart = self.apart.as_mut_slice();
        let mut end = 0;
        let places = self.rows.iter().zip(&self.is_apart);
        places
            .map(|(rows, &is_apart)| {
                let length = rows.len() * self.dim;
                if is_apart {
                    return cut(&mut apart, length);
                }
                cut(&mut gradient, (rows.start - end) * self.dim);
                end = rows.end;
                cut(&mut gradient, length)
            })
            .collect()
    }

    /// Adds what was summed apart.
    pub(super) fn finish(&self, gradient: &mut [f32]) {
        let mut apart = self.apart.as_slice();
        for (rows, _) in self
            .rows
            .iter()
            .zip(&self.is_apart)
            .filter(|place| *place.1)
        {
            let (sums, rest) = apart.split_at(rows.len() * self.dim);
            add(&mut gradient[rows.start * self.dim..], sums);
            apart = rest;
        }
    }
}
