//! Vision transformers in timm's layout.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    Dropout, DropoutConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::{Distribution, Tensor, TensorData, backend::Backend};
use recall_nn::{Epilogue, NnBackend, attention, cast, conv2d, gelu, layer_norm, linear};

use super::Embedder;
use super::head::{EmbeddingHead, Head};
use crate::Inputs;
use crate::weights::position;

/// What layer normalisation adds to the variance.
const EPSILON: f64 = 1e-6;

/// Settings of [`VisionTransformer`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionTransformerConfig {
    /// Pixels a side of a patch.
    pub patch: usize,
    /// Length of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads of a block; they divide `width`.
    pub heads: usize,
    /// Whether the branches of a block are scaled by learned factors (LayerScale), as DINOv2 does.
    pub layer_scale: bool,
    /// Height and width of the images, multiples of `patch`.
    pub image: [usize; 2],
    /// Length of an embedding.
    pub dim: usize,
    /// From pooled features to an embedding.
    pub head: Head,
    /// Whether the patches' mean is embedded, and not the class token.
    pub mean: bool,
    /// Share of the numbers that are dropped after projections (timm's `proj_drop`).
    pub dropout: f64,
    /// Share of the images for which the last block's branches are skipped, growing linearly from 0
    /// at the first block (stochastic depth).
    pub drop_path: f64,
}

impl VisionTransformerConfig {
    /// Creates the model with random weights.
    pub fn init<B: NnBackend>(&self, device: &B::Device) -> VisionTransformer<B> {
        let [rows, columns] = self.image.map(|side| side / self.patch);
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let last = (self.depth.max(2) - 1) as f64;
        VisionTransformer {
            patch_embed: PatchEmbed {
                proj: Conv2dConfig::new([3, self.width], [self.patch, self.patch])
                    .with_stride([self.patch, self.patch])
                    .init(device),
            },
            cls_token: normal.init([1, 1, self.width], device),
            pos_embed: normal.init([1, 1 + rows * columns, self.width], device),
            blocks: (0..self.depth)
                .map(|block| Block::new(self, self.drop_path * block as f64 / last, device))
                .collect(),
            norm: self.norm(device),
            embedding: EmbeddingHead::new(self.width, self.dim, self.head, device),
            mean: self.mean,
            rows,
            columns,
        }
    }

    fn norm<B: Backend>(&self, device: &B::Device) -> LayerNorm<B> {
        LayerNormConfig::new(self.width)
            .with_epsilon(EPSILON)
            .init(device)
    }
}

/// A vision transformer (Dosovitskiy et al., ICLR 2021) as timm builds it, followed by the head of
/// the paper on its normalised class token or on the mean of its normalised patches.
#[derive(Module, Debug)]
pub struct VisionTransformer<B: Backend> {
    patch_embed: PatchEmbed<B>,
    cls_token: Param<Tensor<B, 3>>,
    pos_embed: Param<Tensor<B, 3>>,
    blocks: Vec<Block<B>>,
    norm: LayerNorm<B>,
    embedding: EmbeddingHead<B>,
    mean: bool,
    /// Of patches that it has position embeddings for.
    rows: usize,
    columns: usize,
}

impl<B: NnBackend> VisionTransformer<B> {
    /// The normalised tokens, the class token first. Images of another size than the model was made for take position
    /// embeddings that are interpolated as timm does it; these have no gradient.
    ///
    /// # Shapes
    ///
    /// - images: `[n, 3, height, width]`
    /// - output: `[n, 1 + patches, width of a token]`
    pub fn tokens(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        let patches = conv2d(images, &self.patch_embed.proj, Epilogue::default());
        // Channels last before the axes of the image become one. In the other order the backward pass
        // reshapes a transposed tensor, `[n, width, patches]` to `[n, width, rows, columns]`: for images of
        // one patch CubeCL's backends take the stride of the last axis, which nothing uses, for that of
        // `width`, and read beyond the tensor.
        let [_, _, rows, columns] = patches.dims();
        let patches = patches.permute([0, 2, 3, 1]).flatten::<3>(1, 2);
        let [n, _, width] = patches.dims();
        let dtype = patches.dtype();
        let class = cast(self.cls_token.val(), dtype).expand([n, 1, width]);
        let tokens =
            Tensor::cat(vec![class, patches], 1) + cast(self.positions([rows, columns]), dtype);
        let tokens = self
            .blocks
            .iter()
            .fold(tokens, |tokens, block| block.forward(tokens));
        layer_norm(tokens, &self.norm, EPSILON)
    }

    /// The position embeddings of a grid of patches, after that of the class token.
    fn positions(&self, grid: position::Grid) -> Tensor<B, 3> {
        let own = self.pos_embed.val();
        let from = [self.rows, self.columns];
        if grid == from {
            return own;
        }
        let ([_, _, width], device) = (own.dims(), own.device());
        let values: Vec<f32> = own.into_data().iter::<f32>().collect();
        let (class, patches) = values.split_at(width.min(values.len()));
        let mut values = class.to_vec();
        values.extend(position::resample(patches, width, from, grid));
        let shape = [1, 1 + grid[0] * grid[1], width];
        Tensor::from_data(TensorData::new(values, shape), &device)
    }

    /// What the head takes, `[n, width of a token]`: the normalised class token, or the mean of the patches.
    fn pooled(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let tokens = self.tokens(images);
        let [_, count, _] = tokens.dims();
        let pooled = match self.mean {
            true => cast(tokens, self.embedding.dtype())
                .narrow(1, 1, count - 1)
                .mean_dim(1),
            false => tokens.narrow(1, 0, 1),
        };
        pooled.squeeze_dim(1)
    }
}

