//! Vision transformers in timm's layout.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    Dropout, DropoutConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Distribution, Tensor, TensorData, backend::Backend};
use recall_nn::{Epilogue, NnBackend, attention, cast, conv2d, gelu, layer_norm, linear};

use super::Embedder;
use super::head::{EmbeddingHead, Head};
use crate::Inputs;
use crate::weights::position;

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
    /// Tokens beside the class token that stand for no patch (Darcet et al., ICLR 2024). With any of them,
    /// position embeddings are those of the patches alone.
    pub registers: usize,
    /// Whether tokens are normalised before the first block and patches are embedded without a bias, as CLIP does it.
    pub pre_norm: bool,
    /// Whether the activation is x · sigmoid(1.702 x) as in OpenAI's CLIP, and not GELU.
    pub quick_gelu: bool,
    /// What layer normalisation adds to the variance.
    pub epsilon: f64,
    /// Height and width of the images; what is no multiple of `patch` is padded to the next one.
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
        let [rows, columns] = self.image.map(|side| side.div_ceil(self.patch));
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let last = (self.depth.max(2) - 1) as f64;
        let positions = usize::from(self.registers == 0) + rows * columns;
        VisionTransformer {
            patch_embed: PatchEmbed {
                proj: Conv2dConfig::new([3, self.width], [self.patch, self.patch])
                    .with_stride([self.patch, self.patch])
                    .with_bias(!self.pre_norm)
                    .init(device),
            },
            cls_token: normal.init([1, 1, self.width], device),
            reg_token: (self.registers > 0)
                .then(|| normal.init([1, self.registers, self.width], device)),
            pos_embed: normal.init([1, positions, self.width], device),
            norm_pre: self.pre_norm.then(|| self.norm(device)),
            blocks: (0..self.depth)
                .map(|block| Block::new(self, self.drop_path * block as f64 / last, device))
                .collect(),
            norm: self.norm(device),
            embedding: EmbeddingHead::new(self.width, self.dim, self.head, device),
            mean: self.mean,
            epsilon: self.epsilon,
            rows,
            columns,
        }
    }

    fn norm<B: Backend>(&self, device: &B::Device) -> LayerNorm<B> {
        LayerNormConfig::new(self.width)
            .with_epsilon(self.epsilon)
            .init(device)
    }
}

/// A vision transformer (Dosovitskiy et al., ICLR 2021) as timm builds it, followed by the head of
/// the paper on its normalised class token or on the mean of its normalised patches.
#[derive(Module, Debug)]
pub struct VisionTransformer<B: Backend> {
    patch_embed: PatchEmbed<B>,
    cls_token: Param<Tensor<B, 3>>,
    reg_token: Option<Param<Tensor<B, 3>>>,
    pos_embed: Param<Tensor<B, 3>>,
    norm_pre: Option<LayerNorm<B>>,
    blocks: Vec<Block<B>>,
    norm: LayerNorm<B>,
    embedding: EmbeddingHead<B>,
    mean: bool,
    epsilon: f64,
    /// Of patches that it has position embeddings for.
    rows: usize,
    columns: usize,
}

impl<B: NnBackend> VisionTransformer<B> {
    /// The normalised tokens: the class token, registers, patches. Images of another size than the model was made for
    /// take position embeddings that are interpolated as timm does it; those whose sides are no whole patches are padded
    /// with zeros at the right and the bottom (timm's `dynamic_img_pad`).
    ///
    /// # Shapes
    ///
    /// - images: `[n, 3, height, width]`
    /// - output: `[n, 1 + registers + patches, width of a token]`
    pub fn tokens(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        let images = whole_patches(images, self.patch_embed.proj.kernel_size);
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
        let positions = cast(self.positions([rows, columns]), dtype);
        let tokens = match &self.reg_token {
            Some(registers) => {
                let registers = registers.val();
                let [_, count, _] = registers.dims();
                let registers = cast(registers, dtype).expand([n, count, width]);
                Tensor::cat(vec![class, registers, patches + positions], 1)
            }
            None => Tensor::cat(vec![class, patches], 1) + positions,
        };
        let tokens = match &self.norm_pre {
            Some(norm) => layer_norm(tokens, norm, self.epsilon),
            None => tokens,
        };
        let tokens = self
            .blocks
            .iter()
            .fold(tokens, |tokens, block| block.forward(tokens));
        layer_norm(tokens, &self.norm, self.epsilon)
    }

    /// How many tokens stand before those of the patches.
    fn before_patches(&self) -> usize {
        let registers = self.reg_token.as_ref();
        1 + registers.map_or(0, |registers| registers.dims()[1])
    }

