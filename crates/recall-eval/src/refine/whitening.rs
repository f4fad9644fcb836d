//! A learned projection, and its file.

use std::path::Path;

use rayon::prelude::*;

use crate::files::{read_projection, write_projection};
use crate::kernel::Kernel;
use crate::sweep::{Buffers, Rows, Sweep, TILE};
use crate::{Embeddings, EvalError};

/// Rows that are projected at a time.
const BLOCK: usize = 256;

/// A projection of embeddings in which those that it was learned from are white, or those that match are
/// close: `x ↦ P (x − m) / |P (x − m)|`, with a mean `m` of `[dim]` and `P` of `[out, dim]`.
///
/// It is learned by [`PcaWhitening`](super::PcaWhitening) or [`PairWhitening`](super::PairWhitening), kept in a `.safetensors` file, and applied to queries and
/// gallery alike. The result has unit rows.
///
/// ```
/// use recall_eval::Embeddings;
/// use recall_eval::refine::PcaWhitening;
///
/// // The first number varies ten times as much as the second, and they vary apart.
/// let rows = Embeddings::new(vec![10.0, 1.0, 10.0, -1.0, -10.0, 1.0, -10.0, -1.0], 2)?;
/// let whitening = PcaWhitening::default().learn(&rows)?;
/// let white = whitening.apply(&rows)?;
/// let half = 0.5f32.sqrt();
/// assert!((white.row(1)[0] - half).abs() < 1e-6 && (white.row(1)[1] + half).abs() < 1e-6);
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Whitening {
    mean: Vec<f32>,
    /// `[out, dim]`
    projection: Embeddings,
}

impl Whitening {
    /// Takes a mean and a projection from elsewhere, such as `m` and `P` of other programs.
    ///
    /// # Errors
    ///
    /// If they differ in dimension, or if a value of the mean is NaN or infinite.
    pub fn new(mean: Vec<f32>, projection: Embeddings) -> Result<Self, EvalError> {
        let dim = mean.len();
        let mean = Embeddings::new(mean, dim)?;
        if projection.dim() != dim {
            return Err(EvalError::WhiteningDimension {
                rows: dim,
                whitening: projection.dim(),
            });
        }
        Ok(Self {
            mean: mean.row(0).to_vec(),
            projection,
        })
    }

    /// Reads a `.safetensors` file with the tensors `mean`, `[dim]`, and `projection`, `[out, dim]`, of floats.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or holds something else. Every message names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let (mean, projection, dim) = read_projection(path)?;
        let whitening =
            Embeddings::new(projection, dim).and_then(|projection| Self::new(mean, projection));
        whitening.map_err(|source| EvalError::Content {
            path: path.into(),
            source: Box::new(source),
        })
    }

    /// Writes a file that [`open`](Self::open) reads, in f32. A file of that name is replaced, and only once the new one is
    /// complete.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or if its extension is not `safetensors`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        write_projection(path.as_ref(), &self.mean, &self.projection)
    }

    /// Number of values of a row that it takes.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Number of values of a row that it gives.
    pub fn out(&self) -> usize {
        self.projection.rows()
    }

    /// The mean, `[dim]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The projection, `[out, dim]`.
    pub fn projection(&self) -> &Embeddings {
        &self.projection
    }

    /// Projects every row and brings it to unit length. A row has the same bits whichever others are with it.
    ///
    /// # Errors
    ///
    /// If rows have another dimension, or if one is projected onto zero (the first is named) or beyond the range of f32.
    pub fn apply(&self, rows: &Embeddings) -> Result<Embeddings, EvalError> {
        self.check_dimension(rows.dim())?;
        let mut white = vec![0.0; rows.rows() * self.out()];
        let parts = white.par_chunks_mut(BLOCK * self.out());
        let parts = parts.zip(rows.as_slice().par_chunks(BLOCK * self.dim()));
        parts.for_each_init(Projecting::default, |with, (white, rows)| {
            self.project(rows, white, with);
        });
        Embeddings::new(white, self.out())?.normalised()
    }

    pub(crate) fn check_dimension(&self, dim: usize) -> Result<(), EvalError> {
        match dim == self.dim() {
            true => Ok(()),
            false => Err(EvalError::WhiteningDimension {
                rows: dim,
                whitening: self.dim(),
            }),
        }
    }

    /// `P (x − m)` of each of the rows `[rows, dim]`, on one thread.
    pub(crate) fn project(&self, rows: &[f32], white: &mut [f32], with: &mut Projecting) {
        let (dim, out) = (self.dim(), self.out());
        let blocks = white.chunks_mut(BLOCK * out);
        for (white, rows) in blocks.zip(rows.chunks(BLOCK * dim)) {
            let mean = self.mean.iter().cycle();
            with.centred.clear();
            (with.centred).extend(rows.iter().zip(mean).map(|(value, mean)| value - mean));
            let centred = with.centred.chunks_exact(dim);
            let sweep = Sweep::new(Kernel::detect(), centred, dim, TILE);
            let projection = Rows::of(&self.projection);
            sweep.over(projection, &mut with.buffers, |_, tile, products| {
                for (at, white) in white.chunks_exact_mut(out).enumerate() {
                    white[tile.clone()].copy_from_slice(products.row_mut(at, tile.len()));
                }
            });
        }
    }
}

