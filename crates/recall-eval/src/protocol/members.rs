//! Which gallery items share something with each query.

use std::collections::HashMap;
use std::hash::Hash;

/// For each query, the gallery items of equal key.
#[derive(Clone, Debug)]
pub(super) struct Members {
    /// Where those of each query lie in `members`; empty if the gallery has none.
    of_query: Vec<(usize, usize)>,
    /// Gallery ids, key by key, ascending for one key.
    members: Vec<u32>,
}

impl Members {
    pub fn by_key<K: Copy + Eq + Hash>(query_keys: &[K], gallery_keys: &[K]) -> Self {
        let mut by_key: HashMap<K, (usize, usize)> = HashMap::new();
        for &key in gallery_keys {
            by_key.entry(key).or_default().1 += 1;
        }
        // Counts become ranges that are empty at first and grow as their members come.
        let mut start = 0;
        for range in by_key.values_mut() {
            let count = range.1;
            *range = (start, start);
            start += count;
        }
        let mut members = vec![0; gallery_keys.len()];
        for (id, key) in (0u32..).zip(gallery_keys) {
            if let Some((_, end)) = by_key.get_mut(key) {
                members[*end] = id;
                *end += 1;
            }
        }
        let of_query = query_keys.iter().map(|key| by_key.get(key).copied());
        Self {
            of_query: of_query.map(Option::unwrap_or_default).collect(),
            members,
        }
    }

    /// Those of query `q`, ascending.
    pub fn of(&self, q: usize) -> &[u32] {
        let (start, end) = self.of_query[q];
        &self.members[start..end]
    }

    /// Where those of query `q` lie: a number that queries of one key share.
    pub fn start_of(&self, q: usize) -> usize {
        self.of_query[q].0
    }

    /// A number for the key of each query and of each gallery item: equal keys have equal numbers.
    /// Queries without a gallery item share one, and gallery items without a query share one.
    pub fn numbers(&self) -> (Vec<usize>, Vec<usize>) {
        const NO_QUERY: usize = usize::MAX;
        let mut of_items = vec![NO_QUERY; self.members.len()];
        for &(start, end) in &self.of_query {
            // Once for each key, however many queries have it.
            if start < end && of_items[self.members[start] as usize] == NO_QUERY {
                for &id in &self.members[start..end] {
                    of_items[id as usize] = start;
                }
            }
        }
        let number =
            |&(start, end): &(usize, usize)| if start < end { start } else { NO_QUERY - 1 };
        (self.of_query.iter().map(number).collect(), of_items)
    }
}
