//! Visits of all rows, a block at a time.

use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use pulp::{Arch, WithSimd};
use rayon::prelude::*;

use super::distances::OnHost;
use super::few::Few;
use super::host::host_values;
use super::places::{Place, Places};
use crate::dense::{constant, indices};

/// What a row has of each column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The dot product.
    Similarity,
    /// The squared distance.
    SquaredDistance,
}

/// A loss that is a sum over rows.
pub(crate) trait RowLoss: Sync {
    /// What a first look at a row notes; `()` for losses that do without.
    type Note: Send + Default;
    /// What follows from the notes of all rows, in their order.
    type Whole: Sync;

    /// What rows hold.
    const MEASURE: Measure;
    /// Whether there is a first look. It costs a matrix product where the whole matrix is not kept.
    const LOOKS: bool;

    /// Looks at a row; never called unless the loss [`LOOKS`](Self::LOOKS).
    #[inline(always)]
    fn look(&self, _index: usize, _place: &Place, _row: &[f32]) -> Self::Note {
        Self::Note::default()
    }

    /// Puts the notes together; there are none unless the loss [`LOOKS`](Self::LOOKS).
    fn whole(&self, notes: Vec<Self::Note>, places: &Places) -> Self::Whole;

    /// The term of a row, each of whose values becomes the derivative of the term with respect to it.
    fn term(&self, whole: &Self::Whole, index: usize, place: &Place, row: &mut [f32]) -> Term;

    /// What the sum of all terms is multiplied by, when `counted` is the sum of what they count.
    fn scale(&self, whole: &Self::Whole, counted: u64) -> f64;
}

/// The term of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Term {
    /// Its value.
    pub value: f64,
    /// What it counts, such as the comparisons that are not zero.
    pub counted: u64,
}

/// The loss, `[1]`, differentiable with respect to `queries` `[n, d]` and `references` `[m, d]`; of a batch
/// compared with itself both are the batch.
///
/// The derivatives are computed with the value, on the host. They enter the graph as constants: the loss is
/// its value plus `Σ x · g` less the same as a constant, which is zero and has the gradient `g`.
pub(crate) fn rows<B: Backend, L: RowLoss>(
    loss: &L,
    queries: Tensor<B, 2>,
    references: Tensor<B, 2>,
    places: &Places,
) -> Tensor<B, 1> {
    let device = queries.device();
    let sides = Sides::new(
        constant(queries.clone()),
        constant(references.clone()),
        places,
    );
    let wanted = B::ad_enabled(&device);
    let found = match sides.fits() {
        true => sides.whole(loss, wanted),
        false => sides.in_blocks(loss, wanted),
    };
    let value = Tensor::from_data(
        TensorData::from([found.value as f32]),
        (&device, DType::F32),
    );
    let Some((on_queries, on_references)) = found.gradients else {
        return value;
    };
    let pull = (queries * on_queries).sum();
    let pull = match on_references {
        Some(on_references) => pull + (references * on_references).sum(),
        None => pull,
    };
    value + (pull.clone() - pull.detach())
}

/// Most numbers of a matrix that is kept whole: 128 MB, as many as 5,792 items with each other have.
const KEPT: usize = 1 << 25;
/// Numbers of a block of rows, about: 40 MB. glibc's allocator gives what is larger than 32 MB back to the system when it is
/// freed, and keeps what is smaller.
const BLOCK: usize = 10 << 20;

/// Queries and references in the order of their places.
struct Sides<'a, B: Backend> {
    queries: Tensor<B, 2>,
    references: Tensor<B, 2>,
    places: &'a Places,
    device: B::Device,
}

struct Found<B: Backend> {
    value: f64,
    /// With respect to the queries, and to the references where these are others; in the order of the batch.
    gradients: Option<(Tensor<B, 2>, Option<Tensor<B, 2>>)>,
}

impl<'a, B: Backend> Sides<'a, B> {
    fn new(queries: Tensor<B, 2>, references: Tensor<B, 2>, places: &'a Places) -> Self {
        let device = queries.device();
        let ordered = |rows: Tensor<B, 2>, order: &[usize]| match order
            .iter()
            .enumerate()
            .all(|(place, &item)| place == item)
        {
            true => rows,
            false => rows.select(0, indices(order, &device)),
        };
        Self {
            queries: ordered(queries, &places.queries),
            references: ordered(references, &places.references),
            places,
            device,
        }
    }

    fn columns(&self) -> usize {
        self.places.references.len()
    }

    fn dim(&self) -> usize {
        self.queries.dims()[1]
    }

