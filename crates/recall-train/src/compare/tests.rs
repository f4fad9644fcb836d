use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use image::{Rgb, RgbImage};
use recall_data::DataSpec;
use recall_eval::Metric;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::judge::QueryScores;
use crate::records::METRICS;
use crate::{EvaluationRecord, Finished, Loading, Place, TrainingRun};

/// Settings under which a run takes a moment.
const TINY: [&str; 9] = [
    "epochs=2",
    "batch.size=8",
    "batch.samples_per_class=2",
    "model.widths=[4,8]",
    "model.grid=2",
    "model.dim=8",
    "loss.ks=[1,2]",
    "evaluation.ks=[1]",
    "evaluation.every=1",
];

/// What a run left that went to its end.
struct Made {
    config: String,
    records: String,
    queries: QueryScores,
    result: EvaluationRecord,
}

/// A run of two epochs, trained once for all tests: they alter copies of what it left, so that they read
/// what runs write. It has 4 training, 2 validation and 10 test classes of 4 images each.
fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = tempdir().unwrap();
        for (split, classes) in [("train", 0..4), ("validation", 4..6), ("test", 6..16)] {
            for class in classes {
                let folder = dir.path().join(format!("images/{split}/{class}"));
                fs::create_dir_all(&folder).unwrap();
                for number in 0..4 {
                    let colour = |x: u32| Rgb([16 * class, 60 * number, 7 * x as u8]);
                    let image = RgbImage::from_fn(32, 32, |x, _| colour(x));
                    image.save(folder.join(format!("{number}.png"))).unwrap();
                }
            }
        }
        let mut config = RunConfig::read(None, &TINY.map(str::to_owned)).unwrap();
        config.data = DataSpec::Folder(dir.path().join("images"));
        let folder = dir.path().join("run");
        let finished = train(&TrainingRun {
            config,
            place: Place::New(Some(folder.clone())),
            loading: Loading::default(),
            command_line: String::new(),
            ranks: crate::Ranks::default(),
        });
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        Made {
            config: read("config.toml"),
            records: read(METRICS),
            queries: QueryScores::read(&folder.join("queries.csv")).unwrap(),
            result: finished.result.unwrap(),
        }
    })
}

fn train(run: &TrainingRun) -> Finished {
    let device = (recall_flex::BACKEND.open)(0);
    run.train(&*device, &mut ()).unwrap()
}

/// Epoch and recall@1 of what was judged while the run was made: on these images, or on all.
fn judged(split: Option<&str>) -> Vec<(f64, f64)> {
    let records = made().records.lines();
    records
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["kind"] == "evaluation")
        .filter(|record| split.is_none_or(|split| record["split"] == split))
        .map(|record| {
            let number = |key: &str| record[key].as_f64().unwrap();
            (number("epoch"), number("recall@1"))
        })
        .collect()
}

/// Gives a step of a run another loss.
fn alter_loss(dir: &TempDir, name: &str, step: u64, change: impl Fn(f64) -> Value) {
    let path = dir.path().join(name).join(METRICS);
    let records = fs::read_to_string(&path).unwrap();
    let line = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        match record["kind"] == "step" && record["step"] == step {
            true => {
                record["loss"] = change(record["loss"].as_f64().unwrap());
                record.to_string() + "\n"
            }
            false => line.to_owned() + "\n",
        }
    };
    let records: String = records.lines().map(line).collect();
    fs::write(&path, records).unwrap();
}

/// The values of 40 queries; every `miss`-th is 0.
fn values(miss: usize) -> Vec<f64> {
    (0..40).map(|query| f64::from(query % miss != 0)).collect()
}

