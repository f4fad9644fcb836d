//! What the kernels know of each query's positives: one *slot* for each, and for each slot the soft
//! rank and what follows from it.

use std::ops::Range;

use super::{
    arrangement::{Arrangement, Block},
    sigmoid::{REACH, SATURATED},
};
use crate::Objective;

/// The slots of all queries that are asked for, query by query in the order of positions; within a query
/// by rising similarity.
pub(super) struct Positives {
    /// The first slot of each position, and the number of slots.
    starts: Vec<usize>,
    /// Which item of the class a slot speaks of, counted from the first of the class.
    pub(super) member: Vec<u32>,
    /// `2^((s_x − c)κ)`, `c` the centre of the slot's group.
    pub(super) factor: Vec<f32>,
    /// The soft rank: 1 with what the own class adds, and what other classes add.
    pub(super) rank: Parts,
    /// `Σ_z σ'((s_z − s_x)/τ)`, likewise.
    pub(super) slope: Parts,
    /// The derivative of the loss with respect to the parts of the rank, over τ.
    pub(super) weight: Parts,
    /// The groups of each position.
    group_starts: Vec<usize>,
    groups: Vec<Group>,
}

/// What the own class of a query and what other classes add to something known of each slot.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) within: Vec<f32>,
    pub(super) beyond: Vec<f32>,
}

impl Parts {
    fn new(slots: usize) -> Self {
        Self {
            within: vec![0.0; slots],
            beyond: vec![0.0; slots],
        }
    }
}

/// Slots of a query whose similarities are so near to each other that one exponential of an item's
/// similarity serves them all.
#[derive(Clone)]
pub(super) struct Group {
    /// Slots, counted from the query's first.
    pub(super) slots: Range<u32>,
    /// `κ` times the centre.
    pub(super) centre: f32,
    /// Not above this, an item precedes no positive of the group.
    pub(super) low: f32,
    /// From this on, it precedes all of them.
    pub(super) high: f32,
}

impl Positives {
    pub(super) fn new(arrangement: &Arrangement, objective: &Objective) -> Self {
        let mut starts = Vec::with_capacity(arrangement.items.len() + 1);
        let mut slots = 0;
        for class in &arrangement.classes {
            let each = objective.positives_in(class.items.len());
            for position in class.items.clone() {
                starts.push(slots);
                slots += if arrangement.asked[position] { each } else { 0 };
            }
        }
        starts.push(slots);
        Self {
            starts,
            member: vec![0; slots],
            factor: vec![0.0; slots],
            rank: Parts::new(slots),
            slope: Parts::new(slots),
            weight: Parts::new(slots),
            group_starts: vec![0],
            groups: Vec::new(),
        }
    }

    /// The slots of the queries at some positions.
    pub(super) fn slots(&self, positions: Range<usize>) -> Range<usize> {
        self.starts[positions.start]..self.starts[positions.end]
    }

    /// The slots of the queries of a block. Between those of a share lie items that have none.
    pub(super) fn slots_of(&self, block: &Block) -> Range<usize> {
        self.slots(block.span())
    }

    /// The groups of a query.
    pub(super) fn groups(&self, position: usize) -> &[Group] {
        &self.groups[self.group_starts[position]..self.group_starts[position + 1]]
    }

    /// Appends the groups of the next position.
    pub(super) fn push_groups(&mut self, groups: impl IntoIterator<Item = Group>) {
        self.groups.extend(groups);
        self.group_starts.push(self.groups.len());
    }
}

/// Groups positives, given by rising similarity; `kappa` turns a difference into powers of two.
pub(super) fn group(similarities: &[f32], kappa: f32, factors: &mut [f32]) -> Vec<Group> {
    let mut groups = Vec::with_capacity(1);
    let mut start = 0;
    while start < similarities.len() {
        let least = similarities[start];
        let length = similarities[start..]
            .partition_point(|&similarity| (similarity - least) * kappa <= 2.0 * REACH);
        let end = start + length.max(1);
        let most = similarities[end - 1];
        let centre = kappa * (0.5 * (least + most));
        for (factor, similarity) in factors[start..end]
            .iter_mut()
            .zip(&similarities[start..end])
        {
            *factor = similarity.mul_add(kappa, -centre).exp2();
        }
        groups.push(Group {
            slots: start as u32..end as u32,
            centre,
            low: least - SATURATED / kappa,
            high: most + SATURATED / kappa,
        });
        start = end;
    }
    groups
}
