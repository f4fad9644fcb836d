//! Adam on Flex: its kernel, the tensor operations, and Burn's own optimisers.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, AdamWConfig, SimpleOptimizer};
use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use recall_nn::{AdamStep, NnBackend, WeightDecay, plain};

const DECAYS: [WeightDecay; 4] = [
    WeightDecay::Gradient(0.0),
    WeightDecay::Gradient(0.01),
    WeightDecay::Decoupled(0.0),
    WeightDecay::Decoupled(0.01),
];

/// One chunk, a part of one, and several with a rest.
const LENGTHS: [usize; 4] = [1, 37, 1 << 14, 3 * (1 << 14) + 11];

const STEPS: usize = 5;

fn step(decay: WeightDecay, time: usize) -> AdamStep {
    AdamStep {
        learning_rate: 0.01 / time as f64,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        decay,
        time,
    }
}

/// Numbers in −1..1 of many magnitudes, other ones for every seed.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count)
        .map(|_| (next() - 0.5) * 2.0_f32.powi((next() * -16.0) as i32))
        .collect()
}

fn tensor(values: &[f32], dtype: DType) -> FlexTensor {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    FlexTensor::from_data(data.convert_dtype(dtype))
}

fn values(tensor: FlexTensor) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

type Step = fn(
    &AdamStep,
    FlexTensor,
    FlexTensor,
    FlexTensor,
    FlexTensor,
) -> (FlexTensor, FlexTensor, FlexTensor);

/// A parameter of `count` numbers and its moments after some steps.
fn stepped(by: Step, decay: WeightDecay, count: usize, dtype: DType) -> [Vec<f64>; 3] {
    let of_seed = |seed| tensor(&numbers(count, seed), dtype);
    let zeros = || tensor(&vec![0.0; count], dtype);
    let (mut param, mut first, mut second) = (of_seed(1), zeros(), zeros());
    for time in 1..=STEPS {
        let grad = of_seed(1 + time as u64);
        (param, first, second) = by(&step(decay, time), param, grad, first, second);
    }
    [param, first, second].map(values)
}

#[test]
fn the_kernel_rounds_as_the_tensor_operations_do() {
    for decay in DECAYS {
        for count in LENGTHS {
            let kernel = stepped(Flex::adam_step, decay, count, DType::F32);
            let plain = stepped(plain::adam_step::<Flex>, decay, count, DType::F32);
            assert_eq!(kernel, plain, "{decay:?}, {count} numbers");
        }
    }
}

#[test]
fn it_is_right_to_the_rounding_of_single_precision() {
    for decay in DECAYS {
        let single = stepped(Flex::adam_step, decay, 1000, DType::F32);
        let double = stepped(Flex::adam_step, decay, 1000, DType::F64);
        for (single, double) in single.iter().flatten().zip(double.iter().flatten()) {
            let error = (single - double).abs();
            assert!(error <= 3e-7 * double.abs().max(0.1), "{single} {double}");
        }
    }
}

#[test]
fn it_does_what_the_optimisers_of_burn_do() {
    fn by_burn<O: SimpleOptimizer<Flex>>(optimiser: &O, count: usize) -> Vec<f64> {
        let of_seed = |seed| {
            let primitive = TensorPrimitive::Float(tensor(&numbers(count, seed), DType::F32));
            Tensor::<Flex, 1>::from_primitive(primitive)
        };
        let (mut param, mut state) = (of_seed(1), None);
        for time in 1..=STEPS {
            let rate = step(DECAYS[0], time).learning_rate;
            (param, state) = optimiser.step(rate, param, of_seed(1 + time as u64), state);
        }
        values(param.into_primitive().tensor())
    }
    for decay in DECAYS {
        let burn = match decay {
            WeightDecay::Gradient(penalty) => {
                let decay = Some(WeightDecayConfig::new(penalty));
                let adam = AdamConfig::new()
                    .with_epsilon(1e-8)
                    .with_weight_decay(decay);
                by_burn(&adam.build(), LENGTHS[3])
            }
            WeightDecay::Decoupled(decay) => {
                let adamw = AdamWConfig::new().with_epsilon(1e-8);
                by_burn(&adamw.with_weight_decay(decay).build(), LENGTHS[3])
            }
        };
        let ours = stepped(Flex::adam_step, decay, LENGTHS[3], DType::F32);
        assert_eq!(ours[0], burn, "{decay:?}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let count = 300_007;
            let squares = Flex::sum_of_squares(tensor(&numbers(count, 9), DType::F32));
            let adam = stepped(Flex::adam_step, DECAYS[3], count, DType::F32);
            (adam, values(squares))
        })
    };
    let one = with(1);
    for threads in [2, 8] {
        assert!(with(threads) == one, "{threads} threads");
    }
}

