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

pub(crate) mod filed;
mod members;
pub(crate) mod range;
pub(crate) mod task;

use std::borrow::Cow;

use crate::{Embeddings, EvalError};
pub use filed::{FileRetrieval, GalleryFile};
use range::{LengthsBut0, Powers};
use task::Task;

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
    pub(crate) task: Task,
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
        let task = Task::each_against_rest(labels, embeddings.rows())?;
        Self::build(embeddings, embeddings, task)
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
        let sides = [queries, gallery].map(Embeddings::rows);
        let task = Task::query_against_gallery(query_labels, gallery_labels, sides)?;
        Self::build(queries, gallery, task)
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
        let task = Task::of_lists(positives, [queries, gallery].map(Embeddings::rows))?;
        Self::build(queries, gallery, task)
    }

    fn build(
        queries: &'a Embeddings,
        gallery: &'a Embeddings,
        task: Task,
    ) -> Result<Self, EvalError> {
        check_dimensions(queries.dim(), gallery.dim())?;
        let powers = Powers::needed(queries, LengthsBut0::of(gallery));
        let (queries, gallery) = match &powers {
            None => (Cow::Borrowed(queries), Cow::Borrowed(gallery)),
            Some(powers) => (
                Cow::Owned(powers.queries(queries)),
                Cow::Owned(powers.gallery(gallery)),
            ),
        };
        Ok(Self {
            queries,
            gallery,
            back: powers.map(|powers| powers.back()),
            task,
        })
    }

    /// Replaces the labels by explicit lists: for each query, the gallery ids it should find, in
    /// any order.
    ///
    /// # Errors
    ///
    /// If there is not one list for each query, or if an id is not in the gallery.
    pub fn positives(mut self, positives: Vec<Vec<u32>>) -> Result<Self, EvalError> {
        self.task.set_positives(positives)?;
        Ok(self)
    }

    /// For each query, the gallery ids which leave its ranking before ranks are counted, in any
    /// order: neither right nor wrong answers. Default: none.
    ///
    /// # Errors
    ///
    /// If there is not one list for each query, or if an id is not in the gallery.
    pub fn junk(mut self, junk: Vec<Vec<u32>>) -> Result<Self, EvalError> {
        self.task.set_junk(junk)?;
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
        self.task.set_groups(query_groups, gallery_groups, which)?;
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
}

pub(crate) fn check_dimensions(queries: usize, gallery: usize) -> Result<(), EvalError> {
    match queries == gallery {
        true => Ok(()),
        false => Err(EvalError::DimensionMismatch { queries, gallery }),
    }
}
