use super::*;

/// Numbers that look random, far from zero and of different sizes.
fn rows(count: usize, dim: usize) -> Vec<f32> {
    (0..count * dim)
        .map(|at| {
            let hashed = (at as u32).wrapping_mul(2_654_435_761) >> 8;
            let (column, drawn) = (at % dim, f64::from(hashed) / f64::from(1 << 24));
            (1000.0 + column as f64 + (1.0 + column as f64) * drawn) as f32
        })
        .collect()
}

/// Mean, deviation and covariance by their definitions, in two passes.
fn plain(rows: &[f32], dim: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let count = (rows.len() / dim) as f64;
    let over_rows = |term: &dyn Fn(&[f32]) -> f64| -> f64 {
        rows.chunks_exact(dim).map(term).sum::<f64>() / count
    };
    let mean: Vec<f64> = (0..dim)
        .map(|i| over_rows(&|row| f64::from(row[i])))
        .collect();
    let left = |row: &[f32], i: usize| f64::from(row[i]) - mean[i];
    let pairs = (0..dim).flat_map(|i| (0..dim).map(move |j| (i, j)));
    let covariance: Vec<f64> = pairs
        .map(|(i, j)| over_rows(&|row| left(row, i) * left(row, j)))
        .collect();
    let deviation = (0..dim).map(|i| covariance[i * dim + i].sqrt()).collect();
    (mean, deviation, covariance)
}

fn close(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    let size = expected.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
    for (a, b) in actual.iter().zip(expected) {
        assert!((a - b).abs() < 1e-11 * size, "{a} for {b}");
    }
}

#[test]
fn are_those_of_the_definitions_however_the_rows_come() {
    // More than a block of rows, and more columns than a piece has.
    let (count, dim) = (BLOCK + 37, COLUMNS + 5);
    let rows = rows(count, dim);
    let (mean, deviation, covariance) = plain(&rows, dim);
    for block in [1, 7, BLOCK, count] {
        let mut statistics = FeatureStatistics::new(dim, true);
        for rows in rows.chunks(block * dim) {
            statistics.add(rows).unwrap();
        }
        assert_eq!(statistics.rows(), count);
        close(&statistics.mean(), &mean);
        close(&statistics.deviation(), &deviation);
        close(&statistics.covariance().unwrap(), &covariance);
        let square: f64 = rows.iter().map(|x| f64::from(*x).powi(2)).sum();
        close(&[statistics.mean_square()], &[square / rows.len() as f64]);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let dim = 3 * COLUMNS;
    let rows = rows(100, dim);
    let of = |threads| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        threads.unwrap().install(|| {
            let mut statistics = FeatureStatistics::new(dim, true);
            statistics.add(&rows).unwrap();
            statistics
        })
    };
    let one = of(1);
    assert!(of(2) == one && of(5) == one);
}

#[test]
fn what_is_no_row_of_numbers_is_refused_and_leaves_them_as_they_were() {
    let mut statistics = FeatureStatistics::new(3, false);
    statistics.add(&[1.0, 2.0, 3.0]).unwrap();
    let before = statistics.clone();
    for wrong in [&[][..], &[1.0; 4]] {
        assert!(statistics.add(wrong).is_err());
    }
    let wrong = [0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0];
    let refused = statistics.add(&wrong).unwrap_err().to_string();
    assert_eq!(
        refused,
        "number 1 of row 2 of the features is NaN: they have to be finite"
    );
    assert!(statistics == before);
    assert!(FeatureStatistics::new(0, true).add(&[1.0]).is_err());
}

#[test]
fn of_no_rows_they_are_zero() {
    let none = FeatureStatistics::new(2, true);
    assert_eq!(
        (none.mean(), none.deviation()),
        (vec![0.0; 2], vec![0.0; 2])
    );
    assert_eq!(none.covariance(), Some(vec![0.0; 4]));
    assert_eq!(none.mean_square(), 0.0);
}
