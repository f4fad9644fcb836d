//! What tells groups apart, in a few words.

use std::collections::BTreeSet;
use std::path::Path;

use toml::{Table, Value};

use super::FinishedRun;

/// A longer list of settings is no help; the names of folders take its place.
const LONGEST: usize = 60;

/// More folders than these are counted.
const FOLDERS: usize = 3;

/// A label for each group: `key=value` of the settings in which groups differ, or its folders.
pub(super) fn labels(groups: &[Vec<&FinishedRun>]) -> Vec<String> {
    let settings: Vec<Value> = groups
        .iter()
        .map(|group| Value::Table(settings(group[0])))
        .collect();
    let mut differences = Vec::new();
    let settings: Vec<Option<&Value>> = settings.iter().map(Some).collect();
    differing("", &settings, &mut differences);
    let names = short(&differences);
    let label = |at: usize| {
        let pairs = names.iter().zip(&differences);
        let pairs: Vec<String> = pairs
            .map(|(name, (_, values))| format!("{name}={}", values[at]))
            .collect();
        pairs.join(", ")
    };
    let labels: Vec<String> = (0..groups.len()).map(label).collect();
    let readable = |label: &String| !label.is_empty() && label.chars().count() <= LONGEST;
    match labels.iter().all(readable) {
        true => labels,
        false => groups.iter().map(|group| folders(group)).collect(),
    }
}

/// The folders of a group: the first one, and of its siblings the names.
fn folders(group: &[&FinishedRun]) -> String {
    let folders: Vec<&Path> = group.iter().map(|run| run.folder.as_path()).collect();
    let parent = folders.first().and_then(|first| first.parent());
    let shown: Vec<String> = folders
        .iter()
        .take(FOLDERS)
        .enumerate()
        .map(|(at, folder)| match folder.file_name() {
            Some(name) if at > 0 && folder.parent() == parent => name.display().to_string(),
            _ => folder.display().to_string(),
        })
        .collect();
    match folders.len().saturating_sub(FOLDERS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// As they are written down, with numbers as short as they can be and `false` for what is off.
fn settings(run: &FinishedRun) -> Table {
    let mut table: Table = run.config.to_toml().parse().unwrap_or_default();
    table.remove("seed");
    table
}

/// The keys in which `values` differ, and what they are in each.
fn differing(place: &str, values: &[Option<&Value>], found: &mut Vec<(String, Vec<String>)>) {
    let tables: Option<Vec<&Table>> = values
        .iter()
        .map(|value| value.as_ref()?.as_table())
        .collect();
    if let Some(tables) = tables {
        let keys: BTreeSet<&String> = tables.iter().flat_map(|table| table.keys()).collect();
        for key in keys {
            let place = match place {
                "" => key.clone(),
                _ => format!("{place}.{key}"),
            };
            let values: Vec<_> = tables.iter().map(|table| table.get(key)).collect();
            differing(&place, &values, found);
        }
    } else if values.iter().any(|value| *value != values[0]) {
        let words = values.iter().map(|value| word(*value)).collect();
        found.push((place.to_owned(), words));
    }
}

fn word(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        // A part that is off in another group.
        Some(Value::Table(_)) => "on".to_owned(),
        Some(value) => value.to_string(),
    }
}

/// Keys without their sections, where that does not make two of them the same.
fn short(differences: &[(String, Vec<String>)]) -> Vec<&str> {
    let last = |key: &'_ str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let alone = |key: &str| {
        differences
            .iter()
            .filter(|(other, _)| last(other) == last(key))
            .count()
            == 1
    };
    differences
        .iter()
        .map(|(key, _)| match alone(key) {
            true => key.rsplit('.').next().unwrap_or(key),
            false => key,
        })
        .collect()
}
