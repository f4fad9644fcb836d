//! Whitening learned from embeddings: from all of them, or from those that match.

use nalgebra::{Cholesky, DMatrix, Dyn};

use super::moments::{principal, scatter, shrink};
use super::{Whitening, check};
use crate::{Embeddings, EvalError};

/// The share of the largest variance below which there is none: a hundred-thousandth of the spread, where
/// numbers in f32 say little more.
const NONE: f64 = 1e-10;

/// Whitening by principal components: `P = Λ^(−p/2) Vᵀ` of the largest eigenvalues `Λ` of the covariance and their
/// eigenvectors `V`, and the mean `m` of all rows.
///
/// Jégou and Chum, "Negative evidences and co-occurrences in image retrieval: the benefit of PCA and whitening", 2012. With
/// `power` below 1 directions of little variance are amplified less: the attenuated whitening of Mukundan, Tolias, Bursuc,
/// Jégou and Chum, 2019, called `shrinkage` in the code of HOW (Tolias, Jenicek and Chum, 2020).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PcaWhitening {
    /// Dimensions to keep. Default: all in which rows vary.
    pub dim: Option<usize>,
    /// `p`, between 0 (a rotation) and 1 (equal variance in all directions). Default: 1.
    pub power: f64,
    /// How far the covariance `C` is moved to that of noise, `(1 − s) C + s tr(C) / d I` (Ledoit and Wolf, 2004), between 0 and 1:
    /// for fewer rows than reliable variances need. Default: 0.
    pub shrinkage: f64,
}

impl Default for PcaWhitening {
    fn default() -> Self {
        Self {
            dim: None,
            power: 1.0,
            shrinkage: 0.0,
        }
    }
}

impl PcaWhitening {
    /// Learns from rows, which are taken as they are: as [`Embeddings::normalised`] leaves them, where that is what will be
    /// whitened.
    ///
    /// Memory: a few matrices of `[dim, dim]` in f64.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or if rows vary in fewer directions than are asked for.
    pub fn learn(&self, rows: &Embeddings) -> Result<Whitening, EvalError> {
        check_dim(self.dim, rows.dim())?;
        check_share("the power of a whitening", self.power)?;
        check_share("the shrinkage of a covariance", self.shrinkage)?;
        let mean = mean(rows, |_| 1.0);
        let mut covariance = scatter_about(rows, &mean) / rows.rows() as f64;
        shrink(&mut covariance, self.shrinkage);
        let (variances, directions) = principal(covariance)?;
        let none = NONE * variances.first().map_or(0.0, |largest| largest.max(0.0));
        let found = variances.partition_point(|&variance| variance > none);
        let wanted = self.dim.unwrap_or(found.max(1));
        if wanted > found {
            return Err(EvalError::TooFewDirections { found, wanted });
        }
        let mut projection = directions.columns(0, wanted).into_owned();
        for (mut direction, variance) in projection.column_iter_mut().zip(variances) {
            direction *= variance.powf(-self.power / 2.0);
        }
        whitening(&mean, &projection)
    }
}

/// Whitening of what differs between rows that match: `P = eig(C_S^(−1/2) C_D C_S^(−1/2))ᵀ C_S^(−1/2)`, with the covariance `C_S` of
/// the differences of matching rows and `C_D` of all rows.
///
/// Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", 2019 (section 3.3), after Mikolajczyk and
/// Matas, 2007. As the code of its authors has it, the root is the inverse of Cholesky's factor, which differs by a rotation
/// that the eigenvectors undo; `m` is the mean of the first rows of all pairs; and `C_D` is that of all rows around `m`,
/// not of pairs that do not match, which at any size are almost all pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairWhitening {
    /// Dimensions to keep. Default: all.
    pub dim: Option<usize>,
    /// How far `C_S` is moved to the covariance of noise, `(1 − s) C_S + s tr(C_S) / d I`, between 0 and 1: for fewer pairs than
    /// dimensions. Default: 0, the formula.
    pub shrinkage: f64,
}

