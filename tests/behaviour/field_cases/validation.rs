//! Validation selects and test judges, whatever a data set is read from.

use std::fs;
use std::path::Path;

use crate::support::{class_folders, command, metrics, refuse, succeed, table, tiny};

/// A table of 16 classes: 8 to train, 4 for validation, 4 to test; without the parts left out.
fn table_of_three(dir: &Path, without: &str) {
    class_folders(dir, 0..16, 4);
    let mut text = "path,label,split\n".to_owned();
    for class in 0..16 {
        let split = match class {
            0..8 => "train",
            8..12 => "validation",
            _ => "test",
        };
        if split != without {
            for image in 0..4 {
                text += &format!("class-{class:02}/{image}.png,class-{class:02},{split}\n");
            }
        }
    }
    fs::write(dir.join("table.csv"), text).unwrap();
}

#[test]
fn validation_rows_of_a_table_select_and_test_rows_judge() {
    let dir = tempfile::tempdir().unwrap();
    table_of_three(dir.path(), "");
    let train = ["--data", "csv:table.csv", "--out", "run"];
    let (stdout, stderr) = succeed(&mut tiny(dir.path(), &train));
    let told = "table has 16 validation images: they choose the best epoch, and no classes are held out \
                of training (evaluation.validation does not apply)";
    assert!(stderr.contains(told), "{stderr}");
    assert!(
        stderr.contains("32 training images of 8 classes, 16 validation and 16 test images"),
        "{stderr}"
    );
    let records = metrics(&dir.path().join("run"));
    let judged = |split: &str| -> Vec<u64> {
        let of = records.iter().filter(|record| record["split"] == split);
        of.map(|record| record["queries"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(judged("validation"), [16, 16]);
    assert!(judged("test").iter().all(|&queries| queries == 16));

    // The test part alone is what the run reports and `eval` finds again.
    let eval = ["eval", "--checkpoint", "run", "--quiet"];
    let (test, _) = succeed(&mut command(dir.path(), &eval));
    assert_eq!(table(&test), table(&stdout));
    let last = records
        .iter()
        .rfind(|record| record["split"] == "validation");
    let eval = [&eval[..], &["--split", "validation"]].concat();
    let (validation, _) = succeed(&mut command(dir.path(), &eval));
    let expected = last.unwrap()["recall@1"].as_f64().unwrap();
    assert_eq!(table(&validation)[0].1, format!("{expected:.4}"));

    let embed = |split: &str| {
        let output = format!("{split}.npy");
        let embed = [
            "embed",
            "--checkpoint",
            "run",
            "--split",
            split,
            "--output",
            &output,
        ];
        succeed(&mut command(dir.path(), &embed));
        fs::read_to_string(dir.path().join(format!("{split}.txt"))).unwrap()
    };
    let validation = embed("validation");
    assert_eq!(validation.lines().next(), Some("class-08/0.png"));
    assert_eq!(validation.lines().count(), 16);
    assert_eq!(embed("all").lines().count(), 64);

    let (report, _) = succeed(&mut command(dir.path(), &["check", "csv:table.csv"]));
    let parts: Vec<&str> = report.lines().skip(2).take(4).collect();
    assert_eq!(
        parts,
        [
            "part        images  classes",
            "train           32        8",
            "validation      16        4",
            "test            16        4",
        ]
    );
}

#[test]
fn the_held_out_classes_are_the_validation_part_where_a_data_set_has_none() {
    let dir = tempfile::tempdir().unwrap();
    table_of_three(dir.path(), "validation");
    let train = [
        "--data",
        "csv:table.csv",
        "--out",
        "run",
        "--set",
        "evaluation.validation=0.25",
    ];
    succeed(&mut tiny(dir.path(), &train));
    let records = metrics(&dir.path().join("run"));
    let last = records
        .iter()
        .rfind(|record| record["split"] == "validation")
        .unwrap();
    let eval = [
        "eval",
        "--checkpoint",
        "run",
        "--quiet",
        "--split",
        "validation",
    ];
    let (validation, _) = succeed(&mut command(dir.path(), &eval));
    let expected = last["recall@1"].as_f64().unwrap();
    assert_eq!(table(&validation)[0].1, format!("{expected:.4}"));

    // Without either there is nothing to judge.
    let train = [
        "--data",
        "csv:table.csv",
        "--out",
        "none",
        "--set",
        "evaluation.validation=0",
    ];
    succeed(&mut tiny(dir.path(), &train));
    let eval = ["eval", "--checkpoint", "none", "--split", "validation"];
    let message = refuse(&mut command(dir.path(), &eval));
    assert!(
        message.starts_with("the data set table has no validation images"),
        "{message}"
    );
}

#[test]
fn a_folder_of_three_parts_has_three_splits() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(&dir.path().join("data/train"), 0..8, 4);
    class_folders(&dir.path().join("data/val"), 8..12, 4);
    class_folders(&dir.path().join("data/test"), 12..16, 4);
    let train = ["--data", "folder:data", "--out", "run"];
    let (_, stderr) = succeed(&mut tiny(dir.path(), &train));
    assert!(
        stderr.contains("32 training images of 8 classes, 16 validation and 16 test images"),
        "{stderr}"
    );
}
