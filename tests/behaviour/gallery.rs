//! `gallery`: pages of what images find, from indexes that `embed` or anyone else wrote.

use std::fs;
use std::path::Path;

use recall_eval::{Embeddings, save_labels};
use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, picture, refuse, succeed, tiny};

/// Eight embeddings in a plane, at these angles in degrees; nearer angles are more similar.
const ANGLES: [f32; 8] = [0.0, 10.0, 25.0, 90.0, 101.0, 180.0, 192.0, 20.0];

/// An index `i.npy` with names and pictures, and without labels.
fn index() -> TempDir {
    let dir = tempdir().unwrap();
    let values = ANGLES.map(f32::to_radians).map(|at| [at.cos(), at.sin()]);
    let embeddings = Embeddings::new(values.concat(), 2).unwrap();
    embeddings.save(dir.path().join("i.npy")).unwrap();
    embeddings
        .save_with_labels(dir.path().join("s.safetensors"), &[1, 1, 1, 2, 2, 3, 3, 2])
        .unwrap();
    let names: Vec<String> = (0..8).map(|row| format!("shown/{row}.png")).collect();
    for name in &names {
        picture(&dir.path().join(name), 3, 1);
    }
    for list in ["i.txt", "s.txt"] {
        fs::write(dir.path().join(list), names.join("\n") + "\n").unwrap();
    }
    dir
}

fn gallery(dir: &Path, arguments: &[&str]) -> String {
    let (stdout, _) = succeed(command(dir, &["gallery", "--backend", "flex"]).args(arguments));
    assert!(stdout.ends_with("gallery  gallery.html\n"), "{stdout}");
    page(dir)
}

/// The page with slashes as slashes.
fn page(dir: &Path) -> String {
    let page = fs::read_to_string(dir.join("gallery.html")).unwrap();
    page.replace("&#x2f;", "/")
}

/// The captions of a page, row by row: the query, then its neighbours.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let of_row = |row| -> Vec<&str> { between(row, " title=\"", "\"") };
    page.split("<article").skip(1).map(of_row).collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let parts = text.split(start).skip(1);
    parts.filter_map(|part| part.split(end).next()).collect()
}

#[test]
fn rows_of_an_index_without_labels() {
    let dir = index();
    let page = gallery(
        dir.path(),
        &["--index", "i.npy", "--neighbours", "2", "--count", "3"],
    );
    let expected = [["0", "1", "7"], ["2", "7", "1"], ["5", "6", "4"]]
        .map(|row| row.map(|name| format!("shown/{name}.png")).to_vec());
    assert_eq!(rows(&page), expected);
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 9);
    assert!(page.contains("3 of the images of the index, spread evenly."));
    for mark in [
        "aria-label=\"right\"",
        "aria-label=\"wrong\"",
        "right at rank",
    ] {
        assert!(!page.contains(mark), "{mark}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
}

#[test]
fn with_labels_the_worst_come_first_and_answers_are_marked() {
    let dir = index();
    save_labels(dir.path().join("i.labels.npy"), &[1, 1, 1, 2, 2, 3, 3, 2]).unwrap();
    let page = gallery(
        dir.path(),
        &["--index", "i.npy", "--neighbours", "3", "--count", "2"],
    );
    // Row 7 is of the class of 90° and lies among those around 0°; of the others the first is row 0.
    let expected = [["7", "2", "1", "0"], ["0", "1", "7", "2"]]
        .map(|row| row.map(|name| format!("shown/{name}.png")).to_vec());
    assert_eq!(rows(&page), expected);
    assert!(page.contains("first right at rank 4<") && page.contains("right at rank 1<"));
    let marks: Vec<&str> = between(&page, "role=\"img\" aria-label=\"", "\"");
    assert_eq!(
        marks,
        ["wrong", "wrong", "wrong", "right", "wrong", "right"]
    );
    assert!(page.contains("the one whose first right answer comes last, then 1 spread evenly"));

    // The same labels within the file.
    let arguments = [
        "--index",
        "s.safetensors",
        "--neighbours",
        "3",
        "--count",
        "2",
        "--force",
    ];
    assert_eq!(rows(&gallery(dir.path(), &arguments)), expected);
}

#[test]
fn pictures_that_are_not_there_are_names() {
    let dir = index();
    fs::remove_file(dir.path().join("shown/1.png")).unwrap();
    fs::write(dir.path().join("shown/6.png"), "no picture").unwrap();
    let arguments = ["gallery", "--index", "i.npy", "--neighbours", "1"];
    let (stdout, _) = succeed(&mut command(dir.path(), &arguments));
    assert!(
        stdout.starts_with("8 queries in 8 images\n2 pictures were not"),
        "{stdout}"
    );
    let page = page(dir.path());
    let boxes = between(&page, "<span class=\"blank\">", "<");
    assert!(
        boxes.contains(&"shown/1.png") && boxes.contains(&"shown/6.png"),
        "{boxes:?}"
    );
}

/// A model that was trained, an index that it wrote, and images that it has not seen.
#[test]
fn images_of_ones_own_against_an_index_of_a_checkpoint() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    class_folders(&dir.path().join("images/test"), 4..8, 4);
    let data = ["--data", "folder:images"];
    succeed(tiny(dir.path(), &data).args(["--out", "run"]));
    let embed = [
        "embed",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--output",
        "i.npy",
    ];
    succeed(command(dir.path(), &embed).args(data));

    // Copies of two images of the index, so that each finds itself first.
    for (name, of) in [
        ("a.png", "class-05/2.png"),
        ("more/b.png", "class-07/0.png"),
    ] {
        let target = dir.path().join("mine").join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(dir.path().join("images/test").join(of), target).unwrap();
    }
    let search = [
        "--index",
        "i.npy",
        "--checkpoint",
        "run",
        "--neighbours",
        "3",
    ];
    let shown = [
        "--index-data",
        "folder:images",
        "--force",
        "--images",
        "mine",
    ];
    let page = gallery(dir.path(), &[&search[..], &shown].concat());
    let rows = rows(&page);
    let firsts: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(firsts, ["mine/a.png", "mine/more/b.png"]);
    assert_eq!(
        (rows[0][1], rows[1][1]),
        ("class-05/2.png", "class-07/0.png")
    );
    assert_eq!(between(&page, "</span><span>", "</span>")[0], "1.000");
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 8);
    assert!(page.contains("The images given.") && !page.contains("aria-label=\"wrong\""));

    let refused = |arguments: &[&str]| {
        refuse(command(dir.path(), &["gallery", "--backend", "flex", "--force"]).args(arguments))
    };
    let narrow = Embeddings::new([0.6, 0.8].repeat(16), 2).unwrap();
    narrow.save(dir.path().join("narrow.npy")).unwrap();
    fs::copy(dir.path().join("i.txt"), dir.path().join("narrow.txt")).unwrap();
    let model = ["--checkpoint", "run", "--images", "mine", "--index"];
    let message = refused(&[&model[..], &["narrow.npy"]].concat());
    assert!(
        message.contains("have 2 numbers") && message.contains(" 16: "),
        "{message}"
    );

    fs::write(dir.path().join("mine/c.png"), "no picture").unwrap();
    let message = refused(&[&model[..], &["i.npy"]].concat());
    assert!(message.contains("c.png"), "{message}");
    let whole = [&model[..], &["i.npy", "--skip-corrupt", "--force"]].concat();
    let (stdout, stderr) =
        succeed(command(dir.path(), &["gallery", "--backend", "flex"]).args(whole));
    assert!(stdout.starts_with("2 queries in 16 images"), "{stdout}");
    assert!(
        stderr.contains("1 image could not be read and is left out: mine/c.png"),
        "{stderr}"
    );

    fs::create_dir(dir.path().join("empty")).unwrap();
    let none = [
        "--checkpoint",
        "run",
        "--index",
        "i.npy",
        "--images",
        "empty",
    ];
    assert!(refused(&none).contains("no PNG, JPEG, WebP or BMP image in empty"));
    let none = [
        "--checkpoint",
        "run",
        "--index",
        "i.npy",
        "--images",
        "none.png",
    ];
    assert!(refused(&none).contains("none.png"));
}

