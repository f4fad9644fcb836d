//! The order in which the tiles are visited, by several threads: those on and above the diagonal, or, for the
//! queries of a share, those of each of their blocks with all blocks.
//!
//! A tile adds to the sums of both of its blocks. A step takes one block, the *shared* one, with all
//! blocks from it on, or of a share with all; these are dealt out to tasks, so that each block other than
//! the shared one belongs to one task. For the shared block each task sums for itself, and the step ends
//! by adding these up in the order of the tasks. Which thread runs a task changes nothing.

use rayon::prelude::*;

/// Most tasks of a step.
const TASKS: usize = 32;

/// What is done with the tiles.
pub(super) trait Pass: Sync {
    /// The sums of one block.
    type Sums<'s>: Send + Sync;
    /// The memory of a task, with its sums for the shared block.
    type Task: Default + Send;
    /// What is known of a tile afterwards.
    type Outcome: Send;

    /// Whether a tile has anything to add.
    fn counts(&self, left: usize, right: usize) -> bool;

    /// Prepares a task for the step of a block; `shared` is to be added to.
    fn begin(&self, task: &mut Self::Task, left: usize, shared: &Self::Sums<'_>);

    /// Visits the tile of two blocks; there are no sums for the right one if it is the left one, or if it has
    /// nothing to sum.
    fn tile(
        &self,
        left: usize,
        right: usize,
        task: &mut Self::Task,
        sums: Option<&mut Self::Sums<'_>>,
    ) -> Self::Outcome;

    /// Adds what a task has summed to the shared block.
    fn end(&self, task: &Self::Task, shared: &mut Self::Sums<'_>);
}

/// What is known of the tiles that were visited, with the left and the right block of each.
type Outcomes<P> = Vec<(usize, usize, <P as Pass>::Outcome)>;

/// Visits every tile on and above the diagonal that counts, given the sums of each block; returns the
/// outcomes by the left block, then by the right one.
pub(super) fn run<P: Pass>(pass: &P, sums: &mut [P::Sums<'_>]) -> Outcomes<P> {
    let mut steps = Steps::new(pass);
    let mut outcomes = Vec::new();
    for left in 0..sums.len() {
        let (done, rest) = sums.split_at_mut(left + 1);
        let itself = std::iter::once((left, None));
        let others = (left + 1..)
            .zip(rest)
            .map(|(right, sums)| (right, Some(sums)));
        outcomes.extend(steps.step(left, &mut done[left], itself.chain(others)));
    }
    outcomes
}

/// Visits every tile of the blocks with these sums and of so many others, which have none.
pub(super) fn run_with_all<P: Pass>(
    pass: &P,
    sums: &mut [P::Sums<'_>],
    others: usize,
) -> Outcomes<P> {
    let mut steps = Steps::new(pass);
    let mut outcomes = Vec::new();
    for (left, sums) in sums.iter_mut().enumerate() {
        let others = (0..others).map(|right| (right, None));
        outcomes.extend(steps.step(left, sums, others));
    }
    outcomes
}

/// The steps of a pass, with the memory that its tasks use again in each.
pub(super) struct Steps<'a, P: Pass> {
    pass: &'a P,
    tasks: Vec<P::Task>,
}

impl<'a, P: Pass> Steps<'a, P> {
    pub(super) fn new(pass: &'a P) -> Self {
        let tasks = Vec::new();
        Self { pass, tasks }
    }

    /// Visits the tiles of one block, the shared one, with some others that count, each with its sums if it
    /// has any.
    pub(super) fn step<'r, 's: 'r>(
        &mut self,
        left: usize,
        shared: &mut P::Sums<'_>,
        rights: impl Iterator<Item = (usize, Option<&'r mut P::Sums<'s>>)>,
    ) -> Outcomes<P>
    where
        P: 'r,
    {
        let pass = self.pass;
        let mut tiles: Vec<_> = rights
            .filter(|&(right, _)| pass.counts(left, right))
            .collect();
        let each = tiles.len().div_ceil(TASKS).max(1);
        let used = tiles.len().div_ceil(each);
        if self.tasks.len() < used {
            self.tasks.resize_with(used, Default::default);
        }
        let begun = &*shared;
        let found: Vec<Vec<_>> = tiles
            .par_chunks_mut(each)
            .zip(&mut self.tasks)
            .map(|(tiles, task)| {
                pass.begin(task, left, begun);
                tiles
                    .iter_mut()
                    .map(|(right, sums)| {
                        let sums = sums.as_deref_mut();
                        (left, *right, pass.tile(left, *right, task, sums))
                    })
                    .collect()
            })
            .collect();
        for task in &self.tasks[..used] {
            pass.end(task, shared);
        }
        found.into_iter().flatten().collect()
    }
}

/// Cuts a slice into pieces of the given lengths.
pub(super) fn split<'a, T>(mut rest: &'a mut [T], lengths: &[usize]) -> Vec<&'a mut [T]> {
    let pieces = lengths.iter().map(|&length| cut(&mut rest, length));
    pieces.collect()
}

/// Cuts the first piece of a slice off.
pub(super) fn cut<'a, T>(rest: &mut &'a mut [T], length: usize) -> &'a mut [T] {
    let (piece, tail) = std::mem::take(rest).split_at_mut(length);
    *rest = tail;
    piece
}

pub(super) fn add(target: &mut [f32], values: &[f32]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += value;
    }
}
