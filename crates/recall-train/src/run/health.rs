//! Whether a step came out well: finite, and with embeddings that differ.

use burn::tensor::{Tensor, backend::Backend};
use recall_data::{Batch, Dataset};

/// Mean similarity from which on embeddings count as all alike.
const ALIKE: f64 = 0.98;

/// Steps in a row after which it is said: freshly made networks often begin like this.
const STEPS: u32 = 20;

/// Notices that a model has come to give every image the same embedding.
#[derive(Debug, Default)]
pub(super) struct Collapse {
    alike: u32,
}

impl Collapse {
    /// Takes note of the mean similarity in a batch, and returns a warning once it has been near 1 for
    /// long.
    pub fn step(&mut self, similarity: f64) -> Option<String> {
        self.alike = match similarity > ALIKE {
            true => self.alike.saturating_add(1),
            false => 0,
        };
        (self.alike == STEPS).then(|| {
            format!(
                "the embeddings have collapsed: for {STEPS} steps any two images had a similarity of \
                 {similarity:.3} on average; a lower optimiser.learning_rate, a longer \
                 optimiser.warmup_steps or pretrained --weights may help"
            )
        })
    }
}

/// The mean similarity of any two rows of `[n, d]`, each with itself included: the squared length of
/// their mean.
pub(super) fn mean_similarity<B: Backend>(embeddings: Tensor<B, 2>) -> f64 {
    let mean = embeddings.mean_dim(0);
    let squared = (mean.clone() * mean).sum().into_data();
    squared.iter::<f64>().sum()
}

/// The images whose embeddings are not finite, in words.
pub(super) fn broken_images<B: Backend>(
    embeddings: Tensor<B, 2>,
    batch: &Batch,
    dataset: &Dataset,
) -> String {
    let [_, dim] = embeddings.dims();
    let values: Vec<f32> = embeddings.into_data().iter::<f32>().collect();
    let rows = values.chunks_exact(dim).zip(&batch.ids);
    let broken: Vec<&str> = rows
        .filter(|(row, _)| row.iter().any(|x| !x.is_finite()))
        .map(|(_, &id)| dataset.items()[id].name.as_str())
        .collect();
    match broken.len() {
        0 => "similarities overflow".to_owned(),
        count if count == batch.ids.len() => {
            "the embedding of every image is not finite".to_owned()
        }
        count => format!(
            "the embeddings of {count} of {} images are not finite ({})",
            batch.ids.len(),
            first_few(&broken)
        ),
    }
}

/// Parameters whose gradient is not finite, in words.
pub(super) fn broken_gradients(names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match names.is_empty() {
        true => "the gradient is too long for a number".to_owned(),
        false => format!("the gradient of {} is not finite", first_few(&names)),
    }
}

fn first_few(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collapse_is_told_once_and_only_if_it_lasts() {
        let mut collapse = Collapse::default();
        let long = STEPS as usize - 1;
        assert!((0..long).all(|_| collapse.step(0.99).is_none()));
        assert_eq!(collapse.step(0.5), None);
        assert!((0..long).all(|_| collapse.step(0.99).is_none()));
        assert!(collapse.step(0.99).unwrap().contains("0.990"));
        assert!((0..long).all(|_| collapse.step(0.99).is_none()));
    }

    #[cfg(feature = "flex")]
    #[test]
    fn the_mean_similarity_of_rows() {
        let device = Default::default();
        let rows = Tensor::<burn_flex::Flex, 2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
        assert_eq!(mean_similarity(rows), 0.5);
        let same = Tensor::<burn_flex::Flex, 2>::from_floats([[0.6, 0.8], [0.6, 0.8]], &device);
        assert!((mean_similarity(same) - 1.0).abs() < 1e-6);
    }
}
