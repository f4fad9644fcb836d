//! Queries, and a gallery that is too large for memory.

use recall_eval::refine::QueryExpansion;
use recall_eval::revisited::Setup;
use recall_eval::{
    Embeddings, EvalError, FileRetrieval, GalleryFile, GroundTruth, IgnoreGroup, PositiveRanks,
};

/// Queries, a gallery that stays in its file, and lists of what each query should find.
#[derive(Debug)]
pub struct FiledListedProblem {
    /// The queries.
    pub queries: Embeddings,
    /// What they are compared with.
    pub gallery: GalleryFile,
    /// The lists, one entry for each query; ids are rows of the gallery.
    pub truth: GroundTruth,
}

impl FiledListedProblem {
    /// The ranks of one retrieval, or of three with the names of their set-ups.
    ///
    /// # Errors
    ///
    /// Those of [`GroundTruth::file_retrieval`] and of ranking.
    pub fn ranks(
        &self,
        expansion: Option<&QueryExpansion>,
    ) -> Result<Vec<(Option<Setup>, PositiveRanks)>, EvalError> {
        let mut retrieval = self.truth.file_retrieval(&self.queries, &self.gallery)?;
        if let Some(expansion) = expansion {
            retrieval = retrieval.expand_queries(expansion)?;
        }
        retrieval.ranks()
    }
}

/// Queries with classes, and a gallery with classes that stays in its file: each query should find
/// the items of its class.
#[derive(Debug)]
pub struct FiledSet {
    queries: (Embeddings, Vec<i64>),
    gallery: (GalleryFile, Vec<i64>),
    /// Groups of queries and gallery items, and which of a query's group leave its ranking.
    ignored: Option<(Vec<i64>, Vec<i64>, IgnoreGroup)>,
}

impl FiledSet {
    /// Rows and their labels. What does not fit together, [`retrieval`](Self::retrieval) refuses.
    pub fn new(queries: (Embeddings, Vec<i64>), gallery: (GalleryFile, Vec<i64>)) -> Self {
        Self {
            queries,
            gallery,
            ignored: None,
        }
    }

    /// Items of a query's group leave its ranking, see [`FileRetrieval::ignore_group`].
    pub fn ignoring(
        mut self,
        of_queries: Vec<i64>,
        of_gallery: Vec<i64>,
        which: IgnoreGroup,
    ) -> Self {
        self.ignored = Some((of_queries, of_gallery, which));
        self
    }

    /// The gallery.
    pub fn gallery(&self) -> &GalleryFile {
        &self.gallery.0
    }

    /// The classes of the queries.
    pub fn query_labels(&self) -> &[i64] {
        &self.queries.1
    }

    /// The retrieval problem.
    ///
    /// # Errors
    ///
    /// Those of [`FileRetrieval::query_against_gallery`] and [`FileRetrieval::ignore_group`].
    pub fn retrieval(&self) -> Result<FileRetrieval<'_>, EvalError> {
        let ((queries, labels), (items, item_labels)) = (&self.queries, &self.gallery);
        let retrieval = FileRetrieval::query_against_gallery(queries, labels, items, item_labels)?;
        match &self.ignored {
            None => Ok(retrieval),
            Some((of_queries, of_gallery, which)) => {
                retrieval.ignore_group(of_queries, of_gallery, *which)
            }
        }
    }
}
