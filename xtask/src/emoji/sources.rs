//! The icon sets: which they are, and what their packages hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use serde::Deserialize;

/// An icon set as the npm registry has it.
pub(super) struct SetSource {
    /// Name of the package within the scope [`SCOPE`], and of the set in the asset.
    pub(super) key: &'static str,
    /// The exact version of the package.
    pub(super) version: &'static str,
    /// The licence's text where the licence asks for it to go along.
    pub(super) notice: Option<&'static str>,
}

pub(super) const SCOPE: &str = "@iconify-json";

/// The sets, in the order in which their drawings appear within a class.
pub(super) const SETS: [SetSource; 6] = [
    SetSource {
        key: "noto",
        version: "1.2.9",
        notice: None,
    },
    SetSource {
        key: "noto-v1",
        version: "1.2.5",
        notice: None,
    },
    SetSource {
        key: "twemoji",
        version: "1.2.5",
        notice: None,
    },
    SetSource {
        key: "fluent-emoji",
        version: "1.2.7",
        notice: Some(MICROSOFT_MIT),
    },
    SetSource {
        key: "fluent-emoji-flat",
        version: "1.2.6",
        notice: Some(MICROSOFT_MIT),
    },
    SetSource {
        key: "emojione",
        version: "1.2.3",
        notice: None,
    },
];

pub(super) const MICROSOFT_MIT: &str = "\
MIT License

Copyright (c) Microsoft Corporation.

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the \"Software\"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.";

/// An icon set, read and checked.
pub(super) struct IconSet {
    pub(super) key: &'static str,
    pub(super) version: &'static str,
    pub(super) notice: Option<&'static str>,
    pub(super) info: Info,
    /// What the set draws: its visible icons, and the mirrored ones among its aliases.
    pub(super) drawings: BTreeMap<String, Drawing>,
    /// Plain aliases, as (alias, parent).
    pub(super) aliases: Vec<(String, String)>,
    /// Names by Unicode code points, variation selectors removed.
    pub(super) chars: BTreeMap<String, String>,
    /// Categories by name of icon.
    pub(super) categories: BTreeMap<String, Vec<String>>,
}

/// One drawing: SVG elements and the box that they fill.
pub(super) struct Drawing {
    pub(super) body: String,
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) mirrored: bool,
}

#[derive(Deserialize)]
pub(super) struct Info {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) author: Author,
    pub(super) license: License,
}

#[derive(Deserialize)]
pub(super) struct Author {
    pub(super) name: String,
    pub(super) url: String,
}

#[derive(Deserialize)]
pub(super) struct License {
    pub(super) title: String,
    pub(super) spdx: String,
    pub(super) url: String,
}

#[derive(Deserialize)]
pub(super) struct Icons {
    pub(super) icons: BTreeMap<String, Icon>,
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, Alias>,
    #[serde(flatten)]
    pub(super) frame: Frame,
}

#[derive(Deserialize)]
pub(super) struct Icon {
    pub(super) body: String,
    #[serde(default)]
    pub(super) hidden: bool,
    #[serde(flatten)]
    pub(super) frame: Frame,
}

/// The box of an icon; what is not given is inherited from the set, then 16 units at the origin.
#[derive(Deserialize, Default, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: Option<f64>,
    pub(super) top: Option<f64>,
    pub(super) width: Option<f64>,
    pub(super) height: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Alias {
    pub(super) parent: String,
    #[serde(default)]
    pub(super) h_flip: bool,
    #[serde(default)]
    pub(super) hidden: bool,
}

#[derive(Deserialize)]
pub(super) struct PackageVersion {
    pub(super) version: String,
}

#[derive(Deserialize, Default)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) categories: BTreeMap<String, Vec<String>>,
}

/// Installs the pinned packages below `dir`. Their own dependency holds types only and is harmless.
pub(super) fn install(dir: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(dir)
    .args(
        SETS.iter()
            .map(|set| format!("{SCOPE}/{}@{}", set.key, set.version)),
    );
    let status = npm
        .status()
        .context("cannot start npm: install it, or give --packages DIR")?;
    ensure!(
        status.success(),
        "npm could not install the packages ({status})"
    );
    Ok(())
}

pub(super) fn read_sets(dir: &Path) -> Result<Vec<IconSet>> {
    SETS.par_iter()
        .map(|source| read_set(source, &dir.join(SCOPE).join(source.key)))
        .collect()
}

pub(super) fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as expected", path.display()))
}

pub(super) fn read_set(source: &SetSource, dir: &Path) -> Result<IconSet> {
    let package: PackageVersion = read_json(&dir.join("package.json"))?;
    ensure!(
        package.version == source.version,
        "{} holds version {}, but the asset is made from {}; change the version in xtask to move on",
        dir.display(),
        package.version,
        source.version
    );
    let file: Icons = read_json(&dir.join("icons.json"))?;
    let metadata: Metadata = read_json(&dir.join("metadata.json"))?;
    let chars: BTreeMap<String, String> = read_json(&dir.join("chars.json"))?;

    let mut drawings = BTreeMap::new();
    let draw = |icon: &Icon, mirrored| {
        let of = |get: fn(&Frame) -> Option<f64>, default| {
            get(&icon.frame)
                .or_else(|| get(&file.frame))
                .unwrap_or(default)
        };
        Drawing {
            body: icon.body.clone(),
            left: of(|frame| frame.left, 0.0),
            top: of(|frame| frame.top, 0.0),
            width: of(|frame| frame.width, 16.0),
            height: of(|frame| frame.height, 16.0),
            mirrored,
        }
    };
    for (name, icon) in file.icons.iter().filter(|(_, icon)| !icon.hidden) {
        drawings.insert(name.clone(), draw(icon, false));
    }
    let mut aliases = Vec::new();
    for (name, alias) in file.aliases.iter().filter(|(_, alias)| !alias.hidden) {
        let Some(icon) = file.icons.get(&alias.parent) else {
            bail!(
                "{}: the alias {name} leads to {}, which is no icon",
                source.key,
                alias.parent
            );
        };
        if !alias.h_flip {
            aliases.push((name.clone(), alias.parent.clone()));
        } else if !icon.hidden {
            drawings.insert(name.clone(), draw(icon, true));
        }
    }

    let mut categories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (category, names) in metadata.categories {
        for name in names {
            categories.entry(name).or_default().push(category.clone());
        }
    }
    let chars = chars
        .into_iter()
        .map(|(code, name)| {
            let code: Vec<_> = code.split('-').filter(|&point| point != "fe0f").collect();
            (code.join("-"), name)
        })
        .collect();
    Ok(IconSet {
        key: source.key,
        version: source.version,
        notice: source.notice,
        info: read_json(&dir.join("info.json"))?,
        drawings,
        aliases,
        chars,
        categories,
    })
}
