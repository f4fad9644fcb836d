//! PyTorch's outputs and gradients of the same layers on the same numbers: `xtask/peers/layers.py` made them.

use std::collections::BTreeMap;

use burn::backend::Autodiff;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use safetensors::SafeTensors;

use crate::cases::{Case, Found, conv2d, others};

/// The cases of the fixture, by name.
fn cases() -> BTreeMap<String, Case> {
    let convolutions = [
        conv2d([2, 3, 10, 9], 8, [4, 2, 1], [false, false, false, true]),
        conv2d([2, 3, 15, 14], 5, [7, 2, 3], [true, true, false, true]),
        conv2d([2, 5, 7, 9], 13, [1, 1, 0], [true; 4]),
        conv2d([2, 4, 9, 6], 7, [3, 2, 1], [true; 4]),
        conv2d([1, 3, 28, 14], 6, [14, 14, 0], [false, true, false, false]),
    ];
    let named = |kind: &'static str, cases: Vec<Case>| {
        let named = cases.into_iter().enumerate();
        named.map(move |(index, case)| (format!("{kind}{index}"), case))
    };
    named("conv", convolutions.to_vec())
        .chain(named("other", others()))
        .collect()
}

#[test]
fn pytorch_computes_the_same() {
    let bytes = include_bytes!("../fixtures/layers.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let read = |name: String| -> Vec<f64> {
        let view = file.tensor(&name).unwrap_or_else(|_| panic!("no {name}"));
        let numbers = view.data().chunks_exact(4);
        let numbers = numbers.map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())));
        numbers.collect()
    };
    for (name, case) in cases() {
        let expected = Found {
            output: read(format!("{name}.output")),
            grads: (0..case.shapes.len())
                .map(|index| read(format!("{name}.grad{index}")))
                .collect(),
        };
        case.by_backend::<Autodiff<Flex>>()
            .assert_close(&expected, 1e-5, &name);
        case.plainly::<Autodiff<NdArray<f64>>>()
            .assert_close(&expected, 1e-6, &name);
    }
}
