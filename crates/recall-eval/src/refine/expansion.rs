//! Averages of a row and its neighbours: of queries, and of gallery items.

use rayon::prelude::*;

use super::check;
use crate::neighbours::nearest_of;
use crate::ranks::Key;
use crate::sweep::Rows;
use crate::{Embeddings, EvalError, FileRetrieval, Retrieval};

/// Each query, replaced by a weighted mean of itself and the first items that it finds:
/// `q' = q + Σ max(q·x_i, 0)^α x_i` over its `n` nearest items, brought to unit length.
///
/// Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", 2019 (αQE, section 3.4). With `α = 0` all
/// weigh one: the average query expansion of Chum, Philbin, Sivic, Isard and Zisserman, 2007.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryExpansion {
    /// `n`, at least 1; of a smaller gallery all items. Default: 50.
    pub neighbours: usize,
    /// `α`, 0 or more. Default: 3.
    pub alpha: f64,
}

impl Default for QueryExpansion {
    fn default() -> Self {
        Self {
            neighbours: 50,
            alpha: 3.0,
        }
    }
}

impl QueryExpansion {
    /// The average of a query and its first `neighbours` items.
    pub fn average(neighbours: usize) -> Self {
        Self {
            neighbours,
            alpha: 0.0,
        }
    }
}

/// Each gallery item, replaced by the same mean of itself and its `n` nearest other items of the gallery. Queries stay as
/// they are.
///
/// Turcot and Lowe, "Better matching with fewer features: the selection of useful features in large database recognition
/// problems", 2009; Arandjelović and Zisserman, 2012; weighted as queries are. It costs a product of the gallery with
/// itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DatabaseAugmentation {
    /// `n`, at least 1; of a smaller gallery all items. Default: 10.
    pub neighbours: usize,
    /// `α`, 0 or more. Default: 3.
    pub alpha: f64,
}

impl Default for DatabaseAugmentation {
    fn default() -> Self {
        Self {
            neighbours: 10,
            alpha: 3.0,
        }
    }
}

impl Retrieval<'_> {
    /// Replaces the queries by their [`QueryExpansion`]. What each query should find, and what leaves its ranking, stays.
    ///
    /// ```
    /// use recall_eval::refine::QueryExpansion;
    /// use recall_eval::{Embeddings, Retrieval};
    ///
    /// let query = Embeddings::new(vec![1.0, 0.0], 2)?;
    /// let gallery = Embeddings::new(vec![0.8, 0.6, 0.6, 0.8, 0.7, -0.7], 2)?.normalised()?;
    /// let retrieval = Retrieval::query_against_gallery(&query, &[7], &gallery, &[7, 7, 9])?;
    /// assert_eq!(retrieval.ranks()?.of(0), [1, 3]);
    /// // Its first item takes the query along.
    /// let expanded = retrieval.expand_queries(&QueryExpansion::average(1))?;
    /// assert_eq!(expanded.ranks()?.of(0), [1, 2]);
    /// # Ok::<(), recall_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or if rows are not of unit length.
    pub fn expand_queries(mut self, how: &QueryExpansion) -> Result<Self, EvalError> {
        let QueryExpansion { neighbours, alpha } = *how;
        check_settings(neighbours, alpha)?;
        self.check_unit("query expansion")?;
        let all: Vec<usize> = (0..self.queries()).collect();
        let gallery = Rows::of(&self.gallery);
        let found = nearest_of(&self.queries, &all, gallery, neighbours, |q, tile, row| {
            if let Some(own) = self.task.own_id(q) {
                leave(own as usize, tile, row);
            }
        });
        let found = found.into_iter().map(|found| found.ranking);
        let expanded = averaged(&self.queries, found.collect(), alpha, |id| {
            self.gallery.row(id)
        });
        self.queries = std::borrow::Cow::Owned(expanded);
        Ok(self)
    }

    /// Replaces the gallery by its [`DatabaseAugmentation`]. Where queries and gallery are one set, the queries stay as
    /// they were.
    ///
    /// Memory: the gallery once more, and 8 bytes for each item and neighbour.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or if rows are not of unit length.
    pub fn augment_gallery(mut self, how: &DatabaseAugmentation) -> Result<Self, EvalError> {
        let DatabaseAugmentation { neighbours, alpha } = *how;
        check_settings(neighbours, alpha)?;
        self.check_unit("database-side augmentation")?;
        let all: Vec<usize> = (0..self.gallery.rows()).collect();
        let gallery = Rows::of(&self.gallery);
        let found = nearest_of(&self.gallery, &all, gallery, neighbours, leave);
        let found = found.into_iter().map(|found| found.ranking);
        let augmented = averaged(&self.gallery, found.collect(), alpha, |id| {
            self.gallery.row(id)
        });
        self.gallery = std::borrow::Cow::Owned(augmented);
        Ok(self)
    }

    pub(super) fn check_unit(&self, method: &'static str) -> Result<(), EvalError> {
        match self.queries.is_normalised() && self.gallery.is_normalised() {
            true => Ok(()),
            false => Err(EvalError::NotUnit { method }),
        }
    }
}

