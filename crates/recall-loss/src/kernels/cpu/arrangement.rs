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
    pub(super) blocks: Vec<Block>,
    /// What the item at each position is made of.
    mixtures: Vec<Mixture>,
}

/// The positions and the rows of one class.
pub(super) struct Class {
    pub(super) items: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// Neighbouring positions and the rows they are made of.
pub(super) struct Block {
    pub(super) items: Range<usize>,
    pub(super) rows: Range<usize>,
    /// What each item is made of, in rows counted from the first of this block; none where each
    /// item is the row of its number.
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
        let blocks = (0..items.len())
            .step_by(BLOCK)
            .map(|start| {
                let items = start..items.len().min(start + BLOCK);
                Block::new(items, &mixtures, batch.mixup().is_some())
            })
            .collect();
        Self {
            items,
            rows,
            classes,
            class,
            blocks,
            mixtures,
        }
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
                rows: items.clone(),
                items,
                mixtures: None,
            };
        }
        let mixtures = &mixtures[items.clone()];
        let ends = || mixtures.iter().flat_map(|m| [m.first, m.second]);
        let start = ends().min().unwrap_or(0);
        let end = ends().max().map_or(0, |last| last + 1);
        let mixtures = mixtures.iter().map(|m| m.counted_from(start)).collect();
        Self {
            items,
            rows: start..end,
            mixtures: Some(mixtures),
        }
    }
}
