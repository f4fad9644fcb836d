//! What a model takes in a batch: images, or features of them that were computed before.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::{EngineError, Pixels};

/// What a model takes in a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Inputs<'a> {
    /// Images.
    Pixels(Pixels<'a>),
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
            Self::Features(features) => features.count(),
        }
    }

    /// What they are, in the plural.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Pixels(_) => "images",
            Self::Features(_) => "rows of features",
        }
    }

    /// Refuses numbers that do not add up to what they are said to be.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match self {
            Self::Pixels(pixels) => pixels.check(),
            Self::Features(features) => features.check(),
        }
    }
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
