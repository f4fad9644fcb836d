//! From the bytes of images to the tensor that a model takes.

use std::ops::Range;

use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::EngineError;

/// Images of one size as they come from a loader: bytes, not yet standardised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixels<'a> {
    /// All images one behind the other, each colour by colour and row by row.
    pub bytes: &'a [u8],
    /// `[n, 3, height, width]`.
    pub shape: [usize; 4],
}

/// What is taken off each colour channel and what it is divided by, in units of full brightness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// What is taken off red, green and blue, of full brightness 1: their mean.
    pub mean: [f32; 3],
    /// What they are divided by: their standard deviation.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub std: [f32; 3],
}

impl Standardisation {
    /// The statistics of ImageNet, which pretrained backbones expect.
    pub const IMAGENET: Self = Self {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// Uploads some of the images as bytes and standardises them on the device.
    ///
    /// The output is `[rows.len(), 3, height, width]`.
    ///
    /// # Panics
    ///
    /// If there are fewer bytes than the shape says, or fewer images than `rows`.
    pub fn images<B: Backend>(
        &self,
        pixels: Pixels<'_>,
        rows: Range<usize>,
        device: &B::Device,
    ) -> Tensor<B, 4> {
        let [_, channels, height, width] = pixels.shape;
        let image = channels * height * width;
        let shape = [rows.len(), channels, height, width];
        let bytes = pixels.bytes[rows.start * image..rows.end * image].to_vec();
        let data = TensorData::new(bytes, shape);
        // WebGPU has no bytes; there they are widened on the host.
        let dtype = if B::supports_dtype(device, DType::U8) {
            DType::U8
        } else {
            DType::I32
        };
        let images = Tensor::<B, 4, Int>::from_data(data.convert_dtype(dtype), (device, dtype));
        let images = images.float();

        // (x / 255 − mean) / std as one scale and one shift.
        let scale = self.std.map(|std| 1.0 / (255.0 * std));
        let shift = [0, 1, 2].map(|channel| -self.mean[channel] / self.std[channel]);
        let channelwise =
            |values: [f32; 3]| Tensor::<B, 1>::from_floats(values, device).reshape([1, 3, 1, 1]);
        images * channelwise(scale) + channelwise(shift)
    }
}

impl Pixels<'_> {
    /// How many images.
    pub fn count(&self) -> usize {
        self.shape[0]
    }

    /// Refuses bytes that are not those of images of this shape.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let [images, channels, height, width] = self.shape;
        let bytes = (self.shape.iter()).try_fold(1_usize, |count, side| count.checked_mul(*side));
        let some = images > 0 && channels == 3 && height > 0 && width > 0;
        match some && bytes == Some(self.bytes.len()) {
            true => Ok(()),
            false => Err(EngineError::Batch(format!(
                "{} bytes are no images of shape {:?}: give [n, 3, height, width], a byte for each number",
                self.bytes.len(),
                self.shape
            ))),
        }
    }
}
