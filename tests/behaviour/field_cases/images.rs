//! Image files as they lie on people's disks: cut short by a download, and turned by a phone.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::png::PngEncoder;
use image::imageops::rotate270;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use recall_eval::Embeddings;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{class_folders, command, metrics, refuse, succeed, tiny};

/// A small file of each kind that can end early.
fn whole(name: &str) -> Vec<u8> {
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/recall-data/tests/fixtures/images");
    fs::read(fixtures.join(name)).unwrap()
}

/// Writes `name`, cut to `length` bytes, into a folder.
fn cut(folder: &Path, name: &str, length: usize) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(format!("{length:05}-{name}"));
    fs::write(&path, &whole(name)[..length]).unwrap();
    path
}

#[test]
fn check_names_every_file_that_ends_early_and_no_other() {
    let dir = tempdir().unwrap();
    let kinds = [
        "420.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "grey.jpg",
        "ycck.jpg",
        "lossy.webp",
        "lossless.webp",
        "rgb.png",
        "palette.png",
    ];
    let mut short = Vec::new();
    for kind in kinds {
        let length = whole(kind).len();
        let percents = [2, 10, 25, 50, 75, 90, 99].map(|percent| length * percent / 100);
        for length in percents
            .into_iter()
            .chain([1, 2, 10].map(|few| length - few))
        {
            let path = cut(&dir.path().join("images/train/short"), kind, length);
            short.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        cut(&dir.path().join("images/train/whole"), kind, length);
    }
    class_folders(&dir.path().join("images/test"), 0..2, 2);

    let arguments = ["check", "folder:images", "--json"];
    let output = command(dir.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(finding["kind"], "corrupt-files");
    let mut named: Vec<String> = Vec::new();
    for case in finding["cases"].as_array().unwrap() {
        let name = case["names"][0].as_str().unwrap();
        named.push(name.rsplit('/').next().unwrap().to_owned());
    }
    named.sort();
    short.sort();
    assert_eq!(named, short);
    assert_eq!(report["files"]["decoded"], kinds.len() + 4);
}

#[test]
fn a_file_that_ends_early_stops_training_and_embedding_or_is_left_out_and_counted() {
    let dir = tempdir().unwrap();
    let images = dir.path().join("images");
    class_folders(&images.join("train"), 0..4, 4);
    class_folders(&images.join("test"), 4..8, 4);
    succeed(&mut tiny(
        dir.path(),
        &["--data", "folder:images", "--out", "sound"],
    ));

    // The last bytes of a large file are far below what a crop or an image of 32 pixels needs.
    for (name, few) in [("420.jpg", 2), ("progressive.jpg", 1), ("lossy.webp", 10)] {
        for class in ["train/class-01", "test/class-05"] {
            let _ = fs::remove_dir_all(images.join(class));
            class_folders(&images.join("train"), 1..2, 3);
            class_folders(&images.join("test"), 5..6, 3);
            let path = cut(&images.join(class), name, whole(name).len() - few);
            let file = path.file_name().unwrap().to_str().unwrap();

            let embed = ["embed", "--checkpoint", "sound", "--data", "folder:images"];
            let output = format!("{name}.npy");
            let embed = [&embed[..], &["--output", &output]].concat();
            let train = ["--data", "folder:images", "--out", "run"];
            let tests = class.starts_with("test");
            let mut refused = match tests {
                true => command(dir.path(), &embed),
                false => tiny(dir.path(), &train),
            };
            let message = refuse(&mut refused);
            assert!(message.contains(file), "{message}");
            assert!(message.contains("it ends early"), "{message}");

            if tests {
                succeed(command(dir.path(), &embed).arg("--skip-corrupt"));
                let embeddings = Embeddings::open(dir.path().join(&output)).unwrap();
                assert_eq!(embeddings.rows(), 15, "{name}");
            } else {
                let _ = fs::remove_dir_all(dir.path().join("run"));
                succeed(tiny(dir.path(), &train).arg("--skip-corrupt"));
                let records = metrics(&dir.path().join("run"));
                let steps = records.iter().filter(|record| record["kind"] == "step");
                let skipped: u64 = steps.map(|step| step["skipped"].as_u64().unwrap()).sum();
                assert_eq!(skipped, 1, "{name}");
                fs::remove_dir_all(dir.path().join("run")).unwrap();
            }
            fs::remove_file(path).unwrap();
        }
    }
}

/// EXIF data that say: turn it by 90 degrees, clockwise.
const TURN: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

/// The photograph of a class, as a phone stores it that was held upright.
fn photo(path: &Path, class: u32, turned: bool) {
    let shown = RgbImage::from_fn(36, 48, |x, y| {
        Rgb([
            (x * 7 + class * 40) as u8,
            (y * 5) as u8,
            (x * y + class) as u8,
        ])
    });
    let stored = if turned { rotate270(&shown) } else { shown };
    let mut file = Vec::new();
    let mut encoder = PngEncoder::new(&mut file);
    if turned {
        encoder.set_exif_metadata(TURN.to_vec()).unwrap();
    }
    let (width, height) = stored.dimensions();
    let kind = ExtendedColorType::Rgb8;
    encoder.write_image(&stored, width, height, kind).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, file).unwrap();
}

#[test]
fn a_photograph_turned_by_its_metadata_is_embedded_as_its_upright_copy() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    for class in 0..2 {
        let folder = dir.path().join(format!("images/test/chair-{class}"));
        photo(&folder.join("1-upright.png"), class, false);
        photo(&folder.join("2-turned.png"), class, true);
    }
    succeed(&mut tiny(
        dir.path(),
        &["--data", "folder:images", "--out", "run"],
    ));
    let ignoring = ["--data", "folder:images", "--out", "ignoring"];
    let ignoring = [&ignoring[..], &["--set", "image.orientation=ignore"]].concat();
    succeed(&mut tiny(dir.path(), &ignoring));
    for (run, alike) in [("run", true), ("ignoring", false)] {
        let output = format!("{run}.npy");
        let embed = ["embed", "--checkpoint", run, "--data", "folder:images"];
        succeed(&mut command(
            dir.path(),
            &[&embed[..], &["--output", &output]].concat(),
        ));
        let embeddings = Embeddings::open(dir.path().join(output)).unwrap();
        assert_eq!(embeddings.rows(), 4);
        for row in [0, 2] {
            let equal = embeddings.row(row) == embeddings.row(row + 1);
            assert_eq!(equal, alike, "{run}");
        }
    }

    let (stdout, _) = succeed(&mut command(
        dir.path(),
        &["check", "folder:images", "--batch-size", "8"],
    ));
    assert!(
        stdout.contains("2 images have an orientation other than upright (EXIF)")
            && stdout.contains("they are turned upright"),
        "{stdout}"
    );
}

#[test]
fn jfif_and_bmp_files_are_images_of_a_folder() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images"), 0..4, 2);
    for class in 0..4 {
        let folder = dir.path().join(format!("images/class-{class:02}"));
        let picture = image::open(folder.join("1.png")).unwrap();
        picture.save(folder.join("2.bmp")).unwrap();
        picture.save(folder.join("3.jpg")).unwrap();
        fs::rename(folder.join("3.jpg"), folder.join("3.JFIF")).unwrap();
    }
    let check = ["check", "folder:images", "--json", "--batch-size", "8"];
    let (stdout, _) = succeed(&mut command(dir.path(), &check));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["images"], 16);
    assert_eq!(report["files"]["decoded"], 16);
}
