//! `recall-train compare` on folders as runs leave them.

use std::fs;
use std::path::Path;

use recall_train::RunConfig;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{command, refuse, succeed};

/// What a run leaves: settings, records, and the recall of 60 queries, of which every `miss`-th fails.
fn run(dir: &Path, name: &str, settings: &[&str], miss: usize) {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).unwrap();
    let settings: Vec<String> = settings.iter().map(|&setting| setting.into()).collect();
    let config = RunConfig::read(None, &settings).unwrap();
    fs::write(folder.join("config.toml"), config.to_toml()).unwrap();
    let mut records = String::new();
    for step in 0..4 {
        let loss = 1.0 / f64::from(step + 1);
        records +=
            &format!("{{\"kind\":\"step\",\"epoch\":{step},\"step\":{step},\"loss\":{loss}}}\n");
        records += &format!(
            "{{\"kind\":\"evaluation\",\"split\":\"validation\",\"epoch\":{step},\"step\":{step},\
             \"recall@1\":0.{step},\"queries\":60}}\n"
        );
    }
    fs::write(folder.join("metrics.jsonl"), records).unwrap();
    let rows = (0..60).map(|query| {
        format!(
            "{query}.png,{},{}\n",
            query / 5,
            u8::from(query % miss != 0)
        )
    });
    let table: String = ["image,class,recall@1\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect();
    fs::write(folder.join("queries.csv"), table).unwrap();
}

fn runs() -> TempDir {
    let dir = tempdir().unwrap();
    run(dir.path(), "runs/a-1", &["seed=1", "loss.mixup=false"], 2);
    run(dir.path(), "runs/a-2", &["seed=2", "loss.mixup=false"], 3);
    run(dir.path(), "runs/b-1", &["seed=1"], 20);
    dir
}

const RUNS: [&str; 4] = ["compare", "runs/a-1", "runs/a-2", "runs/b-1"];

#[test]
fn a_table_and_a_page() {
    let dir = runs();
    let arguments = [&RUNS[..], &["--output", "compare.html"]].concat();
    let (stdout, stderr) = succeed(&mut command(dir.path(), &arguments));
    assert_eq!(stderr, "");
    let lines: Vec<Vec<&str>> = stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    // What stands between these is not looked at: a further column is no concern of this test.
    let row = |line: &[&str], begins: &[&str], ends: &[&str]| {
        assert!(line.starts_with(begins) && line.ends_with(ends), "{line:?}");
    };
    row(&lines[0], &["runs"], &["recall@1"]);
    row(&lines[1], &["mixup=false", "2"], &["0.5833", "±", "0.1179"]);
    row(&lines[2], &["mixup=true", "1"], &["0.9500"]);
    assert_eq!(lines[3][..2], ["+0.3667", "p"]);
    assert!(stdout.ends_with("wrote  compare.html\n"), "{stdout}");

    let page = fs::read_to_string(dir.path().join("compare.html")).unwrap();
    for part in [
        "0.5833 ± 0.1179",
        "recall@1 on the validation images",
        "mixup=false",
        "mixup=true",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
}

#[test]
fn the_same_for_programs_whatever_the_seed_is_called() {
    let dir = runs();
    let json = |more: &[&str]| -> Value {
        let arguments = [&RUNS[..], &["--json"], more].concat();
        serde_json::from_str(&succeed(&mut command(dir.path(), &arguments)).0).unwrap()
    };
    let all = json(&[]);
    let of = |group: usize| &all["groups"][group]["metrics"]["recall@1"];
    assert_eq!(all["groups"][0]["label"], "mixup=false");
    assert_eq!(
        all["groups"][0]["runs"],
        serde_json::json!(["runs/a-1", "runs/a-2"])
    );
    assert!((of(0)["mean"].as_f64().unwrap() - 0.583_333).abs() < 1e-6);
    assert!((of(1)["difference"].as_f64().unwrap() - 0.366_667).abs() < 1e-6);
    assert!(of(1)["p_value"].as_f64().unwrap() < 0.01);
    assert_eq!(all, json(&[]));
    assert_ne!(all, json(&["--resample-classes"]));
}

#[test]
fn what_cannot_be_compared() {
    let dir = runs();
    let refused = |arguments: &[&str]| {
        let arguments = [&["compare"], arguments].concat();
        refuse(&mut command(dir.path(), &arguments))
    };
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert!(refused(&["runs/a-1", "empty"]).starts_with("empty holds no finished run"));
    assert!(refused(&["nowhere"]).starts_with("nowhere holds no finished run"));
    assert!(refused(&["runs/a-1", "runs/a-1"]).contains("is named twice"));
    assert!(refused(&[]).contains("<RUN>"));
    assert!(refused(&["runs/a-1", "runs/b-1", "--resamples", "0"]).contains("0 resamples"));
    assert!(
        refused(&["runs/a-1", "--output", "no/where.html"])
            .contains("there is no folder no for no/where.html")
    );
    fs::remove_file(dir.path().join("runs/b-1/queries.csv")).unwrap();
    assert!(refused(&["runs/a-1", "runs/b-1"]).contains("it has no queries.csv"));
}
