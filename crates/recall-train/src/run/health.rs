//! Whether a step came out well: finite, and with embeddings that differ; and whether the run did.

use recall_data::{Dataset, ItemId};
use recall_eval::Evaluation;

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

/// A warning if a run ends with less than it began with, by the first metric. `of` is what was judged before.
pub(super) fn worse(before: &Evaluation, of: &str, now: &Evaluation) -> Option<String> {
    let &(metric, now) = now.values.first()?;
    let before = before.get(metric)?;
    (now < before).then(|| {
        format!(
            "training made it worse: {metric} is {now:.4}, and was {before:.4} {of}; a lower optimiser.learning_rate, a \
             longer optimiser.warmup_steps or more epochs may help"
        )
    })
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
    use recall_eval::Metric;

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

    #[test]
    fn a_run_that_ends_with_less_than_it_began_with_is_told_so() {
        let of = |recall| Evaluation {
            values: vec![
                (Metric::RecallAt(1), recall),
                (Metric::MapAtR, 1.0 - recall),
            ],
            queries: 4,
            without_positives: 0,
            tied: 0,
        };
        let told = worse(&of(0.5), "before the first step", &of(0.25)).unwrap();
        assert!(told.contains("recall@1 is 0.2500, and was 0.5000 before the first step"));
        assert_eq!(worse(&of(0.5), "before the first step", &of(0.5)), None);
        assert_eq!(worse(&of(0.25), "before the first step", &of(0.5)), None);
        assert_eq!(
            worse(&of(f64::NAN), "before the first step", &of(0.5)),
            None
        );
    }
}
