//! The functions compute what Burn's modules do, whatever their settings.

use burn::nn::conv::Conv2dConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{LayerNormConfig, LinearConfig, PaddingConfig2d};
use burn::tensor::{Distribution, Tensor, Tolerance, activation};
use burn_flex::Flex;
use recall_nn::{Epilogue, conv2d, gelu, layer_norm, linear, max_pool2d};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default())
}

fn assert_same<const D: usize>(a: Tensor<Flex, D>, b: Tensor<Flex, D>) {
    let tolerance = Tolerance::absolute(1e-5);
    a.into_data()
        .assert_approx_eq::<f32>(&b.into_data(), tolerance);
}

#[test]
fn convolutions_with_and_without_a_kernel() {
    let images = random([2, 4, 9, 8]);
    let config = Conv2dConfig::new([4, 6], [3, 3]);
    for config in [
        config.clone(),
        config.clone().with_bias(false),
        config.clone().with_padding(PaddingConfig2d::Same),
        config.clone().with_stride([2, 1]),
        config.clone().with_dilation([2, 2]),
        config.clone().with_groups(2),
        config
            .clone()
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_stride([2, 2]),
        Conv2dConfig::new([4, 6], [3, 2]),
    ] {
        let convolution = config.init::<Flex>(&Default::default());
        let plain = convolution.forward(images.clone());
        let [_, _, height, width] = plain.dims();
        let epilogue = Epilogue {
            scale: Some(random([6])),
            shift: Some(random([6])),
            residual: Some(random([2, 6, height, width])),
            relu: true,
        };
        let channels = |each: &Option<Tensor<Flex, 1>>| each.clone().unwrap().reshape([1, 6, 1, 1]);
        let expected = plain.clone() * channels(&epilogue.scale) + channels(&epilogue.shift);
        let expected = activation::relu(expected + epilogue.residual.clone().unwrap());
        assert_same(conv2d(images.clone(), &convolution, epilogue), expected);
        assert_same(
            conv2d(images.clone(), &convolution, Epilogue::default()),
            plain,
        );
    }
}

#[test]
fn pools_with_and_without_a_kernel() {
    let images = random([2, 3, 11, 12]);
    let config = MaxPool2dConfig::new([3, 3]);
    for config in [
        config.clone(),
        config.clone().with_strides([2, 2]),
        config.clone().with_strides([2, 1]),
        config.clone().with_strides([2, 2]).with_ceil_mode(true),
        config
            .clone()
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)),
    ] {
        let pool = config.init();
        assert_same(
            max_pool2d(images.clone(), &pool),
            pool.forward(images.clone()),
        );
    }
}

#[test]
fn rows() {
    let device = Default::default();
    let tokens = random([2, 3, 8]);
    let norm = LayerNormConfig::new(8).with_epsilon(1e-3).init(&device);
    assert_same(
        layer_norm(tokens.clone(), &norm, 1e-3),
        norm.forward(tokens.clone()),
    );
    assert_same(gelu(tokens.clone()), activation::gelu(tokens.clone()));
    let projection = LinearConfig::new(8, 5).init(&device);
    assert_same(
        linear(tokens.clone(), &projection),
        projection.forward(tokens),
    );
}