impl PairWhitening {
    /// Learns from pairs of rows that match: a query and a positive.
    ///
    /// Memory: a few matrices of `[dim, dim]` in f64.
    ///
    /// # Errors
    ///
    /// If there is no pair, if one is of a row that does not exist or of a row with itself, if a setting is out of its range, or
    /// if the differences leave out a direction.
    pub fn learn_from_pairs(
        &self,
        rows: &Embeddings,
        pairs: &[[u32; 2]],
    ) -> Result<Whitening, EvalError> {
        let count = rows.rows();
        for (pair, &[a, b]) in pairs.iter().enumerate() {
            if a == b || a.max(b) as usize >= count {
                let rows = [a, b];
                return Err(EvalError::InvalidPair { pair, rows, count });
            }
        }
        if pairs.is_empty() {
            return Err(EvalError::NoMatchingPair);
        }
        self.check(rows)?;
        let mut weights = vec![0.0; count];
        pairs.iter().for_each(|&[a, _]| weights[a as usize] += 1.0);
        let mean = mean(rows, |row| weights[row]);
        let within = scatter(pairs.len(), rows.dim(), |pair, out| {
            let [a, b] = pairs[pair].map(|row| rows.row(row as usize));
            for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
                *out = f64::from(*a) - f64::from(*b);
            }
        });
        self.finish(rows, &mean, within / pairs.len() as f64)
    }

    /// Learns from all pairs of rows with equal labels, each in both orders, at no more cost than there are rows: the differences
    /// of `n` rows add up to `n` times those from their mean. Rows that are alone in their class count among all rows.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row, and those of [`learn_from_pairs`](Self::learn_from_pairs).
    pub fn learn_from_labels(
        &self,
        rows: &Embeddings,
        labels: &[i64],
    ) -> Result<Whitening, EvalError> {
        if labels.len() != rows.rows() {
            return Err(EvalError::LabelCount {
                what: "embeddings",
                labels: labels.len(),
                rows: rows.rows(),
            });
        }
        self.check(rows)?;
        let classes = Classes::of(rows, labels);
        // A row is the first of a pair with each other row of its class.
        let partners = |row: usize| (classes.size(row) - 1) as f64;
        let pairs: f64 = (0..rows.rows()).map(partners).sum();
        if pairs == 0.0 {
            return Err(EvalError::NoMatchingPair);
        }
        let mean = mean(rows, partners);
        let within = scatter(rows.rows(), rows.dim(), |row, out| {
            // In both orders, so each difference counts twice.
            let weight = (2.0 * classes.size(row) as f64).sqrt();
            for (out, (value, mean)) in
                (out.iter_mut()).zip(rows.row(row).iter().zip(classes.mean(row)))
            {
                *out = weight * (f64::from(*value) - mean);
            }
        });
        self.finish(rows, &mean, within / pairs)
    }

    fn check(&self, rows: &Embeddings) -> Result<(), EvalError> {
        check_dim(self.dim, rows.dim())?;
        check_share("the shrinkage of a covariance", self.shrinkage)
    }

    fn finish(
        &self,
        rows: &Embeddings,
        mean: &[f64],
        mut within: DMatrix<f64>,
    ) -> Result<Whitening, EvalError> {
        let dim = rows.dim();
        let degenerate = || EvalError::DegeneratePairs { dim };
        shrink(&mut within, self.shrinkage);
        let level = within.diagonal().max();
        let factor: Cholesky<f64, Dyn> = Cholesky::new(within).ok_or_else(degenerate)?;
        let lower = factor.l();
        if lower
            .diagonal()
            .iter()
            .any(|pivot| pivot * pivot <= NONE * level)
        {
            return Err(degenerate());
        }
        let all = scatter_about(rows, mean);
        let half = lower.solve_lower_triangular(&all).ok_or_else(degenerate)?;
        let projected = lower
            .solve_lower_triangular(&half.transpose())
            .ok_or_else(degenerate)?;
        let symmetric = (&projected + projected.transpose()) / 2.0;
        let (_, directions) = principal(symmetric)?;
        let kept = directions.columns(0, self.dim.unwrap_or(dim));
        let projection = lower
            .tr_solve_lower_triangular(&kept)
            .ok_or_else(degenerate)?;
        whitening(mean, &projection)
    }
}

/// The size and the mean of each row's class.
struct Classes {
    of_row: Vec<usize>,
    sizes: Vec<usize>,
    /// `[classes, dim]`
    means: Vec<f64>,
    dim: usize,
}