/// What a thread keeps from one projection to the next.
#[derive(Default)]
pub(crate) struct Projecting {
    centred: Vec<f32>,
    buffers: Buffers,
}

#[cfg(test)]
mod tests {
    use super::super::made::clustered;
    use super::*;
    use crate::refine::PcaWhitening;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let (rows, _) = clustered(5, 80, 7);
        let how = PcaWhitening {
            dim: Some(3),
            ..Default::default()
        };
        let learned = how.learn(&rows).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whitening.safetensors");
        learned.save(&path).unwrap();
        let read = Whitening::open(&path).unwrap();
        assert_eq!(read, learned);
        assert_eq!((read.dim(), read.out()), (7, 3));
        // Row by row and together.
        let white = read.apply(&rows).unwrap();
        for row in 0..rows.rows() {
            let alone = read.apply(&rows.select(&[row]).unwrap()).unwrap();
            assert_eq!(alone.row(0), white.row(row));
        }
    }

    #[test]
    fn what_is_refused() {
        let (rows, _) = clustered(6, 80, 4);
        let learned = PcaWhitening::default().learn(&rows).unwrap();
        let error = learned
            .apply(&clustered(6, 9, 3).0)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("takes rows of 4 dimensions, and the embeddings have 3"),
            "{error}"
        );
        let itself = Embeddings::new(learned.mean().to_vec(), 4).unwrap();
        assert!(matches!(
            learned.apply(&itself),
            Err(EvalError::ZeroRow { row: 0 })
        ));
        let far = Embeddings::new(vec![f32::MAX; 4], 4).unwrap();
        assert!(matches!(
            learned.apply(&far),
            Err(EvalError::NotFinite { .. })
        ));

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let error = learned.save(at("w.npy")).unwrap_err().to_string();
        assert!(error.contains("use a .safetensors file"), "{error}");
        rows.save(at("rows.safetensors")).unwrap();
        let error = Whitening::open(at("rows.safetensors"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`mean` is a tensor of floats"), "{error}");
        assert!(error.contains("and there is none"), "{error}");
        assert!(Whitening::open(at("none.safetensors")).is_err());
        let projection = Embeddings::new(vec![1.0; 6], 3).unwrap();
        assert!(Whitening::new(vec![0.0; 2], projection.clone()).is_err());
        assert!(Whitening::new(vec![f32::NAN; 3], projection.clone()).is_err());
        write_projection(&at("other.safetensors"), &[0.0; 2], &projection).unwrap();
        let error = Whitening::open(at("other.safetensors"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("other.safetensors: "), "{error}");
    }
}
