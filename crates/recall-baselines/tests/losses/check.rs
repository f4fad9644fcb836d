//! What every loss has to stand up to.

use burn::backend::Autodiff;
use burn::tensor::{DType, Tensor, TensorData, backend::AutodiffBackend};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_baselines::{Batch, LossError, MetricLoss};
use recall_loss::RecallBackend;

/// In single precision, by rows where there are some.
pub type OnFlex = Autodiff<Flex>;
/// The same on the reference backend.
pub type OnNdArray = Autodiff<NdArray<f32>>;
/// In double precision, by tensor operations.
pub type InDouble = Autodiff<NdArray<f64>>;

/// A loss on all backends of the tests.
pub trait Loss: MetricLoss<OnFlex> + MetricLoss<OnNdArray> + MetricLoss<InDouble> {}

impl<L: MetricLoss<OnFlex> + MetricLoss<OnNdArray> + MetricLoss<InDouble>> Loss for L {}

/// Rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub values: Vec<f64>,
    pub dim: usize,
}

impl Matrix {
    pub fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    pub fn tensor<B: AutodiffBackend>(&self, dtype: DType) -> Tensor<B, 2> {
        let data = TensorData::new(self.values.clone(), [self.rows(), self.dim]);
        Tensor::from_data(data, (&Default::default(), dtype))
    }

    /// The rows in another order.
    pub fn reordered(&self, order: &[usize]) -> Self {
        let rows = order
            .iter()
            .flat_map(|&row| &self.values[row * self.dim..(row + 1) * self.dim]);
        Self {
            values: rows.copied().collect(),
            dim: self.dim,
        }
    }

    /// Each row multiplied by a square matrix.
    pub fn times(&self, matrix: &Self) -> Self {
        let rows = self.values.chunks(self.dim).flat_map(|row| {
            (0..matrix.dim).map(move |column| {
                let terms = row
                    .iter()
                    .enumerate()
                    .map(|(i, x)| x * matrix.values[i * matrix.dim + column]);
                terms.sum::<f64>()
            })
        });
        Self {
            values: rows.collect(),
            dim: matrix.dim,
        }
    }
}

/// A batch of the host.
#[derive(Debug, Clone)]
pub struct Case {
    pub embeddings: Matrix,
    pub labels: Vec<i64>,
    pub parameters: Option<Matrix>,
    pub seed: u64,
}

/// A value and its gradients.
#[derive(Debug, Clone)]
pub struct Expected {
    pub loss: f64,
    pub grad: Vec<f64>,
    pub grad_parameters: Option<Vec<f64>>,
}

impl Case {
    /// `n` unit rows of `dim` numbers in classes of random sizes from 1 to `most`, in a random order, of which
    /// those of a class are somewhat alike. There are at least two classes, and one of two items.
    pub fn random(seed: u64, n: usize, dim: usize, most: usize) -> Self {
        let mut random = Random::new(seed);
        let mut labels = vec![0, 0];
        let mut label = 0;
        while labels.len() < n {
            label += 1;
            let size = 1 + random.below(most);
            labels.extend(std::iter::repeat_n(label, size.min(n - labels.len())));
        }
        random.shuffle(&mut labels);
        let classes = label as usize + 1;
        let centres: Vec<f64> = (0..classes * dim).map(|_| random.normal()).collect();
        let mut values = Vec::with_capacity(n * dim);
        for &label in &labels {
            let centre = &centres[label as usize * dim..][..dim];
            let row: Vec<f64> = centre.iter().map(|x| 0.7 * x + random.normal()).collect();
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            values.extend(row.iter().map(|x| x / length));
        }
        Self {
            embeddings: Matrix { values, dim },
            labels,
            parameters: None,
            seed,
        }
    }

    /// The same with parameters of a shape, drawn around `mean`.
    pub fn with_parameters(mut self, shape: [usize; 2], mean: f64, std: f64) -> Self {
        let mut random = Random::new(self.seed ^ 0x5eed);
        let values = (0..shape[0] * shape[1]).map(|_| mean + std * random.normal());
        self.parameters = Some(Matrix {
            values: values.collect(),
            dim: shape[1],
        });
        self
    }

    /// The rows in another order.
    pub fn reordered(&self, order: &[usize]) -> Self {
        Self {
            embeddings: self.embeddings.reordered(order),
            labels: order.iter().map(|&row| self.labels[row]).collect(),
            ..self.clone()
        }
    }