#[test]
fn what_is_shared_is_copied_and_what_is_not_stays_where_it_is() {
    let of_seed = |seed| tensor(&numbers(1000, seed), DType::F32);
    let step = step(DECAYS[3], 3);
    let (param, grad, first, second) = (of_seed(1), of_seed(2), of_seed(3), of_seed(4));
    let second = FlexTensor::from_data(
        Tensor::<Flex, 1>::from_primitive(TensorPrimitive::Float(second))
            .abs()
            .into_data(),
    );
    let shared = [&param, &first, &second].map(FlexTensor::clone);
    let before = shared.clone().map(values);
    let (a, b, c) = Flex::adam_step(&step, param, grad.clone(), first, second);
    assert_eq!(shared.clone().map(values), before);

    let [param, first, second] = shared.map(|tensor| FlexTensor::from_data(tensor.into_data()));
    let addresses = [&param, &first, &second].map(|tensor| tensor.bytes().as_ptr());
    let (param, first, second) = Flex::adam_step(&step, param, grad, first, second);
    let after = [&param, &first, &second].map(|tensor| tensor.bytes().as_ptr());
    assert_eq!(addresses, after);
    assert_eq!([a, b, c].map(values), [param, first, second].map(values));
}

#[test]
fn views_are_read_in_the_order_of_their_shape() {
    let matrix = |seed| -> Tensor<Flex, 2> {
        let data = TensorData::new(numbers(12, seed), [3, 4]);
        Tensor::from_data(data, &Default::default())
    };
    let primitive = |tensor: Tensor<Flex, 2>| tensor.into_primitive().tensor();
    let by = |by: Step| {
        let [param, grad, first] = [1, 2, 3].map(matrix);
        let second = matrix(4).powi_scalar(2).slice([1..3, 0..4]);
        let [param, grad] = [param, grad].map(|tensor| tensor.transpose().slice([0..2, 0..3]));
        let first = first.slice([0..2, 1..4]);
        let second = second.slice([0..2, 0..3]);
        let [param, grad, first, second] = [param, grad, first, second].map(primitive);
        let (param, first, second) = by(&step(DECAYS[1], 2), param, grad, first, second);
        [param, first, second].map(values)
    };
    assert_eq!(by(Flex::adam_step), by(plain::adam_step::<Flex>));

    let view = || primitive(matrix(5).transpose().slice([1..3, 0..2]));
    let exact: f64 = values(view()).into_iter().map(|x| x * x).sum();
    let found = values(Flex::sum_of_squares(view()))[0];
    assert!((found - exact).abs() < 1e-6 * exact);
}

#[test]
fn a_sum_of_squares_is_right_and_hides_nothing() {
    for count in [0, 1, 63, 64, 1 << 14, 100_003] {
        let drawn = numbers(count, 7);
        let exact: f64 = drawn.iter().map(|x| f64::from(*x).powi(2)).sum();
        for dtype in [DType::F32, DType::F64] {
            let found = values(Flex::sum_of_squares(tensor(&drawn, dtype)));
            assert_eq!(found.len(), 1);
            // Single precision rounds every number some 256 times, by 2⁻²⁴ at most: 1.5·10⁻⁵. These
            // numbers miss by 2·10⁻⁷.
            let error = (found[0] - exact).abs();
            assert!(error <= 1e-6 * exact, "{count} {dtype:?}: {error:e}");
        }
    }
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut drawn = numbers(100, 8);
        drawn[71] = broken;
        let found = values(Flex::sum_of_squares(tensor(&drawn, DType::F32)));
        assert!(!found[0].is_finite());
    }
}
