//! The names of settings: which there are, and which one is meant by another name.

use strsim::normalized_damerau_levenshtein;
use toml::{Table, Value};

use super::schema::{SETTINGS, all, find};
use super::setting::Setting;

/// How alike two names have to be for one to be meant by the other, from 0 to 1.
const ALIKE: f64 = 0.55;

/// How alike they are where a letter or two slipped.
const ALMOST: f64 = 0.85;

/// Whether the setting `name` can be turned off.
pub(super) fn is_optional(name: &str) -> bool {
    find(name).is_some_and(|setting| setting.optional)
}

/// The keys within a section; the empty name is that of the whole. None if `section` is no section.
pub(super) fn within(section: &str) -> Option<Vec<&'static str>> {
    let settings = match section {
        "" => &SETTINGS[..],
        _ => find(section)?.part()?,
    };
    Some(settings.iter().map(|of| of.key.as_str()).collect())
}

/// Writes `key = false` for whatever is off: TOML has no null.
pub(super) fn mark_absent(table: &mut Table) {
    mark_in(&SETTINGS, table);
}

fn mark_in(settings: &[Setting], table: &mut Table) {
    for setting in settings {
        match (table.get_mut(&setting.key), setting.part()) {
            (None, _) if setting.optional => {
                table.insert(setting.key.clone(), Value::Boolean(false));
            }
            (Some(Value::Table(inner)), Some(settings)) => mark_in(settings, inner),
            _ => {}
        }
    }
}

/// The keys that may be meant by `given`, which is none: those of its name in another section, the one
/// that other programs call so, or the one with the name most like it.
pub(super) fn like(given: &str) -> Vec<String> {
    let (section, key) = split(given);
    let alike = |name: &String| {
        let (other, name) = split(name);
        match (other == section, name == key) {
            (true, _) => normalized_damerau_levenshtein(key, name),
            (false, true) => 0.95,
            (false, false) => normalized_damerau_levenshtein(key, name) - 0.1,
        }
    };
    let called = called(given);
    match best(names(), alike, ALMOST) {
        slips if !slips.is_empty() => slips,
        _ if !called.is_empty() => called,
        _ => best(names(), alike, ALIKE),
    }
}
/// The keys that go by the name `given`, written in whatever way: the last part of a key, its parts
/// joined, or what other programs call it.
pub(super) fn called(given: &str) -> Vec<String> {
    let (_, given) = split(given);
    let given = given.to_lowercase().replace('-', "_");
    let other = OTHER_NAMES
        .iter()
        .find(|(names, _)| names.contains(&given.as_str()));
    if let Some((_, key)) = other {
        return vec![(*key).to_owned()];
    }
    let keys = names().into_iter();
    keys.filter(|name| {
        let key = within(name).is_none();
        key && (split(name).1 == given || name.replace('.', "_") == given)
    })
    .collect()
}

/// What other programs call a setting.
const OTHER_NAMES: [(&[&str], &str); 13] = [
    (&["lr", "base_lr"], "optimiser.learning_rate"),
    (&["bs", "batch", "batchsize"], "batch.size"),
    (&["wd", "decay"], "optimiser.weight_decay"),
    (&["epoch", "num_epochs", "n_epochs", "max_epochs"], "epochs"),
    (&["optimizer", "optim"], "optimiser.kind"),
    (&["warmup"], "optimiser.warmup_steps"),
    (&["ema"], "optimiser.average"),
    (&["gamma"], "optimiser.factor"),
    (&["model", "arch", "architecture"], "model.backbone"),
    (&["embedding_dim", "embedding_size"], "model.dim"),
    (&["image_size", "img_size", "imgsz"], "image.train.size"),
    (&["freeze"], "optimiser.freeze_backbone"),
    (
        &["amp", "autocast", "dtype", "mixed_precision"],
        "precision",
    ),
];

/// Of some words the one that may be meant by `given`.
pub(crate) fn nearest(given: &str, words: Vec<String>) -> Option<String> {
    let given = given.to_lowercase();
    best(
        words,
        |word| normalized_damerau_levenshtein(&given, word),
        ALIKE,
    )
    .into_iter()
    .next()
}

/// Those that are most alike, if they are at least as alike as `enough`.
fn best(names: Vec<String>, alike: impl Fn(&String) -> f64, enough: f64) -> Vec<String> {
    let most = names.iter().map(&alike).fold(enough, f64::max);
    names
        .into_iter()
        .filter(|name| alike(name) >= most)
        .collect()
}

/// Section and key of a full name.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The full names of all settings.
fn names() -> Vec<String> {
    all().into_iter().map(|of| of.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_those_of_settings() {
        for (_, key) in OTHER_NAMES {
            assert!(find(key).is_some_and(|of| of.part().is_none()), "{key}");
        }
    }

    #[test]
    fn likely_keys() {
        for (given, meant) in [
            ("optimiser.learnin_rate", vec!["optimiser.learning_rate"]),
            ("learning_rate", vec!["optimiser.learning_rate"]),
            ("learning_rat", vec!["optimiser.learning_rate"]),
            ("optimizer", vec!["optimiser"]),
            ("lr", vec!["optimiser.learning_rate"]),
            ("optimiser.lr", vec!["optimiser.learning_rate"]),
            ("batch_size", vec!["batch.size"]),
            ("bs", vec!["batch.size"]),
            ("chunk", vec!["batch.chunk", "evaluation.chunk"]),
            ("loss.epochs", vec!["epochs"]),
            ("epoch", vec!["epochs"]),
            (
                "size",
                vec!["batch.size", "image.train.size", "loss.memory.size"],
            ),
            ("image.colour_jitter", vec!["image.train.colour_jitter"]),
            ("batch.nonsense", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(like(given), meant, "{given}");
        }
        let kinds = || vec!["adam".to_owned(), "adamw".to_owned()];
        assert_eq!(nearest("AdamW", kinds()).as_deref(), Some("adamw"));
        assert_eq!(nearest("sgd", kinds()), None);
    }
}
