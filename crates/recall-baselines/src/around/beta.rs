//! Draws from beta distributions.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use crate::LossError;

/// A number from Beta(α, α), from 0 to 1.
///
/// # Errors
///
/// [`LossError::Setting`] unless α is positive.
pub(crate) fn beta(alpha: f64, random: &mut ChaCha8Rng) -> Result<f64, LossError> {
    let distribution = Beta::new(alpha, alpha).map_err(|_| LossError::Setting {
        name: "alpha",
        value: alpha.to_string(),
        problem: "it must be a positive finite number",
    })?;
    Ok(distribution.sample(random).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn draws_have_the_moments_of_the_distribution() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for alpha in [0.01, 0.2, 0.4, 1.0, 2.0, 30.0] {
            const DRAWS: usize = 20_000;
            let draws: Vec<f64> = (0..DRAWS)
                .map(|_| beta(alpha, &mut random).unwrap())
                .collect();
            assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
            let moment = |power| draws.iter().map(|x| (x - 0.5).powi(power)).sum::<f64>();
            let (mean, variance) = (moment(1) / DRAWS as f64, moment(2) / DRAWS as f64);
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!(mean.abs() < 0.015, "{alpha}: {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{alpha}: {variance} is not {expected}"
            );
        }
    }

    #[test]
    fn a_parameter_without_sense_is_refused_by_name() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let error = beta(0.0, &mut random).unwrap_err();
        assert!(error.to_string().starts_with("alpha = 0"), "{error}");
    }
}
