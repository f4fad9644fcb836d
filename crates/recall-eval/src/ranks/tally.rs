//! Counts of the items before each positive, and of those that tie with it.

use std::ops::Range;

use super::Key;
use crate::kernel::Reached;

/// What was counted for the positives of a block, one place for each. The positives of a query lie
/// together and are ranked.
///
/// Two ways of counting fill it: a query with few positives compares each with every item, a query
/// with many finds the place of every item among them, and a place holds only what lies between it
/// and the one before.
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

    /// Counts the items of a tile, whose ids begin with `start`, for the positives in `range`.
    /// Up to `few` of them are compared one by one.
    #[inline(always)]
    pub fn count(
        &mut self,
        row: &[f32],
        start: usize,
        positives: Positives<'_>,
        range: Range<usize>,
        few: usize,
        found: &mut Found,
    ) {
        let Some(&least) = positives.levels[range.clone()].last() else {
            return;
        };
        if range.len() <= few {
            self.each(row, start, positives.keys, range);
        } else {
            // Among the embeddings of a good model most items come after the last positive.
            found.take(row, start, least);
            self.placed(found, positives, range);
        }
    }

    /// Adds what was counted of other items, for the same positives. Not for those that were added up.
    pub fn add(&mut self, other: &Self) {
        let sides = [
            (&mut self.before, &other.before),
            (&mut self.tied_before, &other.tied_before),
            (&mut self.tied_after, &other.tied_after),
        ];
        for (counts, others) in sides {
            for (count, other) in counts.iter_mut().zip(others) {
                *count += other;
            }
        }
    }

    /// Compares the items of a tile with each of the positives.
    #[inline(always)]
    fn each(&mut self, row: &[f32], start: usize, keys: &[Key], range: Range<usize>) {
        // Of a good model most positives are above all items of most tiles.
        let highest = highest(row);
        let reached = keys[range.clone()].partition_point(|key| key.similarity() > highest);
        let range = range.start + reached..range.end;
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

    /// Finds the place of each item among the positives, after the last of which none of them comes.
    #[inline(always)]
    pub fn placed(&mut self, found: &mut Found, positives: Positives<'_>, range: Range<usize>) {
        let levels = &positives.levels[range.clone()];
        let before = &mut self.before[range.clone()];
        found.bisect(levels);
        let items = found.similarities.iter().zip(&found.ids).zip(&found.places);
        for ((&item, &id), &place) in items {
            // Below the number of positives, as the item is not below the last.
            let place = place as usize;
            if levels[place] != item {
                before[place] += 1;
                continue;
            }
            // Among positives of its similarity the id decides.
            let keys = &positives.keys[range.clone()];
            let end = place + levels[place..].partition_point(|&positive| positive == item);
            let key = Key::new(item, id);
            let place = place + keys[place..end].partition_point(|positive| *positive <= key);
            if place < end {
                self.tied_before[range.start + place] += 1;
            } else {
                self.tied_after[range.start + end - 1] += 1;
            }
            if let Some(before) = before.get_mut(place) {
                *before += 1;
            }
        }
    }

    /// Adds up what was counted between the positives of a query that has many.
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
    /// similarity; `None` if no other item ties with a positive. `placed`: how it was counted.
    pub fn extremes(
        &self,
        keys: &[Key],
        range: Range<usize>,
        placed: bool,
    ) -> Option<(Vec<u32>, Vec<u32>)> {
        let mut best = Vec::new();
        let mut found = false;
        let mut worst = Vec::new();
        let mut start = range.start;
        for group in keys[range].chunk_by(|a, b| a.similarity() == b.similarity()) {
            let places = start..start + group.len();
            start = places.end;
            let tied: u32 = match placed {
                // Each counted what lies next to it.
                true => (self.tied_before[places.clone()].iter())
                    .chain(&self.tied_after[places.clone()])
                    .sum(),
                false => self.tied_before[places.start] + self.tied_after[places.start],
            };
            // Before the first of them no positive ties.
            let above = self.before[places.start] - self.tied_before[places.start];
            let positives = group.len() as u32;
            // Not below 0, unless a file changed between the two times that its rows were read.
            let others = tied.saturating_sub(positives);
            found |= others > 0;
            best.extend((1..=positives).map(|number| above + number));
            worst.extend((1..=positives).map(|number| above + others + number));
        }
        found.then_some((best, worst))
    }
}

/// The ranked positives of a block, and their similarities alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Positives<'a> {
    pub keys: &'a [Key],
    pub levels: &'a [f32],
}

/// The items of a tile that do not come after a query's last positive, and room for them.
#[derive(Debug, Default)]
pub(super) struct Found {
    similarities: Vec<f32>,
    /// Ascending.
    ids: Vec<u32>,
    /// How many positives are above each.
    places: Vec<u32>,
    /// Similarities of the positives, and below them minus infinity up to a power of two.
    padded: Vec<f32>,
}

impl Found {
    /// Takes those of at least this similarity.
    #[inline(always)]
    fn take(&mut self, row: &[f32], start: usize, least: f32) {
        self.similarities.resize(row.len(), 0.0);
        self.ids.resize(row.len(), 0);
        let mut count = 0;
        for (group, ids) in row.chunks(GROUP).zip((start..).step_by(GROUP)) {
            let mut any = false;
            for &similarity in group {
                any |= similarity >= least;
            }
            if any {
                for (&similarity, id) in group.iter().zip(ids..) {
                    self.similarities[count] = similarity;
                    self.ids[count] = id as u32;
                    count += usize::from(similarity >= least);
                }
            }
        }
        self.similarities.truncate(count);
        self.ids.truncate(count);
    }