impl FileRetrieval<'_> {
    /// As [`Retrieval::expand_queries`], with the same result: one more walk through the file.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, if rows are not of unit length, or if the file cannot be read.
    pub fn expand_queries(mut self, how: &QueryExpansion) -> Result<Self, EvalError> {
        let QueryExpansion { neighbours, alpha } = *how;
        check_settings(neighbours, alpha)?;
        if !(self.queries.is_normalised() && self.gallery.gives_unit_rows()) {
            let method = "query expansion";
            return Err(EvalError::NotUnit { method });
        }
        let found = self.nearest(neighbours)?;
        let mut ids: Vec<u32> = found.iter().flatten().map(|key| key.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut values = Vec::new();
        self.read_chosen(&ids, &mut values)?;
        let dim = self.gallery.dim();
        let expanded = averaged(&self.queries, found, alpha, |id| {
            let at = ids.partition_point(|&other| (other as usize) < id);
            &values[at * dim..][..dim]
        });
        self.queries = std::borrow::Cow::Owned(expanded);
        Ok(self)
    }
}

fn check_settings(neighbours: usize, alpha: f64) -> Result<(), EvalError> {
    let of = "the number of neighbours";
    check(of, neighbours as f64, neighbours > 0, "at least 1")?;
    let fits = alpha >= 0.0 && alpha.is_finite();
    check("the exponent of similarities", alpha, fits, "0 or more")
}

/// Takes item `own` out of a tile.
pub(super) fn leave(own: usize, tile: &std::ops::Range<usize>, row: &mut [f32]) {
    if tile.contains(&own) {
        row[own - tile.start] = f32::NEG_INFINITY;
    }
}

/// The mean of each row and the items found for it, of unit length. Where it is zero, the row stays.
fn averaged<'i>(
    rows: &Embeddings,
    found: Vec<Vec<Key>>,
    alpha: f64,
    item: impl Fn(usize) -> &'i [f32] + Sync,
) -> Embeddings {
    let dim = rows.dim();
    let mut means = rows.as_slice().to_vec();
    (means.par_chunks_exact_mut(dim).zip(found)).for_each_init(Vec::new, |sum, (row, found)| {
        sum.clear();
        sum.extend(row.iter().map(|&value| f64::from(value)));
        for key in found {
            let similarity = f64::from(key.similarity().max(0.0));
            // All weigh one with an exponent of 0, 0 to the power of 0 too.
            let weight = similarity.powf(alpha);
            for (sum, value) in sum.iter_mut().zip(item(key.id() as usize)) {
                *sum += weight * f64::from(*value);
            }
        }
        let length = sum.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        if length > 0.0 {
            for (value, sum) in row.iter_mut().zip(sum) {
                *value = (*sum / length) as f32;
            }
        }
    });
    Embeddings::of_finite(means, dim)
}

#[cfg(test)]
mod tests {
    use super::super::made::{assert_close, clustered, on_any_threads, product, ranking};
    use super::*;
    use crate::{EmbeddingsFile, GalleryFile};

