//! From tensors to rows of the host, and back.

use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use recall_loss::RecallBackend;

use super::places::Places;
use super::row_loss::RowLoss;
use super::sides::Sides;
use super::unit::{normalise, project};
use crate::dense::{constant, ordered, unit, with_gradients};

/// Queries or references, `[n, d]`.
pub(crate) struct Side<B: Backend> {
    rows: Tensor<B, 2>,
    unit: bool,
}

impl<B: Backend> Side<B> {
    /// Rows that are made unit.
    pub fn unit(rows: Tensor<B, 2>) -> Self {
        Self { rows, unit: true }
    }

    /// The rows, as they are compared.
    pub fn tensor(self) -> Tensor<B, 2> {
        match self.unit {
            true => unit(self.rows),
            false => self.rows,
        }
    }

    pub fn dims(&self) -> [usize; 2] {
        self.rows.dims()
    }

    pub fn dtype(&self) -> DType {
        self.rows.dtype()
    }
}

impl<B: Backend> From<Tensor<B, 2>> for Side<B> {
    /// Rows as they are.
    fn from(rows: Tensor<B, 2>) -> Self {
        Self { rows, unit: false }
    }
}

/// The numbers of a side.
struct OnHost {
    values: Vec<f32>,
    /// One divided by the lengths that its rows had, if they were made unit.
    inverse: Option<Vec<f32>>,
    dim: usize,
}

impl OnHost {
    fn new<B: Backend>(side: &Side<B>) -> Self {
        let dim = side.dims()[1];
        let mut values = host_values(side.rows.clone());
        let inverse = side.unit.then(|| normalise(&mut values, dim));
        Self {
            values,
            inverse,
            dim,
        }
    }

    /// The gradient with respect to the rows as they came.
    fn gradient(&self, mut gradient: Vec<f32>) -> Vec<f32> {
        if let Some(inverse) = &self.inverse {
            project(&mut gradient, &self.values, inverse, self.dim);
        }
        gradient
    }
}

/// The loss, `[1]`, differentiable with respect to `queries` `[n, d]` and `references` `[m, d]`; of a batch
/// compared with itself both are the batch.
pub(crate) fn rows<B: RecallBackend, L: RowLoss>(
    loss: &L,
    queries: impl Into<Side<B>>,
    references: impl Into<Side<B>>,
    places: &Places,
) -> Tensor<B, 1> {
    let (queries, references) = (queries.into(), references.into());
    let device = queries.rows.device();
    let of_queries = OnHost::new(&queries);
    let of_references = (!places.same).then(|| OnHost::new(&references));
    let values = of_references.as_ref().map(|of| &*of.values);
    let sides = Sides::new(&of_queries.values, values, of_queries.dim, places);
    let found = loss.visit(&sides, B::ad_enabled(&device));
    let mut gradients = Vec::new();
    if let Some((on_queries, on_references)) = found.gradients {
        gradients.push((queries.rows, of_queries.gradient(on_queries)));
        if let Some((of, gradient)) = of_references.zip(on_references) {
            gradients.push((references.rows, of.gradient(gradient)));
        }
    }
    with_host_gradients(found.value, gradients, &device)
}

/// The loss, `[1]`, of rows whose value and gradient `of` computes of their numbers; it hears whether a gradient is wanted.
pub(crate) fn of_values<B: RecallBackend>(
    rows: impl Into<Side<B>>,
    of: impl FnOnce(&[f32], bool) -> (f64, Option<Vec<f32>>),
) -> Tensor<B, 1> {
    let side = rows.into();
    let device = side.rows.device();
    let on_host = OnHost::new(&side);
    let (value, gradient) = of(&on_host.values, B::ad_enabled(&device));
    let gradient = gradient.map(|gradient| (side.rows, on_host.gradient(gradient)));
    with_host_gradients(value, gradient, &device)
}

/// The same of some of the rows, in this order; the others have no part in the loss.
pub(crate) fn of_some<B: RecallBackend>(
    rows: impl Into<Side<B>>,
    chosen: &[usize],
    of: impl FnOnce(&[f32], bool) -> (f64, Option<Vec<f32>>),
) -> Tensor<B, 1> {
    let side = rows.into();
    let ([count, dim], device) = (side.dims(), side.rows.device());
    let on_host = OnHost::new(&Side {
        rows: ordered(constant(side.rows.clone()), chosen),
        ..side
    });
    let (value, gradient) = of(&on_host.values, B::ad_enabled(&device));
    let gradient = gradient.map(|gradient| {
        let gradient = on_host.gradient(gradient);
        (side.rows, spread(&gradient, chosen, count, dim))
    });
    with_host_gradients(value, gradient, &device)
}

/// Sums of the rows that are meant for each of `count` rows.
fn spread(rows: &[f32], to: &[usize], count: usize, dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0; count * dim];
    let mut begun = vec![false; count];
    for (row, &to) in rows.chunks(dim.max(1)).zip(to) {
        let sum = &mut sums[to * dim..(to + 1) * dim];
        // Memory that was not touched yet is only written.
        match std::mem::replace(&mut begun[to], true) {
            false => sum.copy_from_slice(row),
            true => sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x),
        }
    }
    sums
}

/// A value of the host, `[1]`, whose gradients with respect to some tensors are known.
pub(crate) fn with_host_gradients<B: RecallBackend>(
    value: f64,
    gradients: impl IntoIterator<Item = (Tensor<B, 2>, Vec<f32>)>,
    device: &B::Device,
) -> Tensor<B, 1> {
    let value = Tensor::from_data(TensorData::from([value as f32]), (device, DType::F32));
    let gradients = gradients.into_iter().map(|(of, gradient)| {
        let gradient = TensorData::new(gradient, of.dims());
        (of, Tensor::from_data(gradient, (device, DType::F32)))
    });
    with_gradients(value, gradients)
}

/// The numbers of a tensor, row by row.
pub(crate) fn host_values<B: Backend>(rows: Tensor<B, 2>) -> Vec<f32> {
    let rows = constant(rows);
    let count = rows.dims().iter().product::<usize>();
    let values = rows.into_data().convert::<f32>().into_vec::<f32>();
    // They are of this type now, so there is nothing to refuse.
    let values = values.unwrap_or_default();
    assert_eq!(
        values.len(),
        count,
        "a tensor has as many numbers as its shape says"
    );
    values
}
