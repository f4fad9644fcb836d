//! What is compared, as numbers of the host.

use std::borrow::Cow;

use super::places::{Place, Places};

/// Queries and references in the order of their places, one row behind the other.
pub(crate) struct Sides<'a> {
    pub(super) queries: Cow<'a, [f32]>,
    /// None if they are the queries.
    references: Option<Cow<'a, [f32]>>,
    pub(super) dim: usize,
    pub(super) places: &'a Places,
}

/// What a visit of all rows comes to.
pub(crate) struct Found {
    pub value: f64,
    /// With respect to the queries, and to the references where these are others and no constants; in the order of the
    /// batch. None if they were not wanted.
    pub gradients: Option<(Vec<f32>, Option<Vec<f32>>)>,
}

impl<'a> Sides<'a> {
    /// Queries `[n, dim]` and references `[m, dim]` in the order of the batch; these are not looked at if both are
    /// the same.
    pub fn new(
        queries: &'a [f32],
        references: Option<&'a [f32]>,
        dim: usize,
        places: &'a Places,
    ) -> Self {
        let references = references.filter(|_| !places.same);
        Self {
            queries: ordered(queries, dim, &places.queries),
            references: references.map(|rows| ordered(rows, dim, &places.references)),
            dim,
            places,
        }
    }

    pub(super) fn references(&self) -> &[f32] {
        self.references.as_deref().unwrap_or(&self.queries)
    }

    pub(super) fn rows(&self) -> usize {
        self.places.rows.len()
    }

    pub(super) fn columns(&self) -> usize {
        self.places.references.len()
    }

    pub(super) fn query(&self, index: usize) -> &[f32] {
        &self.queries[index * self.dim..(index + 1) * self.dim]
    }

    fn reference(&self, column: usize) -> &[f32] {
        &self.references()[column * self.dim..(column + 1) * self.dim]
    }

    /// Queries at their places to queries of the batch.
    pub(super) fn queries_in_order(&self, rows: Vec<f32>) -> Vec<f32> {
        in_order(rows, self.dim, &self.places.queries)
    }

    /// References at their places to references of the batch.
    pub(super) fn references_in_order(&self, rows: Vec<f32>) -> Vec<f32> {
        in_order(rows, self.dim, &self.places.references)
    }
}

/// Squared lengths of both sides, for distances.
pub(super) struct Squares {
    queries: Vec<f64>,
    references: Vec<f64>,
}

impl Squares {
    pub fn new(sides: &Sides<'_>) -> Self {
        let squares = |rows: &[f32]| -> Vec<f64> {
            let rows = rows.chunks(sides.dim.max(1));
            rows.map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum())
                .collect()
        };
        let queries = squares(&sides.queries);
        let references = match &sides.references {
            Some(references) => squares(references),
            None => queries.clone(),
        };
        Self {
            queries,
            references,
        }
    }

    /// Turns products into squared distances. Within a class, where they may be small, they are those of the
    /// differences.
    #[inline(always)]
    pub fn distances(&self, sides: &Sides<'_>, index: usize, place: &Place, row: &mut [f32]) {
        let square = self.queries[index];
        for (value, &other) in row.iter_mut().zip(&self.references) {
            *value = ((square + other) - 2.0 * f64::from(*value)).max(0.0) as f32;
        }
        let query = sides.query(index);
        for column in place.class.clone() {
            row[column] = squared_distance(query, sides.reference(column)) as f32;
        }
    }
}

/// `|a − b|²` of the differences, so that it is right where it is small.
#[inline(always)]
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0f64; LANES];
    let ((a, rest), (b, others)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let square = |a: f32, b: f32| {
        let difference = f64::from(a) - f64::from(b);
        difference * difference
    };
    for (a, b) in a.iter().zip(b) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += square(a, b);
        }
    }
    for (sum, (&a, &b)) in sums.iter_mut().zip(rest.iter().zip(others)) {
        *sum += square(a, b);
    }
    sums.iter().sum()
}

/// Rows of the batch at their places.
fn ordered<'a>(rows: &'a [f32], dim: usize, order: &[usize]) -> Cow<'a, [f32]> {
    if in_place(order) {
        return Cow::Borrowed(rows);
    }
    let row = |&item: &usize| &rows[item * dim..(item + 1) * dim];
    let mut found = Vec::with_capacity(order.len() * dim);
    order
        .iter()
        .for_each(|item| found.extend_from_slice(row(item)));
    Cow::Owned(found)
}

/// Rows at their places to rows of the batch.
fn in_order(rows: Vec<f32>, dim: usize, order: &[usize]) -> Vec<f32> {
    if in_place(order) {
        return rows;
    }
    let mut found = vec![0.0; rows.len()];
    for (row, &item) in rows.chunks(dim.max(1)).zip(order) {
        found[item * dim..(item + 1) * dim].copy_from_slice(row);
    }
    found
}

fn in_place(order: &[usize]) -> bool {
    order.iter().enumerate().all(|(place, &item)| place == item)
}
