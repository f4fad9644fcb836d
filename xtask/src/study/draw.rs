//! Settings drawn at random.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::declared::Range;

/// A value for each key, by the seed and what it is drawn for.
pub fn draw<'a>(
    seed: u64,
    of: &str,
    ranges: impl Iterator<Item = (&'a String, &'a Range)>,
) -> Vec<(String, String)> {
    ranges
        .map(|(key, range)| {
            let digest = Sha256::digest(format!("{seed} {of} {key}"));
            let mut random = ChaCha8Rng::from_seed(digest.into());
            (key.clone(), range.draw(&mut random))
        })
        .collect()
}

impl Range {
    fn draw(&self, random: &mut impl Rng) -> String {
        let share: f64 = random.random();
        match self {
            Self::Log([low, high]) => number((low.ln() + share * (high / low).ln()).exp()),
            Self::Uniform([low, high]) => number(low + share * (high - low)),
            Self::OneOf(values) => {
                values[((share * values.len() as f64) as usize).min(values.len() - 1)].clone()
            }
        }
    }
}

/// With the digits that a reader can type.
fn number(value: f64) -> String {
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