#[test]
fn one_sentence_for_whatever_cannot_be_shown() {
    let dir = index();
    let at = |name: &str| dir.path().join(name);
    fs::copy(at("i.npy"), at("unnamed.npy")).unwrap();
    fs::copy(at("i.npy"), at("few.npy")).unwrap();
    fs::write(at("few.txt"), "one\ntwo\n").unwrap();
    for name in ["labelled.npy", "labelled.txt"] {
        fs::copy(at(&name.replace("labelled", "i")), at(name)).unwrap();
    }
    save_labels(at("labelled.labels.npy"), &[1, 2]).unwrap();
    fs::write(at("there.html"), "mine").unwrap();

    let index = ["--index", "i.npy"];
    for (arguments, parts) in [
        (&[][..], &["--index"][..]),
        (&["--index", "none.npy"], &["none.npy", "No such file"]),
        (
            &["--index", "unnamed.npy"],
            &["unnamed.txt", "names of the images"],
        ),
        (
            &["--index", "few.npy"],
            &["2 names in few.txt for the 8 rows"],
        ),
        (&["--index", "labelled.npy"], &["2 labels for the 8 rows"]),
        (&["--index", "i.csv"], &["i.csv", ".npy or .safetensors"]),
        (
            &[&index[..], &["--output", "there.html"]].concat(),
            &["there.html is there already", "--force"],
        ),
        (
            &[&index[..], &["--output", "no/folder/x.html"]].concat(),
            &["no folder no/folder"],
        ),
        (
            &[&index[..], &["--output", "shown"]].concat(),
            &["shown is a folder"],
        ),
        (
            &[&index[..], &["--images", "shown"]].concat(),
            &["--checkpoint"],
        ),
        (
            &[&index[..], &["--checkpoint", "shown"]].concat(),
            &["shown holds no checkpoint"],
        ),
        (
            &[&index[..], &["--index-data", "folder:none"]].concat(),
            &["none is not there"],
        ),
        (
            &[&index[..], &["--neighbours", "0"]].concat(),
            &["--neighbours"],
        ),
        (&[&index[..], &["--count", "0"]].concat(), &["--count"]),
    ] {
        let message = refuse(command(dir.path(), &["gallery"]).args(arguments));
        for part in parts {
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }
    assert!(!at("gallery.html").exists());
    assert_eq!(fs::read_to_string(at("there.html")).unwrap(), "mine");
}