impl<B: NnBackend> Embedder<B> for VisionTransformer<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.embed_features(self.pooled(images))
    }

    fn embed_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.embedding.forward(features)
    }

    fn features(&self, images: Tensor<B, 4>) -> Option<Tensor<B, 2>> {
        Some(self.pooled(images))
    }

    fn refusal(&self, inputs: &Inputs<'_>) -> Option<String> {
        self.embedding.refusal(inputs)
    }

    fn takes_half(&self) -> bool {
        true
    }

    fn stage(&self, path: &[&str]) -> Option<usize> {
        match path {
            ["patch_embed" | "cls_token" | "pos_embed", ..] => Some(0),
            ["blocks", number, ..] => Some(1 + number.parse::<usize>().ok()?),
            // After every block.
            ["norm", ..] => Some(usize::MAX - 1),
            _ => None,
        }
    }
}

#[derive(Module, Debug)]
struct PatchEmbed<B: Backend> {
    proj: Conv2d<B>,
}

#[derive(Module, Debug)]
struct Block<B: Backend> {
    norm1: LayerNorm<B>,
    attn: Attention<B>,
    ls1: Option<LayerScale<B>>,
    norm2: LayerNorm<B>,
    mlp: Mlp<B>,
    ls2: Option<LayerScale<B>>,
    drop_path: DropPath,
}

impl<B: NnBackend> Block<B> {
    fn new(config: &VisionTransformerConfig, drop_path: f64, device: &B::Device) -> Self {
        let scale = || {
            config
                .layer_scale
                .then(|| LayerScale::new(config.width, device))
        };
        Self {
            norm1: config.norm(device),
            attn: Attention::new(config, device),
            ls1: scale(),
            norm2: config.norm(device),
            mlp: Mlp::new(config, device),
            ls2: scale(),
            drop_path: DropPath { share: drop_path },
        }
    }

    fn forward(&self, tokens: Tensor<B, 3>) -> Tensor<B, 3> {
        let add = |tokens: Tensor<B, 3>, branch: Tensor<B, 3>, scale: &Option<LayerScale<B>>| {
            let branch = match scale {
                Some(scale) => {
                    let gamma = cast(scale.gamma.val(), branch.dtype());
                    branch * gamma.reshape([1, 1, -1])
                }
                None => branch,
            };
            tokens + self.drop_path.forward(branch)
        };
        let attended = self
            .attn
            .forward(layer_norm(tokens.clone(), &self.norm1, EPSILON));
        let tokens = add(tokens, attended, &self.ls1);
        let thought = self
            .mlp
            .forward(layer_norm(tokens.clone(), &self.norm2, EPSILON));
        add(tokens, thought, &self.ls2)
    }
}

/// Learned factors, one for each number of a token.
#[derive(Module, Debug)]
struct LayerScale<B: Backend> {
    gamma: Param<Tensor<B, 1>>,
}

impl<B: Backend> LayerScale<B> {
    fn new(width: usize, device: &B::Device) -> Self {
        Self {
            gamma: Param::from_tensor(Tensor::full([width], 1e-5, device)),
        }
    }
}

/// Stochastic depth (Huang et al., ECCV 2016): in training, the branch of a whole image is skipped.
#[derive(Module, Clone, Debug)]
struct DropPath {
    share: f64,
}

impl DropPath {
    fn forward<B: NnBackend>(&self, branch: Tensor<B, 3>) -> Tensor<B, 3> {
        let device = branch.device();
        if self.share == 0.0 || !B::ad_enabled(&device) {
            return branch;
        }
        let keep = 1.0 - self.share;
        let [n, _, _] = branch.dims();
        let kept = Tensor::<B, 3>::random([n, 1, 1], Distribution::Bernoulli(keep), &device);
        let kept = cast(kept.mul_scalar(1.0 / keep), branch.dtype());
        branch * kept
    }
}

#[derive(Module, Debug)]
struct Attention<B: Backend> {
    qkv: Linear<B>,
    proj: Linear<B>,
    dropout: Dropout,
    heads: usize,
}

impl<B: NnBackend> Attention<B> {
    fn new(config: &VisionTransformerConfig, device: &B::Device) -> Self {
        Self {
            qkv: new_linear(config.width, 3 * config.width, device),
            proj: new_linear(config.width, config.width, device),
            dropout: DropoutConfig::new(config.dropout).init(),
            heads: config.heads,
        }
    }

    fn forward(&self, tokens: Tensor<B, 3>) -> Tensor<B, 3> {
        let mixed = attention(linear(tokens, &self.qkv), self.heads);
        self.dropout.forward(linear(mixed, &self.proj))
    }
}

#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    fc1: Linear<B>,
    fc2: Linear<B>,
    dropout: Dropout,
}

impl<B: NnBackend> Mlp<B> {
    fn new(config: &VisionTransformerConfig, device: &B::Device) -> Self {
        Self {
            fc1: new_linear(config.width, 4 * config.width, device),
            fc2: new_linear(4 * config.width, config.width, device),
            dropout: DropoutConfig::new(config.dropout).init(),
        }
    }

    fn forward(&self, tokens: Tensor<B, 3>) -> Tensor<B, 3> {
        let hidden = self.dropout.forward(gelu(linear(tokens, &self.fc1)));
        self.dropout.forward(linear(hidden, &self.fc2))
    }
}

fn new_linear<B: Backend>(input: usize, output: usize, device: &B::Device) -> Linear<B> {
    LinearConfig::new(input, output)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        })
        .init(device)
}