    fn fits(&self) -> bool {
        self.places.rows.len() * self.columns() <= KEPT
    }

    fn whole<L: RowLoss>(&self, loss: &L, wanted: bool) -> Found<B> {
        let host = (L::MEASURE == Measure::SquaredDistance)
            .then(|| OnHost::new(&self.queries, &self.references));
        let mut rows = self.measured::<L>(0, self.places.rows.len(), host.as_ref());
        let mut notes = Vec::new();
        if L::LOOKS {
            self.look(loss, 0, &rows, &mut notes);
        }
        let whole = loss.whole(notes, self.places);
        let term = self.terms(loss, &whole, 0, &mut rows);
        let scale = loss.scale(&whole, term.counted);
        let value = term.value * scale;
        if !wanted {
            return Found {
                value,
                gradients: None,
            };
        }
        if self.places.same {
            symmetrise(&mut rows, self.columns());
            let gradient = self.pulled::<L>(rows, scale);
            let gradient = self.in_order(gradient, &self.places.queries);
            return Found {
                value,
                gradients: Some((gradient, None)),
            };
        }
        let (on_queries, on_references) = self.both::<L>(rows, 0);
        self.finished(value, scale, on_queries, on_references)
    }

    fn in_blocks<L: RowLoss>(&self, loss: &L, wanted: bool) -> Found<B> {
        self.in_blocks_of(
            loss,
            wanted,
            (BLOCK / self.columns().max(1)).clamp(16, 2048),
        )
    }

    fn in_blocks_of<L: RowLoss>(&self, loss: &L, wanted: bool, size: usize) -> Found<B> {
        let count = self.places.rows.len();
        let starts = || (0..count).step_by(size);
        let host = (L::MEASURE == Measure::SquaredDistance)
            .then(|| OnHost::new(&self.queries, &self.references));
        let mut notes = Vec::with_capacity(if L::LOOKS { count } else { 0 });
        if L::LOOKS {
            for start in starts() {
                let rows = self.measured::<L>(start, count.min(start + size), host.as_ref());
                self.look(loss, start, &rows, &mut notes);
            }
        }
        let whole = loss.whole(notes, self.places);
        let mut sum = Term::default();
        // In one piece from the start: what lies between large blocks keeps the allocator from giving them back.
        let mut on_queries = Vec::with_capacity(if wanted { count * self.dim() } else { 0 });
        let mut on_references = None;
        for start in starts() {
            let mut rows = self.measured::<L>(start, count.min(start + size), host.as_ref());
            let term = self.terms(loss, &whole, start, &mut rows);
            sum.value += term.value;
            sum.counted += term.counted;
            if wanted {
                let (queries, references) = self.both::<L>(rows, start);
                on_queries.extend(host_values(queries));
                on_references = match (on_references, references) {
                    (Some(sum), Some(references)) => Some(sum + references),
                    (_, references) => references,
                };
            }
        }
        let scale = loss.scale(&whole, sum.counted);
        let value = sum.value * scale;
        match wanted {
            true => {
                let on_queries = self.tensor(on_queries, self.dim());
                self.finished(value, scale, on_queries, on_references)
            }
            false => Found {
                value,
                gradients: None,
            },
        }
    }

    fn finished(
        &self,
        value: f64,
        scale: f64,
        on_queries: Tensor<B, 2>,
        on_references: Option<Tensor<B, 2>>,
    ) -> Found<B> {
        let places = self.places;
        let gradients = match (on_references, places.same) {
            (Some(on_references), true) => {
                let both = (on_queries + on_references).mul_scalar(scale);
                (self.in_order(both, &places.queries), None)
            }
            (on_references, _) => {
                let queries = self.in_order(on_queries.mul_scalar(scale), &places.queries);
                let references = on_references.map(|on_references| {
                    self.in_order(on_references.mul_scalar(scale), &places.references)
                });
                (queries, references)
            }
        };
        Found {
            value,
            gradients: Some(gradients),
        }
    }

    /// Rows `start..end`, one behind the other.
    fn measured<L: RowLoss>(&self, start: usize, end: usize, host: Option<&OnHost>) -> Vec<f32> {
        let queries = self.queries.clone().slice([start..end, 0..self.dim()]);
        let products = queries.matmul(self.references.clone().transpose());
        let mut rows = host_values(products);
        if let Some(host) = host {
            let columns = self.columns();
            rows.par_chunks_mut(columns.max(1))
                .enumerate()
                .for_each(|(index, row)| {
                    host.distances(start + index, &self.places.rows[start + index], row)
                });
        }
        rows
    }