    /// Takes those of some items that have at least this similarity and are in none of the lists, which ascend as the
    /// items do. Items are given by their places behind number `start`.
    #[inline(always)]
    pub fn take_from(&mut self, reached: &Reached, start: usize, least: f32, without: [&[u32]; 2]) {
        let Reached {
            similarities,
            items,
        } = reached;
        self.similarities.resize(items.len(), 0.0);
        self.ids.resize(items.len(), 0);
        let all_stay = without.iter().all(|ids| ids.is_empty());
        let mut count = 0;
        for (&similarity, &item) in similarities.iter().zip(items) {
            let id = start as u32 + item;
            self.similarities[count] = similarity;
            self.ids[count] = id;
            let stays = all_stay || without.iter().all(|ids| ids.binary_search(&id).is_err());
            count += usize::from(similarity >= least && stays);
        }
        self.similarities.truncate(count);
        self.ids.truncate(count);
    }

    /// Finds how many of `levels`, which descend, are above each item.
    #[inline(always)]
    fn bisect(&mut self, levels: &[f32]) {
        self.places.clear();
        self.places.resize(self.similarities.len(), 0);
        self.padded.clear();
        self.padded.extend_from_slice(levels);
        // A power of two that is known to the compiler, so that no access needs a check; one place
        // at least is padding.
        match levels.len() {
            ..16 => self.bisect_in::<16>(),
            16..64 => self.bisect_in::<64>(),
            64..256 => self.bisect_in::<256>(),
            256..1024 => self.bisect_in::<1024>(),
            1024..4096 => self.bisect_in::<4096>(),
            _ => {
                for (place, &item) in self.places.iter_mut().zip(&self.similarities) {
                    *place = levels.partition_point(|&positive| positive > item) as u32;
                }
            }
        }
    }

    /// Several items at a time: the steps of one wait for each other.
    #[inline(always)]
    fn bisect_in<const N: usize>(&mut self) {
        self.padded.resize(N, f32::NEG_INFINITY);
        let Some(levels) = self.padded.first_chunk::<N>() else {
            return;
        };
        let (items, rest) = self.similarities.as_chunks::<LANES>();
        let (places, rest_places) = self.places.as_chunks_mut::<LANES>();
        for (items, places) in items.iter().zip(places) {
            let mut found = [0; LANES];
            bisect_lanes(levels, items, &mut found);
            *places = found;
        }
        if !rest.is_empty() {
            let (mut items, mut found) = ([0.0; LANES], [0; LANES]);
            items[..rest.len()].copy_from_slice(rest);
            bisect_lanes(levels, &items, &mut found);
            rest_places.copy_from_slice(&found[..rest.len()]);
        }
    }
}

/// Items whose places are found together.
const LANES: usize = 16;

/// Not a closure: those are not compiled for the processor with what is around them.
#[inline(always)]
fn bisect_lanes<const N: usize>(
    levels: &[f32; N],
    items: &[f32; LANES],
    places: &mut [u32; LANES],
) {
    let mut step = N as u32 / 2;
    while step > 0 {
        for lane in 0..LANES {
            let probe = levels[(places[lane] + step - 1) as usize & (N - 1)];
            places[lane] += if probe > items[lane] { step } else { 0 };
        }
        step /= 2;
    }
}

/// Items that are passed over together: two vectors of AVX-512.
const GROUP: usize = 32;

/// The highest similarity of a row. Lane by lane, so that it vectorises.
#[inline(always)]
fn highest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 32];
    let (groups, rest) = row.as_chunks::<32>();
    for group in groups {
        for (lane, &item) in lanes.iter_mut().zip(group) {
            *lane = if item > *lane { item } else { *lane };
        }
    }
    (lanes.iter().chain(rest)).fold(f32::NEG_INFINITY, |high, &item| high.max(item))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_finds_every_place() {
        let mut found = Found::default();
        for count in [
            1, 2, 15, 16, 17, 63, 64, 255, 256, 1_000, 1_023, 1_024, 4_095, 4_096, 5_000,
        ] {
            // Every third level twice.
            let level = |at: usize| -((at - usize::from(at % 3 == 1)) as f32);
            let levels: Vec<f32> = (0..count).map(level).collect();
            let items = [
                0.5,
                -0.5,
                -1.0,
                -(count as f32) / 2.0,
                -(count as f32) * 0.7 - 0.5,
            ];
            let row: Vec<f32> = items
                .into_iter()
                .cycle()
                .take(77)
                .chain(levels.clone())
                .collect();
            found.take(&row, 9, *levels.last().unwrap());
            found.bisect(&levels);
            let kept: Vec<(usize, f32)> = (9..)
                .zip(row)
                .filter(|(_, item)| item >= levels.last().unwrap())
                .collect();
            assert_eq!(found.ids.len(), kept.len());
            for (at, &(id, item)) in kept.iter().enumerate() {
                assert_eq!((found.ids[at], found.similarities[at]), (id as u32, item));
                let want = levels.partition_point(|&level| level > item);
                assert_eq!(found.places[at] as usize, want, "{item} among {count}");
            }
        }
    }
}