impl Classes {
    fn of(rows: &Embeddings, labels: &[i64]) -> Self {
        let mut distinct = labels.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let of_row: Vec<usize> = (labels.iter())
            .map(|label| distinct.partition_point(|other| other < label))
            .collect();
        let dim = rows.dim();
        let (mut sizes, mut means) = (vec![0; distinct.len()], vec![0.0; distinct.len() * dim]);
        for (row, &class) in of_row.iter().enumerate() {
            sizes[class] += 1;
            for (mean, value) in means[class * dim..][..dim].iter_mut().zip(rows.row(row)) {
                *mean += f64::from(*value);
            }
        }
        for (means, &size) in means.chunks_exact_mut(dim).zip(&sizes) {
            means.iter_mut().for_each(|mean| *mean /= size as f64);
        }
        Self {
            of_row,
            sizes,
            means,
            dim,
        }
    }

    fn size(&self, row: usize) -> usize {
        self.sizes[self.of_row[row]]
    }

    fn mean(&self, row: usize) -> &[f64] {
        &self.means[self.of_row[row] * self.dim..][..self.dim]
    }
}

fn check_dim(dim: Option<usize>, of_rows: usize) -> Result<(), EvalError> {
    let dim = dim.unwrap_or(of_rows);
    let range = format!("between 1 and the {of_rows} of the rows");
    let fits = (1..=of_rows).contains(&dim);
    check("the dimension of a whitening", dim as f64, fits, &range)
}

fn check_share(setting: &'static str, share: f64) -> Result<(), EvalError> {
    let fits = (0.0..=1.0).contains(&share);
    check(setting, share, fits, "between 0 and 1")
}

fn mean(rows: &Embeddings, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let (mut sum, mut total) = (vec![0.0; rows.dim()], 0.0);
    for row in 0..rows.rows() {
        let weight = weight(row);
        total += weight;
        for (sum, value) in sum.iter_mut().zip(rows.row(row)) {
            *sum += weight * f64::from(*value);
        }
    }
    sum.iter_mut().for_each(|sum| *sum /= total);
    sum
}

fn scatter_about(rows: &Embeddings, mean: &[f64]) -> DMatrix<f64> {
    scatter(rows.rows(), rows.dim(), |row, out| {
        for (out, (value, mean)) in out.iter_mut().zip(rows.row(row).iter().zip(mean)) {
            *out = f64::from(*value) - mean;
        }
    })
}

/// `projection` has a direction in each column.
fn whitening(mean: &[f64], projection: &DMatrix<f64>) -> Result<Whitening, EvalError> {
    let numbers = |values: &[f64]| {
        values
            .iter()
            .map(|&value| value as f32)
            .collect::<Vec<f32>>()
    };
    // Columns one after the other are the rows of what is transposed.
    let projection = Embeddings::new(numbers(projection.as_slice()), projection.nrows())?;
    Whitening::new(numbers(mean), projection)
}

#[cfg(test)]
mod tests {
    use nalgebra::SymmetricEigen;

    use super::super::made::{assert_close, clustered, on_any_threads};
    use super::*;

    /// Rows of which each is `[dim]`, in f64.
    fn dense(rows: &Embeddings) -> DMatrix<f64> {
        let values = rows.as_slice().iter().map(|&value| f64::from(value));
        DMatrix::from_row_iterator(rows.rows(), rows.dim(), values)
    }

    /// `P (x − m)` of each row, of unit length, with signs of the projection as in `like`.
    fn applied(rows: &Embeddings, m: &[f64], p: &DMatrix<f64>, like: &Whitening) -> Vec<f64> {
        let like = dense(like.projection());
        let (x, mut white) = (dense(rows), Vec::new());
        for row in x.row_iter() {
            let centred = row.transpose() - nalgebra::DVector::from_column_slice(m);
            let mut projected = p * centred;
            for at in 0..p.nrows() {
                projected[at] *= p.row(at).dot(&like.row(at)).signum();
            }
            projected /= projected.norm();
            white.extend(projected.iter().copied());
        }
        white
    }

    fn found(rows: &Embeddings, whitening: &Whitening) -> Vec<f64> {
        let white = on_any_threads(|| whitening.apply(rows).unwrap());
        white.as_slice().iter().map(|&value| value.into()).collect()
    }

