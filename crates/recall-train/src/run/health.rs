//! Whether a step came out well: finite, and with embeddings that differ.

use recall_data::{Dataset, ItemId};

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

/// The images at these rows of a batch, whose embeddings are not finite, in words.
pub(super) fn broken_images(rows: &[usize], batch: &[ItemId], dataset: &Dataset) -> String {
    let ids = rows.iter().filter_map(|&row| batch.get(row));
    let broken: Vec<&str> = ids.map(|&id| dataset.items()[id].name.as_str()).collect();
    match broken.len() {
        0 => "similarities overflow".to_owned(),
        count if count == batch.len() => "the embedding of every image is not finite".to_owned(),
        count => format!(
            "the embeddings of {count} of {} images are not finite ({})",
            batch.len(),
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
}
