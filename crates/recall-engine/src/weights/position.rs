//! Position embeddings for another grid of patches.

/// Height and width of a grid of patches.
pub(crate) type Grid = [usize; 2];

/// Resamples the embeddings `[rows · columns, width]` of a grid for another one.
///
/// Bicubic with antialiasing, as timm does it: the kernel of Keys with a = −½, widened by the factor
/// when the grid becomes smaller, its weights normalised at the border.
fn resample(values: &[f32], width: usize, from: Grid, to: Grid) -> Vec<f32> {
    // Rows and then columns: each pass mixes whole runs of numbers.
    let rows = Taps::new(from[0], to[0]);
    let run = from[1] * width;
    let mut tall = vec![0.0; to[0] * run];
    for (row, out) in tall.chunks_exact_mut(run).enumerate() {
        rows.mix(row, |source| &values[source * run..][..run], out);
    }
    let columns = Taps::new(from[1], to[1]);
    let mut wide = vec![0.0; to[0] * to[1] * width];
    for (row, out) in wide.chunks_exact_mut(to[1] * width).enumerate() {
        for (column, out) in out.chunks_exact_mut(width).enumerate() {
            let source = |source: usize| &tall[row * run + source * width..][..width];
            columns.mix(column, source, out);
        }
    }
    wide
}

/// The same of embeddings that stand behind `before` others, such as that of the class token, which stay.
fn resample_after(before: usize, values: &[f32], width: usize, from: Grid, to: Grid) -> Vec<f32> {
    let (first, patches) = values.split_at((before * width).min(values.len()));
    let mut values = first.to_vec();
    values.extend(resample(patches, width, from, to));
    values
}

/// How much of each of `from` places each of `to` places takes, `[to, from]` row by row.
pub(crate) fn weights(from: usize, to: usize) -> Vec<f32> {
    let mut weights = vec![0.0; to * from];
    let rows = weights.chunks_exact_mut(from).zip(Taps::new(from, to).0);
    for (row, (first, taps)) in rows {
        let places = row[first..].iter_mut().zip(taps);
        places.for_each(|(place, weight)| *place = weight as f32);
    }
    weights
}

/// How the position embeddings of a file become those of a model.
pub(super) struct Regrid {
    width: usize,
    from: Grid,
    to: Grid,
    /// Whether the file has one for the class token, before those of the patches, and whether the model has.
    class: [bool; 2],
}

impl Regrid {
    /// From `theirs` embeddings of a square grid to `ours` of the grid `to`, if they can be that: with or without one
    /// for the class token. A model that adds none to its class token takes a file's into the token.
    pub fn between(theirs: usize, ours: usize, width: usize, to: Grid) -> Option<Self> {
        let class = ours.checked_sub(to[0] * to[1])?;
        let (side, own) = (theirs.isqrt(), theirs.checked_sub(1)?.isqrt());
        let (side, with_class) = match (side * side == theirs, own * own + 1 == theirs) {
            (true, _) => (side, false),
            (_, true) => (own, true),
            _ => return None,
        };
        let possible = side > 0 && class <= 1 && (with_class || class == 0);
        possible.then_some(Self {
            width,
            from: [side; 2],
            to,
            class: [with_class, class == 1],
        })
    }

    /// The grids, if they are not the same.
    pub fn interpolated(&self) -> Option<[Grid; 2]> {
        (self.from != self.to).then_some([self.from, self.to])
    }

    /// Whether the first of the file's embeddings belongs into the class token.
    pub fn adds_class_position(&self) -> bool {
        self.class == [true, false]
    }

    pub fn apply(&self, values: &[f32]) -> Vec<f32> {
        let patches = match self.adds_class_position() {
            true => values.get(self.width..).unwrap_or_default(),
            false => values,
        };
        let before = usize::from(self.class[1]);
        resample_after(before, patches, self.width, self.from, self.to)
    }
}

/// For each place of an axis, the first source and the weights from there on.
struct Taps(Vec<(usize, Vec<f64>)>);

