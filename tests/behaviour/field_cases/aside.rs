//! Files that are left aside: told by their endings, with a way out for images.

use std::fs;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{class_folders, command, succeed, tiny};

#[test]
fn files_left_aside_are_counted_by_their_endings_and_listed() {
    let dir = tempdir().unwrap();
    let images = dir.path().join("images");
    class_folders(&images, 0..16, 2);
    for name in ["a.heic", "b.HEIC", "c.avif", "list.txt"] {
        fs::write(images.join("class-00").join(name), "x").unwrap();
    }
    // These are read: a JPEG under its other name.
    let jfif = images.join("class-01/9.jfif");
    fs::write(&jfif, jpeg()).unwrap();

    let (stdout, _) = succeed(&mut command(dir.path(), &["check", "folder:images"]));
    assert!(stdout.contains("33 images of 16 classes"), "{stdout}");
    let warning = stdout.lines().find(|line| line.contains(".heic"));
    let warning = warning.expect(&stdout);
    for words in [
        "warning",
        "3 images",
        "2 .heic",
        "1 .avif",
        "convert them to JPEG or PNG",
    ] {
        assert!(warning.contains(words), "{words}: {warning}");
    }
    assert!(stdout.contains("1 .txt"), "{stdout}");

    let (json, _) = succeed(&mut command(
        dir.path(),
        &["check", "folder:images", "--json"],
    ));
    let report: Value = serde_json::from_str(&json).unwrap();
    let listed = report["findings"].to_string();
    for name in ["a.heic", "b.HEIC", "c.avif", "list.txt"] {
        assert!(listed.contains(name), "{name}: {listed}");
    }

    let run = ["--data", "folder:images", "--out", "run"];
    let (_, stderr) = succeed(&mut tiny(dir.path(), &run));
    assert!(stderr.contains("2 .heic"), "{stderr}");
}

/// A small picture as JPEG.
fn jpeg() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([x as u8 * 6, y as u8 * 7, 90]));
    image
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .unwrap();
    bytes.into_inner()
}