    /// How many classes proxies are needed for.
    pub fn classes(&self) -> usize {
        self.labels
            .iter()
            .max()
            .map_or(0, |&label| label as usize + 1)
    }
}

/// Numbers that follow from a seed.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn uniform(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }

    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }

    /// An order of `n` things.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// An orthogonal matrix: the product of reflections.
    pub fn rotation(&mut self, dim: usize) -> Matrix {
        let mut matrix = Matrix {
            values: (0..dim * dim)
                .map(|at| f64::from(at % (dim + 1) == 0))
                .collect(),
            dim,
        };
        for _ in 0..dim {
            let v: Vec<f64> = (0..dim).map(|_| self.normal()).collect();
            let square: f64 = v.iter().map(|x| x * x).sum();
            let values = (0..dim * dim).map(|at| {
                let (i, j) = (at / dim, at % dim);
                f64::from(i == j) - 2.0 * v[i] * v[j] / square
            });
            matrix = matrix.times(&Matrix {
                values: values.collect(),
                dim,
            });
        }
        matrix
    }
}

/// The loss of a case on the backend `B`, with its gradients.
pub fn evaluated<B>(
    loss: &impl MetricLoss<B>,
    case: &Case,
    dtype: DType,
) -> Result<Expected, LossError>
where
    B: AutodiffBackend + RecallBackend,
{
    let embeddings = case.embeddings.tensor::<B>(dtype).require_grad();
    let parameters = case
        .parameters
        .as_ref()
        .map(|of| of.tensor::<B>(dtype).require_grad());
    let value = loss.evaluate(Batch {
        embeddings: embeddings.clone(),
        labels: &case.labels,
        parameters: parameters.clone(),
        seed: case.seed,
    })?;
    assert_eq!(value.dims(), [1]);
    let gradients = value.backward();
    let grad = |of: &Tensor<B, 2>| -> Vec<f64> {
        let grad = of.grad(&gradients);
        let zeros = || vec![0.0; of.dims().iter().product()];
        grad.map_or_else(zeros, |grad| grad.into_data().iter::<f64>().collect())
    };
    Ok(Expected {
        loss: value.clone().into_data().iter::<f64>().sum(),
        grad: grad(&embeddings),
        grad_parameters: parameters.as_ref().map(grad),
    })
}

pub fn in_double(loss: &impl Loss, case: &Case) -> Expected {
    evaluated::<InDouble>(loss, case, DType::F64).unwrap()
}

pub fn on_flex(loss: &impl Loss, case: &Case) -> Expected {
    evaluated::<OnFlex>(loss, case, DType::F32).unwrap()
}

pub fn on_ndarray(loss: &impl Loss, case: &Case) -> Expected {
    evaluated::<OnNdArray>(loss, case, DType::F32).unwrap()
}

