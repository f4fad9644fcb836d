//! Which drawings are of one emoji.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::sources::IconSet;

/// A class is drawn by at least this many sets.
pub(super) const MIN_SETS: usize = 4;

/// Sets whose categories are Unicode's groups, the first one that knows an emoji wins.
pub(super) const GROUP_SETS: [&str; 4] = ["noto", "twemoji", "fluent-emoji-flat", "noto-v1"];

/// An emoji: who draws it, and under which name.
pub(super) struct EmojiClass {
    pub(super) name: String,
    /// Unicode's group, such as `Food & Drink`.
    pub(super) group: String,
    /// (index into the sets, name in that set), in the order of the sets.
    pub(super) drawings: Vec<(usize, String)>,
}

/// Names that mean one emoji, as a forest of links from name to name.
pub(super) struct Names<'a> {
    pub(super) parent: BTreeMap<&'a str, &'a str>,
    /// For each root, the name under which each set draws the emoji.
    pub(super) drawn: BTreeMap<&'a str, BTreeMap<usize, &'a str>>,
}

impl<'a> Names<'a> {
    fn new(sets: &'a [IconSet]) -> Self {
        let mut drawn: BTreeMap<&str, BTreeMap<usize, &str>> = BTreeMap::new();
        for (index, set) in sets.iter().enumerate() {
            for name in set.drawings.keys() {
                drawn.entry(name).or_default().insert(index, name);
            }
        }
        Self {
            parent: BTreeMap::new(),
            drawn,
        }
    }

    fn root(&self, mut name: &'a str) -> &'a str {
        while let Some(&parent) = self.parent.get(name) {
            name = parent;
        }
        name
    }

    /// Makes `a` and `b` one emoji, unless a set draws both.
    fn join(&mut self, a: &'a str, b: &'a str) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let none = BTreeMap::new();
        let of_a = self.drawn.get(a).unwrap_or(&none);
        let of_b = self.drawn.get(b).unwrap_or(&none);
        if of_a.keys().any(|set| of_b.contains_key(set)) {
            return;
        }
        let moved = self.drawn.remove(a).unwrap_or_default();
        self.drawn.entry(b).or_default().extend(moved);
        self.parent.insert(a, b);
    }
}

