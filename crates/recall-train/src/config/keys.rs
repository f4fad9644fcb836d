//! Every key that a configuration can have, found out from the settings themselves.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use recall_data::{CacheConfig, ColourJitter, RandomAffine, RandomResizedCrop};
use recall_eval::Metric;
use strsim::normalized_damerau_levenshtein;
use toml::{Table, Value};

use super::RunConfig;

/// The keys there are.
pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(Keys::find);

/// How alike two names have to be for one to be meant by the other, from 0 to 1.
const ALIKE: f64 = 0.55;

/// How alike they are where a letter or two slipped.
const ALMOST: f64 = 0.85;

/// Keys by their full names, such as `image.train.size`, sections among them.
pub(super) struct Keys {
    all: Table,
    optional: BTreeSet<String>,
}

impl Keys {
    fn find() -> Self {
        let all = with_every_part().to_table();
        // A key is optional if it is still absent in what a table without it comes to: others come
        // back with their default or are missed.
        let optional = names(&all)
            .into_iter()
            .filter(|name| {
                let mut without = all.clone();
                remove(&mut without, name);
                let read: Result<RunConfig, _> = Value::Table(without).try_into();
                read.is_ok_and(|config| lookup(&config.to_table(), name).is_none())
            })
            .collect();
        Self { all, optional }
    }

    /// Whether `name` is a key or a section.
    pub(super) fn contains(&self, name: &str) -> bool {
        name.is_empty() || lookup(&self.all, name).is_some()
    }

    /// The full names of sections and keys, sections before what they hold.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        names(&self.all)
    }

    /// A value that a key can have.
    #[cfg(test)]
    pub(super) fn example(&self, name: &str) -> Option<&Value> {
        lookup(&self.all, name)
    }

    /// Whether `name` can be turned off.
    pub(super) fn is_optional(&self, name: &str) -> bool {
        self.optional.contains(name)
    }

    /// The names within a section; the empty name is that of the whole. None if `section` is a key.
    pub(super) fn within(&self, section: &str) -> Option<Vec<&str>> {
        let table = match section {
            "" => &self.all,
            _ => lookup(&self.all, section)?.as_table()?,
        };
        Some(table.keys().map(String::as_str).collect())
    }

    /// Writes `key = false` for whatever is off: TOML has no null.
    pub(super) fn mark_absent(&self, table: &mut Table) {
        // Sections come before what they hold.
        for name in &self.optional {
            let (section, key) = split(name);
            let section = match section {
                "" => Some(&mut *table),
                _ => lookup_mut(table, section).and_then(Value::as_table_mut),
            };
            if let Some(section) = section {
                section.entry(key).or_insert(Value::Boolean(false));
            }
        }
    }

    /// The keys that may be meant by `given`, which is none: those of its name in another section, the one
    /// that other programs call so, or the one with the name most like it.
    pub(super) fn like(&self, given: &str) -> Vec<String> {
        let (section, key) = split(given);
        let alike = |name: &String| {
            let (other, name) = split(name);
            match (other == section, name == key) {
                (true, _) => normalized_damerau_levenshtein(key, name),
                (false, true) => 0.95,
                (false, false) => normalized_damerau_levenshtein(key, name) - 0.1,
            }
        };
        let called = self.called(given);
        match best(names(&self.all), alike, ALMOST) {
            slips if !slips.is_empty() => slips,
            _ if !called.is_empty() => called,
            _ => best(names(&self.all), alike, ALIKE),
        }
    }
}

impl Keys {
    /// The keys that go by the name `given`, written in whatever way: the last part of a key, its parts
    /// joined, or what other programs call it.
    pub(crate) fn called(&self, given: &str) -> Vec<String> {
        let (_, given) = split(given);
        let given = given.to_lowercase().replace('-', "_");
        let other = OTHER_NAMES
            .iter()
            .find(|(names, _)| names.contains(&given.as_str()));
        if let Some((_, key)) = other {
            return vec![(*key).to_owned()];
        }
        let keys = names(&self.all).into_iter();
        keys.filter(|name| {
            let key = self.within(name).is_none();
            key && (split(name).1 == given || name.replace('.', "_") == given)
        })
        .collect()
    }
}

/// What other programs call a setting.
const OTHER_NAMES: [(&[&str], &str); 12] = [
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

/// A configuration with every part on that can be off.
fn with_every_part() -> RunConfig {
    let mut config = RunConfig {
        from: Some(PathBuf::new()),
        ..RunConfig::default()
    };
    config.batch.super_classes = Some(2);
    config.model.weights = Some(PathBuf::new());
    config.optimiser.clip_norm = Some(1.0);
    config.optimiser.average = Some(0.999);
    config.image.cache = Some(CacheConfig {
        folder: PathBuf::new(),
        shorter_side: 256,
    });
    config.image.train.random_resized_crop = Some(RandomResizedCrop::default());
    config.image.train.random_affine = Some(RandomAffine {
        scale: Some((1.0, 1.0)),
        ..RandomAffine::default()
    });
    config.image.train.colour_jitter = Some(ColourJitter::default());
    config.evaluation.select = Some(Metric::RecallAt(1));
    config
}

/// Section and key of a full name.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// A key's full name.
pub(super) fn join(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        _ => format!("{section}.{key}"),
    }
}

/// The full names of sections and keys, sections before what they hold.
fn names(table: &Table) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in table {
        all.push(key.clone());
        if let Value::Table(inner) = value {
            all.extend(names(inner).iter().map(|name| join(key, name)));
        }
    }
    all
}

