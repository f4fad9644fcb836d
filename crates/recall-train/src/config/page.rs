//! The settings of docs/configuration.md, which follow from the structs.
//!
//! `RECALL_UPDATE=1 cargo test -p recall-train page_of_settings` writes them anew.

use std::path::PathBuf;

use toml::{Table, Value};

use super::numbers::without_article;
use super::schema::SETTINGS;
use super::setting::{Setting, Takes, listed};
use super::{RunConfig, order};

const START: &str = "<!-- settings: written by a test of recall-train, from the structs -->\n\n";
const END: &str = "<!-- end of settings -->\n";

const HEAD: &str = "| key | takes | default | |\n|---|---|---|---|\n";

fn path() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md").into()
}

/// The rows of the page that begin with a word in backticks: that word, and its cells.
pub(super) fn documented() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(path()).unwrap();
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

/// A heading and a table for each section.
fn sections() -> String {
    let mut defaults = RunConfig::default().to_toml().parse().unwrap();
    super::keys::mark_absent(&mut defaults);
    let settings = in_order(&SETTINGS, "");
    let is_section = |of: &&Setting| of.part().is_some() && !of.optional;
    let (sections, keys): (Vec<_>, Vec<_>) = settings.into_iter().partition(is_section);
    let mut text = format!("### The run\n\n{HEAD}");
    for key in keys {
        text += &rows(key, &SETTINGS, Some(&defaults));
    }
    for section in sections {
        let about = description(section, &SETTINGS);
        text += &format!("\n### `{}`\n\n{about}\n\n{HEAD}", section.name);
        text += &rows_within(section, Some(&defaults));
    }
    text + "\n"
}

/// The settings in the order of their fields.
fn in_order<'a>(settings: &'a [Setting], section: &str) -> Vec<&'a Setting> {
    let fields = order::fields::<RunConfig>(section);
    let mut settings: Vec<&Setting> = settings.iter().collect();
    settings.sort_by_key(|of| fields.iter().position(|field| *field == of.key));
    settings
}

/// The row of a setting, where it is no section, and those of what is in it.
fn rows(setting: &Setting, siblings: &[Setting], section: Option<&Table>) -> String {
    if setting.part().is_some() && !setting.optional {
        return rows_within(setting, section);
    }
    let or_false = if setting.optional { " or false" } else { "" };
    let default = default(setting, section);
    let row = format!(
        "| `{}` | {}{or_false} | {default} | {} |\n",
        setting.name,
        bare(&setting.takes),
        description(setting, siblings),
    );
    row.replace("|  |", "| |") + &rows_within(setting, section)
}

/// The rows of what is in a setting; `section` has the values of the settings beside it.
fn rows_within(setting: &Setting, section: Option<&Table>) -> String {
    let within = setting.part().unwrap_or_default();
    let values = section.and_then(|section| section.get(&setting.key)?.as_table());
    let inner = in_order(within, &setting.name).into_iter();
    inner.map(|of| rows(of, within, values)).collect()
}

/// What a setting takes, without an article.
fn bare(takes: &Takes) -> String {
    match takes {
        Takes::Part(_) => "part".to_owned(),
        Takes::Words(words) => listed(words),
        other => without_article(&other.to_string()).to_owned(),
    }
}

/// The default of the run, or within a part that is off that of the part.
fn default(setting: &Setting, section: Option<&Table>) -> String {
    let Some(section) = section else {
        return match &setting.default {
            None if setting.optional => "`false`".to_owned(),
            None => String::new(),
            Some(serde_json::Value::Null) => "`false`".to_owned(),
            Some(value) => format!("`{}`", Value::try_from(value).unwrap()),
        };
    };
    match section.get(&setting.key) {
        // What another kind of loss has.
        None => String::new(),
        Some(Value::Table(_)) => "on".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

/// The first paragraph of the comment on the field. Settings beside it have their full names, other pages
/// have links.
fn description(setting: &Setting, siblings: &[Setting]) -> String {
    let comment = setting.comment.split("\n\n").next().unwrap_or_default();
    let mut text = comment.replace('\n', " ").replace('|', "\\|");
    for sibling in siblings.iter().filter(|of| of.key != of.name) {
        let short = format!("`{}`", sibling.key);
        text = text.replace(&short, &format!("`{}`", sibling.name));
    }
    let words = text.split(' ').map(|word| {
        let bare = word.trim_end_matches([',', ';', '.', ':']);
        let rest = &word[bare.len()..];
        match bare.strip_prefix("docs/") {
            Some(page) => format!("[{page}]({page}){rest}"),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_of_settings_follows_from_the_structs() {
    let page = std::fs::read_to_string(path()).unwrap();
    let (before, rest) = page.split_once(START).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let sections = sections();
    if std::env::var_os("RECALL_UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(path(), format!("{before}{START}{sections}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == sections,
        "docs/configuration.md differs from the settings; RECALL_UPDATE=1 writes it anew:\n{sections}"
    );
}

#[test]
fn every_setting_has_a_comment() {
    for setting in super::schema::all() {
        assert!(!setting.comment.is_empty(), "{}", setting.name);
    }
}

#[test]
fn every_row_is_that_of_a_setting_or_a_preset() {
    for (name, _) in documented() {
        let preset = name.parse::<super::Preset>().is_ok();
        assert!(preset || super::schema::find(&name).is_some(), "{name}");
    }
}

/// The page about losses, in whose middle the settings of each kind stand.
const LOSSES: [&str; 2] = [
    "<!-- losses: written by a test of recall-train, from the settings -->\n",
    "<!-- end -->\n",
];

fn page_of_losses() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/losses.md").into()
}

/// A row for each kind of loss: its settings and what they are by default.
fn losses() -> String {
    let mut text = "\n| kind | settings |\n|---|---|\n".to_owned();
    for kind in crate::LossKind::ALL {
        let defaults = Table::try_from(crate::LossConfig::of(kind)).unwrap();
        let settings = super::loss::keys(kind)
            .into_iter()
            .map(|key| match defaults.get(&key) {
                Some(value) => format!("`{key} = {value}`"),
                None => format!("`{key} = false`"),
            });
        let settings: Vec<String> = settings.collect();
        text += &format!("| `{kind}` | {} |\n", settings.join(", "));
    }
    text + "\n"
}

#[test]
fn the_page_of_losses_follows_from_the_settings() {
    let page = std::fs::read_to_string(page_of_losses()).unwrap();
    let [start, end] = LOSSES;
    let (before, rest) = page.split_once(start).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    let losses = losses();
    if std::env::var_os("RECALL_UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(
            page_of_losses(),
            format!("{before}{start}{losses}{end}{after}"),
        )
        .unwrap();
        return;
    }
    assert!(
        written == losses,
        "docs/losses.md differs from the settings; RECALL_UPDATE=1 writes it anew:\n{losses}"
    );
}
