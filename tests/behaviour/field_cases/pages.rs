//! Pages: galleries, reports and comparisons show what they claim.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage, imageops};
use recall_eval::Embeddings;
use recall_report::Picture;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, metrics, refuse, succeed, tiny};

/// Photographs with four things in each, and a table with the box of each thing; two classes train and
/// two test.
fn things() -> TempDir {
    let dir = tempdir().unwrap();
    let mut table = "path,label,split,x_1,y_1,x_2,y_2\n".to_owned();
    for photograph in 0..4 {
        let image = RgbImage::from_fn(48, 48, |x, y| thing(x / 24 + 2 * (y / 24), photograph));
        image
            .save(dir.path().join(format!("{photograph}.png")))
            .unwrap();
        for class in 0..4 {
            let split = if class < 2 { "train" } else { "test" };
            let (left, top) = (class % 2 * 24, class / 2 * 24);
            table += &format!(
                "{photograph}.png,thing-{class},{split},{left},{top},{},{}\n",
                left + 24,
                top + 24
            );
        }
    }
    fs::write(dir.path().join("things.csv"), table).unwrap();
    dir
}

fn thing(class: u32, photograph: u32) -> Rgb<u8> {
    Rgb([
        60 * class as u8,
        250 - 60 * class as u8,
        40 * photograph as u8,
    ])
}

/// The thing as a page shows it: cut out of its photograph.
fn cut_out(class: u32, photograph: u32) -> String {
    let image = RgbImage::from_pixel(24, 24, thing(class, photograph));
    Picture::of(image, String::new()).data_uri().unwrap()
}

fn read(dir: &Path, name: &str) -> String {
    let page = fs::read_to_string(dir.join(name)).unwrap();
    page.replace("&#x2f;", "/")
}

/// An index with a row for each of the names, which lie apart on a circle.
fn index(dir: &Path, names: &[String]) {
    let angle = |at: usize| at as f32 / names.len() as f32;
    let values = (0..names.len()).flat_map(|at| [angle(at).cos(), angle(at).sin()]);
    let embeddings = Embeddings::new(values.collect(), 2).unwrap();
    embeddings.save(dir.join("i.npy")).unwrap();
    fs::write(dir.join("i.txt"), names.join("\n") + "\n").unwrap();
}

#[test]
fn pictures_are_cut_to_their_boxes_as_the_network_saw_them() {
    let dir = things();
    let run = [
        "--data",
        "csv:things.csv",
        "--set",
        "evaluation.validation=0",
        "--out",
        "run",
    ];
    succeed(tiny(dir.path(), &run).args(["--set", "batch.size=4"]));
    let report = read(dir.path(), "run/report.html");
    let embed = [
        "embed",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--output",
        "i.npy",
    ];
    succeed(&mut command(dir.path(), &embed));
    // The index knows its data.
    let (stdout, _) = succeed(&mut command(dir.path(), &["gallery", "--index", "i.npy"]));
    assert!(!stdout.contains("not found"), "{stdout}");
    for page in [report, read(dir.path(), "gallery.html")] {
        for (class, photograph) in [(2, 0), (2, 3), (3, 1)] {
            assert!(
                page.contains(&cut_out(class, photograph)),
                "{class} {photograph}"
            );
        }
        // Not a single whole photograph.
        for photograph in 0..4 {
            let whole = image::open(dir.path().join(format!("{photograph}.png"))).unwrap();
            let whole = Picture::of(whole.into_rgb8(), String::new())
                .data_uri()
                .unwrap();
            assert!(!page.contains(&whole));
        }
    }

    // Where the settings say that images stay whole they are shown whole.
    let whole = [
        "--set",
        "batch.size=4",
        "--set",
        "image.boxes=ignore",
        "--out",
        "whole",
    ];
    succeed(tiny(dir.path(), &run[..4]).args(whole));
    let page = read(dir.path(), "whole/report.html");
    let first = image::open(dir.path().join("0.png")).unwrap().into_rgb8();
    assert_eq!(
        imageops::crop_imm(&first, 0, 24, 1, 1).to_image()[(0, 0)],
        thing(2, 0)
    );
    let first = Picture::of(first, String::new()).data_uri().unwrap();
    assert!(page.contains(&first) && !page.contains(&cut_out(2, 0)));
}