impl Taps {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let taps = (0..to).map(|place| {
            let centre = scale * (place as f64 + 0.5);
            let reach = 2.0 * stretch;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..end)
                .map(|source| kernel((source as f64 + 0.5 - centre) / stretch))
                .collect();
            let total: f64 = weights.iter().sum();
            (first, weights.iter().map(|weight| weight / total).collect())
        });
        Self(taps.collect())
    }

    fn mix<'a>(&self, place: usize, source: impl Fn(usize) -> &'a [f32], out: &mut [f32]) {
        let (first, weights) = &self.0[place];
        for (offset, weight) in weights.iter().enumerate() {
            for (out, value) in out.iter_mut().zip(source(first + offset)) {
                *out += (weight * f64::from(*value)) as f32;
            }
        }
    }
}

fn kernel(distance: f64) -> f64 {
    const A: f64 = -0.5;
    let x = distance.abs();
    match x {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_of_its_own_size_stays() {
        let values: Vec<f32> = (0..24).map(|i| (i * 7 % 11) as f32).collect();
        assert_eq!(resample(&values, 2, [3, 4], [3, 4]), values);
    }

    /// `xtask/peers/backbones.py` made the fixture.
    #[test]
    fn equals_timm() {
        use safetensors::SafeTensors;
        let bytes = include_bytes!("../../tests/fixtures/backbones.safetensors");
        let file = SafeTensors::deserialize(bytes).unwrap();
        for (from, to) in [([4, 4], [7, 7]), ([8, 8], [3, 3]), ([5, 5], [4, 6])] {
            let [name, before] = ["", "before."].map(|part| {
                format!(
                    "positions.{part}{}x{}.{}x{}",
                    from[0], from[1], to[0], to[1]
                )
            });
            let read = |name: &str| -> Vec<f32> {
                let bytes = file.tensor(name).unwrap().data().chunks_exact(4);
                bytes
                    .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
                    .collect()
            };
            let (values, expected) = (read(&before), read(&name));
            // The class token comes first and stays.
            let resampled = resample(&values[6..], 6, from, to);
            assert_eq!(resampled.len() + 6, expected.len());
            for (ours, theirs) in resampled.iter().zip(&expected[6..]) {
                assert!(
                    (ours - theirs).abs() < 1e-5,
                    "{from:?} to {to:?}: {ours} {theirs}"
                );
            }
        }
    }

    /// As the model takes them: a product along each axis.
    #[test]
    fn weights_are_what_is_mixed() {
        let values: Vec<f32> = (0..12).map(|i| (i * 5 % 7) as f32).collect();
        for (from, to) in [(12, 5), (12, 17), (12, 12), (3, 1)] {
            let weights = weights(from, to);
            let expected = resample(&values[..from], 1, [from, 1], [to, 1]);
            for (row, expected) in weights.chunks(from).zip(expected) {
                let sum: f32 = row.iter().zip(&values).map(|(a, b)| a * b).sum();
                assert!((sum - expected).abs() < 1e-5, "{from} to {to}");
            }
        }
    }

    #[test]
    fn the_class_tokens_position_is_found() {
        let between = |theirs, ours| Regrid::between(theirs, ours, 1, [2, 2]);
        for (theirs, ours, kind) in [
            (5, 5, [true, true]),
            (10, 5, [true, true]),
            (4, 4, [false, false]),
            (9, 4, [false, false]),
            (10, 4, [true, false]),
        ] {
            assert_eq!(between(theirs, ours).map(|way| way.class), Some(kind));
        }
        // A position that the file lacks, no square, and other models.
        for (theirs, ours) in [(4, 5), (7, 5), (7, 4), (5, 6), (1, 5), (0, 4), (5, 3)] {
            assert!(between(theirs, ours).is_none(), "{theirs} to {ours}");
        }
        let way = between(5, 4).unwrap();
        assert!(way.adds_class_position() && way.interpolated().is_none());
        assert_eq!(way.apply(&[9., 1., 2., 3., 4.]), [1., 2., 3., 4.]);
    }

    #[test]
    fn a_constant_stays_constant() {
        for to in [[2, 5], [7, 3], [1, 1], [9, 9]] {
            let resampled = resample(&[2.5; 4 * 4 * 3], 3, [4, 4], to);
            assert_eq!(resampled.len(), to[0] * to[1] * 3);
            assert!(resampled.iter().all(|value| (value - 2.5).abs() < 1e-5));
        }
    }
}