pub(super) fn lookup<'a>(table: &'a Table, name: &str) -> Option<&'a Value> {
    match name.split_once('.') {
        None => table.get(name),
        Some((section, rest)) => lookup(table.get(section)?.as_table()?, rest),
    }
}

fn lookup_mut<'a>(table: &'a mut Table, name: &str) -> Option<&'a mut Value> {
    match name.split_once('.') {
        None => table.get_mut(name),
        Some((section, rest)) => lookup_mut(table.get_mut(section)?.as_table_mut()?, rest),
    }
}

fn remove(table: &mut Table, name: &str) {
    let (section, key) = split(name);
    match section {
        "" => table.remove(key),
        _ => lookup_mut(table, section)
            .and_then(Value::as_table_mut)
            .and_then(|table| table.remove(key)),
    };
}

/// The rows of docs/configuration.md that begin with a word in backticks: that word, and its cells.
#[cfg(test)]
pub(super) fn documented() -> Vec<(String, Vec<String>)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<String> = line
            .strip_prefix("| `")?
            .strip_suffix(" |")?
            .split(" | ")
            .map(str::to_owned)
            .collect();
        Some((cells[0].strip_suffix('`')?.to_owned(), cells))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Extent;

    /// serde names all fields of a struct when it meets another one.
    #[test]
    fn no_setting_is_forgotten() {
        let sections = names(&KEYS.all);
        let sections = sections.iter().filter(|name| KEYS.within(name).is_some());
        for section in sections.map(String::as_str).chain([""]) {
            let mut table = KEYS.all.clone();
            let inner = match section {
                "" => &mut table,
                _ => lookup_mut(&mut table, section)
                    .unwrap()
                    .as_table_mut()
                    .unwrap(),
            };
            inner.insert("?".into(), Value::Boolean(true));
            let read: Result<RunConfig, _> = Value::Table(table).try_into();
            let message = read.unwrap_err().to_string();
            let (_, expected) = message.split_once("expected").unwrap();
            let mut fields: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            fields.retain(|field| !field.contains('.') && *field != section);
            fields.sort_unstable();
            let mut known = KEYS.within(section).unwrap();
            known.sort_unstable();
            assert_eq!(fields, known, "[{section}]: {message}");
        }
    }

    #[test]
    fn what_can_be_off_is_known() {
        let optional: Vec<&str> = KEYS.optional.iter().map(String::as_str).collect();
        let expected = [
            "batch.super_classes",
            "evaluation.select",
            "from",
            "image.cache",
            "image.train.colour_jitter",
            "image.train.random_affine",
            "image.train.random_affine.scale",
            "image.train.random_resized_crop",
            "model.weights",
            "optimiser.average",
            "optimiser.clip_norm",
        ];
        assert_eq!(optional, expected);
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
            ("size", vec!["batch.size", "image.train.size"]),
            ("image.colour_jitter", vec!["image.train.colour_jitter"]),
            ("batch.nonsense", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(KEYS.like(given), meant, "{given}");
        }
        let kinds = || vec!["adam".to_owned(), "adamw".to_owned()];
        assert_eq!(nearest("AdamW", kinds()).as_deref(), Some("adamw"));
        assert_eq!(nearest("sgd", kinds()), None);
    }

    #[test]
    fn every_key_is_documented_with_its_default() {
        let mut table = RunConfig::default().to_toml().parse().unwrap();
        KEYS.mark_absent(&mut table);
        let documented = documented();
        for name in names(&KEYS.all) {
            let section = KEYS.within(&name).is_some();
            let rows: Vec<_> = documented.iter().filter(|(key, _)| *key == name).collect();
            if section && !KEYS.is_optional(&name) {
                assert!(rows.is_empty(), "{name}");
                continue;
            }
            let [(_, cells)] = rows[..] else {
                panic!("docs/configuration.md has {} rows of `{name}`", rows.len());
            };
            assert_eq!(
                (cells[1].ends_with("or false") && cells[1] != "true or false"),
                KEYS.is_optional(&name),
                "{name}"
            );
            let written = match lookup(&table, &name) {
                // Within a part that is off.
                None => continue,
                Some(Value::Table(_)) => "on".to_owned(),
                Some(value) => format!("`{value}`"),
            };
            assert_eq!(cells[2], written, "{name}");
        }
        for (name, _) in documented {
            let preset = name.parse::<super::super::Preset>().is_ok();
            assert!(KEYS.contains(&name) || preset, "{name}");
        }
    }

    #[test]
    fn every_preset_is_documented_with_its_numbers() {
        let documented = documented();
        for preset in super::super::Preset::all() {
            let name = preset.name();
            let row = documented
                .iter()
                .find(|(first, _)| first == name.trim_end_matches("-simix"));
            let (_, cells) = row.unwrap_or_else(|| panic!("{name}"));
            let config = preset.config();
            let milestones = config.optimiser.milestones.iter();
            let milestones: Vec<String> = milestones.map(Extent::to_string).collect();
            let optimiser = format!(
                "{:?} {:e}",
                config.optimiser.kind, config.optimiser.learning_rate
            );
            let expected = [
                config.batch.size.to_string(),
                config.batch.chunk.to_string(),
                config.epochs.to_string(),
                milestones.join(", "),
                optimiser,
            ];
            assert_eq!(cells[1..], expected, "{name}");
        }
    }
}
