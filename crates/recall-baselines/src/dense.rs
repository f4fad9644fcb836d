//! Comparisons as tensors: for backends without memory on the host, and for what checks the rows.

use burn::tensor::{
    Bool, IndexingUpdateOp, Int, Tensor, TensorData, TensorPrimitive, backend::Backend,
};
use recall_loss::{RecallBackend, plain::products};

use crate::rows::{Place, Places};

/// All comparisons of queries with references, at once. Rows and columns are in the order of their places.
pub(crate) struct Dense<B: Backend> {
    /// `[n, d]`.
    pub queries: Tensor<B, 2>,
    /// `[m, d]`.
    pub references: Tensor<B, 2>,
    /// `[n, m]`: whether a column is of the row's class, and not the row's own item.
    pub positive: Tensor<B, 2, Bool>,
    /// `[n, m]`: whether a column is of another class.
    pub negative: Tensor<B, 2, Bool>,
    /// The rows and columns of all positives, one behind the other.
    pairs: [Vec<usize>; 2],
}

impl<B: Backend> Dense<B> {
    pub fn new(queries: Tensor<B, 2>, references: Tensor<B, 2>, places: &Places) -> Self {
        let device = queries.device();
        let (rows, columns) = (places.rows.len(), places.references.len());
        let numbers = |of: &dyn Fn(usize) -> i64| {
            let values: Vec<i64> = (0..rows).map(of).collect();
            let values = TensorData::new(values, [rows, 1]);
            Tensor::<B, 2, Int>::from_data(values, &device).expand([rows, columns])
        };
        let column = Tensor::<B, 1, Int>::arange(0..columns as i64, &device)
            .reshape([1, columns])
            .expand([rows, columns]);
        let start = numbers(&|row| places.rows[row].class.start as i64);
        let end = numbers(&|row| places.rows[row].class.end as i64);
        let own = numbers(&|row| places.rows[row].own.map_or(-1, |own| own as i64));
        let class = (column.clone().greater_equal(start)).bool_and(column.clone().lower(end));
        Self {
            queries: ordered(queries, &places.queries),
            references: ordered(references, &places.references),
            positive: class.clone().bool_and(column.not_equal(own)),
            negative: class.bool_not(),
            pairs: pairs(places),
        }
    }

    /// The dot products, `[n, m]`.
    pub fn similarities(&self) -> Tensor<B, 2> {
        products(self.queries.clone(), self.references.clone())
    }

    /// The squared distances, `[n, m]`. Those of positives, which may be small, are the squares of differences,
    /// unless there are so many that these would take more memory than the matrix.
    pub fn squared_distances(&self) -> Tensor<B, 2> {
        let squares = |rows: &Tensor<B, 2>| (rows.clone() * rows.clone()).sum_dim(1);
        let sums = squares(&self.queries) + squares(&self.references).transpose();
        let distances = (sums - self.similarities().mul_scalar(2.0)).clamp_min(0.0);
        let ([rows, columns], [_, dim]) = (distances.dims(), self.queries.dims());
        let [first, second] = &self.pairs;
        if first.is_empty() || first.len() * dim > (rows * columns).max(SMALL) {
            return distances;
        }
        let queries = ordered(self.queries.clone(), first);
        let differences = queries - ordered(self.references.clone(), second);
        let exact = squares(&differences).reshape([first.len()]);
        let places: Vec<usize> = first
            .iter()
            .zip(second)
            .map(|(row, column)| row * columns + column)
            .collect();
        let places = indices(&places, &distances.device());
        only(distances, &self.negative)
            .reshape([rows * columns])
            .select_assign(0, places, exact, IndexingUpdateOp::Add)
            .reshape([rows, columns])
    }
}

/// Numbers that are few beside any model.
const SMALL: usize = 1 << 22;

fn pairs(places: &Places) -> [Vec<usize>; 2] {
    let of_row = |(row, place): (usize, &Place)| place.positives().map(move |column| (row, column));
    let (first, second) = places.rows.iter().enumerate().flat_map(of_row).unzip();
    [first, second]
}

/// Distances from their squares: what is 0 stays 0, and has the gradient 0.
pub(crate) fn root<B: Backend>(squares: Tensor<B, 2>) -> Tensor<B, 2> {
    let zero = squares.clone().lower_equal_elem(0.0);
    squares
        .mask_fill(zero.clone(), 1.0)
        .sqrt()
        .mask_fill(zero, 0.0)
}

