use std::fs;
use std::path::Path;

use recall_eval::Metric;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::RunConfig;

/// The values of 40 queries; every `miss`-th is 0.
fn values(miss: usize) -> Vec<f64> {
    (0..40).map(|query| f64::from(query % miss != 0)).collect()
}

/// A folder of a run with these settings and values of recall@1.
fn write(dir: &Path, name: &str, settings: &[&str], values: &[f64]) {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).unwrap();
    let settings: Vec<String> = settings.iter().map(|&setting| setting.into()).collect();
    let config = RunConfig::read(None, &settings).unwrap();
    fs::write(folder.join("config.toml"), config.to_toml()).unwrap();
    let records = r#"{"kind":"evaluation","split":"validation","epoch":0,"step":0,"recall@1":0.25,"queries":9,"seconds":1}
{"kind":"step","epoch":0,"step":0,"loss":0.75,"learning_rate":0.1,"images":8,"skipped":0,"seconds":1}
{"kind":"note","text":"something else"}
{"kind":"step","epoch":0,"step":1,"loss":null,"images":8}
{"kind":"evaluation","split":"validation","epoch":1,"step":2,"recall@1":0.5,"queries":9,"seconds":1}
{"kind":"evaluation","split":"test","epoch":1,"step":2,"recall@1":0.5,"queries":40,"seconds":1}
"#;
    fs::write(folder.join("metrics.jsonl"), records).unwrap();
    let mut table = "image,class,recall@1\n".to_owned();
    for (query, value) in values.iter().enumerate() {
        table += &format!("{query}.png,{},{value}\n", query / 4);
    }
    fs::write(folder.join("queries.csv"), table).unwrap();
}

fn compare(dir: &TempDir, names: &[&str]) -> Result<RunComparison, CompareError> {
    let runs: Vec<_> = names
        .iter()
        .map(|name| FinishedRun::open(dir.path().join(name)))
        .collect::<Result<_, _>>()?;
    CompareConfig::default().compare(&runs)
}

/// Two runs of one recipe with two seeds, and one of another.
fn three_runs() -> TempDir {
    let dir = tempdir().unwrap();
    write(dir.path(), "a", &["seed=1"], &values(2));
    write(dir.path(), "b", &["seed=2"], &values(4));
    write(
        dir.path(),
        "c",
        &["loss.mixup=false", "optimiser.clip_norm=0.1"],
        &values(40),
    );
    dir
}

#[test]
fn seeds_are_taken_together() {
    let dir = three_runs();
    let comparison = compare(&dir, &["a", "c", "b"]).unwrap();
    let [first, second] = &comparison.groups[..] else {
        panic!("{comparison:?}");
    };
    assert_eq!(first.label, "mixup=true, clip_norm=false");
    assert_eq!(second.label, "mixup=false, clip_norm=0.1");
    assert_eq!(first.runs, ["a", "b"].map(|name| dir.path().join(name)));
    assert_eq!(comparison.metrics, [Metric::RecallAt(1)]);

    // Recalls of 0.5 and 0.75: the mean, and the deviation of a sample of two.
    let [result] = &first.results[..] else {
        panic!("{first:?}");
    };
    assert_eq!(result.mean, 0.625);
    assert!((result.deviation.unwrap() - 0.125 * 2_f64.sqrt()).abs() < 1e-12);
    assert_eq!((result.difference, result.paired), (None, None));

    let [result] = &second.results[..] else {
        panic!("{second:?}");
    };
    assert_eq!((result.mean, result.deviation), (0.975, None));
    assert!((result.difference.unwrap() - 0.35).abs() < 1e-12);
    let test = result.paired.unwrap();
    assert!((test.difference - 0.35).abs() < 1e-12);
    assert!(test.p_value < 0.01, "{test:?}");
    assert_eq!(comparison.queries, Some(40));
    assert!(comparison.notes.is_empty());
}

