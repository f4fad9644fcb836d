//! The order in which the tiles on and above the diagonal are visited, by several threads.
//!
//! A tile adds to the sums of both of its blocks. A step takes one block, the *shared* one, with all
//! blocks from it on; these are dealt out to tasks, so that each block other than the shared one
//! belongs to one task. For the shared block each task sums for itself, and the step ends by adding
//! these up in the order of the tasks. Which thread runs a task changes nothing.

use rayon::prelude::*;

/// Most tasks of a step.
const TASKS: usize = 32;

/// What is done with the tiles.
pub(super) trait Pass: Sync {
    /// The sums of one block.
    type Sums: Send + Sync;
    /// The memory of a task, with its sums for the shared block.
    type Task: Default + Send;
    /// What is known of a tile afterwards.
    type Outcome: Send;

    /// Whether a tile has anything to add.
    fn counts(&self, left: usize, right: usize) -> bool;

    /// Prepares a task for a step; `shared` is to be added to.
    fn begin(&self, task: &mut Self::Task, shared: &Self::Sums);

    /// Visits the tile of two blocks; there are no sums for the right one if it is the left one.
    fn tile(
        &self,
        left: usize,
        right: usize,
        task: &mut Self::Task,
        sums: Option<&mut Self::Sums>,
    ) -> Self::Outcome;

    /// Adds what a task has summed to the shared block.
    fn end(&self, task: &Self::Task, shared: &mut Self::Sums);
}

/// Visits every tile that counts, given the sums of each block; returns the outcomes with their
/// tiles, by the left block, then by the right one.
pub(super) fn run<P: Pass>(pass: &P, sums: &mut [P::Sums]) -> Vec<(usize, usize, P::Outcome)> {
    let mut tasks: Vec<P::Task> = Vec::new();
    tasks.resize_with(TASKS.min(sums.len()), Default::default);
    let mut outcomes = Vec::new();
    for left in 0..sums.len() {
        let (done, rest) = sums.split_at_mut(left + 1);
        let shared = &mut done[left];
        let itself = std::iter::once((left, None));
        let others = (left + 1..)
            .zip(rest)
            .map(|(right, sums)| (right, Some(sums)));
        let mut tiles: Vec<_> = itself
            .chain(others)
            .filter(|&(right, _)| pass.counts(left, right))
            .collect();
        let each = tiles.len().div_ceil(TASKS).max(1);
        let used = tiles.len().div_ceil(each);
        let found: Vec<Vec<_>> = tiles
            .par_chunks_mut(each)
            .zip(&mut tasks)
            .map(|(tiles, task)| {
                pass.begin(task, shared);
                tiles
                    .iter_mut()
                    .map(|(right, sums)| {
                        let sums = sums.as_deref_mut();
                        (left, *right, pass.tile(left, *right, task, sums))
                    })
                    .collect()
            })
            .collect();
        outcomes.extend(found.into_iter().flatten());
        for task in &tasks[..used] {
            pass.end(task, shared);
        }
    }
    outcomes
}

/// Cuts a slice into pieces of the given lengths.
pub(super) fn split<'a, T>(mut rest: &'a mut [T], lengths: &[usize]) -> Vec<&'a mut [T]> {
    lengths
        .iter()
        .map(|&length| {
            let (piece, tail) = std::mem::take(&mut rest).split_at_mut(length);
            rest = tail;
            piece
        })
        .collect()
}

pub(super) fn add(target: &mut [f32], values: &[f32]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += value;
    }
}
