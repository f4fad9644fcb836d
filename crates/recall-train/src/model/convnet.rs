use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Tensor, activation::relu, backend::Backend};
use serde::{Deserialize, Serialize};

use super::{Embedder, l2_normalise};

/// Settings of [`ConvNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvNetConfig {
    /// Channels of the stem and of each 3 × 3 convolution after it. Default 32, 64, 128, 256.
    pub widths: Vec<usize>,
    /// The last feature map is averaged to a grid of this many cells a side before the head. Default 4.
    pub grid: usize,
    /// Length of an embedding. Default 128.
    pub dim: usize,
}

impl Default for ConvNetConfig {
    fn default() -> Self {
        Self {
            widths: vec![32, 64, 128, 256],
            grid: 4,
            dim: 128,
        }
    }
}

impl ConvNetConfig {
    /// Makes the model with random weights.
    pub fn init<B: Backend>(&self, device: &B::Device) -> ConvNet<B> {
        let initializer = Initializer::KaimingNormal {
            gain: 2f64.sqrt(),
            fan_out_only: false,
        };
        let stem = Conv2dConfig::new([3, self.widths[0]], [4, 4])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_initializer(initializer.clone())
            .init(device);
        let blocks = self
            .widths
            .windows(2)
            .map(|pair| {
                Conv2dConfig::new([pair[0], pair[1]], [3, 3])
                    .with_padding(PaddingConfig2d::Same)
                    .with_initializer(initializer.clone())
                    .init(device)
            })
            .collect();
        let last = self.widths[self.widths.len() - 1];
        let features = last * self.grid * self.grid;
        ConvNet {
            stem,
            blocks,
            halve: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            pool: AdaptiveAvgPool2dConfig::new([self.grid, self.grid]).init(),
            norm: LayerNormConfig::new(features).init(device),
            head: LinearConfig::new(features, self.dim).init(device),
        }
    }
}

/// A small convolutional embedder for small images, chosen for speed on a CPU.
#[derive(Module, Debug)]
pub struct ConvNet<B: Backend> {
    stem: Conv2d<B>,
    blocks: Vec<Conv2d<B>>,
    halve: MaxPool2d,
    pool: AdaptiveAvgPool2d,
    norm: LayerNorm<B>,
    head: Linear<B>,
}

impl<B: Backend> Embedder<B> for ConvNet<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let mut x = relu(self.stem.forward(images));
        for (i, block) in self.blocks.iter().enumerate() {
            if i > 0 {
                x = self.halve.forward(x);
            }
            x = relu(block.forward(x));
        }
        let features = self.pool.forward(x).flatten(1, 3);
        l2_normalise(self.head.forward(self.norm.forward(features)))
    }
}
