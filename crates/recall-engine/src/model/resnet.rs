//! ResNet-50 in torchvision's layout, with frozen batch-norm statistics.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Tensor, backend::Backend};
use recall_nn::{Epilogue, NnBackend, cast, conv2d, max_pool2d};
use recall_step::{FrozenBatchNorm, FrozenBatchNormConfig};

use super::Embedder;
use super::head::{EmbeddingHead, GeM};
use crate::Inputs;

/// Channels of the last feature map.
const FEATURES: usize = 2048;

/// ResNet-50 (He et al., CVPR 2016) as torchvision builds it, the stride in the 3 × 3 convolution,
/// followed by pooling and the head of the paper.
#[derive(Module, Debug)]
pub struct ResNet50<B: Backend> {
    conv1: Conv2d<B>,
    bn1: FrozenBatchNorm<B>,
    maxpool: MaxPool2d,
    layer1: Vec<Bottleneck<B>>,
    layer2: Vec<Bottleneck<B>>,
    layer3: Vec<Bottleneck<B>>,
    layer4: Vec<Bottleneck<B>>,
    gem: Option<GeM<B>>,
    embedding: EmbeddingHead<B>,
}

impl<B: NnBackend> ResNet50<B> {
    /// A network with random weights that embeds in `dim` numbers; pooled by GeM, or by the mean.
    pub fn new(dim: usize, gem: bool, device: &B::Device) -> Self {
        let stage = |input: usize, width: usize, blocks: usize, stride: usize| {
            (0..blocks)
                .map(|block| match block {
                    0 => Bottleneck::new(input, width, stride, device),
                    _ => Bottleneck::new(4 * width, width, 1, device),
                })
                .collect()
        };
        Self {
            conv1: convolution([3, 64], 7, 2, device),
            bn1: FrozenBatchNormConfig::new(64).init(device),
            maxpool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layer1: stage(64, 64, 3, 1),
            layer2: stage(256, 128, 4, 2),
            layer3: stage(512, 256, 6, 2),
            layer4: stage(1024, 512, 3, 2),
            gem: gem.then(|| GeM::new(device)),
            embedding: EmbeddingHead::new(FEATURES, dim, device),
        }
    }

    /// The last feature map.
    ///
    /// # Shapes
    ///
    /// - images: `[n, 3, height, width]`
    /// - output: `[n, 2048, ⌈height / 32⌉, ⌈width / 32⌉]`
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

impl<B: NnBackend> Embedder<B> for ResNet50<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.embed_features(self.handed_over(images))
    }

    fn embed_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let features = cast(features, self.embedding.dtype());
        let pooled = match &self.gem {
            Some(gem) => {
                let [n, count] = features.dims();
                // Where in the map a cell is means nothing to the pooling.
                gem.forward(features.reshape([n, FEATURES, count / FEATURES, 1]))
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
        let dim = features.dim;
        match &self.gem {
            Some(_) if dim > 0 && dim.is_multiple_of(FEATURES) => None,
            Some(_) => Some(format!(
                "the head takes rows of {FEATURES} features for each cell of a map, not of {dim}"
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

/// Three convolutions around which the input is added.
#[derive(Module, Debug)]
struct Bottleneck<B: Backend> {
    conv1: Conv2d<B>,
    bn1: FrozenBatchNorm<B>,
    conv2: Conv2d<B>,
    bn2: FrozenBatchNorm<B>,
    conv3: Conv2d<B>,
    bn3: FrozenBatchNorm<B>,
    downsample: Option<Downsample<B>>,
}

/// Brings the input of a stage to the shape of its output.
#[derive(Module, Debug)]
struct Downsample<B: Backend> {
    conv: Conv2d<B>,
    bn: FrozenBatchNorm<B>,
}

impl<B: NnBackend> Bottleneck<B> {
    fn new(input: usize, width: usize, stride: usize, device: &B::Device) -> Self {
        let norm = |channels| FrozenBatchNormConfig::new(channels).init(device);
        let output = 4 * width;
        Self {
            conv1: convolution([input, width], 1, 1, device),
            bn1: norm(width),
            conv2: convolution([width, width], 3, stride, device),
            bn2: norm(width),
            conv3: convolution([width, output], 1, 1, device),
            bn3: norm(output),
            downsample: (input != output || stride != 1).then(|| Downsample {
                conv: convolution([input, output], 1, stride, device),
                bn: norm(output),
            }),
        }
    }

    fn forward(&self, input: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = normalised(input.clone(), &self.conv1, &self.bn1, None, true);
        let x = normalised(x, &self.conv2, &self.bn2, None, true);
        let shortcut = match &self.downsample {
            Some(downsample) => normalised(input, &downsample.conv, &downsample.bn, None, false),
            None => input,
        };
        normalised(x, &self.conv3, &self.bn3, Some(shortcut), true)
    }
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
