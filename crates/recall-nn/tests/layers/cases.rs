//! Layers with inputs, their outputs and gradients.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{DType, Tensor, TensorData, TensorMetadata, TensorPrimitive};
use burn_flex::Flex;
use recall_nn::{Conv2dSettings, Layer, NnBackend, plain};

/// A layer and the shapes of its inputs.
#[derive(Debug, Clone)]
pub struct Case {
    pub layer: Layer,
    pub shapes: Vec<Vec<usize>>,
}

/// What a layer computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub output: Vec<f64>,
    /// One for each input, of the sum of `output · slope`.
    pub grads: Vec<Vec<f64>>,
}

/// A convolution `[n, cin, height, width] → cout` with all or nothing of the rest.
pub fn conv2d(
    [n, cin, height, width]: [usize; 4],
    cout: usize,
    [kernel, stride, padding]: [usize; 3],
    [scale, shift, residual, relu]: [bool; 4],
) -> Case {
    let side = |pixels: usize| (pixels + 2 * padding - kernel) / stride + 1;
    let mut shapes = vec![vec![n, cin, height, width], vec![cout, cin, kernel, kernel]];
    shapes.extend((0..usize::from(scale) + usize::from(shift)).map(|_| vec![cout]));
    shapes.extend(residual.then(|| vec![n, cout, side(height), side(width)]));
    let layer = Layer::Conv2d(Conv2dSettings {
        stride,
        padding,
        scale,
        shift,
        residual,
        relu,
    });
    Case { layer, shapes }
}

/// Everything that is not a convolution, in odd and in usual sizes.
pub fn others() -> Vec<Case> {
    let case = |layer, shapes: &[&[usize]]| Case {
        layer,
        shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
    };
    let pool = |kernel, stride, padding| Layer::MaxPool2d {
        kernel,
        stride,
        padding,
    };
    let norm = Layer::LayerNorm { epsilon: 1e-5 };
    vec![
        case(pool(2, 2, 0), &[&[2, 3, 8, 6]]),
        case(pool(2, 2, 0), &[&[1, 2, 7, 5]]),
        case(pool(3, 2, 1), &[&[2, 2, 9, 8]]),
        case(pool(3, 1, 1), &[&[1, 1, 4, 5]]),
        case(pool(4, 3, 2), &[&[1, 2, 7, 7]]),
        case(norm, &[&[3, 7], &[7], &[7]]),
        case(norm, &[&[2, 5, 16], &[16], &[16]]),
        case(norm, &[&[40, 33], &[33], &[33]]),
        case(Layer::Gelu, &[&[3, 17]]),
        case(Layer::Gelu, &[&[2, 3, 5, 7]]),
        case(Layer::GeM, &[&[2, 3, 4, 5], &[1]]),
        case(Layer::GeM, &[&[1, 5, 1, 1], &[1]]),
        case(Layer::Attention { heads: 1 }, &[&[1, 1, 3]]),
        case(Layer::Attention { heads: 2 }, &[&[2, 5, 24]]),
        case(Layer::Attention { heads: 3 }, &[&[1, 17, 63]]),
    ]
}

/// Numbers in [−1, 1) that depend on the seed and the index alone.
pub fn formula(seed: u32, count: usize) -> Vec<f64> {
    let numbers = (0..count as u32).map(|index| {
        let mut x = index.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(2_246_822_519);
        for factor in [2_246_822_507_u32, 3_266_489_909] {
            x = (x ^ (x >> 16)).wrapping_mul(factor);
        }
        f64::from(x ^ (x >> 16)) / f64::from(1_u32 << 31) - 1.0
    });
    numbers.collect()
}

impl Case {
    /// The inputs.
    pub fn inputs(&self) -> Vec<Vec<f64>> {
        let counts = self.shapes.iter().map(|shape| shape.iter().product());
        let numbers = counts.zip(1..).map(|(count, seed)| formula(seed, count));
        let mut inputs: Vec<_> = numbers.collect();
        if self.layer == Layer::GeM {
            inputs[1][0] += 3.0;
        }
        inputs
    }

    /// Through [`NnBackend::layer`], as models do.
    pub fn by_backend<B: AutodiffBackend + NnBackend>(&self) -> Found {
        self.run::<B>(B::layer, &self.inputs())
    }

    /// Through the tensor operations.
    pub fn plainly<B: AutodiffBackend>(&self) -> Found {
        self.run::<B>(plain::forward::<B>, &self.inputs())
    }

    /// Through `forward`, with images, or what they have become, in the type `dtype` and weights in f32; from
    /// `inputs` to the gradients everything is rounded to it.
    pub fn in_half<B: AutodiffBackend>(
        &self,
        forward: fn(Layer, Vec<FloatTensor<B>>) -> FloatTensor<B>,
        dtype: DType,
        inputs: &[Vec<f64>],
    ) -> Found {
        self.run_in::<B>(forward, inputs, Some(dtype))
    }

