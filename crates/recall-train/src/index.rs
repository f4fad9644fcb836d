//! Embeddings to search in.

use std::fs;
use std::path::Path;

use recall_eval::{Embeddings, EvalError, Retrieval, nearest};

use crate::RunError;

/// Embeddings with the names of their images, as `recall-train embed` writes them.
#[derive(Debug, Clone)]
pub struct Index {
    embeddings: Embeddings,
    names: Vec<String>,
    rescaled: bool,
}

/// A row of an index that a query found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<'a> {
    /// Which row.
    pub row: usize,
    /// The name of its image.
    pub name: &'a str,
    /// The cosine between it and the query.
    pub similarity: f32,
}

impl Index {
    /// An index of `embeddings`, brought to length 1, a name for each row.
    ///
    /// # Errors
    ///
    /// [`RunError::Index`] if there are more names than rows, or fewer; a row of zeros.
    pub fn new(embeddings: &Embeddings, names: Vec<String>) -> Result<Self, RunError> {
        let rows = embeddings.rows();
        if names.len() != rows {
            return Err(RunError::Index(format!(
                "there are {} names for the {rows} rows of an index: each row needs one",
                names.len()
            )));
        }
        Ok(Self {
            rescaled: !embeddings.is_normalised(),
            embeddings: embeddings.clone().normalised()?,
            names,
        })
    }

    /// Reads `NAME.npy` or `NAME.safetensors`, and the names of the images, a line each, from `NAME.txt`
    /// beside it.
    ///
    /// # Errors
    ///
    /// [`RunError::Index`] or [`RunError::Eval`]: files that are not there, cannot be read or do not fit
    /// together.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RunError> {
        let path = path.as_ref();
        let at_fault = |source: EvalError| EvalError::Content {
            path: path.into(),
            source: Box::new(source),
        };
        let embeddings = Embeddings::open(path)?;
        let rescaled = !embeddings.is_normalised();
        let embeddings = embeddings.normalised().map_err(at_fault)?;
        let rows = embeddings.rows();
        let list = path.with_extension("txt");
        let names = fs::read_to_string(&list).map_err(|error| {
            RunError::Index(format!(
                "cannot read {}, the names of the images of {}, a line each: {error}",
                list.display(),
                path.display()
            ))
        })?;
        let names: Vec<String> = names.lines().map(str::to_owned).collect();
        if names.len() != rows {
            return Err(RunError::Index(format!(
                "there are {} names in {} for the {rows} rows of {}: each row needs one",
                names.len(),
                list.display(),
                path.display()
            )));
        }
        Ok(Self {
            embeddings,
            names,
            rescaled,
        })
    }

    /// The embeddings, of length 1.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// Whether rows had to be brought to length 1.
    pub fn is_rescaled(&self) -> bool {
        self.rescaled
    }

    /// The name of each row's image.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The `k` rows most similar to each query, the most similar first; all of them where there are fewer.
    ///
    /// # Errors
    ///
    /// [`RunError::Eval`] if queries and index have embeddings of different lengths.
    pub fn search(&self, queries: &Embeddings, k: usize) -> Result<Vec<Vec<Found<'_>>>, RunError> {
        // Nothing says what is right, and to find what is near it need not.
        let unknown = vec![Vec::new(); queries.rows()];
        let retrieval = Retrieval::query_against_gallery_with(queries, &self.embeddings, unknown)?;
        let all: Vec<usize> = (0..queries.rows()).collect();
        let found = nearest(&retrieval, &all, k)?;
        let with_name = |found: recall_eval::Neighbour| Found {
            row: found.id as usize,
            name: &self.names[found.id as usize],
            similarity: found.similarity,
        };
        let of_query = |found: Vec<_>| found.into_iter().map(with_name).collect();
        Ok(found.into_iter().map(of_query).collect())
    }
}
