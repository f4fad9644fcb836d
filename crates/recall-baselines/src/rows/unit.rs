//! Rows of unit length, and the gradient of what they were made of.

use rayon::prelude::*;

use super::arithmetic::dot;

/// Makes rows unit, and returns one divided by the lengths they had. A row of zeros stays one, with a factor of 1.
pub(super) fn normalise(rows: &mut [f32], dim: usize) -> Vec<f32> {
    let rows = rows.par_chunks_mut(dim.max(1));
    rows.map(|row| {
        let squares = dot(row, row);
        let inverse = if squares < LEAST {
            1.0
        } else {
            1.0 / squares.sqrt()
        };
        row.iter_mut()
            .for_each(|x| *x = (f64::from(*x) * inverse) as f32);
        inverse as f32
    })
    .collect()
}

/// Squared lengths below this are nothing.
const LEAST: f64 = 1e-24;

/// Turns gradients with respect to unit rows into those with respect to what they were: what is along a row changes
/// nothing.
pub(super) fn project(gradients: &mut [f32], units: &[f32], inverse: &[f32], dim: usize) {
    let gradients = gradients.par_chunks_mut(dim.max(1));
    let rows = gradients.zip(units.par_chunks(dim.max(1))).zip(inverse);
    rows.for_each(|((gradient, unit), inverse)| {
        let along = dot(gradient, unit) as f32;
        for (slope, &x) in gradient.iter_mut().zip(unit) {
            *slope = inverse * (*slope - along * x);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_unit_and_gradients_are_differences() {
        const DIM: usize = 19;
        let start: Vec<f32> = (0..2 * DIM)
            .map(|at| (at * at % 23) as f32 - 11.0)
            .collect();
        let pull: Vec<f32> = (0..2 * DIM).map(|at| (at % 7) as f32 - 3.0).collect();
        let value = |rows: &[f32]| {
            let mut rows = rows.to_vec();
            normalise(&mut rows, DIM);
            dot(&rows, &pull)
        };
        let mut rows = start.clone();
        let inverse = normalise(&mut rows, DIM);
        for row in rows.chunks(DIM) {
            assert!((dot(row, row) - 1.0).abs() < 1e-6);
        }
        let mut gradient = pull.clone();
        project(&mut gradient, &rows, &inverse, DIM);
        for at in [0, 5, 18, 19, 37] {
            let moved = |by: f32| {
                let mut rows = start.clone();
                rows[at] += by;
                value(&rows)
            };
            let expected = (moved(0.05) - moved(-0.05)) / 0.1;
            assert!((f64::from(gradient[at]) - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn a_row_of_zeros_stays_one() {
        let mut rows = [0.0; 3];
        assert_eq!(normalise(&mut rows, 3), [1.0]);
        let mut gradient = [1.0, -2.0, 3.0];
        project(&mut gradient, &rows, &[1.0], 3);
        assert_eq!((rows, gradient), ([0.0; 3], [1.0, -2.0, 3.0]));
    }
}
