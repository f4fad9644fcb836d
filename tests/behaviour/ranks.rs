//! Runs of several ranks, which are threads here: `mpi` has the same as processes.

use std::fs;
use std::path::Path;

use recall_data::{CorruptPolicy, DataSpec};
use recall_step::in_turns;
use recall_train::{
    Checkpoint, Finished, Loading, NamedBackend, Place, Ranks, RunConfig, RunError, TrainingRun,
};
use tempfile::tempdir;

use crate::support::{class_folders, metrics};

fn config(photos: &Path, extra: &[&str]) -> RunConfig {
    let settings = [
        "epochs=2",
        "batch.size=16",
        "batch.samples_per_class=2",
        "batch.chunk=5",
        "model.widths=[4,8]",
        "model.grid=2",
        "model.dim=16",
        "optimiser.average=0.9",
        "evaluation.every=1",
        "evaluation.chunk=5",
        "evaluation.validation=0.3",
        "evaluation.ks=[1,2]",
        "evaluation.gallery=1",
    ];
    let settings = settings.iter().chain(extra);
    let settings: Vec<String> = settings.map(|&setting| setting.to_owned()).collect();
    let mut config = RunConfig::read(None, &settings).unwrap();
    config.data = DataSpec::Folder(photos.to_owned());
    config
}

/// What each of so many ranks comes to.
fn train(run: &TrainingRun, size: usize) -> Vec<Result<Finished, RunError>> {
    in_turns(size, |ranks| {
        let run = TrainingRun {
            ranks: Ranks::from(ranks),
            ..run.clone()
        };
        let device = NamedBackend::FLEX.open().unwrap();
        run.train(&*device, &mut ())
    })
}

fn new(config: &RunConfig, out: &Path) -> TrainingRun {
    TrainingRun {
        place: Place::New(Some(out.to_owned())),
        ..TrainingRun::new(config.clone())
    }
}

fn assert_close(run: &Path, straight: &Path) {
    let (ours, expected) = (metrics(run), metrics(straight));
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(&expected) {
        assert_eq!(ours["kind"], expected["kind"]);
        for key in ["loss", "recall", "gradient_norm", "recall@1", "map@r"] {
            match (ours[key].as_f64(), expected[key].as_f64()) {
                (Some(ours), Some(expected)) => assert!(
                    (ours - expected).abs() <= 1e-4 * expected.abs().max(1.0),
                    "{key}: {ours} {expected}"
                ),
                (ours, expected) => assert_eq!(ours, expected, "{key}"),
            }
        }
        assert_eq!(ours["images"], expected["images"]);
    }
}

#[test]
fn a_run_of_ranks_is_that_of_one_process() {
    let dir = tempdir().unwrap();
    let photos = dir.path().join("photos");
    class_folders(&photos.join("train"), 0..12, 4);
    class_folders(&photos.join("test"), 12..16, 4);
    for (name, extra) in [
        ("recall", &["loss.mixup=true"][..]),
        (
            "proxies",
            &["loss.kind=proxy-anchor", "loss.start=class-means"],
        ),
    ] {
        let config = config(&photos, extra);
        let place = |size: usize| dir.path().join(format!("{name}-{size}"));
        for size in [1, 2, 5] {
            let all = train(&new(&config, &place(size)), size);
            assert!(all.iter().all(Result::is_ok), "{all:?}");
            let all: Vec<Finished> = all.into_iter().flatten().collect();
            for rank in &all {
                assert_eq!(rank.epoch, all[0].epoch);
                assert_eq!(rank.report, place(size).join("report.html"));
                let values = |of: &Finished| of.result.as_ref().map(|of| of.evaluation.clone());
                assert_eq!(values(rank), values(&all[0]));
            }
            assert!(all[0].report.is_file());
            assert_close(&place(size), &place(1));
        }
        // What was trained by two goes on with three, and with one.
        for size in [3, 1] {
            let first = fs::read_dir(place(2).join("checkpoints")).unwrap();
            let first = first.map(|entry| entry.unwrap().path());
            let is_one = |path: &std::path::PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with("step-")
            };
            let first = first.filter(is_one).min().unwrap();
            let resumed = TrainingRun::resumed(&first, Loading::default(), String::new());
            let all = train(&resumed.unwrap(), size);
            assert!(all.iter().all(Result::is_ok), "{all:?}");
            assert_close(&place(2), &place(1));
            assert!(Checkpoint::open(&place(2)).is_ok());
        }
    }
}

#[test]
fn images_that_one_rank_cannot_read_are_left_out_by_all() {
    let dir = tempdir().unwrap();
    let photos = dir.path().join("photos");
    class_folders(&photos.join("train"), 0..12, 4);
    class_folders(&photos.join("test"), 12..16, 4);
    for broken in ["train/class-03/2.png", "test/class-13/0.png"] {
        fs::write(photos.join(broken), b"no image").unwrap();
    }
    let config = config(&photos, &["evaluation.validation=0"]);
    let mut run = new(&config, &dir.path().join("run"));
    let errors = train(&run, 2);
    assert!(errors.iter().all(Result::is_err));
    let mut errors_of = errors.iter().filter_map(|result| result.as_ref().err());
    let named = errors_of.any(|error| error.to_string().contains("/class-"));
    assert!(named, "{errors:?}");

    run.loading.corrupt = CorruptPolicy::Skip;
    run.place = Place::New(Some(dir.path().join("skipping")));
    let all = train(&run, 2);
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let records = metrics(&dir.path().join("skipping"));
    let skipped = records.iter().filter(|record| record["skipped"] == 1);
    assert!(skipped.count() > 0);
}

#[test]
fn ranks_that_differ_are_refused_before_the_first_step() {
    let dir = tempdir().unwrap();
    let photos = dir.path().join("photos");
    class_folders(&photos.join("train"), 0..8, 4);
    class_folders(&photos.join("test"), 8..12, 4);
    let other = dir.path().join("other");
    class_folders(&other.join("train"), 0..8, 4);
    class_folders(&other.join("test"), 8..13, 4);
    let of = |config: &RunConfig, rank: usize, what: &str| {
        let mut config = config.clone();
        match (rank, what) {
            (0, _) => {}
            (_, "other settings") => config.seed = 9,
            _ => config.data = DataSpec::Folder(other.clone()),
        }
        config
    };
    let config = config(&photos, &["evaluation.validation=0"]);
    for what in ["other settings", "other images"] {
        let said = in_turns(2, |ranks| {
            let run = TrainingRun {
                place: Place::New(Some(dir.path().join("run"))),
                ..TrainingRun::new(of(&config, ranks.rank(), what))
            };
            let run = TrainingRun {
                ranks: ranks.into(),
                ..run
            };
            let device = NamedBackend::FLEX.open().unwrap();
            let refused = run.train(&*device, &mut ());
            refused.unwrap_err().to_string()
        });
        for said in said {
            let expected = format!("rank 1 has {what} than rank 0");
            assert!(said.starts_with(&expected), "{said}");
        }
        assert!(!dir.path().join("run").exists());
    }
}