/// A run of twelve training classes, of which two are held out, and eight test classes.
fn trained(dir: &Path, out: &str, settings: &[&str]) {
    if !dir.join("images").exists() {
        class_folders(&dir.join("images/train"), 0..12, 4);
        class_folders(&dir.join("images/test"), 12..20, 4);
    }
    let mut run = tiny(dir, &["--data", "folder:images", "--out", out]);
    run.args(["--set", "evaluation.validation=0.2", "--set", "epochs=3"]);
    for setting in settings {
        run.args(["--set", setting]);
    }
    succeed(&mut run);
}

#[test]
fn a_report_says_which_epoch_was_judged_and_why() {
    let dir = tempdir().unwrap();
    trained(dir.path(), "run", &["evaluation.every=1"]);
    let records = metrics(&dir.path().join("run"));
    let judged = records.iter().find(|record| record["split"] == "test");
    let epoch = judged.unwrap()["epoch"].as_u64().unwrap();
    let page = read(dir.path(), "run/report.html");
    let sentence = format!("The model judged is that after epoch {epoch} of 3: ");
    assert_eq!(page.matches(&sentence).count(), 1, "{sentence}");
    assert!(page.contains("on the validation classes"));

    trained(dir.path(), "last", &["evaluation.validation=0"]);
    let page = read(dir.path(), "last/report.html");
    assert!(page.contains("The model judged is that after the last epoch, 3: "));
}

#[test]
fn validation_and_test_are_judged_among_as_many_classes() {
    let dir = tempdir().unwrap();
    trained(dir.path(), "run", &[]);
    let page = read(dir.path(), "run/report.html");
    assert!(page.contains("validation has 2 and the test 8."), "{page}");
    assert!(page.contains("dealt into 4 groups by a hash of their names, about 2 to a group"));
    let (_, table) = page.split_once("<table class=\"peers\"").unwrap();
    let (table, _) = table.split_once("</table>").unwrap();
    assert_eq!(table.matches("<tr>").count(), 4, "a head and three metrics");

    trained(dir.path(), "again", &["seed=1"]);
    assert!(read(dir.path(), "again/report.html").contains("dealt into 4 groups"));
    trained(dir.path(), "none", &["evaluation.validation=0"]);
    assert!(!read(dir.path(), "none/report.html").contains("<table class=\"peers\""));
}

#[test]
fn the_network_before_its_first_step_is_the_baseline() {
    let dir = tempdir().unwrap();
    trained(dir.path(), "run", &[]);
    let records = metrics(&dir.path().join("run"));
    let baselines: Vec<&Value> = records
        .iter()
        .filter(|of| of["kind"] == "baseline")
        .collect();
    let [baseline] = baselines[..] else {
        panic!("{baselines:?}");
    };
    // What a run sees that judges the test images all the time, and needs no second look.
    trained(
        dir.path(),
        "watched",
        &["evaluation.test_during_training=true"],
    );
    let watched = metrics(&dir.path().join("watched"));
    assert!(watched.iter().all(|record| record["kind"] != "baseline"));
    let first = watched
        .iter()
        .find(|record| record["split"] == "test")
        .unwrap();
    assert_eq!(first["step"], 0);
    for key in ["recall@1", "recall@2", "map@r", "queries"] {
        assert_eq!(baseline[key], first[key], "{key}");
    }
    // Both reports set the result beside it, and nothing else of the run has changed.
    let steps = |of: &[Value]| -> Vec<Value> {
        let steps = of.iter().filter(|record| record["kind"] == "step");
        steps.cloned().collect()
    };
    assert_eq!(steps(&records), steps(&watched));
    for run in ["run", "watched"] {
        let page = read(dir.path(), &format!("{run}/report.html"));
        assert!(page.contains("the network before its first step"), "{run}");
        let before = 100.0 * baseline["recall@1"].as_f64().unwrap();
        let cell = format!("<td class=\"before\">{before:.1}\u{202f}%</td>");
        assert!(page.contains(&cell), "{run}: {cell}");
    }
}

#[test]
fn as_many_neighbours_as_a_page_can_show() {
    let dir = tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|row| format!("{row}.png")).collect();
    index(dir.path(), &names);
    let gallery = |more: &[&str]| {
        let mut gallery = command(dir.path(), &["gallery", "--index", "i.npy"]);
        gallery.args(more);
        gallery
    };
    let message = refuse(&mut gallery(&["--neighbours", "10000"]));
    assert_eq!(
        message,
        "--neighbours 10000 is more than a page can show: give at most 100"
    );
    let message = refuse(&mut gallery(&["--neighbours", "100", "--count", "250"]));
    assert_eq!(
        message,
        "250 queries with 100 neighbours each are 25250 pictures, and a page holds at most 20000: lower \
         --count or --neighbours"
    );
    assert!(!dir.path().join("gallery.html").exists());
    succeed(&mut gallery(&[]));
    // Ten in a row.
    assert!(read(dir.path(), "gallery.html").contains("style=\"--columns:10;--few:5\""));
}