    fn average(rows: &[Vec<f64>]) -> Vec<f64> {
        let of = |k: usize| rows.iter().map(|row| row[k]).sum::<f64>() / rows.len() as f64;
        (0..rows[0].len()).map(of).collect()
    }

    fn rows_of(rows: &Embeddings) -> Vec<Vec<f64>> {
        let row = |i| rows.row(i).iter().map(|&value| f64::from(value)).collect();
        (0..rows.rows()).map(row).collect()
    }

    #[test]
    fn principal_components_as_the_formula_says() {
        let (rows, _) = clustered(1, 300, 11);
        let x = rows_of(&rows);
        let m = average(&x);
        let dim = m.len();
        for (kept, power, shrinkage) in [
            (None, 1.0, 0.0),
            (Some(5), 1.0, 0.0),
            (Some(7), 0.5, 0.1),
            (Some(11), 0.0, 0.0),
            (None, 1.0, 1.0),
        ] {
            let mut c = DMatrix::zeros(dim, dim);
            for x in &x {
                for (i, j) in (0..dim).flat_map(|i| (0..dim).map(move |j| (i, j))) {
                    c[(i, j)] += (x[i] - m[i]) * (x[j] - m[j]) / rows.rows() as f64;
                }
            }
            let noise = DMatrix::identity(dim, dim) * (c.trace() / dim as f64);
            let c = c * (1.0 - shrinkage) + noise * shrinkage;
            let how = PcaWhitening {
                dim: kept,
                power,
                shrinkage,
            };
            let learned = on_any_threads(|| how.learn(&rows).unwrap());
            assert_eq!((learned.dim(), learned.out()), (dim, kept.unwrap_or(dim)));
            if shrinkage == 1.0 {
                // All variances are equal: any rotation will do.
                let p = dense(learned.projection());
                let level = c[(0, 0)];
                let identity = &p * p.transpose() * level;
                assert!((identity - DMatrix::identity(dim, dim)).abs().max() < 1e-5);
                continue;
            }
            let eigen = SymmetricEigen::new(c);
            let mut order: Vec<usize> = (0..dim).collect();
            order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
            let row = |at: usize| {
                let scale = eigen.eigenvalues[order[at]].powf(-power / 2.0);
                (eigen.eigenvectors.column(order[at]) * scale).transpose()
            };
            let p = DMatrix::from_rows(&(0..learned.out()).map(row).collect::<Vec<_>>());
            assert_close(&found(&rows, &learned), &applied(&rows, &m, &p, &learned));
        }
    }

