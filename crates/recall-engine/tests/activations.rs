//! What is kept of a chunk for its way back: in a process of its own, in which nothing else goes on.

#![cfg(target_os = "linux")]

use burn::backend::Autodiff;
use burn::tensor::{DType, Distribution, Tensor};
use burn_flex::Flex;
use recall_engine::{Backbone, Embedder, Memory, ModelConfig, OfProcess};
use recall_nn::cast;

type B = Autodiff<Flex>;

/// Bytes that an image's graph takes, and the most beside it on both ways.
fn taken(backbone: Backbone, side: usize, count: usize, dtype: DType) -> [f64; 2] {
    let device = Default::default();
    let config = ModelConfig {
        backbone,
        ..ModelConfig::default()
    };
    let model = config.init::<B>([side; 2], &device).unwrap();
    let shape = [count, 3, side, side];
    let images = || Tensor::<B, 4>::random(shape, Distribution::Default, &device);
    // The weights are drawn, and threads have their buffers.
    let small = cast(images().narrow(0, 0, 1), dtype);
    model.embed(small).sum().backward();
    let memory = OfProcess;
    let images = cast(images(), dtype);
    let before = memory.taken().unwrap();
    memory.forget_peak();
    let output = model.embed(images);
    let after = memory.taken().unwrap();
    let gradients = output.sum().backward();
    let peak = memory.peak().unwrap();
    drop(gradients);
    [after, peak].map(|bytes| bytes.saturating_sub(before) as f64 / count as f64)
}

#[test]
fn activations_of_half_precision_take_half_of_the_memory() {
    for (backbone, side, count) in [(Backbone::Resnet50, 128, 12), (Backbone::VitS16, 112, 16)] {
        let single = taken(backbone, side, count, DType::F32);
        for dtype in [DType::BF16, DType::F16] {
            let half = taken(backbone, side, count, dtype);
            let mib = |[kept, peak]: [f64; 2]| [kept / 1048576.0, peak / 1048576.0];
            println!(
                "{backbone} {dtype:?}: {:.2?} MiB an image, and f32 {:.2?}",
                mib(half),
                mib(single)
            );
            let share = half[0] / single[0];
            assert!(
                (0.4..0.6).contains(&share),
                "{backbone} in {dtype:?}: {share}"
            );
        }
    }
}
