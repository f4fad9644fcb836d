//! Counts of the items before each positive, and of those that tie with it.

use std::ops::Range;

use super::Key;

/// What was counted for the positives of a block, one place for each. The positives of a query lie
/// together and are ranked.
///
/// Two ways of counting fill it: a query with few positives compares each with every item
/// ([`each`](Self::each)), a query with many merges sorted items with them
/// ([`merged`](Self::merged)), where a place holds only what lies between it and the one before.
#[derive(Debug)]
pub(super) struct Tally {
    /// Items that come before the positive, by similarity or, where that is equal, by id.
    before: Vec<u32>,
    /// Of these, items of its similarity.
    tied_before: Vec<u32>,
    /// Items of its similarity that come after it; it is one of them.
    tied_after: Vec<u32>,
}

impl Tally {
    pub fn new(positives: usize) -> Self {
        Self {
            before: vec![0; positives],
            tied_before: vec![0; positives],
            tied_after: vec![0; positives],
        }
    }

    /// Compares the similarities of a tile, whose ids begin with `start`, with each of the positives
    /// in `range`.
    #[inline(always)]
    pub fn each(&mut self, row: &[f32], start: usize, keys: &[Key], range: Range<usize>) {
        for (key, place) in keys[range.clone()].iter().zip(range) {
            let positive = key.similarity();
            // Of the items that tie with it, those with smaller ids come before it.
            let smaller_ids = (key.id() as usize).saturating_sub(start).min(row.len());
            let (smaller, larger) = row.split_at(smaller_ids);
            let [above, not_below] = compare(smaller, positive);
            self.before[place] += not_below;
            self.tied_before[place] += not_below - above;
            let [above, not_below] = compare(larger, positive);
            self.before[place] += above;
            self.tied_after[place] += not_below - above;
        }
    }

    /// Sorts the items of a tile that do not come after the last positive in `range`, and finds the
    /// place of each among the positives.
    #[inline(always)]
    pub fn merged(
        &mut self,
        row: &[f32],
        start: usize,
        keys: &[Key],
        range: Range<usize>,
        items: &mut Vec<Key>,
    ) {
        let keys = &keys[range.clone()];
        let Some(last) = keys.last() else { return };
        let least = last.similarity();
        items.clear();
        items.extend(
            (row.iter().zip(start..))
                .filter(|(similarity, _)| **similarity >= least)
                .map(|(&similarity, id)| Key::new(similarity, id as u32)),
        );
        items.sort_unstable();

        let mut place = 0;
        for item in items {
            while keys.get(place).is_some_and(|key| key <= item) {
                place += 1;
            }
            let ties = |key: &Key| key.similarity() == item.similarity();
            match keys.get(place) {
                Some(next) => {
                    self.before[range.start + place] += 1;
                    if ties(next) {
                        self.tied_before[range.start + place] += 1;
                    } else if place > 0 && ties(&keys[place - 1]) {
                        self.tied_after[range.start + place - 1] += 1;
                    }
                }
                // All that come after the last positive tie with it.
                None => self.tied_after[range.end - 1] += 1,
            }
        }
    }

    /// Adds up what [`merged`](Self::merged) counted between the positives.
    pub fn add_up(&mut self, range: Range<usize>) {
        let mut before = 0;
        for count in &mut self.before[range] {
            before += *count;
            *count = before;
        }
    }

    /// Ranks, ties broken by id.
    pub fn ranks(&self, range: Range<usize>) -> impl Iterator<Item = u32> {
        self.before[range].iter().map(|before| before + 1)
    }

    /// The ranks if all positives come before, and if all come after the other items of equal
    /// similarity; `None` if no other item ties with a positive. `merged`: how it was counted.
    pub fn extremes(
        &self,
        keys: &[Key],
        range: Range<usize>,
        merged: bool,
    ) -> Option<(Vec<u32>, Vec<u32>)> {
        let mut best = Vec::new();
        let mut found = false;
        let mut worst = Vec::new();
        let mut start = range.start;
        for group in keys[range].chunk_by(|a, b| a.similarity() == b.similarity()) {
            let places = start..start + group.len();
            start = places.end;
            let tied: u32 = match merged {
                // Each counted what lies next to it.
                true => (self.tied_before[places.clone()].iter())
                    .chain(&self.tied_after[places.clone()])
                    .sum(),
                false => self.tied_before[places.start] + self.tied_after[places.start],
            };
            // Before the first of them no positive ties.
            let above = self.before[places.start] - self.tied_before[places.start];
            let positives = group.len() as u32;
            let others = tied - positives;
            found |= others > 0;
            best.extend((1..=positives).map(|number| above + number));
            worst.extend((1..=positives).map(|number| above + others + number));
        }
        found.then_some((best, worst))
    }
}

/// How many are above, and how many are not below.
#[inline(always)]
fn compare(row: &[f32], positive: f32) -> [u32; 2] {
    let (mut above, mut not_below) = (0, 0);
    for &item in row {
        above += u32::from(item > positive);
        not_below += u32::from(item >= positive);
    }
    [above, not_below]
}
