//! Which items a query is ranked against and which it should find, by their numbers alone: whatever
//! the embeddings are, and wherever.

use std::ops::Range;

use super::IgnoreGroup;
use super::members::Members;
use crate::EvalError;

/// What each query is ranked against, and what it should find.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// How many there are.
    queries: usize,
    /// How many items there are.
    gallery: usize,
    /// Query i is gallery item i.
    one_set: bool,
    relevance: Relevance,
    /// Sorted, without repetitions; empty when there is none for any query.
    junk: Vec<Vec<u32>>,
    /// Items to ignore because of their group.
    ignored: Option<Members>,
}

#[derive(Clone, Debug)]
enum Relevance {
    /// The items of a query's class.
    Classes(Members),
    /// Sorted, without repetitions.
    Lists(Vec<Vec<u32>>),
}

impl Task {
    pub fn each_against_rest(labels: &[i64], rows: usize) -> Result<Self, EvalError> {
        check_labels("embeddings", labels, rows)?;
        let relevance = Relevance::Classes(Members::by_key(labels, labels));
        Self::new([rows, rows], true, relevance)
    }

    pub fn query_against_gallery(
        query_labels: &[i64],
        gallery_labels: &[i64],
        [queries, gallery]: [usize; 2],
    ) -> Result<Self, EvalError> {
        check_labels("queries", query_labels, queries)?;
        check_labels("gallery items", gallery_labels, gallery)?;
        let relevance = Relevance::Classes(Members::by_key(query_labels, gallery_labels));
        Self::new([queries, gallery], false, relevance)
    }

    pub fn of_lists(positives: Vec<Vec<u32>>, sides: [usize; 2]) -> Result<Self, EvalError> {
        let mut task = Self::new(sides, false, Relevance::Lists(Vec::new()))?;
        task.set_positives(positives)?;
        Ok(task)
    }

    fn new(sides: [usize; 2], one_set: bool, relevance: Relevance) -> Result<Self, EvalError> {
        for rows in sides {
            // Ids, ranks and counts are u32.
            if rows >= u32::MAX as usize {
                return Err(EvalError::TooManyItems { rows });
            }
        }
        let [queries, gallery] = sides;
        Ok(Self {
            queries,
            gallery,
            one_set,
            relevance,
            junk: Vec::new(),
            ignored: None,
        })
    }

    pub fn set_positives(&mut self, positives: Vec<Vec<u32>>) -> Result<(), EvalError> {
        self.relevance = Relevance::Lists(self.check_lists("positives", positives)?);
        Ok(())
    }

    pub fn set_junk(&mut self, junk: Vec<Vec<u32>>) -> Result<(), EvalError> {
        self.junk = self.check_lists("junk", junk)?;
        Ok(())
    }

    pub fn set_groups(
        &mut self,
        query_groups: &[i64],
        gallery_groups: &[i64],
        which: IgnoreGroup,
    ) -> Result<(), EvalError> {
        let sides = [
            ("queries", query_groups, self.queries),
            ("gallery items", gallery_groups, self.gallery),
        ];
        for (what, groups, rows) in sides {
            if groups.len() != rows {
                return Err(EvalError::GroupCount {
                    what,
                    groups: groups.len(),
                    rows,
                });
            }
        }
        self.ignored = Some(match (which, &self.relevance) {
            (IgnoreGroup::All, _) => Members::by_key(query_groups, gallery_groups),
            (IgnoreGroup::SameClass, Relevance::Lists(_)) => return Err(EvalError::NoClasses),
            (IgnoreGroup::SameClass, Relevance::Classes(classes)) => {
                let (of_queries, of_items) = classes.numbers();
                let pairs = |classes: Vec<usize>, groups: &[i64]| -> Vec<(usize, i64)> {
                    classes.into_iter().zip(groups.iter().copied()).collect()
                };
                Members::by_key(
                    &pairs(of_queries, query_groups),
                    &pairs(of_items, gallery_groups),
                )
            }
        });
        Ok(())
    }

    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Number of gallery items.
    pub fn gallery(&self) -> usize {
        self.gallery
    }

    fn check_lists(
        &self,
        what: &'static str,
        mut lists: Vec<Vec<u32>>,
    ) -> Result<Vec<Vec<u32>>, EvalError> {
        if lists.len() != self.queries {
            return Err(EvalError::ListCount {
                what,
                lists: lists.len(),
                queries: self.queries,
            });
        }
        let gallery = self.gallery;
        for (query, list) in lists.iter_mut().enumerate() {
            list.sort_unstable();
            list.dedup();
            if let Some(&id) = list.last().filter(|&&id| id as usize >= gallery) {
                return Err(EvalError::UnknownItem {
                    what,
                    query,
                    id,
                    gallery,
                });
            }
        }
        Ok(lists)
    }

    /// The positives in the ranking of query `q`, ascending.
    pub fn positives_of(&self, q: usize) -> impl Iterator<Item = u32> {
        let listed = match &self.relevance {
            Relevance::Classes(members) => members.of(q),
            Relevance::Lists(lists) => &lists[q],
        };
        listed
            .iter()
            .copied()
            .filter(move |&id| !self.leaves(q, id))
    }

    /// A number that queries with the same positives share, as far as classes tell.
    pub fn class_of(&self, q: usize) -> usize {
        match &self.relevance {
            Relevance::Classes(members) => members.start_of(q),
            Relevance::Lists(_) => 0,
        }
    }

    /// The junk and the group of query `q` with ids in `range`. An item may be in both, and the query
    /// itself too.
    pub fn ignored_between(&self, q: usize, range: &Range<usize>) -> [&[u32]; 2] {
        self.ignored(q).map(|ids| {
            let rest = &ids[ids.partition_point(|&id| (id as usize) < range.start)..];
            &rest[..rest.partition_point(|&id| (id as usize) < range.end)]
        })
    }

    /// The id of query `q` in the gallery, if it is there.
    pub fn own_id(&self, q: usize) -> Option<u32> {
        self.one_set.then_some(q as u32)
    }

    /// Number of items in the ranking of query `q`.
    pub fn candidates(&self, q: usize) -> u32 {
        (self.gallery - self.leaving(q).len()) as u32
    }

    /// The items which leave the ranking of query `q`, itself among them, each once.
    pub fn leaving(&self, q: usize) -> Vec<u32> {
        let mut ids = self.ignored(q).concat();
        ids.extend(self.own_id(q));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The junk and the group of query `q`, each ascending.
    fn ignored(&self, q: usize) -> [&[u32]; 2] {
        [
            self.junk.get(q).map_or(&[], Vec::as_slice),
            self.ignored.as_ref().map_or(&[], |groups| groups.of(q)),
        ]
    }

    fn leaves(&self, q: usize, id: u32) -> bool {
        let ignored = self.ignored(q);
        self.own_id(q) == Some(id) || ignored.iter().any(|ids| ids.binary_search(&id).is_ok())
    }
}

fn check_labels(what: &'static str, labels: &[i64], rows: usize) -> Result<(), EvalError> {
    if labels.len() == rows {
        Ok(())
    } else {
        Err(EvalError::LabelCount {
            what,
            labels: labels.len(),
            rows,
        })
    }
}
