//! `recall-train presets`: the list, and a recipe that can be used as it is printed.

use std::fs;

use recall_train::{Preset, RunConfig};
use tempfile::tempdir;

use crate::support::{command, refuse, succeed};

#[test]
fn presets_are_listed_and_printed() {
    let dir = tempdir().unwrap();
    let (list, _) = succeed(&mut command(dir.path(), &["presets"]));
    let names: Vec<&str> = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let all: Vec<String> = Preset::all().into_iter().map(Preset::name).collect();
    assert_eq!(names, all);
    assert!(
        list.lines()
            .any(|line| line.starts_with("inat2018-vit-b16 ") && line.contains("10, 40, 70"))
    );

    let (text, _) = succeed(&mut command(dir.path(), &["presets", "cars196-resnet50"]));
    let mut config = RunConfig::read(Some(("printed", &text)), &[]).unwrap();
    assert!(config.model.weights.take().is_some());
    assert_eq!(
        config,
        "cars196-resnet50".parse::<Preset>().unwrap().config()
    );

    // As it is printed it names no data yet.
    fs::write(dir.path().join("recipe.toml"), text).unwrap();
    let arguments = ["--config", "recipe.toml", "--set", "data=emoji"];
    let message = refuse(&mut command(dir.path(), &arguments));
    assert!(message.contains("FILE"), "{message}");

    let message = refuse(&mut command(dir.path(), &["presets", "cars196-resnet"]));
    assert!(
        message.contains("did you mean cars196-resnet50?"),
        "{message}"
    );
}
