//! Which items a query is ranked against, and which of them it should find.
//!
//! Two protocols cover the benchmarks. In metric learning (CUB-200-2011, Cars196, SOP, iNaturalist)
//! every item of the test set is a query against all the others: [`Retrieval::each_against_rest`].
//! In in-shop retrieval and in landmark retrieval queries and gallery are different sets:
//! [`Retrieval::query_against_gallery`].
//!
//! The similarity is the dot product. Embeddings are taken as they are: bring them to unit length
//! ([`Embeddings::normalised`]) for the cosine, or leave them for inner-product search.

use std::collections::HashMap;

use crate::{Embeddings, EvalError};

/// Queries, the gallery each is ranked against, and its positives.
///
/// A ranking holds every gallery item but two kinds, which leave it before ranks are counted and
/// are never positives: the query itself where queries and gallery are one set (by identity: a
/// duplicate of the query stays), and its
/// [`junk`](Self::junk). Items are ordered by descending similarity, equal ones by ascending id.
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
    pub(crate) queries: &'a Embeddings,
    pub(crate) gallery: &'a Embeddings,
    /// Query i is gallery item i.
    one_set: bool,
    relevance: Relevance,
    /// Sorted, without repetitions; empty when there is none for any query.
    junk: Vec<Vec<u32>>,
}

#[derive(Clone, Debug)]
enum Relevance {
    /// The items of a query's class.
    Classes {
        /// Where the class of each query lies in `members`; empty if the gallery has none of it.
        of_query: Vec<(usize, usize)>,
        /// Gallery ids, class by class, ascending within a class.
        members: Vec<u32>,
    },
    /// Sorted, without repetitions.
    Lists(Vec<Vec<u32>>),
}

impl<'a> Retrieval<'a> {
    /// Every item is a query against all the others; those of its class (equal label) are its
    /// positives.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row, or if similarities could exceed the range of f32.
    pub fn each_against_rest(
        embeddings: &'a Embeddings,
        labels: &[i64],
    ) -> Result<Self, EvalError> {
        check_labels("embeddings", labels, embeddings)?;
        let relevance = Relevance::classes(labels, labels);
        Self::build(embeddings, embeddings, true, relevance)
    }

    /// Every query is ranked against the whole gallery; items with its label are its positives.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row, if the two sets differ in dimension, or if
    /// similarities could exceed the range of f32.
    pub fn query_against_gallery(
        queries: &'a Embeddings,
        query_labels: &[i64],
        gallery: &'a Embeddings,
        gallery_labels: &[i64],
    ) -> Result<Self, EvalError> {
        check_labels("queries", query_labels, queries)?;
        check_labels("gallery items", gallery_labels, gallery)?;
        let relevance = Relevance::classes(query_labels, gallery_labels);
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
        // Every partial sum of a dot product is bounded by the product of the lengths, so none can
        // become infinite or NaN on the way. The factor leaves room for rounding.
        let longest_query = queries.longest();
        let longest_item = if one_set {
            longest_query
        } else {
            gallery.longest()
        };
        if longest_query * longest_item > f64::from(f32::MAX) / 4.0 {
            return Err(EvalError::SimilarityOverflow {
                longest_query,
                longest_item,
            });
        }
        Ok(Self {
            queries,
            gallery,
            one_set,
            relevance,
            junk: Vec::new(),
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

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.queries.rows()
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
            Relevance::Classes { of_query, members } => {
                let (start, end) = of_query[q];
                &members[start..end]
            }
            Relevance::Lists(lists) => &lists[q],
        };
        listed
            .iter()
            .copied()
            .filter(move |&id| !self.leaves(q, id))
    }

    /// The items which leave the ranking of query `q`: its junk, ascending, and after it the query
    /// itself.
    pub(crate) fn leaving(&self, q: usize) -> impl Iterator<Item = u32> {
        let own = self.own_id(q);
        let junk = self
            .junk_of(q)
            .iter()
            .copied()
            .filter(move |&id| Some(id) != own);
        junk.chain(own)
    }

    /// The junk of query `q` whose ids are in `start..end`.
    pub(crate) fn junk_between(&self, q: usize, start: usize, end: usize) -> &[u32] {
        let junk = self.junk_of(q);
        let first = junk.partition_point(|&id| (id as usize) < start);
        let rest = &junk[first..];
        &rest[..rest.partition_point(|&id| (id as usize) < end)]
    }

    /// The id of query `q` in the gallery, if it is there.
    pub(crate) fn own_id(&self, q: usize) -> Option<u32> {
        self.one_set.then_some(q as u32)
    }

    /// Number of items in the ranking of query `q`.
    pub(crate) fn candidates(&self, q: usize) -> u32 {
        (self.gallery.rows() - self.leaving(q).count()) as u32
    }

    fn junk_of(&self, q: usize) -> &[u32] {
        self.junk.get(q).map_or(&[], Vec::as_slice)
    }

    fn leaves(&self, q: usize, id: u32) -> bool {
        self.own_id(q) == Some(id) || self.junk_of(q).binary_search(&id).is_ok()
    }
}

impl Relevance {
    fn classes(query_labels: &[i64], gallery_labels: &[i64]) -> Self {
        let mut by_label: HashMap<i64, (usize, usize)> = HashMap::new();
        for &label in gallery_labels {
            by_label.entry(label).or_default().1 += 1;
        }
        // Counts become ranges that are empty at first and grow as their members come.
        let mut start = 0;
        for range in by_label.values_mut() {
            let count = range.1;
            *range = (start, start);
            start += count;
        }
        let mut members = vec![0; gallery_labels.len()];
        for (id, label) in (0u32..).zip(gallery_labels) {
            if let Some((_, end)) = by_label.get_mut(label) {
                members[*end] = id;
                *end += 1;
            }
        }
        let of_query = query_labels
            .iter()
            .map(|label| by_label.get(label).copied());
        Self::Classes {
            of_query: of_query.map(Option::unwrap_or_default).collect(),
            members,
        }
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
