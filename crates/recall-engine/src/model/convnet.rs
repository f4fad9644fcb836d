use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Tensor, backend::Backend};
use recall_nn::{Epilogue, NnBackend, cast, conv2d, layer_norm, max_pool2d, project};
use recall_step::l2_normalise;
use serde::{Deserialize, Serialize};

use super::Embedder;
use super::head::not_of_width;
use crate::Inputs;

/// What layer normalisation adds to the variance.
const EPSILON: f64 = 1e-5;

/// Settings of [`ConvNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvNetConfig {
    /// Channels of the stem and of each convolution after it. Default 64, 128, 256.
    pub widths: Vec<usize>,
    /// Cells a side to which the last feature map is averaged before the head. Default 4.
    pub grid: usize,
    /// Length of an embedding. Default 128.
    pub dim: usize,
}

impl Default for ConvNetConfig {
    fn default() -> Self {
        Self {
            widths: vec![64, 128, 256],
            grid: 4,
            dim: 128,
        }
    }
}

impl ConvNetConfig {
    /// The fewest pixels that a side of an image can have: the stem and each pooling before a convolution
    /// halve it, and one has to be left for the grid.
    pub fn smallest_side(&self) -> usize {
        2_usize.saturating_pow(u32::try_from(self.widths.len()).unwrap_or(u32::MAX))
    }

    /// Creates the model with random weights.
    ///
    /// # Panics
    ///
    /// If `widths` is empty.
    pub fn init<B: Backend>(&self, device: &B::Device) -> ConvNet<B> {
        // No biases: the sum over space and batch in their backward pass costs a CPU as much as a
        // small convolution. What they do to the recall was not measured.
        let convolution = |channels: [usize; 2], kernel: usize| {
            Conv2dConfig::new(channels, [kernel, kernel])
                .with_bias(false)
                .with_initializer(Initializer::KaimingNormal {
                    gain: 2f64.sqrt(),
                    fan_out_only: false,
                })
        };
        let last = self.widths[self.widths.len() - 1];
        let features = last * self.grid * self.grid;
        ConvNet {
            stem: convolution([3, self.widths[0]], 4)
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device),
            convolutions: self
                .widths
                .windows(2)
                .map(|pair| {
                    convolution([pair[0], pair[1]], 3)
                        .with_padding(PaddingConfig2d::Same)
                        .init(device)
                })
                .collect(),
            halve: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            pool: AdaptiveAvgPool2dConfig::new([self.grid, self.grid]).init(),
            norm: LayerNormConfig::new(features)
                .with_epsilon(EPSILON)
                .init(device),
            head: LinearConfig::new(features, self.dim).init(device),
        }
    }
}

/// A small convolutional embedder for small images, chosen for speed on a CPU.
///
/// A 4 × 4 convolution with stride 2, then 3 × 3 convolutions, each after a 2 × 2 max-pooling; the
/// last feature map, averaged to a fixed grid, goes through LayerNorm → Linear → L2, the head of the
/// paper. The grid keeps where in the image a feature is, which pooling it all away would lose.
#[derive(Module, Debug)]
pub struct ConvNet<B: Backend> {
    stem: Conv2d<B>,
    convolutions: Vec<Conv2d<B>>,
    halve: MaxPool2d,
    pool: AdaptiveAvgPool2d,
    norm: LayerNorm<B>,
    head: Linear<B>,
}

impl<B: NnBackend> Embedder<B> for ConvNet<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.embed_features(self.cells(images))
    }

    fn embed_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let normal = layer_norm(features, &self.norm, EPSILON);
        l2_normalise(project(normal, &self.head))
    }

    fn features(&self, images: Tensor<B, 4>) -> Option<Tensor<B, 2>> {
        Some(self.cells(images))
    }

    fn refusal(&self, inputs: &Inputs<'_>) -> Option<String> {
        not_of_width(inputs, self.norm.gamma.dims()[0])
    }

    fn takes_half(&self) -> bool {
        true
    }

    fn stage(&self, path: &[&str]) -> Option<usize> {
        match path {
            ["stem", ..] => Some(0),
            ["convolutions", number, ..] => Some(1 + number.parse::<usize>().ok()?),
            _ => None,
        }
    }
}

impl<B: NnBackend> ConvNet<B> {
    /// The last feature map, averaged to the grid, as a row for each image.
    fn cells(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let relu = || Epilogue {
            relu: true,
            ..Epilogue::default()
        };
        let mut x = conv2d(images, &self.stem, relu());
        for convolution in &self.convolutions {
            x = conv2d(max_pool2d(x, &self.halve), convolution, relu());
        }
        // What the head takes is in its own precision, and so is the mean.
        let mut x = cast(x, self.norm.gamma.val().dtype());
        // The mean of single cells is the map itself.
        if x.dims()[2..] != self.pool.output_size {
            x = self.pool.forward(x);
        }
        x.flatten(1, 3)
    }
}