#[test]
fn the_test_is_that_of_the_averages_of_queries() {
    let dir = three_runs();
    let averages: Vec<f64> = (values(2).iter().zip(values(4)))
        .map(|(a, b)| (a + b) / 2.0)
        .collect();
    let scores = |values| Scores::from_values(&[Metric::RecallAt(1)], values).unwrap();
    let expected = Bootstrap::default()
        .compare(&scores(averages), &scores(values(40)), Units::Queries)
        .unwrap();
    let comparison = compare(&dir, &["a", "b", "c"]).unwrap();
    assert_eq!(comparison.groups[1].results[0].paired, Some(expected[0]));
}

#[test]
fn one_group_is_named_by_its_folders() {
    let dir = three_runs();
    let comparison = compare(&dir, &["a", "b"]).unwrap();
    assert_eq!(comparison.groups.len(), 1);
    let first = dir.path().join("a");
    assert_eq!(
        comparison.groups[0].label,
        format!("{}, b", first.display())
    );
    assert_eq!(comparison.queries, None);
    // Settings too long for a label.
    let long = format!("model.weights={}", "x".repeat(80));
    write(dir.path(), "d", &[&long], &values(2));
    let comparison = compare(&dir, &["a", "d"]).unwrap();
    assert!(comparison.groups[1].label.ends_with("/d"), "{comparison:?}");
}

#[test]
fn parts_that_are_on_or_off_tell_groups_apart() {
    let dir = tempdir().unwrap();
    write(dir.path(), "on", &[], &values(2));
    write(
        dir.path(),
        "off",
        &["image.train.colour_jitter=false"],
        &values(2),
    );
    write(
        dir.path(),
        "sizes",
        &["batch.size=64", "image.train.size=[8, 8]"],
        &values(2),
    );
    let labels = |names: &[&str]| -> Vec<String> {
        let groups = compare(&dir, names).unwrap().groups;
        groups.into_iter().map(|group| group.label).collect()
    };
    assert_eq!(
        labels(&["on", "off"]),
        ["colour_jitter=on", "colour_jitter=false"]
    );
    assert_eq!(
        labels(&["on", "sizes"]),
        [
            "batch.size=256, image.train.size=[32, 32]",
            "batch.size=64, image.train.size=[8, 8]"
        ]
    );
}

#[test]
fn without_the_same_queries_there_is_no_test() {
    let dir = three_runs();
    write(dir.path(), "fewer", &["epochs=3"], &values(2)[..20]);
    let comparison = compare(&dir, &["a", "fewer"]).unwrap();
    let result = &comparison.groups[1].results[0];
    assert_eq!(result.paired, None);
    assert_eq!(result.difference, Some(0.0));
    assert_eq!(
        comparison.notes,
        ["epochs=3 judges other queries than epochs=40: no test"]
    );
    // Of one recipe, too.
    write(dir.path(), "other", &["seed=7"], &values(2)[..20]);
    let comparison = compare(&dir, &["a", "other", "c"]).unwrap();
    assert_eq!(comparison.groups[1].results[0].paired, None);
    assert!(comparison.notes[0].contains("judge different queries: no test"));
}

#[test]
fn only_common_metrics_are_compared() {
    let dir = three_runs();
    let queries = dir.path().join("c/queries.csv");
    let lines = (0..40).map(|query| format!("{query}.png,{},0.5,1\n", query / 4));
    let table: String = ["image,class,map@r,recall@1\n".to_owned()]
        .into_iter()
        .chain(lines)
        .collect();
    fs::write(&queries, &table).unwrap();
    let comparison = compare(&dir, &["a", "c"]).unwrap();
    assert_eq!(comparison.metrics, [Metric::RecallAt(1)]);
    assert_eq!(comparison.notes[0], "not all runs have map@r: left out");
    assert_eq!(comparison.groups[1].results[0].mean, 1.0);

    fs::write(&queries, table.replace("recall@1", "mrr")).unwrap();
    let message = compare(&dir, &["a", "c"]).unwrap_err().to_string();
    assert!(message.contains("no metric in common"), "{message}");
}