    /// Whether an input has as many numbers as there are images: whether it is no weight.
    pub fn is_of_images(&self, index: usize) -> bool {
        index == 0 || self.shapes[index].len() == 4 && index > 1
    }

    /// Both, on inputs of your own.
    pub fn both_ways<B: AutodiffBackend + NnBackend, P: AutodiffBackend>(
        &self,
        inputs: &[Vec<f64>],
    ) -> [Found; 2] {
        [
            self.run::<B>(B::layer, inputs),
            self.run::<P>(plain::forward::<P>, inputs),
        ]
    }

    /// The weighted sum that is differentiated, through the tensor operations in f64: of Flex, since NdArray
    /// panics where a window of a pool leaves the image and nothing is differentiated.
    pub fn sum(&self, inputs: &[Vec<f64>]) -> f64 {
        let device = Default::default();
        let inputs = inputs.iter().zip(&self.shapes).map(|(input, shape)| {
            let data = TensorData::new(input.clone(), [input.len()]);
            let input = Tensor::<Flex, 1>::from_data(data, (&device, DType::F64));
            Flex::float_reshape(input.into_primitive().tensor(), shape.clone().into())
        });
        let output = flat::<Flex>(plain::forward::<Flex>(self.layer, inputs.collect()));
        let output = values(Tensor::<Flex, 1>::from_primitive(TensorPrimitive::Float(
            output,
        )));
        let slopes = formula(0, output.len());
        output
            .iter()
            .zip(slopes)
            .map(|(value, slope)| value * slope)
            .sum()
    }

    pub fn run<B: AutodiffBackend>(
        &self,
        forward: fn(Layer, Vec<FloatTensor<B>>) -> FloatTensor<B>,
        inputs: &[Vec<f64>],
    ) -> Found {
        self.run_in::<B>(forward, inputs, None)
    }

    fn run_in<B: AutodiffBackend>(
        &self,
        forward: fn(Layer, Vec<FloatTensor<B>>) -> FloatTensor<B>,
        inputs: &[Vec<f64>],
        dtype: Option<DType>,
    ) -> Found {
        let inputs = self.primitives::<B>(inputs);
        let leaves: Vec<_> = inputs.into_iter().map(Tensor::require_grad).collect();
        let shaped = leaves.iter().zip(&self.shapes).enumerate();
        let shaped = shaped.map(|(index, (leaf, shape))| {
            let leaf = leaf.clone().into_primitive().tensor();
            let leaf = B::float_reshape(leaf, shape.clone().into());
            match dtype {
                Some(dtype) if self.is_of_images(index) => B::float_cast(leaf, dtype.into()),
                _ => leaf,
            }
        });
        let output = flat::<B>(forward(self.layer, shaped.collect()));
        if let Some(dtype) = dtype {
            assert_eq!(output.dtype(), dtype);
        }
        let output = match output.dtype() {
            DType::F16 | DType::BF16 => B::float_cast(output, DType::F32.into()),
            _ => output,
        };
        let output = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(output));
        let [count] = output.dims();
        let slopes = Tensor::from_data(
            TensorData::new(formula(0, count), [count]),
            &output.device(),
        );
        let grads = (output.clone() * slopes).sum().backward();
        let grad = |leaf: &Tensor<B, 1>| leaf.grad(&grads).map(values).unwrap_or_default();
        Found {
            output: values(output),
            grads: leaves.iter().map(grad).collect(),
        }
    }

    fn primitives<B: Backend>(&self, inputs: &[Vec<f64>]) -> Vec<Tensor<B, 1>> {
        let device = Default::default();
        let tensors = inputs
            .iter()
            .map(|input| Tensor::from_data(TensorData::new(input.clone(), [input.len()]), &device));
        tensors.collect()
    }
}

fn flat<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let count = tensor.shape().num_elements();
    B::float_reshape(tensor, [count].into())
}

fn values<B: Backend>(tensor: Tensor<B, 1>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

impl Found {
    /// Panics unless all numbers agree to `tolerance` of the largest of their tensor.
    pub fn assert_close(&self, other: &Self, tolerance: f64, what: &str) {
        assert_eq!(self.grads.len(), other.grads.len());
        let tensors = std::iter::once((&self.output, &other.output))
            .chain(self.grads.iter().zip(&other.grads));
        for (index, (a, b)) in tensors.enumerate() {
            assert_eq!(a.len(), b.len(), "{what}: tensor {index}");
            let largest = b.iter().fold(1e-3_f64, |largest, x| largest.max(x.abs()));
            for (a, b) in a.iter().zip(b) {
                assert!(
                    (a - b).abs() <= tolerance * largest,
                    "{what}: {a} and {b} in tensor {index} (0 is the output), of {largest} at most"
                );
            }
        }
    }
}
