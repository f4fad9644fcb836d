//! Which items a query is ranked against, and which of them it should find.
//!
//! Two protocols cover the benchmarks. In metric learning (CUB-200-2011, Cars196, SOP, iNaturalist)
//! every item of the test set is a query against all the others: [`Retrieval::each_against_rest`].
//! In in-shop retrieval and in landmark retrieval queries and gallery are different sets:
//! [`Retrieval::query_against_gallery`].
//!
//! The similarity is the dot product. Embeddings are taken as they are: bring them to unit length
//! ([`Embeddings::normalised`]) for the cosine, or leave them for inner-product search. Where rows are
//! so long or so short that f32 does not hold their products, copies are ranked that were multiplied by
//! powers of two: no similarity becomes infinite, and none that differ become equal by vanishing.

mod members;
mod range;

use std::borrow::Cow;
use std::ops::Range;

use crate::{Embeddings, EvalError};
use members::Members;

/// Queries, the gallery each is ranked against, and its positives.
///
/// A ranking holds every gallery item but those that leave it before ranks are counted, and are
/// never positives: the query itself where queries and gallery are one set (by identity: a duplicate
/// of the query stays), its [`junk`](Self::junk), and items of its group, if they are to be
/// [ignored](Self::ignore_group). Items are ordered by descending similarity, equal ones by ascending id.
///
/// ```
/// use recall_eval::{Embeddings, Retrieval};
///
/// let embeddings = Embeddings::new(vec![1.0, 0.0, 0.8, 0.6, 0.6, 0.8, 0.0, 1.0], 2)?;
/// let ranks = Retrieval::each_against_rest(&embeddings, &[7, 9, 7, 9])?.ranks()?;
/// // Item 2 comes after item 1 for item 0, and before it only item 1 for item 2.
/// assert_eq!(ranks.of(0), [2]);
/// assert_eq!(ranks.of(2), [3]);
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Retrieval<'a> {
    pub(crate) queries: Cow<'a, Embeddings>,
    pub(crate) gallery: Cow<'a, Embeddings>,
    /// What similarities are to be multiplied with, as exponents of 2, where rows were scaled: one for
    /// each query.
    back: Option<Vec<i32>>,
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

/// Which items of a query's group leave its ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreGroup {
    /// All of them: frames of the query's own sequence.
    All,
    /// Those of the query's class: in the re-identification of persons and vehicles, pictures of
    /// the same one by the same camera. Others of that camera stay, and distract.
    SameClass,
}

impl<'a> Retrieval<'a> {
    /// Every item is a query against all the others; those of its class (equal label) are its
    /// positives.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row.
    pub fn each_against_rest(
        embeddings: &'a Embeddings,
        labels: &[i64],
    ) -> Result<Self, EvalError> {
        check_labels("embeddings", labels, embeddings)?;
        let relevance = Relevance::Classes(Members::by_key(labels, labels));
        Self::build(embeddings, embeddings, true, relevance)
    }

    /// Every query is ranked against the whole gallery; items with its label are its positives.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row, or if the two sets differ in dimension.
    pub fn query_against_gallery(
        queries: &'a Embeddings,
        query_labels: &[i64],
        gallery: &'a Embeddings,
        gallery_labels: &[i64],
    ) -> Result<Self, EvalError> {
        check_labels("queries", query_labels, queries)?;
        check_labels("gallery items", gallery_labels, gallery)?;
        let relevance = Relevance::Classes(Members::by_key(query_labels, gallery_labels));
        Self::build(queries, gallery, false, relevance)
    }

    /// Every query is ranked against the whole gallery; `positives` lists the gallery ids it should
    /// find, for data that has a ground truth instead of labels.
    ///
    /// # Errors
    ///
    /// Those of [`query_against_gallery`](Self::query_against_gallery) and of
    /// [`positives`](Self::positives).
    pub fn query_against_gallery_with(
        queries: &'a Embeddings,
        gallery: &'a Embeddings,
        positives: Vec<Vec<u32>>,
    ) -> Result<Self, EvalError> {
        Self::build(queries, gallery, false, Relevance::Lists(Vec::new()))?.positives(positives)
    }

    fn build(
        queries: &'a Embeddings,
        gallery: &'a Embeddings,
        one_set: bool,
        relevance: Relevance,
    ) -> Result<Self, EvalError> {
        if queries.dim() != gallery.dim() {
            return Err(EvalError::DimensionMismatch {
                queries: queries.dim(),
                gallery: gallery.dim(),
            });
        }
        for set in [queries, gallery] {
            // Ids, ranks and counts are u32.
            if set.rows() >= u32::MAX as usize {
                return Err(EvalError::TooManyItems { rows: set.rows() });
            }
        }
        let sides = match range::scaled(queries, gallery) {
            None => (Cow::Borrowed(queries), Cow::Borrowed(gallery), None),
            Some(scaled) => (
                Cow::Owned(scaled.queries),
                Cow::Owned(scaled.gallery),
                Some(scaled.back),
            ),
        };
        let (queries, gallery, back) = sides;
        Ok(Self {
            queries,
            gallery,
            back,
            one_set,
            relevance,
            junk: Vec::new(),
            ignored: None,
        })
    }