    fn look<L: RowLoss>(&self, loss: &L, start: usize, rows: &[f32], notes: &mut Vec<L::Note>) {
        let arch = Arch::new();
        let columns = self.columns();
        let found: Vec<L::Note> = rows
            .par_chunks(columns.max(1))
            .enumerate()
            .map(|(index, row)| {
                arch.dispatch(Look {
                    loss,
                    index: start + index,
                    place: &self.places.rows[start + index],
                    row,
                })
            })
            .collect();
        notes.extend(found);
    }

    fn terms<L: RowLoss>(
        &self,
        loss: &L,
        whole: &L::Whole,
        start: usize,
        rows: &mut [f32],
    ) -> Term {
        let arch = Arch::new();
        let columns = self.columns();
        let terms: Vec<Term> = rows
            .par_chunks_mut(columns.max(1))
            .enumerate()
            .map(|(index, row)| {
                arch.dispatch(Turn {
                    loss,
                    whole,
                    index: start + index,
                    place: &self.places.rows[start + index],
                    row,
                })
            })
            .collect();
        terms.iter().fold(Term::default(), |sum, term| Term {
            value: sum.value + term.value,
            counted: sum.counted + term.counted,
        })
    }

    /// The gradient with respect to a batch compared with itself, of the derivatives of both directions.
    fn pulled<L: RowLoss>(&self, slopes: Vec<f32>, scale: f64) -> Tensor<B, 2> {
        let columns = self.columns();
        let sums = sums_of_rows(&slopes, columns);
        let pulled = match Few::of(&slopes, columns) {
            Some(few) => self.tensor(few.times(&self.references), self.dim()),
            None => self.tensor(slopes, columns).matmul(self.references.clone()),
        };
        match L::MEASURE {
            Measure::Similarity => pulled.mul_scalar(scale),
            Measure::SquaredDistance => {
                (self.queries.clone() * self.column(sums) - pulled).mul_scalar(2.0 * scale)
            }
        }
    }

    /// The gradients with respect to the queries from `start` on, and to all references unless these are constants,
    /// of the derivatives of their rows.
    fn both<L: RowLoss>(
        &self,
        slopes: Vec<f32>,
        start: usize,
    ) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
        let columns = self.columns();
        let count = slopes.len().checked_div(columns).unwrap_or(0);
        let queries = self
            .queries
            .clone()
            .slice([start..start + count, 0..self.dim()]);
        let distances = L::MEASURE == Measure::SquaredDistance;
        let wanted = !self.places.constant;
        let of_rows = distances.then(|| sums_of_rows(&slopes, columns));
        let of_columns = (distances && wanted).then(|| sums_of_columns(&slopes, columns));
        let (on_queries, on_references) = match Few::of(&slopes, columns) {
            Some(few) => (
                self.tensor(few.times(&self.references), self.dim()),
                wanted.then(|| self.tensor(few.transposed(columns).times(&queries), self.dim())),
            ),
            None => {
                let slopes = self.tensor(slopes, columns);
                let of_references =
                    wanted.then(|| slopes.clone().transpose().matmul(queries.clone()));
                (slopes.matmul(self.references.clone()), of_references)
            }
        };
        let pulled = |own: &Tensor<B, 2>, products: Tensor<B, 2>, sums: Option<Vec<f32>>| match sums
        {
            None => products,
            Some(sums) => (own.clone() * self.column(sums) - products).mul_scalar(2.0),
        };
        let on_references =
            on_references.map(|products| pulled(&self.references, products, of_columns));
        (pulled(&queries, on_queries, of_rows), on_references)
    }

    fn tensor(&self, values: Vec<f32>, columns: usize) -> Tensor<B, 2> {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Tensor::from_data(
            TensorData::new(values, [rows, columns]),
            (&self.device, DType::F32),
        )
    }

    fn column(&self, values: Vec<f32>) -> Tensor<B, 2> {
        self.tensor(values, 1)
    }

    /// Rows at their places to rows of the batch.
    fn in_order(&self, rows: Tensor<B, 2>, order: &[usize]) -> Tensor<B, 2> {
        let mut place = vec![0; order.len()];
        for (at, &item) in order.iter().enumerate() {
            place[item] = at;
        }
        rows.select(0, indices(&place, &self.device))
    }
}

struct Look<'a, L> {
    loss: &'a L,
    index: usize,
    place: &'a Place,
    row: &'a [f32],
}

impl<L: RowLoss> WithSimd for Look<'_, L> {
    type Output = L::Note;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> L::Note {
        self.loss.look(self.index, self.place, self.row)
    }
}