/// The values where the mask is true, and 0 elsewhere.
pub(crate) fn only<B: Backend>(values: Tensor<B, 2>, mask: &Tensor<B, 2, Bool>) -> Tensor<B, 2> {
    values.mask_fill(mask.clone().bool_not(), 0.0)
}

/// How many are true, as a number of the host.
pub(crate) fn count<B: Backend>(mask: Tensor<B, 2, Bool>) -> f64 {
    let data = mask.int().sum().into_data();
    data.iter::<i64>().sum::<i64>() as f64
}

/// `log Σ e^x` of the values of each row where the mask is true, `[n, 1]`; far below everything where none is.
pub(crate) fn log_sum_exp<B: Backend>(
    values: Tensor<B, 2>,
    mask: &Tensor<B, 2, Bool>,
) -> Tensor<B, 2> {
    let values = values.mask_fill(mask.clone().bool_not(), NOTHING);
    let greatest = values.clone().detach().max_dim(1);
    log((values - greatest.clone()).exp().sum_dim(1)) + greatest
}

/// The logarithm of what is above 0. Its derivative is an exponential: Burn's is a reciprocal, of which NdArray has 12 to
/// 14 bits in single precision.
pub(crate) fn log<B: Backend>(values: Tensor<B, 2>) -> Tensor<B, 2> {
    let logarithm = constant(values.clone()).log();
    differentiated(values, logarithm)
}

/// `log(1 + x)` of what is not below 0, in the same way.
pub(crate) fn log1p<B: Backend>(values: Tensor<B, 2>) -> Tensor<B, 2> {
    let logarithm = constant(values.clone()).log1p();
    differentiated(values, logarithm)
}

/// Logarithms that are known, whose derivative is `e^−log`.
fn differentiated<B: Backend>(values: Tensor<B, 2>, logarithm: Tensor<B, 2>) -> Tensor<B, 2> {
    let pull = values * logarithm.clone().neg().exp();
    logarithm + (pull.clone() - pull.detach())
}

/// The same values, of which no graph knows. `detach` alone leaves a leaf one, and then all that is computed of it is
/// kept until the backward pass.
pub(crate) fn constant<B: Backend, const D: usize>(values: Tensor<B, D>) -> Tensor<B, D> {
    values.detach().set_require_grad(false)
}

/// A value `[1]` whose gradients with respect to some tensors, of its type, are known.
pub(crate) fn with_gradients<B: RecallBackend>(
    value: Tensor<B, 1>,
    gradients: impl IntoIterator<Item = (Tensor<B, 2>, Tensor<B, 2>)>,
) -> Tensor<B, 1> {
    gradients.into_iter().fold(value, |value, (of, gradient)| {
        let [of, gradient] = [of, gradient].map(|of| of.into_primitive().tensor());
        let zero = B::zero_with_gradient(of, gradient);
        value + Tensor::from_primitive(TensorPrimitive::Float(zero))
    })
}

/// Stands for the logarithm of zero: its exponential is 0 beside anything.
pub(crate) const NOTHING: f64 = -1e30;

/// Rows in another order.
pub(crate) fn ordered<B: Backend>(rows: Tensor<B, 2>, order: &[usize]) -> Tensor<B, 2> {
    let device = rows.device();
    rows.select(0, indices(order, &device))
}

/// Indices on a device.
pub(crate) fn indices<B: Backend>(order: &[usize], device: &B::Device) -> Tensor<B, 1, Int> {
    let order: Vec<i64> = order.iter().map(|&index| index as i64).collect();
    let count = order.len();
    Tensor::from_data(TensorData::new(order, [count]), device)
}

/// Numbers as a column `[n, 1]` of the type of `like`.
pub(crate) fn column_like<B: Backend>(like: &Tensor<B, 2>, values: Vec<f64>) -> Tensor<B, 2> {
    let count = values.len();
    Tensor::from_data(
        TensorData::new(values, [count, 1]),
        (&like.device(), like.dtype()),
    )
}

/// Rows of unit length. A row of zeros stays one, and has a finite gradient.
pub(crate) fn unit<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    let squares = (rows.clone() * rows.clone()).sum_dim(1);
    let zero = squares.clone().lower_elem(1e-24);
    // No quotient: Burn differentiates one by reciprocals, which NdArray takes to 12 bits.
    rows * squares.mask_fill(zero, 1.0).powf_scalar(-0.5)
}
