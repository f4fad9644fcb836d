//! Whether two programs compute the same loss, without which their times are not compared.

use anyhow::bail;

/// Losses further apart than this, relatively, are not of the same function.
const LOSS_TOLERANCE: f64 = 1e-4;

/// Norms of gradients are sums over many more roundings.
const GRAD_TOLERANCE: f64 = 1e-3;

/// Norms below this are rounding alone.
const NO_GRADIENT: f64 = 1e-6;

/// What a program made of a loss.
#[derive(Debug, Clone, Copy)]
pub struct Computed {
    pub loss: f64,
    pub grad_norm: f64,
}

impl Computed {
    /// Refuses to compare times of two programs that do not compute the same.
    pub fn check_agreement(self, theirs: Self) -> anyhow::Result<()> {
        let differ =
            |a: f64, b: f64, tolerance: f64| (a - b).abs() > tolerance * a.abs().max(b.abs());
        if differ(self.loss, theirs.loss, LOSS_TOLERANCE) {
            bail!("the loss is {} here and {} there", self.loss, theirs.loss);
        }
        if self.grad_norm.max(theirs.grad_norm) > NO_GRADIENT
            && differ(self.grad_norm, theirs.grad_norm, GRAD_TOLERANCE)
        {
            bail!(
                "the norm of the gradient is {} here and {} there",
                self.grad_norm,
                theirs.grad_norm
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_computations_are_compared() {
        let computed = |loss, grad_norm| Computed { loss, grad_norm };
        let ours = computed(0.5, 0.01);
        assert!(ours.check_agreement(computed(0.50001, 0.010_001)).is_ok());
        assert!(ours.check_agreement(computed(0.501, 0.01)).is_err());
        assert!(ours.check_agreement(computed(0.5, 0.02)).is_err());
        let flat = computed(1.0, 1e-13);
        assert!(flat.check_agreement(computed(1.0, 0.0)).is_ok());
    }
}