#[test]
fn of_a_path_the_end_is_shown() {
    let dir = tempdir().unwrap();
    let folder = "pictures/of/the/whole/family/from/all/of/the/years/before";
    let names: Vec<String> = (0..4)
        .map(|row| format!("{folder}/{row}/cat.png"))
        .collect();
    index(dir.path(), &names);
    succeed(&mut command(dir.path(), &["gallery", "--index", "i.npy"]));
    let page = read(dir.path(), "gallery.html");
    for (row, name) in names.iter().enumerate() {
        let end = format!("/the/years/before/{row}/cat.png</span>");
        assert!(page.contains(&end), "{end}");
        assert!(
            page.contains(&format!("title=\"{name}\"")),
            "the whole name is there"
        );
    }
    assert!(!page.contains(">pictures/of/the/whole"));
}

#[test]
fn a_run_and_its_copy_are_no_two_seeds() {
    let dir = tempdir().unwrap();
    trained(dir.path(), "a", &[]);
    trained(dir.path(), "again", &[]);
    trained(dir.path(), "seed-1", &["seed=1"]);
    let compare = ["compare", "a", "again", "seed-1", "--output", "page.html"];
    let (stdout, _) = succeed(&mut command(dir.path(), &compare));
    let row = stdout.lines().nth(1).unwrap();
    assert!(row.starts_with("a, seed-1"), "{stdout}");
    assert_eq!(
        row.split_whitespace().nth(2),
        Some("2"),
        "two seeds: {stdout}"
    );
    assert!(
        stdout.contains(
            "again is identical with a, all losses and metrics bit for bit: counted once"
        ),
        "{stdout}"
    );
    let message = refuse(&mut command(dir.path(), &["compare", "a", "./a"]));
    assert!(message.contains("is named twice"), "{message}");
}

#[test]
fn curves_have_the_names_of_the_rows_of_the_table() {
    let dir = tempdir().unwrap();
    let recipe = ["loss.mixup=false", "optimiser.learning_rate=0.01"];
    trained(dir.path(), "a", &[]);
    trained(dir.path(), "b", &recipe);
    let compare = ["compare", "a", "b", "--output", "page.html"];
    let (stdout, _) = succeed(&mut command(dir.path(), &compare));
    let page = read(dir.path(), "page.html");
    for line in [1, 2] {
        let line = stdout.lines().nth(line).unwrap();
        let (label, _) = line.split_once("  ").unwrap();
        // In the table, and below each of two charts.
        assert_eq!(
            page.matches(&format!("</i>{label}</th>")).count(),
            1,
            "{label}"
        );
        assert_eq!(
            page.matches(&format!("</i> {label}</span>")).count(),
            2,
            "{label}"
        );
    }
    // No recall is above 1, and no axis goes on there.
    for beyond in [">1.05<", ">1.1<", ">1.2<"] {
        let (recalls, _) = page.split_once("Loss (1").unwrap();
        assert!(!recalls.contains(beyond));
    }
}

#[test]
fn a_gallery_without_pictures_names_the_cure() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("photos"), 0..2, 2);
    let names = ["class-00/0.png", "class-01/1.png"].map(str::to_owned);
    index(dir.path(), &names);
    let gallery = |more: &[&str]| {
        let mut gallery = command(dir.path(), &["gallery", "--index", "i.npy", "--force"]);
        let (stdout, _) = succeed(gallery.args(more));
        (stdout, read(dir.path(), "gallery.html"))
    };
    let (stdout, page) = gallery(&[]);
    let cure = "2 pictures were not found and are shown as their names: --index-data SPEC names the data \
                set of the index, such as folder:photos";
    assert!(stdout.contains(cure) && page.contains(cure), "{stdout}");
    let (stdout, page) = gallery(&["--index-data", "folder:photos"]);
    assert!(
        !stdout.contains("not found") && !page.contains("not found"),
        "{stdout}"
    );
    assert_eq!(page.matches("src=\"data:image/").count(), 4);
    fs::remove_file(dir.path().join("photos/class-00/0.png")).unwrap();
    let (stdout, _) = gallery(&["--index-data", "folder:photos"]);
    assert!(
        stdout.contains("is shown as its name: neither the data set"),
        "{stdout}"
    );
}