    /// The formula, in f64.
    fn plain(
        rows: &Embeddings,
        items: &Embeddings,
        one_set: bool,
        n: usize,
        alpha: f64,
    ) -> Vec<f64> {
        let mut means = Vec::new();
        for q in 0..rows.rows() {
            let mut sum: Vec<f64> = rows.row(q).iter().map(|&value| value.into()).collect();
            for id in ranking(rows.row(q), items, one_set.then_some(q))
                .into_iter()
                .take(n)
            {
                let similarity = product(rows.row(q), items.row(id));
                let weight = match alpha == 0.0 {
                    true => 1.0,
                    false => similarity.max(0.0).powf(alpha),
                };
                for (sum, &value) in sum.iter_mut().zip(items.row(id)) {
                    *sum += weight * f64::from(value);
                }
            }
            let length = sum.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
            means.extend(sum.iter().map(|sum| sum / length));
        }
        means
    }

    fn wide(rows: &Embeddings) -> Vec<f64> {
        rows.as_slice().iter().map(|&value| value.into()).collect()
    }

    #[test]
    fn as_the_formula_says() {
        let (queries, query_labels) = clustered(7, 31, 6);
        let (gallery, labels) = clustered(8, 120, 6);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery.npy");
        gallery.save(&path).unwrap();
        let filed = GalleryFile::normalised(EmbeddingsFile::open(&path).unwrap()).unwrap();
        // From memory, rows of length 1 are divided by it as well.
        let gallery = gallery.normalised().unwrap();
        for (neighbours, alpha) in [(1, 0.0), (5, 0.0), (10, 3.0), (50, 1.0), (500, 2.5)] {
            let how = QueryExpansion { neighbours, alpha };
            let retrieval = || {
                Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &labels)
                    .unwrap()
            };
            let expanded = on_any_threads(|| {
                retrieval()
                    .expand_queries(&how)
                    .unwrap()
                    .queries
                    .into_owned()
            });
            assert_close(
                &wide(&expanded),
                &plain(&queries, &gallery, false, neighbours, alpha),
            );

            let disk =
                FileRetrieval::query_against_gallery(&queries, &query_labels, &filed, &labels)
                    .unwrap();
            let disk = disk.expand_queries(&how).unwrap();
            assert_eq!(*disk.queries, expanded);
            let memory = retrieval().expand_queries(&how).unwrap();
            assert_eq!(disk.ranks().unwrap(), memory.ranks().unwrap());

            let how = DatabaseAugmentation { neighbours, alpha };
            let augmented = on_any_threads(|| {
                retrieval()
                    .augment_gallery(&how)
                    .unwrap()
                    .gallery
                    .into_owned()
            });
            assert_close(
                &wide(&augmented),
                &plain(&gallery, &gallery, true, neighbours, alpha),
            );

            // One set: no item is its own neighbour.
            let how = QueryExpansion { neighbours, alpha };
            let rest = Retrieval::each_against_rest(&gallery, &labels).unwrap();
            let rest = rest.expand_queries(&how).unwrap();
            assert_close(
                &wide(&rest.queries),
                &plain(&gallery, &gallery, true, neighbours, alpha),
            );
        }
        assert_eq!(
            QueryExpansion::average(4),
            QueryExpansion {
                neighbours: 4,
                alpha: 0.0
            }
        );
    }

    #[test]
    fn what_is_refused() {
        let (rows, labels) = clustered(9, 20, 3);
        let of = |rows, how: QueryExpansion| {
            let retrieval = Retrieval::each_against_rest(rows, &labels).unwrap();
            retrieval
                .expand_queries(&how)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        let usual = QueryExpansion::default();
        let error = of(
            &rows,
            QueryExpansion {
                neighbours: 0,
                ..usual
            },
        );
        assert_eq!(
            error,
            "the number of neighbours is 0: it must be at least 1"
        );
        for alpha in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(of(&rows, QueryExpansion { alpha, ..usual }).contains("0 or more"));
        }
        let long = rows.as_slice().iter().map(|value| value * 2.0).collect();
        let long = Embeddings::new(long, 3).unwrap();
        assert!(of(&long, usual).starts_with("query expansion needs rows of length 1"));

        // Opposite rows have no mean: the query stays.
        let pair = Embeddings::new(vec![1.0, 0.0, -1.0, 0.0], 2).unwrap();
        let pair = Retrieval::each_against_rest(&pair, &[0, 0]).unwrap();
        let pair = pair.expand_queries(&QueryExpansion::average(1)).unwrap();
        assert_eq!(pair.queries.as_slice(), [1.0, 0.0, -1.0, 0.0]);
    }
}
