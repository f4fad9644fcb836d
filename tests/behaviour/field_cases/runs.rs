//! Runs that are begun, stopped, continued and ended.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::support::{class_folders, command, metrics, picture, refuse, succeed, table, tiny};

/// `metrics.jsonl` would mix what was judged on two sets of test images.
#[test]
fn a_test_image_that_was_added_is_named_before_a_run_goes_on() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("photos/train"), 0..4, 4);
    class_folders(&dir.path().join("photos/test"), 4..7, 3);
    let arguments = ["--data", "folder:photos", "--out", "run", "--quiet"];
    succeed(&mut tiny(dir.path(), &arguments));
    let added = dir.path().join("photos/test/class-04/new.png");
    picture(&added, 4, 7);
    let resume = ["--backend", "flex", "--resume", "run"];
    let message = refuse(&mut command(dir.path(), &resume));
    let said = "1 test image was added (class-04/new.png)";
    assert!(message.contains(said), "{message}");
    fs::remove_file(added).unwrap();
    succeed(&mut command(dir.path(), &resume));
}

/// A table of eight classes of four images, with the columns that `about` writes for class and instance.
fn write_table(dir: &Path, columns: &str, about: impl Fn(u32, u32) -> String) {
    let mut table = format!("path,label,{columns}\n");
    for class in 0..8 {
        for instance in 0..4 {
            let path = format!("images/{class}-{instance}.png");
            picture(&dir.join(&path), class, instance);
            table += &format!("{path},label {class},{}\n", about(class, instance));
        }
    }
    fs::write(dir.join("table.csv"), table).unwrap();
}

#[test]
fn test_images_that_cannot_judge_are_refused_before_the_first_step() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("photos/train"), 0..4, 4);
    class_folders(&dir.path().join("photos/test"), 4..7, 1);
    let run = |data: &str| refuse(&mut tiny(dir.path(), &["--data", data, "--out", "run"]));
    let message = run("folder:photos");
    let said = "the test images of photos cannot judge a run, as no query has another image of its class to find";
    assert!(message.starts_with(said), "{message}");
    for (searches, said) in [
        ("true,false", "none of them can be found, all are queries"),
        ("false,true", "none of them is a query"),
    ] {
        write_table(
            dir.path(),
            "split,is_query,is_gallery",
            |class, _| match class {
                0..4 => "train,,".to_owned(),
                _ => format!("test,{searches}"),
            },
        );
        let message = run("csv:table.csv");
        assert!(message.contains(said), "{message}");
    }
    // Queries of some classes, and a gallery of others.
    write_table(dir.path(), "split,is_query,is_gallery", |class, _| {
        let row = ["train,,", "train,,", "test,true,false", "test,false,true"];
        row[class as usize / 2].to_owned()
    });
    assert!(run("csv:table.csv").contains("no query has another image"));
    assert!(!dir.path().join("run").exists());
}

#[test]
fn a_run_without_test_images_is_judged_by_validation_and_says_so() {
    let dir = tempdir().unwrap();
    write_table(dir.path(), "split", |_, _| "train".to_owned());
    let train = |out: &str, settings: &[&str]| {
        let mut run = tiny(dir.path(), &["--data", "csv:table.csv", "--out", out]);
        for setting in settings {
            run.args(["--set", setting]);
        }
        succeed(&mut run)
    };
    let share = "evaluation.validation=0.4";
    let (stdout, stderr) = train("run", &[share]);
    let said = "of the validation images, which chose the epoch: there are no test images";
    assert!(stdout.contains(said), "{stdout}");
    assert!(stderr.contains("table has no test images"), "{stderr}");
    assert!(
        stderr.contains("judged on the validation images"),
        "{stderr}"
    );
    let records = metrics(&dir.path().join("run"));
    let judged = |split: &str| {
        records
            .iter()
            .filter(|record| record["split"] == split)
            .count()
    };
    // Before and after the one epoch.
    assert_eq!((judged("validation"), judged("test")), (2, 0));
    let value = records.last().unwrap()["recall@1"].as_f64().unwrap();
    assert_eq!(table(&stdout)[0].1, format!("{value:.4}"));
    let page = fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("there were no test images"));
    assert!(page.contains("from the validation images"));
    assert!(!page.contains("never seen"));

    let resume = ["--backend", "flex", "--quiet", "--resume", "run"];
    assert_eq!(succeed(&mut command(dir.path(), &resume)).0, stdout);
    assert_eq!(metrics(&dir.path().join("run")), records);
    train("seed", &[share, "seed=1"]);
    succeed(&mut command(dir.path(), &["compare", "run", "seed"]));
    let mut plan = command(
        dir.path(),
        &["plan", "--backend", "flex", "--data", "csv:table.csv"],
    );
    succeed(plan.args(["--set", "batch.size=8", "--set", share]));
}

#[test]
fn a_run_that_nothing_can_judge_trains_and_says_so() {
    let dir = tempdir().unwrap();
    write_table(dir.path(), "split", |_, _| "train".to_owned());
    let all = [
        "--data",
        "csv:table.csv",
        "--set",
        "evaluation.validation=0",
        "--out",
    ];
    let (stdout, stderr) = succeed(tiny(dir.path(), &all).arg("run"));
    assert!(table(&stdout).is_empty(), "{stdout}");
    assert!(
        stderr.contains("neither test nor validation images"),
        "{stderr}"
    );
    let page = fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("nothing: there were neither test nor validation images"));
    assert!(!dir.path().join("run/queries.csv").exists());

    let (stdout, _) = succeed(tiny(dir.path(), &all).args(["seeds", "--seeds", "0,1"]));
    assert!(
        dir.path().join("seeds/seed-1/report.html").exists(),
        "{stdout}"
    );
    // What all was trained for.
    let embed = [
        "embed",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--split",
        "all",
    ];
    succeed(command(dir.path(), &embed).args(["--output", "all.npy"]));
    succeed(&mut command(
        dir.path(),
        &["gallery", "--checkpoint", "run", "--index", "all.npy"],
    ));
    let message = refuse(&mut command(dir.path(), &["eval", "--checkpoint", "run"]));
    let said = "table has no test images; --data names another one";
    assert!(message.contains(said), "{message}");
}
