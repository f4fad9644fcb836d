//! What a model takes in a batch: images, or features of them that were computed before.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::{EngineError, Pixels};

/// What a model takes in a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Inputs<'a> {
    /// Images.
    Pixels(Pixels<'a>),
    /// Images of several shapes, those of a shape together: one behind the other they are the batch.
    Shapes(&'a [Pixels<'a>]),
    /// Rows of features, for a head alone: that of the model, or a model that is nothing else.
    Features(Features<'a>),
}

/// Rows of features, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features<'a> {
    /// `[n, dim]`, row by row.
    pub values: &'a [f32],
    /// Numbers of a row.
    pub dim: usize,
}

impl<'a> From<Pixels<'a>> for Inputs<'a> {
    fn from(pixels: Pixels<'a>) -> Self {
        Self::Pixels(pixels)
    }
}

impl<'a> From<Features<'a>> for Inputs<'a> {
    fn from(features: Features<'a>) -> Self {
        Self::Features(features)
    }
}

impl Inputs<'_> {
    /// How many images or rows.
    pub fn count(&self) -> usize {
        match self {
            Self::Pixels(pixels) => pixels.count(),
            Self::Shapes(shapes) => shapes.iter().map(Pixels::count).sum(),
            Self::Features(features) => features.count(),
        }
    }

    /// What they are, in the plural.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Pixels(_) | Self::Shapes(_) => "images",
            Self::Features(_) => "rows of features",
        }
    }

    /// Refuses numbers that do not add up to what they are said to be.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match self {
            Self::Pixels(pixels) => pixels.check(),
            Self::Shapes([]) => Err(EngineError::Batch("there are no images".to_owned())),
            Self::Shapes(shapes) => shapes.iter().try_for_each(Pixels::check),
            Self::Features(features) => features.check(),
        }
    }
}

/// The images of each shape that are among some rows of all.
pub(crate) fn within<'a>(
    shapes: &'a [Pixels<'a>],
    rows: &Range<usize>,
) -> impl Iterator<Item = (Pixels<'a>, Range<usize>)> {
    let (from, to) = (rows.start, rows.end);
    let mut first = 0;
    shapes.iter().filter_map(move |pixels| {
        let start = first;
        first += pixels.count();
        let of_shape = from.max(start)..to.min(first);
        let some = of_shape.start < of_shape.end;
        some.then(|| (*pixels, of_shape.start - start..of_shape.end - start))
    })
}

impl Features<'_> {
    /// How many rows.
    pub fn count(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }

    /// Uploads some of the rows.
    ///
    /// The output is `[rows.len(), dim]`.
    ///
    /// # Panics
    ///
    /// If there are fewer rows.
    pub fn rows<B: Backend>(&self, rows: Range<usize>, device: &B::Device) -> Tensor<B, 2> {
        let shape = [rows.len(), self.dim];
        let values = self.values[rows.start * self.dim..rows.end * self.dim].to_vec();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Refuses numbers that do not fill whole rows.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let (count, dim) = (self.values.len(), self.dim);
        match count > 0 && dim > 0 && count.is_multiple_of(dim) {
            true => Ok(()),
            false => Err(EngineError::Batch(format!(
                "{count} numbers are no rows of {dim} features: give [n, {dim}] with both at least 1"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_among_shapes() {
        let bytes = [0; 3 * 4 * 4];
        let shapes = [[2, 3, 1, 2], [3, 3, 1, 1], [1, 3, 4, 4]].map(|shape: [usize; 4]| Pixels {
            bytes: &bytes[..shape.iter().product()],
            shape,
        });
        let all = Inputs::Shapes(&shapes);
        assert!(all.check().is_ok() && all.count() == 6);
        assert!(Inputs::Shapes(&[]).check().is_err());
        let found = |rows: Range<usize>| -> Vec<_> {
            let found = within(&shapes, &rows);
            found
                .map(|(pixels, rows)| (pixels.shape[0], rows))
                .collect()
        };
        assert_eq!(found(0..6), [(2, 0..2), (3, 0..3), (1, 0..1)]);
        assert_eq!(found(1..3), [(2, 1..2), (3, 0..1)]);
        assert_eq!(found(3..5), [(3, 1..3)]);
        assert_eq!(found(5..6), [(1, 0..1)]);
        assert_eq!(found(2..2), []);
    }

    #[test]
    fn rows_have_to_be_whole_and_some() {
        let features = |values, dim| Features { values, dim };
        let six = [0.0; 6];
        for dim in [1, 2, 3, 6] {
            assert!(features(&six, dim).check().is_ok());
            assert_eq!(features(&six, dim).count(), 6 / dim);
        }
        for (values, dim) in [(&six[..], 0), (&six, 4), (&six, 7), (&[], 3), (&[], 0)] {
            let refused = Inputs::from(features(values, dim)).check().unwrap_err();
            assert!(refused.to_string().contains("no rows of"), "{refused}");
        }
        assert_eq!(features(&six, 0).count(), 0);
    }
}