#[test]
fn folders_that_are_refused() {
    let dir = three_runs();
    let refused = |names: &[&str]| compare(&dir, names).unwrap_err().to_string();
    assert!(refused(&["a", "none"]).contains("none holds no finished run, it has no config.toml"));
    assert!(refused(&["a", "b", "../x/../a"]).contains("holds no finished run"));
    assert!(refused(&["a", "b", "./a"]).contains("/./a is named twice"));
    fs::remove_file(dir.path().join("c/queries.csv")).unwrap();
    assert!(refused(&["a", "c"]).contains("c holds no finished run, it has no queries.csv"));
    fs::write(
        dir.path().join("b/metrics.jsonl"),
        "{\"kind\":\"other\"}\nnonsense\n",
    )
    .unwrap();
    let message = refused(&["b"]);
    assert!(
        message.contains("b/metrics.jsonl: line 2 is no record of a run"),
        "{message}"
    );
    fs::write(dir.path().join("b/config.toml"), "epoch = 3").unwrap();
    let message = refused(&["b"]);
    assert!(
        message.contains("b/config.toml: ") && message.contains("epoch;"),
        "{message}"
    );
}

#[test]
fn the_table_has_a_row_for_each_group() {
    let text = compare(&three_runs(), &["a", "b", "c"])
        .unwrap()
        .to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains("runs") && lines[0].ends_with("recall@1"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("mixup=true, clip_norm=false"),
        "{text}"
    );
    assert!(lines[1].ends_with("0.6250 ± 0.1768"), "{text}");
    assert!(lines[2].ends_with("0.9750"), "{text}");
    assert!(lines[3].contains("+0.3500  p 0.0"), "{text}");
    assert!(lines[4].starts_with("mean ± standard deviation"), "{text}");
    assert!(
        lines[5].ends_with("of a paired test over 40 queries"),
        "{text}"
    );
}

#[test]
fn programs_read_the_same() {
    let comparison = compare(&three_runs(), &["a", "b", "c"]).unwrap();
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["queries"], 40);
    assert_eq!(json["groups"][0]["runs"].as_array().unwrap().len(), 2);
    let first = &json["groups"][0]["metrics"]["recall@1"];
    assert_eq!(first["mean"], 0.625);
    assert!(first["difference"].is_null() && first["p_value"].is_null());
    let second = &json["groups"][1]["metrics"]["recall@1"];
    assert!(second["deviation"].is_null());
    assert!(second["p_value"].as_f64().unwrap() < 0.01);
    assert_eq!(second["interval"].as_array().unwrap().len(), 2);
}

#[test]
fn the_page_draws_each_row_of_the_table() {
    let dir = three_runs();
    let open = |name: &str| FinishedRun::open(dir.path().join(name)).unwrap();
    let runs = ["a", "b", "c"].map(open);
    let page = CompareConfig::default().compare(&runs).unwrap().page(&runs);
    let [metric, loss] = &page.curves[..] else {
        panic!("{page:?}");
    };
    assert_eq!(metric.title, "recall@1 on the validation images");
    // A line for each row of the table, by the same words; of several seeds the mean of their lines.
    let names: Vec<&str> = metric
        .series
        .iter()
        .map(|line| line.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["mixup=true, clip_norm=false", "mixup=false, clip_norm=0.1"]
    );
    assert_eq!(
        names,
        page.rows.iter().map(|row| &row.name).collect::<Vec<_>>()
    );
    assert_eq!(metric.series[0].parts.len(), 2);
    assert!(metric.series[1].parts.is_empty() && metric.shares && !loss.shares);
    assert_eq!(metric.series[1].points, [(0.0, 0.25), (1.0, 0.5)]);
    assert_eq!(loss.series[0].points[0], (0.0, 0.75));
    assert!(loss.series[0].points[1].1.is_nan());
    let page = page.render().unwrap();
    assert!(page.contains("0.6250 ± 0.1768") && page.matches("<svg viewBox").count() == 2);

    // Without a validation set everywhere it is the test images.
    let records = fs::read_to_string(dir.path().join("c/metrics.jsonl")).unwrap();
    let records = records.replace("\"split\":\"validation\",", "");
    fs::write(dir.path().join("c/metrics.jsonl"), records).unwrap();
    let runs = ["a", "c"].map(open);
    let page = CompareConfig::default().compare(&runs).unwrap().page(&runs);
    assert_eq!(page.curves[0].title, "recall@1 on the test images");
    assert_eq!(
        page.curves[0].series[1].points,
        [(0.0, 0.25), (1.0, 0.5), (1.0, 0.5)]
    );
}

