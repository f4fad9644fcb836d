//! The ResNets in torchvision's layout, with frozen batch-norm statistics.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Tensor, backend::Backend};
use recall_nn::{Epilogue, NnBackend, cast, conv2d, max_pool2d};
use recall_step::{FrozenBatchNorm, FrozenBatchNormConfig};

use super::Embedder;
use super::head::{EmbeddingHead, GeM, Head};
use crate::Inputs;

/// A ResNet and what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Blocks of each of its four stages.
    pub blocks: [usize; 4],
    /// Whether a block is a bottleneck of three convolutions, or a basic one of two.
    pub bottleneck: bool,
    /// Numbers of an embedding.
    pub dim: usize,
    /// Whether it is pooled by GeM, or by the mean.
    pub gem: bool,
    /// From pooled features to an embedding.
    pub head: Head,
}

/// A ResNet (He et al., CVPR 2016) as torchvision builds it, the stride of a bottleneck in its 3 × 3 convolution,
/// followed by pooling and a head.
#[derive(Module, Debug)]
pub struct ResNet<B: Backend> {
    conv1: Conv2d<B>,
    bn1: FrozenBatchNorm<B>,
    maxpool: MaxPool2d,
    layer1: Vec<Block<B>>,
    layer2: Vec<Block<B>>,
    layer3: Vec<Block<B>>,
    layer4: Vec<Block<B>>,
    gem: Option<GeM<B>>,
    embedding: EmbeddingHead<B>,
}

impl ResNetConfig {
    /// Creates the network with random weights.
    pub fn init<B: NnBackend>(&self, device: &B::Device) -> ResNet<B> {
        let expansion = if self.bottleneck { EXPANSION } else { 1 };
        let stage = |stage: usize| {
            let width = 64 << stage;
            let (before, stride) = match stage {
                // The stem has 64 channels and has halved the image twice.
                0 => (64, 1),
                _ => (expansion * width / 2, 2),
            };
            let new = |input, stride| match self.bottleneck {
                true => Block::bottleneck(input, width, stride, device),
                false => Block::basic(input, width, stride, device),
            };
            let blocks = (0..self.blocks[stage]).map(|block| match block {
                0 => new(before, stride),
                _ => new(expansion * width, 1),
            });
            blocks.collect()
        };
        ResNet {
            conv1: convolution([3, 64], 7, 2, device),
            bn1: FrozenBatchNormConfig::new(64).init(device),
            maxpool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            gem: self.gem.then(|| GeM::new(device)),
            embedding: EmbeddingHead::new(expansion * 512, self.dim, self.head, device),
        }
    }
}

impl<B: NnBackend> ResNet<B> {
    /// The last feature map.
    ///
    /// # Shapes
    ///
    /// - images: `[n, 3, height, width]`
    /// - output: `[n, 2048, ⌈height / 32⌉, ⌈width / 32⌉]`, of basic blocks with 512 channels
    pub fn map(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let stem = normalised(images, &self.conv1, &self.bn1, None, true);
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4]
            .into_iter()
            .flatten()
            .fold(max_pool2d(stem, &self.maxpool), |x, block| block.forward(x))
    }

    /// What the head takes, `[n, features]`: the mean of each channel, or, as GeM's exponent is trained with
    /// the head, the whole map, channel by channel.
    fn handed_over(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let map = self.map(images);
        match &self.gem {
            Some(_) => map.flatten(1, 3),
            None => {
                let map = cast(map, self.embedding.dtype());
                map.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
            }
        }
    }
}

impl<B: NnBackend> Embedder<B> for ResNet<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.embed_features(self.handed_over(images))
    }

    fn embed_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let features = cast(features, self.embedding.dtype());
        let pooled = match &self.gem {
            Some(gem) => {
                let [n, count] = features.dims();
                let channels = self.embedding.features();
                // Where in the map a cell is means nothing to the pooling.
                gem.forward(features.reshape([n, channels, count / channels, 1]))
            }
            None => features,
        };
        self.embedding.forward(pooled)
    }

    fn features(&self, images: Tensor<B, 4>) -> Option<Tensor<B, 2>> {
        Some(self.handed_over(images))
    }

    fn refusal(&self, inputs: &Inputs<'_>) -> Option<String> {
        let Inputs::Features(features) = inputs else {
            return None;
        };
        let (dim, channels) = (features.dim, self.embedding.features());
        match &self.gem {
            Some(_) if dim > 0 && dim.is_multiple_of(channels) => None,
            Some(_) => Some(format!(
                "the head takes rows of {channels} features for each cell of a map, not of {dim}"
            )),
            None => self.embedding.refusal(inputs),
        }
    }

    fn takes_half(&self) -> bool {
        true
    }

    fn stage(&self, path: &[&str]) -> Option<usize> {
        match *path.first()? {
            "conv1" | "bn1" => Some(0),
            layer => layer.strip_prefix("layer")?.parse().ok(),
        }
    }
}

