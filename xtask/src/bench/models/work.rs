//! How much of the machine's arithmetic a model needs.

use super::case::Case;

impl Case {
    /// Multiplications with an addition of an image's forward pass, in the matrix products and convolutions
    /// alone; none for a model that is not counted here.
    pub fn products_forward(&self) -> Option<f64> {
        let count = match self.backbone.as_str() {
            "convnet" => convnet(self.side),
            "resnet50" => resnet50(self.side),
            "vit-b32" => vit(self.side / 32, 32, 768),
            "vit-b16" => vit(self.side / 16, 16, 768),
            "vit-s16" => vit(self.side / 16, 16, 384),
            _ => return None,
        };
        Some(count as f64)
    }

    /// The same of a two-pass step over the batch: each chunk but the last goes forward twice, and the way
    /// back is two products for each one of the way there.
    pub fn products_of_step(&self) -> Option<f64> {
        let forward = self.products_forward()? * self.batch as f64;
        let chunks = self.batch.div_ceil(self.chunk) as f64;
        Some(forward * (2.0 - 1.0 / chunks + 2.0))
    }
}

/// A convolution with outputs of `side` pixels.
fn convolution(side: usize, channels: [usize; 2], kernel: usize) -> usize {
    side * side * channels[0] * channels[1] * kernel * kernel
}

fn convnet(side: usize) -> usize {
    convolution(side / 2, [3, 64], 4)
        + convolution(side / 4, [64, 128], 3)
        + convolution(side / 8, [128, 256], 3)
        + 256 * 4 * 4 * 128
}

fn resnet50(side: usize) -> usize {
    let mut count = convolution(side / 2, [3, 64], 7) + 2048 * 512;
    let mut input = 64;
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let (width, out) = (64 << stage, side / (4 << stage));
        for block in 0..blocks {
            // The stride is in the 3 × 3 convolution.
            let before = if block == 0 && stage > 0 {
                2 * out
            } else {
                out
            };
            count += convolution(before, [input, width], 1)
                + convolution(out, [width, width], 3)
                + convolution(out, [width, 4 * width], 1);
            if block == 0 {
                count += convolution(out, [input, 4 * width], 1);
            }
            input = 4 * width;
        }
    }
    count
}

fn vit(patches: usize, patch: usize, width: usize) -> usize {
    let tokens = 1 + patches * patches;
    let block = tokens * 12 * width * width + 2 * tokens * tokens * width;
    (tokens - 1) * 3 * patch * patch * width + 12 * block + width * 512
}