/// A folder of the run with these settings instead, and these values of recall@1.
fn write(dir: &Path, name: &str, settings: &[&str], values: &[f64]) {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).unwrap();
    let Made {
        config,
        records,
        queries,
        ..
    } = made();
    let settings: Vec<String> = settings.iter().map(|&setting| setting.into()).collect();
    let config = RunConfig::read(Some(("settings", config)), &settings).unwrap();
    fs::write(folder.join("config.toml"), config.to_toml()).unwrap();
    fs::write(folder.join(METRICS), records).unwrap();
    let queries = QueryScores {
        images: queries.images[..values.len()].to_vec(),
        classes: queries.classes[..values.len()].to_vec(),
        scores: Scores::from_values(&[Metric::RecallAt(1)], values.to_vec()).unwrap(),
    };
    queries.write(&folder.join("queries.csv")).unwrap();
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
fn a_run_is_read_as_it_was_made() {
    let Made {
        config,
        records,
        queries,
        result,
    } = made();
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("config.toml"), config).unwrap();
    fs::write(dir.path().join(METRICS), records).unwrap();
    queries.write(&dir.path().join("queries.csv")).unwrap();
    let run = FinishedRun::open(dir.path()).unwrap();
    assert_eq!(run.config.to_toml(), *config);
    let steps: Vec<u64> = run.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, [0, 1, 2, 3]);
    assert!(run.steps.iter().all(|step| step.images == 8));
    // Validation before, in the middle and at the end, and the result.
    assert_eq!(run.evaluations.len(), 4);
    assert_eq!(run.evaluations.last(), Some(result));
    assert_eq!(run.queries, *queries);
    assert_eq!(run.queries.images.len(), 40);
    let evaluation = run.queries.scores.evaluation();
    assert_eq!(evaluation.values, result.evaluation.values);
    let comparison = CompareConfig::default().compare(&[run]).unwrap();
    assert_eq!(comparison.metrics, [Metric::RecallAt(1), Metric::MapAtR]);
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
        &["batch.size=16", "image.train.size=[8, 8]"],
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
            "batch.size=8, image.train.size=[32, 32]",
            "batch.size=16, image.train.size=[8, 8]"
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
        ["epochs=3 judges other queries than epochs=2: no test"]
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
    let with = |metrics: &[Metric], values: &[f64]| {
        let scores = Scores::from_values(metrics, values.repeat(40)).unwrap();
        let queries = QueryScores {
            scores,
            ..made().queries.clone()
        };
        queries.write(&dir.path().join("c/queries.csv")).unwrap();
    };
    with(&[Metric::MapAtR, Metric::RecallAt(1)], &[0.5, 1.0]);
    let comparison = compare(&dir, &["a", "c"]).unwrap();
    assert_eq!(comparison.metrics, [Metric::RecallAt(1)]);
    assert_eq!(comparison.notes[0], "not all runs have map@r: left out");
    assert_eq!(comparison.groups[1].results[0].mean, 1.0);

    with(&[Metric::Mrr], &[0.5]);
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
    let records = made().records.lines().next().unwrap();
    fs::write(
        dir.path().join("b").join(METRICS),
        format!("{records}\nnonsense\n"),
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
    for name in ["a", "b"] {
        alter_loss(&dir, name, 1, |_| Value::Null);
    }
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
    assert_eq!(metric.series[1].points, judged(Some("validation")));
    let of_c: Vec<(f64, f64)> = (runs[2].steps.iter())
        .map(|step| (step.step as f64, step.loss.unwrap()))
        .collect();
    assert_eq!(loss.series[1].points, of_c);
    assert_eq!(loss.series[0].points[0], of_c[0]);
    assert!(loss.series[0].points[1].1.is_nan());
    let page = page.render().unwrap();
    assert!(page.contains("0.6250 ± 0.1768") && page.matches("<svg viewBox").count() == 2);

    // Without a validation set everywhere it is the test images.
    let records = made().records.replace("\"split\":\"validation\",", "");
    fs::write(dir.path().join("c").join(METRICS), records).unwrap();
    let runs = ["a", "c"].map(open);
    let page = CompareConfig::default().compare(&runs).unwrap().page(&runs);
    assert_eq!(page.curves[0].title, "recall@1 on the test images");
    assert_eq!(page.curves[0].series[1].points, judged(None));
}

/// Another run with the settings and numbers of `of`, but for its seed.
fn repeat(dir: &TempDir, of: &str, name: &str, seed: u64) {
    let [from, to] = [of, name].map(|name| dir.path().join(name));
    fs::create_dir_all(&to).unwrap();
    for file in [METRICS, "queries.csv"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let config = RunConfig {
        seed,
        ..FinishedRun::open(from).unwrap().config
    };
    fs::write(to.join("config.toml"), config.to_toml()).unwrap();
}

#[test]
fn runs_that_are_identical_count_once_and_are_named() {
    let dir = three_runs();
    let once = compare(&dir, &["a", "b", "c"]).unwrap();
    repeat(&dir, "a", "again", 1);
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
    repeat(&dir, "a", "other seed", 9);
    let seeds = compare(&dir, &["a", "other seed"]).unwrap();
    assert_eq!(seeds.groups[0].runs.len(), 1);
}

#[test]
fn one_seed_with_other_numbers_and_other_settings_with_the_same_are_said() {
    let dir = three_runs();
    repeat(&dir, "a", "elsewhere", 1);
    alter_loss(&dir, "elsewhere", 0, |loss| (loss + 1e-9).into());
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