/// `|a − b| / |b|`.
pub fn relative(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = length(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = length(&mut expected.iter().copied());
    if size == 0.0 {
        difference
    } else {
        difference / size
    }
}

/// Asserts that two results are the same, up to relative errors of value and gradients.
#[track_caller]
pub fn same(found: &Expected, expected: &Expected, value: f64, grad: f64, what: &str) {
    let error = (found.loss - expected.loss).abs() / expected.loss.abs().max(1e-12);
    assert!(
        error <= value,
        "{what}: {} is not {}",
        found.loss,
        expected.loss
    );
    let error = relative(&found.grad, &expected.grad);
    assert!(error <= grad, "{what}: the gradient is off by {error:e}");
    if let (Some(found), Some(expected)) = (&found.grad_parameters, &expected.grad_parameters) {
        let error = relative(found, expected);
        assert!(
            error <= grad,
            "{what}: the gradient of the parameters is off by {error:e}"
        );
    }
}

/// Value ≤ 10⁻⁶ and gradient ≤ 10⁻⁵ in f32 on both backends, 10⁻⁹ in f64; with the rows shuffled, too.
#[track_caller]
pub fn agrees(loss: &impl Loss, case: &Case, expected: &Expected, what: &str) {
    let order = Random::new(3).order(case.labels.len());
    let shuffled = Expected {
        grad: Matrix {
            values: expected.grad.clone(),
            dim: case.embeddings.dim,
        }
        .reordered(&order)
        .values,
        ..expected.clone()
    };
    for (case, expected, how) in [
        (case.clone(), expected, ""),
        (case.reordered(&order), &shuffled, ", shuffled"),
    ] {
        same(
            &in_double(loss, &case),
            expected,
            1e-9,
            1e-9,
            &format!("{what} in f64{how}"),
        );
        same(
            &on_flex(loss, &case),
            expected,
            1e-6,
            1e-5,
            &format!("{what} on flex{how}"),
        );
        same(
            &on_ndarray(loss, &case),
            expected,
            1e-6,
            1e-5,
            &format!("{what} on ndarray{how}"),
        );
    }
}

/// The gradients are those of the value: central differences in f64 along random directions.
#[track_caller]
pub fn has_the_gradient_of_its_value(loss: &impl Loss, case: &Case) {
    let found = in_double(loss, case);
    let mut random = Random::new(case.seed + 1);
    let step = 1e-6;
    for _ in 0..4 {
        let mut slope = 0.0;
        let (mut ahead, mut behind) = (case.clone(), case.clone());
        for (at, grad) in found.grad.iter().enumerate() {
            let direction = random.normal();
            slope += direction * grad;
            ahead.embeddings.values[at] += step * direction;
            behind.embeddings.values[at] -= step * direction;
        }
        if let Some(grad) = &found.grad_parameters {
            for (at, grad) in grad.iter().enumerate() {
                let direction = random.normal();
                slope += direction * grad;
                ahead.parameters.as_mut().unwrap().values[at] += step * direction;
                behind.parameters.as_mut().unwrap().values[at] -= step * direction;
            }
        }
        let difference =
            (in_double(loss, &ahead).loss - in_double(loss, &behind).loss) / (2.0 * step);
        let size = slope.abs().max(1e-3 * found.loss.abs()).max(1e-6);
        assert!(
            (difference - slope).abs() <= 1e-5 * size,
            "{difference} is not {slope}"
        );
    }
}

/// Rows compute what tensor operations do, on a batch of random classes.
#[track_caller]
pub fn rows_are_tensor_operations(loss: &impl Loss, case: &Case) {
    let expected = in_double(loss, case);
    same(&on_flex(loss, case), &expected, 1e-5, 1e-4, "on flex");
    same(&on_ndarray(loss, case), &expected, 1e-5, 1e-4, "on ndarray");
}

/// The order of rows does not matter.
#[track_caller]
pub fn ignores_the_order(loss: &impl Loss, case: &Case) {
    let order = Random::new(case.seed + 2).order(case.labels.len());
    let mut expected = in_double(loss, case);
    expected.grad = Matrix {
        values: expected.grad,
        dim: case.embeddings.dim,
    }
    .reordered(&order)
    .values;
    same(
        &in_double(loss, &case.reordered(&order)),
        &expected,
        1e-9,
        1e-8,
        "in another order",
    );
}

/// A rotation of everything changes nothing but the directions of gradients.
#[track_caller]
pub fn ignores_rotations(loss: &impl Loss, case: &Case) {
    let rotation = Random::new(case.seed + 4).rotation(case.embeddings.dim);
    let mut turned = case.clone();
    turned.embeddings = case.embeddings.times(&rotation);
    turned.parameters = case.parameters.as_ref().map(|of| of.times(&rotation));
    let found = in_double(loss, case);
    let turn = |grad: Vec<f64>| {
        Matrix {
            values: grad,
            dim: rotation.dim,
        }
        .times(&rotation)
        .values
    };
    let expected = Expected {
        loss: found.loss,
        grad: turn(found.grad),
        grad_parameters: found.grad_parameters.map(turn),
    };
    same(&in_double(loss, &turned), &expected, 1e-8, 1e-7, "rotated");
}

/// All of it, on batches of random class sizes. `prepare` gives a case its parameters.
#[track_caller]
pub fn holds_up(loss: &impl Loss, prepare: impl Fn(Case) -> Case) {
    for seed in 0..6 {
        let case = prepare(Case::random(seed, 14 + 5 * seed as usize, 8, 4));
        has_the_gradient_of_its_value(loss, &case);
        ignores_the_order(loss, &case);
        ignores_rotations(loss, &case);
    }
    for seed in 6..9 {
        rows_are_tensor_operations(loss, &prepare(Case::random(seed, 90, 12, 7)));
    }
}
