//! In which precision a backbone computes.

use std::fmt;
use std::ops::Range;

use burn::tensor::{DType, Tensor, backend::Backend};
use recall_loss::RecallBackend;
use recall_nn::{NnBackend, cast};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Embedder, EngineError, Pixels, Standardisation};

/// In which precision a backbone computes: its activations, and the factors of its matrix products.
///
/// Weights, the moments of the optimiser, statistics of normalisations, embeddings and the loss are `f32`
/// whatever it is, and so is what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision: 24 bits of a number.
    #[default]
    F32,
    /// 8 bits of a number, in the range of `f32`.
    Bf16,
    /// 11 bits of a number, from 6·10⁻⁸ to 65,504. Gradients are scaled up on their way back.
    F16,
}

impl Precision {
    /// As it is written in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Refuses a precision that the backend, which is called `backend`, or the model does not have.
    pub(crate) fn check<B: Backend>(
        self,
        model: &impl Embedder<B>,
        device: &B::Device,
        backend: String,
    ) -> Result<(), EngineError> {
        let dtype = match self.half() {
            Some(dtype) => dtype,
            None => return Ok(()),
        };
        if !B::supports_dtype(device, dtype) {
            return Err(EngineError::Precision {
                precision: self.name(),
                backend,
            });
        }
        match model.takes_half() {
            true => Ok(()),
            false => Err(EngineError::PrecisionOfModel(self.name())),
        }
    }

    /// The type of activations, where it is not that of the weights.
    fn half(self) -> Option<DType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// From bytes to what a backbone takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preparation {
    pub standardise: Standardisation,
    pub precision: Precision,
}

impl Preparation {
    /// Some of the images `[rows.len(), 3, height, width]`, standardised, in the precision of the backbone.
    pub fn images<B: NnBackend + RecallBackend>(
        &self,
        pixels: Pixels<'_>,
        rows: Range<usize>,
        device: &B::Device,
    ) -> Tensor<B, 4> {
        self.taken(self.standardise.images(pixels, rows, device))
    }

    /// Standardised images in the precision of the backbone.
    pub fn taken<B: NnBackend>(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        match self.precision.half() {
            Some(dtype) => cast(images, dtype),
            None => images,
        }
    }
}
