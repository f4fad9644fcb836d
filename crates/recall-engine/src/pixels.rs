//! From the bytes of images to the tensor that a model takes.

use std::ops::Range;

use burn::tensor::{DType, Int, Tensor, TensorData};
use recall_loss::RecallBackend;
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

    /// Some of the images, standardised: on the host where the backend's tensors are there, elsewhere on the device, to
    /// which they go as bytes.
    ///
    /// The output is `[rows.len(), 3, height, width]`.
    ///
    /// # Panics
    ///
    /// If there are fewer bytes than the shape says, or fewer images than `rows`.
    pub fn images<B: RecallBackend>(
        &self,
        pixels: Pixels<'_>,
        rows: Range<usize>,
        device: &B::Device,
    ) -> Tensor<B, 4> {
        let [_, channels, height, width] = pixels.shape;
        let image = channels * height * width;
        let shape = [rows.len(), channels, height, width];
        let bytes = &pixels.bytes[rows.start * image..rows.end * image];
        // (x / 255 − mean) / std as one scale and one shift.
        let scale = self.std.map(|std| 1.0 / (255.0 * std));
        let shift = [0, 1, 2].map(|channel| -self.mean[channel] / self.std[channel]);
        let channelwise =
            |values: [f32; 3]| Tensor::<B, 1>::from_floats(values, device).reshape([1, 3, 1, 1]);
        let scales = channelwise(scale);
        if B::on_host() && scales.dtype() == DType::F32 {
            // Tensors of the host broadcast a number for each channel one element at a time.
            let mut values = Vec::with_capacity(bytes.len());
            let planes = bytes.chunks_exact((height * width).max(1));
            for (plane, channel) in planes.zip((0..channels).cycle()) {
                let (scale, shift) = (scale[channel], shift[channel]);
                values.extend(plane.iter().map(|&byte| f32::from(byte) * scale + shift));
            }
            return Tensor::from_data(TensorData::new(values, shape), device);
        }
        let data = TensorData::new(bytes.to_vec(), shape);
        // WebGPU has no bytes; there they are widened on the host.
        let dtype = if B::supports_dtype(device, DType::U8) {
            DType::U8
        } else {
            DType::I32
        };
        let images = Tensor::<B, 4, Int>::from_data(data.convert_dtype(dtype), (device, dtype));
        images.float() * scales + channelwise(shift)
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

#[cfg(test)]
mod tests {
    use burn_flex::{Flex, FlexDevice};

    use super::*;

    #[test]
    fn the_host_standardises_as_a_device_does_to_the_bit() {
        let shape = [3, 3, 4, 5];
        let bytes: Vec<u8> = (0..180_u32).map(|at| (at * 37 % 256) as u8).collect();
        let pixels = Pixels {
            bytes: &bytes,
            shape,
        };
        let standardise = Standardisation::IMAGENET;
        let images = standardise.images::<Flex>(pixels, 1..3, &FlexDevice);
        assert_eq!(images.dims(), [2, 3, 4, 5]);

        let data = TensorData::new(bytes[60..].to_vec(), [2, 3, 4, 5]);
        let floats = Tensor::<Flex, 4, Int>::from_data(data, (&FlexDevice, DType::U8)).float();
        let channels = |values: [f32; 3]| {
            Tensor::<Flex, 1>::from_floats(values, &FlexDevice).reshape([1, 3, 1, 1])
        };
        let (mean, std) = (standardise.mean, standardise.std);
        let scale = channels(std.map(|std| 1.0 / (255.0 * std)));
        let shift = channels([0, 1, 2].map(|channel| -mean[channel] / std[channel]));
        let expected = (floats * scale + shift).into_data();
        assert_eq!(images.into_data(), expected);
    }
}