/// Another run with the settings and numbers of `of`, but for its seed and what is replaced in its records.
fn repeat(dir: &TempDir, of: &str, name: &str, seed: u64, replace: (&str, &str)) {
    let [from, to] = [of, name].map(|name| dir.path().join(name));
    fs::create_dir_all(&to).unwrap();
    for file in ["config.toml", "metrics.jsonl", "queries.csv"] {
        let text = fs::read_to_string(from.join(file)).unwrap();
        let text = match file {
            "config.toml" => text.replace("seed = 1", &format!("seed = {seed}")),
            _ => text.replace(replace.0, replace.1),
        };
        fs::write(to.join(file), text).unwrap();
    }
}

#[test]
fn runs_that_are_identical_count_once_and_are_named() {
    let dir = three_runs();
    let once = compare(&dir, &["a", "b", "c"]).unwrap();
    repeat(&dir, "a", "again", 1, ("", ""));
    let twice = compare(&dir, &["a", "b", "again", "c"]).unwrap();
    assert_eq!(twice.groups, once.groups);
    let [note] = &twice.notes[..] else {
        panic!("{:?}", twice.notes);
    };
    let [again, a] = ["again", "a"].map(|name| dir.path().join(name).display().to_string());
    assert!(
        note.starts_with(&format!("{again} is identical with {a}, ")),
        "{note}"
    );
    assert!(note.ends_with("counted once"), "{note}");

    // A deviation of 0 of one computation done twice is none.
    let alone = compare(&dir, &["a", "again"]).unwrap();
    assert_eq!(alone.groups[0].runs.len(), 1);
    assert_eq!(alone.groups[0].results[0].deviation, None);
    // The page draws what counts.
    let runs = ["a", "again"].map(|name| FinishedRun::open(dir.path().join(name)).unwrap());
    let page = alone.page(&runs);
    assert_eq!(page.title, "One run");
    assert!(page.curves[0].series.len() == 1 && page.curves[0].series[0].parts.is_empty());

    // A seed that changes nothing is no seed.
    repeat(&dir, "a", "other seed", 9, ("", ""));
    let seeds = compare(&dir, &["a", "other seed"]).unwrap();
    assert_eq!(seeds.groups[0].runs.len(), 1);
}

#[test]
fn one_seed_with_other_numbers_and_other_settings_with_the_same_are_said() {
    let dir = three_runs();
    repeat(&dir, "a", "elsewhere", 1, ("0.75", "0.7500000000000001"));
    let comparison = compare(&dir, &["a", "elsewhere"]).unwrap();
    assert_eq!(comparison.groups[0].runs.len(), 2);
    assert!(comparison.notes[0].contains("have one seed and different numbers"));

    write(
        dir.path(),
        "shown",
        &["seed=1", "evaluation.gallery=3"],
        &values(2),
    );
    let comparison = compare(&dir, &["a", "shown"]).unwrap();
    assert_eq!(comparison.groups.len(), 2);
    assert!(comparison.notes[0].contains("what tells their settings apart changed nothing"));
}
