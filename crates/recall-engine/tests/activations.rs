//! What is kept of a chunk for its way back: in a process of its own, in which nothing else goes on.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::process::Command;

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

/// What a process that does nothing else measures: memory that was given back may not be seen again by the system.
fn alone(backbone: Backbone, dtype: DType) -> [f64; 2] {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(ASKED, format!("{backbone} {dtype:?}"))
        // glibc gives each block back as soon as it is free.
        .env("MALLOC_MMAP_THRESHOLD_", "16384")
        .env("MALLOC_TRIM_THRESHOLD_", "0")
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.lines().find_map(|line| line.split_once(ASKED));
    let numbers = told.expect(&text).1.split_whitespace();
    let numbers: Vec<f64> = numbers.map(|number| number.parse().unwrap()).collect();
    [numbers[0], numbers[1]]
}

const NAME: &str = "activations_of_half_precision_take_half_of_the_memory";

/// Set for such a process: what it is to measure.
const ASKED: &str = "RECALL_ACTIVATIONS";

const CASES: [(Backbone, usize, usize); 2] =
    [(Backbone::Resnet50, 128, 12), (Backbone::VitS16, 112, 16)];
const TYPES: [DType; 3] = [DType::F32, DType::BF16, DType::F16];

#[test]
fn activations_of_half_precision_take_half_of_the_memory() {
    let asked = std::env::var(ASKED).ok();
    for (backbone, side, count) in CASES {
        if let Some(asked) = &asked {
            let dtype = TYPES
                .iter()
                .find(|dtype| *asked == format!("{backbone} {dtype:?}"));
            if let Some(&dtype) = dtype {
                let [kept, peak] = taken(backbone, side, count, dtype);
                println!("\n{ASKED} {kept} {peak}");
            }
            continue;
        }
        let [single, bf16, f16] = TYPES.map(|dtype| alone(backbone, dtype));
        for half in [bf16, f16] {
            println!("{backbone}: {half:.0?} bytes an image, and {single:.0?} in f32");
            let share = half[0] / single[0];
            assert!((0.4..0.6).contains(&share), "{backbone}: {share}");
        }
    }
}
