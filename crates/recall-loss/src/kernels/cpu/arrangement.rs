//! The items of a batch in the order of their classes, cut into blocks.
//!
//! With the classes side by side, the items of a query's own class are one range, which the kernels
//! leave out of a block of similarities by its bounds; and the real rows that a block of items is
//! made of are one range too, so that matrix products read them where they lie.

use std::ops::Range;

use crate::RecallBatch;

/// Items of a block: a square of similarities fits into the second-level cache with its transpose.
pub(super) const BLOCK: usize = 256;

/// Where everything lies. A *position* numbers the items in the order of their classes, a *row* the
/// real ones among them.
pub(super) struct Arrangement {
    /// The item at each position.
    pub(super) items: Vec<usize>,
    /// The row of the batch at each row.
    pub(super) rows: Vec<usize>,
    pub(super) classes: Vec<Class>,
    /// The class of each position.
    pub(super) class: Vec<u32>,
    /// Whether the item at each position is asked for as a query.
    pub(super) asked: Vec<bool>,
    /// All items, as references; of a whole batch they are its queries as well.
    pub(super) blocks: Vec<Block>,
    /// The queries of a share.
    share: Option<Vec<Block>>,
    /// What the item at each position is made of.
    mixtures: Vec<Mixture>,
}

/// The positions and the rows of one class.
pub(super) struct Class {
    pub(super) items: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// Some positions and the rows they are made of, both ascending; side by side unless they are the queries of
/// a share.
pub(super) struct Block {
    pub(super) items: Vec<usize>,
    pub(super) rows: Vec<usize>,
    /// What each item is made of, in places among the rows of this block; none where each item is the
    /// row of its number.
    pub(super) mixtures: Option<Vec<Mixture>>,
}

/// `alpha · first + (1 − alpha) · second`, two rows.
#[derive(Clone, Copy)]
pub(super) struct Mixture {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) alpha: f32,
}

impl Mixture {
    fn counted_from(self, start: usize) -> Self {
        Self {
            first: self.first - start,
            second: self.second - start,
            ..self
        }
    }

    fn counted_among(self, rows: &[usize]) -> Self {
        let place = |row| rows.partition_point(|&other| other < row);
        Self {
            first: place(self.first),
            second: place(self.second),
            ..self
        }
    }
}

impl Arrangement {
    pub(super) fn new(batch: &RecallBatch) -> Self {
        let n = batch.rows();
        let mut items = Vec::with_capacity(batch.items());
        let mut rows = Vec::with_capacity(n);
        let mut classes = Vec::with_capacity(batch.classes().len());
        let mut class = Vec::with_capacity(batch.items());
        let mut place = vec![0; n];
        for members in batch.classes() {
            let (first_item, first_row) = (items.len(), rows.len());
            for &item in members {
                if item < n {
                    place[item] = rows.len();
                    rows.push(item);
                }
                class.push(classes.len() as u32);
                items.push(item);
            }
            classes.push(Class {
                items: first_item..items.len(),
                rows: first_row..rows.len(),
            });
        }

        let mixtures: Vec<Mixture> = items
            .iter()
            .map(|&item| match (item.checked_sub(n), batch.mixup()) {
                (Some(pair), Some(mixup)) => Mixture {
                    first: place[mixup.first[pair]],
                    second: place[mixup.second[pair]],
                    alpha: mixup.alpha[pair] as f32,
                },
                _ => Mixture {
                    first: place[item],
                    second: place[item],
                    alpha: 1.0,
                },
            })
            .collect();
        let asked: Vec<bool> = items.iter().map(|&item| batch.asks(item)).collect();
        let mixed = batch.mixup().is_some();
        let share: Option<Vec<Block>> = (!batch.is_whole()).then(|| {
            let has_positives = |position: usize| {
                let class: &Class = &classes[class[position] as usize];
                class.items.len() > 1
            };
            let queries = (0..items.len()).filter(|&p| asked[p] && has_positives(p));
            let queries: Vec<usize> = queries.collect();
            let blocks = queries.chunks(BLOCK);
            blocks
                .map(|queries| Block::of_some(queries, &mixtures, mixed))
                .collect()
        });
        let bounds = match share {
            Some(_) if mixed => between_classes(&classes),
            _ => (0..items.len()).step_by(BLOCK).collect(),
        };
        let ends = bounds.iter().skip(1).copied().chain([items.len()]);
        let blocks = bounds
            .iter()
            .zip(ends)
            .map(|(&start, end)| Block::new(start..end, &mixtures, mixed))
            .collect();
        Self {
            items,
            rows,
            classes,
            class,
            asked,
            blocks,
            share,
            mixtures,
        }
    }

    /// Whether the queries are those of a share, in blocks of their own.
    pub(super) fn is_share(&self) -> bool {
        self.share.is_some()
    }

    /// All queries that have positives, in blocks.
    pub(super) fn queries(&self) -> &[Block] {
        self.share.as_ref().unwrap_or(&self.blocks)
    }

    /// Whether a class has a query that is asked for.
    pub(super) fn asks(&self, class: &Class) -> bool {
        self.asked[class.items.clone()].contains(&true)
    }

    /// What the items of a class are made of, in rows counted from its first.
    pub(super) fn mixtures_of(&self, class: &Class) -> impl Iterator<Item = Mixture> {
        let start = class.rows.start;
        self.mixtures[class.items.clone()]
            .iter()
            .map(move |mixture| mixture.counted_from(start))
    }
}

impl Block {
    fn new(items: Range<usize>, mixtures: &[Mixture], mixed: bool) -> Self {
        if !mixed {
            return Self {
                rows: items.clone().collect(),
                items: items.collect(),
                mixtures: None,
            };
        }
        let mixtures = &mixtures[items.clone()];
        let ends = || mixtures.iter().flat_map(|m| [m.first, m.second]);
        let start = ends().min().unwrap_or(0);
        let end = ends().max().map_or(0, |last| last + 1);
        let mixtures = mixtures.iter().map(|m| m.counted_from(start)).collect();
        Self {
            items: items.collect(),
            rows: (start..end).collect(),
            mixtures: Some(mixtures),
        }
    }

    /// With the rows of these items alone, wherever they lie.
    fn of_some(items: &[usize], mixtures: &[Mixture], mixed: bool) -> Self {
        if !mixed {
            return Self {
                rows: items.to_vec(),
                items: items.to_vec(),
                mixtures: None,
            };
        }
        let mixtures = || items.iter().map(|&item| mixtures[item]);
        let mut rows: Vec<_> = mixtures().flat_map(|m| [m.first, m.second]).collect();
        rows.sort_unstable();
        rows.dedup();
        Self {
            items: items.to_vec(),
            mixtures: Some(mixtures().map(|m| m.counted_among(&rows)).collect()),
            rows,
        }
    }

    /// From the first position to the last.
    pub(super) fn span(&self) -> Range<usize> {
        span(&self.items)
    }

    /// From the first row to the last.
    pub(super) fn span_of_rows(&self) -> Range<usize> {
        span(&self.rows)
    }
}

fn span(ascending: &[usize]) -> Range<usize> {
    match ascending {
        [] => 0..0,
        [first, ..] => *first..ascending[ascending.len() - 1] + 1,
    }
}

/// Where blocks begin that hold whole classes, so that no two of them are made of the same row. A class that
/// exceeds a block is cut.
fn between_classes(classes: &[Class]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut start = 0;
    for class in classes {
        let items = &class.items;
        if starts.is_empty() || items.end - start > BLOCK {
            starts.extend(items.clone().step_by(BLOCK));
            start = starts[starts.len() - 1];
        }
    }
    starts
}
