//! The principal directions of features.

use nalgebra::{DMatrix, SymmetricEigen};

use super::FeatureStatistics;
use crate::EngineError;

/// The most numbers of a row whose principal directions are looked for: the time grows with their cube.
pub(super) const MOST_PRINCIPAL: usize = 4096;

/// The share of the largest variance below which there is none: what rounding leaves of zero.
const NONE: f64 = 1e-12;

/// Directions that are orthogonal and uncorrelated, and the variance in each, the largest first.
pub(super) struct Principal {
    /// `[dim]` each, of length 1; the largest component is positive.
    pub directions: Vec<Vec<f64>>,
    pub variances: Vec<f64>,
}

impl Principal {
    /// The directions in which the rows vary: at most one fewer than there are rows.
    pub fn of(statistics: &FeatureStatistics) -> Result<Self, EngineError> {
        let refuse = |problem: &str| Err(EngineError::Start(problem.into()));
        let dim = statistics.dim();
        if dim > MOST_PRINCIPAL {
            return refuse("the rows have too many numbers for their principal directions");
        }
        let Some(covariance) = statistics.covariance() else {
            return refuse("principal directions need statistics with the covariance");
        };
        let covariance = DMatrix::from_vec(dim, dim, covariance);
        // As many steps as LAPACK allows.
        let found = SymmetricEigen::try_new(covariance, f64::EPSILON, 30 * dim.max(1));
        let Some(SymmetricEigen {
            eigenvectors,
            eigenvalues,
        }) = found
        else {
            return refuse("the principal directions of the features were not found");
        };
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
        let none = NONE * order.first().map_or(0.0, |&largest| eigenvalues[largest]);
        let order: Vec<usize> = order
            .into_iter()
            .take(statistics.rows().saturating_sub(1))
            .filter(|&at| eigenvalues[at] > none.max(0.0))
            .collect();
        if order.is_empty() {
            return refuse("the rows are all the same, so they have no principal directions");
        }
        Ok(Self {
            variances: order.iter().map(|&at| eigenvalues[at]).collect(),
            directions: order
                .iter()
                .map(|&at| signed(eigenvectors.column(at).iter().copied().collect()))
                .collect(),
        })
    }
}

/// Either a direction or its opposite: the one whose largest component, the first of several, is positive.
fn signed(direction: Vec<f64>) -> Vec<f64> {
    let largest = direction.iter().fold(
        0.0_f64,
        |largest, &x| {
            if x.abs() > largest.abs() { x } else { largest }
        },
    );
    let sign = largest.signum();
    direction.into_iter().map(|x| sign * x).collect()
}