    #[test]
    fn white_rows_are_white() {
        let (rows, _) = clustered(2, 400, 6);
        let learned = PcaWhitening::default().learn(&rows).unwrap();
        let (p, m) = (dense(learned.projection()), learned.mean());
        let x = dense(&rows);
        let centred = DMatrix::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] - f64::from(m[j]));
        let white = centred * p.transpose();
        let covariance = white.transpose() * &white / x.nrows() as f64;
        assert!((covariance - DMatrix::identity(6, 6)).abs().max() < 1e-4);
    }

    /// The formula of the paper, with the symmetric root of `C_S` instead of Cholesky's factor.
    #[test]
    fn pairs_as_the_formula_says() {
        let (rows, labels) = clustered(3, 300, 9);
        let mut pairs = Vec::new();
        for a in 0..rows.rows() as u32 {
            for b in 0..rows.rows() as u32 {
                if a != b && labels[a as usize] == labels[b as usize] {
                    pairs.push([a, b]);
                }
            }
        }
        let every_third: Vec<[u32; 2]> = pairs.iter().copied().step_by(3).collect();
        for (pairs, dim, shrinkage) in [
            (&pairs, None, 0.0),
            (&every_third, Some(4), 0.0),
            (&every_third, Some(9), 0.2),
        ] {
            let x = rows_of(&rows);
            let firsts: Vec<Vec<f64>> = pairs.iter().map(|&[a, _]| x[a as usize].clone()).collect();
            let m = average(&firsts);
            let d = m.len();
            let (mut within, mut all) = (DMatrix::zeros(d, d), DMatrix::zeros(d, d));
            for (i, j) in (0..d).flat_map(|i| (0..d).map(move |j| (i, j))) {
                for &[a, b] in pairs {
                    let (a, b) = (&x[a as usize], &x[b as usize]);
                    within[(i, j)] += (a[i] - b[i]) * (a[j] - b[j]) / pairs.len() as f64;
                }
                for x in &x {
                    all[(i, j)] += (x[i] - m[i]) * (x[j] - m[j]);
                }
            }
            let noise = DMatrix::identity(d, d) * (within.trace() / d as f64);
            let within = within * (1.0 - shrinkage) + noise * shrinkage;
            let eigen = SymmetricEigen::new(within);
            let scale = DMatrix::from_diagonal(&eigen.eigenvalues.map(|value| value.powf(-0.5)));
            let root = &eigen.eigenvectors * scale * eigen.eigenvectors.transpose();
            let eigen = SymmetricEigen::new(&root * all * &root);
            let mut order: Vec<usize> = (0..d).collect();
            order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
            let kept = dim.unwrap_or(d);
            let row = |at: usize| eigen.eigenvectors.column(order[at]).transpose() * &root;
            let p = DMatrix::from_rows(&(0..kept).map(row).collect::<Vec<_>>());
            let how = PairWhitening { dim, shrinkage };
            let learned = on_any_threads(|| how.learn_from_pairs(&rows, pairs).unwrap());
            assert_close(&found(&rows, &learned), &applied(&rows, &m, &p, &learned));
        }

        // Labels are all pairs in both orders.
        let by_pairs = PairWhitening::default()
            .learn_from_pairs(&rows, &pairs)
            .unwrap();
        let by_labels = on_any_threads(|| {
            PairWhitening::default()
                .learn_from_labels(&rows, &labels)
                .unwrap()
        });
        assert_close(&found(&rows, &by_labels), &found(&rows, &by_pairs));
    }

    #[test]
    fn what_cannot_be_learned() {
        let (rows, labels) = clustered(4, 60, 5);
        let says = |result: Result<Whitening, EvalError>, what: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let pca = PcaWhitening::default();
        let pair = PairWhitening::default();
        for dim in [0, 6] {
            let dim = Some(dim);
            says(
                PcaWhitening { dim, ..pca }.learn(&rows),
                "between 1 and the 5 of the rows",
            );
            says(
                PairWhitening { dim, ..pair }.learn_from_labels(&rows, &labels),
                "between 1 and the 5",
            );
        }
        for share in [-0.1, 1.5, f64::NAN] {
            says(
                PcaWhitening {
                    power: share,
                    ..pca
                }
                .learn(&rows),
                "between 0 and 1",
            );
            says(
                PcaWhitening {
                    shrinkage: share,
                    ..pca
                }
                .learn(&rows),
                "between 0 and 1",
            );
            let pair = PairWhitening {
                shrinkage: share,
                ..pair
            };
            says(pair.learn_from_labels(&rows, &labels), "between 0 and 1");
        }
        let three = rows.select(&[0, 1, 2]).unwrap();
        assert_eq!(pca.learn(&three).unwrap().out(), 2);
        says(
            PcaWhitening {
                dim: Some(3),
                ..pca
            }
            .learn(&three),
            "vary in 2 directions and 3 are asked for",
        );
        let shrunk = PcaWhitening {
            dim: Some(5),
            shrinkage: 0.1,
            ..pca
        };
        assert_eq!(shrunk.learn(&three).unwrap().out(), 5);
        let one = rows.select(&[0]).unwrap();
        says(pca.learn(&one), "vary in 0 directions and 1 are asked for");

        says(
            pair.learn_from_labels(&rows, &labels[1..]),
            "59 labels for 60 embeddings",
        );
        let alone: Vec<i64> = (0..60).collect();
        says(pair.learn_from_labels(&rows, &alone), "no two rows match");
        says(pair.learn_from_pairs(&rows, &[]), "no two rows match");
        says(
            pair.learn_from_pairs(&rows, &[[0, 1], [2, 60]]),
            "pair 1 is of rows 2 and 60",
        );
        says(
            pair.learn_from_pairs(&rows, &[[7, 7]]),
            "pair 0 is of rows 7 and 7",
        );
        says(
            pair.learn_from_pairs(&rows, &[[0, 1], [2, 3]]),
            "leave out some of the 5 directions",
        );
        let shrunk = PairWhitening {
            shrinkage: 0.1,
            ..pair
        };
        shrunk.learn_from_pairs(&rows, &[[0, 1], [2, 3]]).unwrap();
    }
}