/// How many times more channels a bottleneck gives than it has inside.
const EXPANSION: usize = 4;

/// Two convolutions around which the input is added, or three of a bottleneck.
#[derive(Module, Debug)]
struct Block<B: Backend> {
    conv1: Conv2d<B>,
    bn1: FrozenBatchNorm<B>,
    conv2: Conv2d<B>,
    bn2: FrozenBatchNorm<B>,
    /// Of bottlenecks, as `bn3`.
    conv3: Option<Conv2d<B>>,
    bn3: Option<FrozenBatchNorm<B>>,
    downsample: Option<Downsample<B>>,
}

/// Brings the input of a stage to the shape of its output.
#[derive(Module, Debug)]
struct Downsample<B: Backend> {
    conv: Conv2d<B>,
    bn: FrozenBatchNorm<B>,
}

impl<B: NnBackend> Block<B> {
    fn basic(input: usize, width: usize, stride: usize, device: &B::Device) -> Self {
        Self {
            conv1: convolution([input, width], 3, stride, device),
            bn1: normalisation(width, device),
            conv2: convolution([width, width], 3, 1, device),
            bn2: normalisation(width, device),
            conv3: None,
            bn3: None,
            downsample: Downsample::between(input, width, stride, device),
        }
    }

    fn bottleneck(input: usize, width: usize, stride: usize, device: &B::Device) -> Self {
        let output = EXPANSION * width;
        Self {
            conv1: convolution([input, width], 1, 1, device),
            bn1: normalisation(width, device),
            conv2: convolution([width, width], 3, stride, device),
            bn2: normalisation(width, device),
            conv3: Some(convolution([width, output], 1, 1, device)),
            bn3: Some(normalisation(output, device)),
            downsample: Downsample::between(input, output, stride, device),
        }
    }

    fn forward(&self, input: Tensor<B, 4>) -> Tensor<B, 4> {
        let shortcut = |input: Tensor<B, 4>| match &self.downsample {
            Some(downsample) => normalised(input, &downsample.conv, &downsample.bn, None, false),
            None => input,
        };
        let x = normalised(input.clone(), &self.conv1, &self.bn1, None, true);
        match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => {
                let x = normalised(x, &self.conv2, &self.bn2, None, true);
                normalised(x, conv3, bn3, Some(shortcut(input)), true)
            }
            _ => normalised(x, &self.conv2, &self.bn2, Some(shortcut(input)), true),
        }
    }
}

impl<B: NnBackend> Downsample<B> {
    /// None where input and output have one shape.
    fn between(input: usize, output: usize, stride: usize, device: &B::Device) -> Option<Self> {
        (input != output || stride != 1).then(|| Self {
            conv: convolution([input, output], 1, stride, device),
            bn: normalisation(output, device),
        })
    }
}

fn normalisation<B: Backend>(channels: usize, device: &B::Device) -> FrozenBatchNorm<B> {
    FrozenBatchNormConfig::new(channels).init(device)
}

/// A convolution, its normalisation, what is added and ReLU, in one pass: frozen statistics are a scale
/// and a shift of each channel.
fn normalised<B: NnBackend>(
    images: Tensor<B, 4>,
    convolution: &Conv2d<B>,
    norm: &FrozenBatchNorm<B>,
    residual: Option<Tensor<B, 4>>,
    relu: bool,
) -> Tensor<B, 4> {
    let [scale, shift] = norm.scale_and_shift();
    let epilogue = Epilogue {
        scale: Some(scale),
        shift: Some(shift),
        residual,
        relu,
    };
    conv2d(images, convolution, epilogue)
}

fn convolution<B: Backend>(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    device: &B::Device,
) -> Conv2d<B> {
    let around = kernel / 2;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(around, around, around, around))
        .with_bias(false)
        .with_initializer(Initializer::KaimingNormal {
            gain: 2f64.sqrt(),
            fan_out_only: true,
        })
        .init(device)
}