    /// Replaces the labels by explicit lists: for each query, the gallery ids it should find, in
    /// any order.
    ///
    /// # Errors
    ///
    /// If there is not one list for each query, or if an id is not in the gallery.
    pub fn positives(mut self, positives: Vec<Vec<u32>>) -> Result<Self, EvalError> {
        self.relevance = Relevance::Lists(self.check_lists("positives", positives)?);
        Ok(self)
    }

    /// For each query, the gallery ids which leave its ranking before ranks are counted, in any
    /// order: neither right nor wrong answers. Default: none.
    ///
    /// # Errors
    ///
    /// If there is not one list for each query, or if an id is not in the gallery.
    pub fn junk(mut self, junk: Vec<Vec<u32>>) -> Result<Self, EvalError> {
        self.junk = self.check_lists("junk", junk)?;
        Ok(self)
    }

    /// Items that leave the ranking of a query because they are of its group (equal number), such as
    /// a camera or a sequence. Replaces groups given before.
    ///
    /// Where queries and gallery are one set, both lists are the same.
    ///
    /// ```
    /// use recall_eval::{Embeddings, IgnoreGroup, Retrieval};
    ///
    /// let embeddings = Embeddings::new(vec![1.0, 0.0, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3], 2)?;
    /// let (labels, cameras) = ([5, 5, 6, 5], [1, 1, 1, 2]);
    /// let retrieval = Retrieval::each_against_rest(&embeddings, &labels)?;
    /// // Item 1 is of the same class and camera; items 2 and 3 are left for item 0.
    /// let retrieval = retrieval.ignore_group(&cameras, &cameras, IgnoreGroup::SameClass)?;
    /// assert_eq!(retrieval.ranks()?.of(0), [2]);
    /// # Ok::<(), recall_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is not one group for each query and each gallery item, or if positives are lists, so
    /// that there are no classes, with [`IgnoreGroup::SameClass`].
    pub fn ignore_group(
        mut self,
        query_groups: &[i64],
        gallery_groups: &[i64],
        which: IgnoreGroup,
    ) -> Result<Self, EvalError> {
        let sides = [
            ("queries", query_groups, self.queries.rows()),
            ("gallery items", gallery_groups, self.gallery.rows()),
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
        Ok(self)
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.queries.rows()
    }

    /// The similarity of query `q` and an item, from what the kernel gives for the two.
    pub(crate) fn similarity(&self, q: usize, found: f32) -> f32 {
        match &self.back {
            None => found,
            Some(back) => (f64::from(found) * f64::from(back[q]).exp2()) as f32,
        }
    }

    fn check_lists(
        &self,
        what: &'static str,
        mut lists: Vec<Vec<u32>>,
    ) -> Result<Vec<Vec<u32>>, EvalError> {
        if lists.len() != self.queries() {
            return Err(EvalError::ListCount {
                what,
                lists: lists.len(),
                queries: self.queries(),
            });
        }
        let gallery = self.gallery.rows();
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
    pub(crate) fn positives_of(&self, q: usize) -> impl Iterator<Item = u32> {
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
    pub(crate) fn class_of(&self, q: usize) -> usize {
        match &self.relevance {
            Relevance::Classes(members) => members.start_of(q),
            Relevance::Lists(_) => 0,
        }
    }

    /// The junk and the group of query `q` with ids in `range`. An item may be in both, and the query
    /// itself too.
    pub(crate) fn ignored_between(&self, q: usize, range: &Range<usize>) -> [&[u32]; 2] {
        self.ignored(q).map(|ids| {
            let rest = &ids[ids.partition_point(|&id| (id as usize) < range.start)..];
            &rest[..rest.partition_point(|&id| (id as usize) < range.end)]
        })
    }

    /// The id of query `q` in the gallery, if it is there.
    pub(crate) fn own_id(&self, q: usize) -> Option<u32> {
        self.one_set.then_some(q as u32)
    }

    /// Number of items in the ranking of query `q`.
    pub(crate) fn candidates(&self, q: usize) -> u32 {
        (self.gallery.rows() - self.leaving(q).len()) as u32
    }

    /// The items which leave the ranking of query `q`, itself among them, each once.
    pub(crate) fn leaving(&self, q: usize) -> Vec<u32> {
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

fn check_labels(
    what: &'static str,
    labels: &[i64],
    embeddings: &Embeddings,
) -> Result<(), EvalError> {
    let rows = embeddings.rows();
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
