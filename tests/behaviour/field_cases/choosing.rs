//! Which epoch of a run is its result.

use std::path::Path;

use image::{Rgb, RgbImage};
use recall_train::{Best, Checkpoint};
use tempfile::tempdir;

use crate::support::{class_folders, metrics, succeed, tiny};

const DATA: [&str; 4] = ["--data", "folder:images", "--out", "run"];

const THREE_EPOCHS: [&str; 6] = [
    "--set",
    "epochs=3",
    "--set",
    "evaluation.every=1",
    "--set",
    "evaluation.validation=0.3",
];

/// Classes of one colour each, which no model confuses.
fn flat_classes(dir: &Path, classes: std::ops::Range<u8>) {
    for class in classes {
        let folder = dir.join(format!("colour-{class:02}"));
        std::fs::create_dir_all(&folder).unwrap();
        let colour = [class * 97 % 251, class * 31 % 241, class * 59 % 239];
        let image = RgbImage::from_pixel(20, 20, Rgb(colour));
        for instance in 0..4 {
            image.save(folder.join(format!("{instance}.png"))).unwrap();
        }
    }
}

/// The best checkpoint of a run.
fn best(run: &Path) -> Best {
    Checkpoint::open(run).unwrap().state.best.unwrap()
}

#[test]
fn validation_that_cannot_choose_takes_the_last_epoch_and_says_so() {
    let dir = tempdir().unwrap();
    flat_classes(&dir.path().join("images/train"), 0..16);
    flat_classes(&dir.path().join("images/test"), 16..20);
    let (_, stderr) = succeed(tiny(dir.path(), &DATA).args(THREE_EPOCHS).arg("--quiet"));
    let best = best(&dir.path().join("run"));
    assert_eq!((best.epoch, best.value, best.map_at_r), (3, 1.0, Some(1.0)));
    let warning = "validation could not choose between 3 evaluations: recall@1 on the validation classes \
                   is 1.0000 after each of them, and so is map@r, 1.0000;";
    assert!(stderr.starts_with(warning), "{stderr}");
}

#[test]
fn recall_chooses_the_epoch_then_map_at_r_then_the_later_one() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..16, 4);
    class_folders(&dir.path().join("images/test"), 16..20, 4);
    for select in ["recall@1", "recall@2", "map@r"] {
        let out = select.replace('@', "-");
        let arguments = [
            "--set",
            &format!("evaluation.select={select}"),
            "--out",
            &out,
        ];
        let mut command = tiny(dir.path(), &["--data", "folder:images"]);
        succeed(command.args(THREE_EPOCHS).args(arguments));
        let run = dir.path().join(&out);
        let records = metrics(&run);
        let judged = records.iter().filter(|record| {
            record["split"] == "validation" && record["step"].as_u64().unwrap() > 0
        });
        let judged: Vec<_> = judged.collect();
        assert_eq!(judged.len(), 3);
        let value = |epoch: usize, metric: &str| judged[epoch][metric].as_f64().unwrap();
        let chosen = (0..3).max_by(|&a, &b| {
            let of = |metric| value(a, metric).total_cmp(&value(b, metric));
            of(select).then(of("map@r")).then(a.cmp(&b))
        });
        let chosen = chosen.unwrap();
        let best = best(&run);
        assert_eq!(best.epoch, judged[chosen]["epoch"].as_u64().unwrap());
        assert_eq!(best.value, value(chosen, select));
        assert_eq!(best.map_at_r, Some(value(chosen, "map@r")));
    }
}