pub(super) fn group(sets: &[IconSet]) -> Result<Vec<EmojiClass>> {
    let mut names = Names::new(sets);

    let mut by_code: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for set in sets {
        for (code, name) in &set.chars {
            by_code.entry(code).or_default().insert(name);
        }
    }
    for synonyms in by_code.values() {
        let mut synonyms = synonyms.iter();
        if let Some(first) = synonyms.next() {
            synonyms.for_each(|other| names.join(first, other));
        }
    }

    let mut votes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (alias, parent) in sets.iter().flat_map(|set| &set.aliases) {
        *votes.entry((alias, parent)).or_default() += 1;
    }
    let mut votes: Vec<_> = votes.into_iter().collect();
    votes.sort_by_key(|&(pair, count)| (std::cmp::Reverse(count), pair));
    for ((alias, parent), _) in votes {
        names.join(alias, parent);
    }

    // An alias says as much of an emoji as the name that it is drawn under.
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for set in sets {
        let aliases = set.aliases.iter().map(|(alias, _)| alias);
        for name in set.drawings.keys().chain(aliases) {
            members.entry(names.root(name)).or_default().insert(name);
        }
    }

    let categories = |name: &str, set: &IconSet| set.categories.get(name).cloned();
    let mut classes = Vec::new();
    for (root, drawn) in &names.drawn {
        let members = &members[root];
        let skin_tone = members.iter().any(|name| name.contains("skin-tone"));
        let flag = members.iter().any(|name| {
            sets.iter()
                .filter_map(|set| categories(name, set))
                .any(|found| found.iter().any(|category| category == "Flags"))
        });
        if drawn.len() < MIN_SETS || skin_tone || flag {
            continue;
        }

        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for name in drawn.values() {
            *uses.entry(name).or_default() += 1;
        }
        let name = uses
            .iter()
            .min_by_key(|&(name, count)| (std::cmp::Reverse(*count), *name))
            .map(|(name, _)| (*name).to_owned())
            .context("an emoji that no set draws")?;
        let group = GROUP_SETS
            .iter()
            .filter_map(|key| sets.iter().find(|set| set.key == *key))
            .flat_map(|set| members.iter().filter_map(|name| categories(name, set)))
            .flatten()
            .next()
            .with_context(|| format!("no set tells the group of {name}"))?;
        let drawings = drawn
            .iter()
            .map(|(&set, &name)| (set, name.to_owned()))
            .collect();
        classes.push(EmojiClass {
            name,
            group,
            drawings,
        });
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::super::sources::{Author, Drawing, Info, License};
    use super::*;

    fn drawing() -> Drawing {
        Drawing {
            body: String::new(),
            left: 0.0,
            top: 0.0,
            width: 1.0,
            height: 1.0,
            mirrored: false,
        }
    }

    fn set(key: &'static str, names: &[&str], aliases: &[(&str, &str)]) -> IconSet {
        IconSet {
            key,
            version: "1.0.0",
            notice: None,
            info: Info {
                name: key.into(),
                version: None,
                author: Author {
                    name: "a".into(),
                    url: "u".into(),
                },
                license: License {
                    title: "l".into(),
                    spdx: "l".into(),
                    url: "u".into(),
                },
            },
            drawings: names
                .iter()
                .map(|name| (name.to_string(), drawing()))
                .collect(),
            aliases: aliases
                .iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect(),
            chars: BTreeMap::new(),
            categories: names
                .iter()
                .map(|name| {
                    let group = if name.ends_with("flag") {
                        "Flags"
                    } else {
                        "Objects"
                    };
                    (name.to_string(), vec![group.to_string()])
                })
                .collect(),
        }
    }

    fn classes(sets: &[IconSet]) -> Vec<(String, Vec<String>)> {
        let classes = group(sets).unwrap();
        let names = |class: EmojiClass| class.drawings.into_iter().map(|(_, name)| name).collect();
        classes
            .into_iter()
            .map(|class| (class.name.clone(), names(class)))
            .collect()
    }

    #[test]
    fn aliases_and_code_points_join_names() {
        let mut sets = [
            set("noto", &["tin"], &[("can", "tin")]),
            set("noto-v1", &["can"], &[]),
            set("twemoji", &["tin"], &[]),
            set("emojione", &["box-of-tin"], &[]),
        ];
        assert!(classes(&sets).is_empty(), "three sets are too few");
        for (set, name) in [(2, "tin"), (3, "box-of-tin")] {
            sets[set].chars.insert("1f9fa".into(), name.into());
        }
        let drawn = ["tin", "can", "tin", "box-of-tin"]
            .map(String::from)
            .to_vec();
        assert_eq!(classes(&sets), [("tin".to_owned(), drawn)]);
    }

    #[test]
    fn two_drawings_of_one_set_are_two_emoji() {
        // The last set calls the game by the insect's name.
        let sets = [
            set("noto", &["cricket", "cricket-game"], &[]),
            set("noto-v1", &["cricket", "cricket-game"], &[]),
            set("twemoji", &["cricket", "cricket-game"], &[]),
            set("fluent-emoji", &["cricket", "cricket-game"], &[]),
            set(
                "emojione",
                &["cricket-game"],
                &[("cricket", "cricket-game")],
            ),
        ];
        let counts: Vec<_> = classes(&sets)
            .into_iter()
            .map(|(name, drawn)| (name, drawn.len()))
            .collect();
        assert_eq!(
            counts,
            [("cricket".to_owned(), 4), ("cricket-game".to_owned(), 5)]
        );
    }

    #[test]
    fn flags_and_skin_tones_are_left_out() {
        let names = ["ball", "red-flag", "hand-dark-skin-tone"];
        let sets = ["noto", "noto-v1", "twemoji", "emojione"].map(|key| set(key, &names, &[]));
        let names: Vec<_> = classes(&sets).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ball"]);
    }
}