struct Turn<'a, L: RowLoss> {
    loss: &'a L,
    whole: &'a L::Whole,
    index: usize,
    place: &'a Place,
    row: &'a mut [f32],
}

impl<L: RowLoss> WithSimd for Turn<'_, L> {
    type Output = Term;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Term {
        self.loss.term(self.whole, self.index, self.place, self.row)
    }
}

/// Adds to a square matrix its transpose.
fn symmetrise(values: &mut [f32], size: usize) {
    const TILE: usize = 64;
    for top in (0..size).step_by(TILE) {
        for left in (top..size).step_by(TILE) {
            for row in top..size.min(top + TILE) {
                for column in left.max(row)..size.min(left + TILE) {
                    let both = values[row * size + column] + values[column * size + row];
                    values[row * size + column] = both;
                    values[column * size + row] = both;
                }
            }
        }
    }
}

fn sums_of_rows(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.par_chunks(columns.max(1));
    rows.map(|row| super::arithmetic::lanes(row, |x| x) as f32)
        .collect()
}

fn sums_of_columns(values: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0f32; columns];
    for row in values.chunks(columns.max(1)) {
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::tensor::Distribution;
    use burn_flex::Flex;

    use super::*;

    type Tested = Autodiff<Flex>;

    /// `Σ_ij |i − j| x_ij²` over distances or similarities `x`, divided by how many exceed the mean.
    struct Weighted<const DISTANCES: bool>;

    impl<const DISTANCES: bool> RowLoss for Weighted<DISTANCES> {
        type Note = f64;
        type Whole = f64;
        const MEASURE: Measure = match DISTANCES {
            true => Measure::SquaredDistance,
            false => Measure::Similarity,
        };
        const LOOKS: bool = true;

        fn look(&self, _: usize, _: &Place, row: &[f32]) -> f64 {
            row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64
        }

        fn whole(&self, notes: Vec<f64>, places: &Places) -> f64 {
            assert_eq!(notes.len(), places.rows.len());
            notes.iter().sum::<f64>() / notes.len() as f64
        }

        fn term(&self, mean: &f64, index: usize, place: &Place, row: &mut [f32]) -> Term {
            let mut term = Term::default();
            for (column, x) in row.iter_mut().enumerate() {
                let weight = index.abs_diff(column) as f32 + place.class.start as f32;
                term.value += f64::from(weight * *x * *x);
                term.counted += u64::from(f64::from(*x) > *mean);
                *x *= 2.0 * weight;
            }
            term
        }

        fn scale(&self, _: &f64, counted: u64) -> f64 {
            1.0 / counted as f64
        }
    }

    fn blocks_are_the_whole<const DISTANCES: bool>(places: &Places) {
        let device = Default::default();
        Tested::seed(&device, 5);
        let random =
            |rows| Tensor::<Tested, 2>::random([rows, 6], Distribution::Normal(0.0, 1.0), &device);
        let queries = random(places.rows.len());
        let references = match places.same {
            true => queries.clone(),
            false => random(places.references.len()),
        };
        let sides = Sides::new(queries, references, places);
        let (whole, blocks) = (
            sides.whole(&Weighted::<DISTANCES>, true),
            sides.in_blocks_of(&Weighted::<DISTANCES>, true, 7),
        );
        assert!((whole.value - blocks.value).abs() <= 1e-6 * whole.value.abs());
        let ((queries, references), (queries_too, references_too)) =
            (whole.gradients.unwrap(), blocks.gradients.unwrap());
        let close = |a: Tensor<Tested, 2>, b: Tensor<Tested, 2>| {
            let size = a.clone().abs().max().into_scalar();
            assert!((a - b).abs().max().into_scalar() <= 1e-5 * size);
        };
        close(queries, queries_too);
        assert_eq!(references.is_some(), !places.same && !places.constant);
        assert_eq!(references.is_some(), references_too.is_some());
        if let Some((a, b)) = references.zip(references_too) {
            close(a, b);
        }
    }

    #[test]
    fn blocks_of_rows_are_the_whole_matrix() {
        let labels: Vec<i64> = (0..33).map(|i| i * i % 7).collect();
        let others: Vec<i64> = (0..20).map(|i| i % 5).collect();
        let own: Vec<Option<usize>> = (0..33).map(|i| (i < 20).then_some(i)).collect();
        for places in [
            Places::within(&labels),
            Places::between(&labels, &others, &own),
            Places::between(&labels, &others, &own).with_constant_references(),
        ] {
            blocks_are_the_whole::<false>(&places);
            blocks_are_the_whole::<true>(&places);
        }
    }
}