    /// The position embeddings of a grid of patches, after that of the class token if it has one.
    fn positions(&self, grid: position::Grid) -> Tensor<B, 3> {
        let own = self.pos_embed.val();
        let from = [self.rows, self.columns];
        if grid == from {
            return own;
        }
        let [_, count, width] = own.dims();
        let class = count - from[0] * from[1];
        let patches = own.clone().narrow(1, class, count - class);
        // An axis at a time, as products: so they have gradients, and stay on the device.
        let along = |axis: usize, rest: usize, values: Tensor<B, 3>| -> Tensor<B, 3> {
            let (new, old) = (grid[axis], from[axis]);
            let weights = TensorData::new(position::weights(old, new), [new, old]);
            let weights = Tensor::<B, 2>::from_data(weights, (&own.device(), own.dtype()));
            let mixed = weights.matmul(values.reshape([old, rest * width]));
            mixed.reshape([new, rest, width])
        };
        let tall = along(0, from[1], patches);
        let wide = along(1, grid[0], tall.swap_dims(0, 1));
        let patches = wide.swap_dims(0, 1).reshape([1, grid[0] * grid[1], width]);
        match class {
            0 => patches,
            _ => Tensor::cat(vec![own.narrow(1, 0, class), patches], 1),
        }
    }

    /// What the head takes, `[n, width of a token]`: the normalised class token, or the mean of the patches.
    fn pooled(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let tokens = self.tokens(images);
        let [_, count, _] = tokens.dims();
        let before = self.before_patches();
        let pooled = match self.mean {
            true => cast(tokens, self.embedding.dtype())
                .narrow(1, before, count - before)
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
            [
                "patch_embed" | "cls_token" | "reg_token" | "pos_embed" | "norm_pre",
                ..,
            ] => Some(0),
            ["blocks", number, ..] => Some(1 + number.parse::<usize>().ok()?),
            // After every block.
            ["norm", ..] => Some(usize::MAX - 1),
            _ => None,
        }
    }
}

/// Images with zeros at the bottom and the right, up to the next whole patch.
fn whole_patches<B: Backend>(images: Tensor<B, 4>, patch: [usize; 2]) -> Tensor<B, 4> {
    [2, 3]
        .into_iter()
        .zip(patch)
        .fold(images, |images, (axis, patch)| {
            let mut missing = images.dims();
            missing[axis] = missing[axis].next_multiple_of(patch) - missing[axis];
            if missing[axis] == 0 {
                return images;
            }
            let zeros = Tensor::zeros(missing, (&images.device(), images.dtype()));
            Tensor::cat(vec![images, zeros], axis)
        })
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
    epsilon: f64,
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
            epsilon: config.epsilon,
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
            .forward(layer_norm(tokens.clone(), &self.norm1, self.epsilon));
        let tokens = add(tokens, attended, &self.ls1);
        let thought = self
            .mlp
            .forward(layer_norm(tokens.clone(), &self.norm2, self.epsilon));
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
    quick_gelu: bool,
}

impl<B: NnBackend> Mlp<B> {
    fn new(config: &VisionTransformerConfig, device: &B::Device) -> Self {
        Self {
            fc1: new_linear(config.width, 4 * config.width, device),
            fc2: new_linear(4 * config.width, config.width, device),
            dropout: DropoutConfig::new(config.dropout).init(),
            quick_gelu: config.quick_gelu,
        }
    }

    fn forward(&self, tokens: Tensor<B, 3>) -> Tensor<B, 3> {
        let hidden = linear(tokens, &self.fc1);
        let hidden = match self.quick_gelu {
            true => quick_gelu(hidden),
            false => gelu(hidden),
        };
        self.dropout
            .forward(linear(self.dropout.forward(hidden), &self.fc2))
    }
}

/// x · sigmoid(1.702 x), the approximation of GELU (Hendrycks and Gimpel, 2016) that OpenAI's CLIP was trained with.
/// Of numbers in half precision it is computed in single precision, as GELU is.
fn quick_gelu<B: NnBackend>(input: Tensor<B, 3>) -> Tensor<B, 3> {
    let dtype = input.dtype();
    let wide = match dtype {
        DType::F16 | DType::BF16 => cast(input, DType::F32),
        _ => input,
    };
    let gate = sigmoid(wide.clone().mul_scalar(1.702));
    cast(wide * gate, dtype)
}

fn new_linear<B: Backend>(input: usize, output: usize, device: &B::Device) -> Linear<B> {
    LinearConfig::new(input, output)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        })
        .init(device)
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn_flex::Flex;

    use super::*;

    type Graph = Autodiff<Flex>;

    #[test]
    fn positions_of_another_grid_are_trained_too() {
        for registers in [0, 2] {
            let config = VisionTransformerConfig {
                patch: 4,
                width: 8,
                depth: 1,
                heads: 2,
                layer_scale: false,
                registers,
                pre_norm: false,
                quick_gelu: false,
                epsilon: 1e-6,
                image: [12, 16],
                dim: 3,
                head: Head::default(),
                mean: false,
                dropout: 0.0,
                drop_path: 0.0,
            };
            let model: VisionTransformer<Graph> = config.init(&Default::default());
            let class = usize::from(registers == 0);
            let positions = model.positions([2, 5]);
            assert_eq!(positions.dims(), [1, class + 10, 8]);
            let gradients = positions.sum().backward();
            let gradient = model.pos_embed.val().grad(&gradients).unwrap();
            let sums = gradient
                .sum_dim(2)
                .into_data()
                .iter::<f32>()
                .collect::<Vec<_>>();
            // Each new place takes a whole, of the old ones.
            let total: f32 = sums.iter().skip(class).sum();
            assert!((total - 80.0).abs() < 1e-3, "{total}");
            assert!(sums.iter().take(class).all(|sum| (sum - 8.0).abs() < 1e-5));
        }
    }
}
