//! How an epoch is drawn.
//!
//! The images of a class are shuffled and cut into groups of `K = samples_per_class`; what is left
//! over rests for this epoch. A batch takes `P = batch_size / K` groups of different classes. With
//! `T` batches, a class of `g` groups can be in `min(g, T)` of them, so `T` batches can exist only if
//! `Σ min(g, T) ≥ T·P`. That is also enough, as the drawing below shows, so the largest such `T` is the
//! length of the epoch: it depends on the class sizes alone.
//!
//! 1. Of the `Σ min(g, T)` groups, `T·P` are used. Groups are dropped at random, the last group of
//!    a class only when no class has another one: every class is seen if there is room for it.
//! 2. The batches are drawn one after another. With `R` batches to go, a class of `R` groups must be in
//!    this one; no other class has to. The other places go to classes at random, with a probability
//!    in proportion to the groups they have left.
//!
//! Step 2 never fails. Before each batch the groups left are exactly `R·P` and no class has more than
//! `R`. So at most `P` classes must be in the batch, and at least `P` classes have groups at all; after
//! the batch `(R − 1)·P` groups are left and no class has more than `R − 1`. Drawing in proportion keeps
//! large and small classes spread over the whole epoch, where taking the largest first would put
//! the large classes at its start, and cutting one shuffled list would end it early.
//!
//! What is drawn from is called a unit here: a class with its groups, several small classes that
//! stand for one, or a super-class with its portions of a batch.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::ItemId;

/// The most batches of `places` groups of different units that `groups` (a number for each unit)
/// can fill.
pub(super) fn longest_epoch(groups: &[usize], places: usize) -> usize {
    let enough = |steps: usize| {
        let usable: usize = groups.iter().map(|&count| count.min(steps)).sum();
        usable >= steps.saturating_mul(places)
    };
    // Σ min(g, T) − T·P is concave in T and 0 at T = 0: what is enough for T is enough below T.
    let (mut low, mut high) = (0, groups.iter().sum::<usize>() / places);
    while low < high {
        let middle = high - (high - low) / 2;
        if enough(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Draws `steps` batches of `places` groups, each of another unit; no more steps than
/// [`longest_epoch`] says.
pub(super) fn draw(
    units: &mut [Vec<Vec<ItemId>>],
    places: usize,
    steps: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<ItemId>> {
    drop_surplus(units, places, steps, rng);
    (0..steps)
        .rev()
        .map(|later| draw_batch(units, places, later, rng))
        .collect()
}

/// Leaves as many groups as the batches have places, and of no unit more than batches.
fn drop_surplus(units: &mut [Vec<Vec<ItemId>>], places: usize, steps: usize, rng: &mut ChaCha8Rng) {
    let mut used: Vec<usize> = units.iter().map(|unit| unit.len().min(steps)).collect();
    let mut surplus = used.iter().sum::<usize>() - steps * places;

    // First what goes beyond a unit's first group, then first groups.
    let mut beyond: Vec<usize> = Vec::new();
    for (unit, &count) in used.iter().enumerate() {
        beyond.extend(std::iter::repeat_n(unit, count.saturating_sub(1)));
    }
    let mut firsts: Vec<usize> = (0..units.len()).filter(|&unit| used[unit] > 0).collect();
    for droppable in [&mut beyond, &mut firsts] {
        let count = surplus.min(droppable.len());
        let (dropped, _) = droppable.partial_shuffle(rng, count);
        dropped.iter().for_each(|&unit| used[unit] -= 1);
        surplus -= count;
    }
    units
        .iter_mut()
        .zip(used)
        .for_each(|(unit, count)| unit.truncate(count));
}

/// Draws a batch, with `later` batches to come after it.
fn draw_batch(
    units: &mut [Vec<Vec<ItemId>>],
    places: usize,
    later: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<ItemId> {
    // The smallest of waiting times with rates w are a draw without replacement in proportion
    // to w. Who must be in does not wait.
    let mut waiting: Vec<(f64, usize)> = units
        .iter()
        .enumerate()
        .filter(|(_, groups)| !groups.is_empty())
        .map(|(unit, groups)| {
            let uniform: f64 = rng.random();
            let time = -(1.0 - uniform).ln() / groups.len() as f64;
            (if groups.len() > later { -1.0 } else { time }, unit)
        })
        .collect();
    if places < waiting.len() {
        waiting.select_nth_unstable_by(places, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        waiting.truncate(places);
    }
    waiting.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));

    let mut batch = Vec::new();
    for (_, unit) in waiting {
        batch.extend(units[unit].pop().into_iter().flatten());
    }
    batch
}
