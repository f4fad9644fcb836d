//! How kernels find a query, its positives, and the place of their numbers.
//!
//! Numbers of positives, such as ranks, lie query by query within a block, `count` to a query: in
//! the order of its class, itself left out.

use cubecl::prelude::*;

/// Numbers in the table that describe one query.
pub(super) const QUERY_FIELDS: usize = 6;

/// One query, as [`Tables`](super::tables::Tables) wrote it.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Query {
    /// Its item number.
    pub item: usize,
    /// Where its class starts in the list of members.
    pub start: usize,
    /// How many positives it has.
    pub count: usize,
    /// Its own place in its class.
    pub place: usize,
    /// Where its positives' numbers start in the block.
    pub slot: usize,
    /// Its place among all queries in ascending order of items.
    pub target: usize,
}

#[cube]
impl Query {
    pub fn read(queries: &Array<u32>, query: usize) -> Query {
        let at = query * QUERY_FIELDS;
        Query {
            item: queries[at] as usize,
            start: queries[at + 1] as usize,
            count: queries[at + 2] as usize,
            place: queries[at + 3] as usize,
            slot: queries[at + 4] as usize,
            target: queries[at + 5] as usize,
        }
    }

    /// The item number of its `j`-th positive.
    pub fn positive(&self, members: &Array<u32>, j: usize) -> usize {
        let skip = select(j >= self.place, 1usize, 0usize);
        members[self.start + j + skip] as usize
    }

    /// Which of its positives an item is, by that item's position in the list of members; `count`
    /// if it is none.
    pub fn slot_of(&self, position: usize) -> usize {
        let mut slot = self.count;
        if position >= self.start && position <= self.start + self.count {
            let place = position - self.start;
            if place < self.place {
                slot = place;
            } else if place > self.place {
                slot = place - 1;
            }
        }
        slot
    }
}
