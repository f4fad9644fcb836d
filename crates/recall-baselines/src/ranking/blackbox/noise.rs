//! The released code's random margins.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What multiplies the margins, of queries and others in the order of the batch.
#[derive(Clone, Copy)]
pub(super) enum Noise<'a> {
    /// `[n, n − 1]`.
    Given(&'a [f64]),
    /// From a seed.
    Drawn(u64),
}

impl Noise<'_> {
    /// The sizes of a query's numbers, one for each of `others` other rows in the order of the batch.
    pub fn of_query(&self, query: usize, others: usize) -> Vec<f64> {
        match *self {
            Self::Given(noise) => {
                let noise = &noise[query * others..(query + 1) * others];
                noise.iter().map(|x| x.abs()).collect()
            }
            Self::Drawn(seed) => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                // Queries draw for themselves, in whatever order they come.
                random.set_stream(query as u64);
                let mut normal = || {
                    let (radius, angle) = (1.0 - random.random::<f64>(), random.random::<f64>());
                    let angle = std::f64::consts::TAU * angle;
                    ((-2.0 * radius.ln()).sqrt() * angle.cos()).abs()
                };
                (0..others).map(|_| normal()).collect()
            }
        }
    }
}
