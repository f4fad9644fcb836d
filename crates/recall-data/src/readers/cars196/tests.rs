use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::Role;

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cars196");
    std::fs::read(fixtures.join(name)).unwrap()
}

fn folder(annotations: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cars_annos.mat"), annotations).unwrap();
    dir
}

#[test]
fn annotations_are_read_packed_or_not() {
    for name in ["cars_annos.mat", "unpacked.mat"] {
        let dir = folder(&fixture(name));
        let dataset = read(dir.path()).unwrap();
        assert_eq!(dataset.name(), "cars196");
        assert_eq!(dataset.class_names().len(), 196);
        assert_eq!(dataset.class_names()[0], "Citroën 2CV 1948");
        assert_eq!(dataset.class_names()[195], "Maker Model 196");
        assert_eq!(
            dataset.labels(&[0, 1, 2, 3, 4, 5]),
            [0, 97, 98, 195, 0, 149]
        );
        assert_eq!(dataset.split(Split::Train), [0, 1, 4]);
        assert_eq!(dataset.split(Split::Test), [2, 3, 5]);
        assert!(!dataset.crops_to_boxes(), "the protocol takes whole images");
        assert!(dataset.notes().is_empty());

        let item = &dataset.items()[1];
        assert_eq!(
            (item.name.as_str(), item.role),
            ("car_ims/000002.jpg", Role::Both)
        );
        // From 1 and inclusive, (2, 3) to (301, 201), to from 0 and exclusive.
        assert_eq!(item.bbox, BoundingBox::new(1, 2, 301, 201).ok());
        let file = dir.path().join("car_ims/000002.jpg");
        assert_eq!(item.source, ImageSource::File(file));
    }
}

#[test]
fn images_are_looked_for() {
    let dir = folder(&fixture("cars_annos.mat"));
    let spec = crate::DataSpec::Benchmark(crate::Benchmark::Cars196, dir.path().into());
    assert_eq!(spec.index().unwrap().items().len(), 6);
    let message = spec.open().unwrap_err().to_string();
    assert!(
        message.contains("6 of the 6 images of cars196"),
        "{message}"
    );
    std::fs::create_dir(dir.path().join("car_ims")).unwrap();
    for image in 1..=6 {
        std::fs::write(dir.path().join(format!("car_ims/{image:06}.jpg")), "x").unwrap();
    }
    assert_eq!(*spec.open().unwrap().read(5).unwrap(), *b"x");
}

#[test]
fn at_full_size_the_counts_are_the_published_ones() {
    let dir = folder(&fixture("full_size.mat"));
    let dataset = read(dir.path()).unwrap();
    assert_eq!(dataset.items().len(), 16_185);
    for published in PUBLISHED {
        let ids = dataset.part(published.part);
        let mut classes = dataset.labels(&ids);
        classes.sort_unstable();
        classes.dedup();
        let found = (ids.len(), Some(classes.len()));
        assert_eq!(
            found,
            (published.images, published.classes),
            "{}",
            published.part
        );
    }
    let last = dataset.items().last().unwrap();
    assert_eq!(last.name, "car_ims/016185.jpg");
}

/// Variables as the file has them, for tries with one of them wrong.
fn annotation(field: &str, value: Value) -> Value {
    let fields = [
        ("relative_im_path", Value::Text("car_ims/000001.jpg".into())),
        ("bbox_x1", Value::Numbers(vec![1.])),
        ("bbox_y1", Value::Numbers(vec![1.])),
        ("bbox_x2", Value::Numbers(vec![9.])),
        ("bbox_y2", Value::Numbers(vec![9.])),
        ("class", Value::Numbers(vec![1.])),
    ];
    let mut value = Some(value);
    let fields = fields.into_iter().map(|(name, fine)| {
        let value = if name == field {
            value.take().unwrap()
        } else {
            fine
        };
        (name.to_owned(), vec![value])
    });
    Value::Struct(fields.collect())
}

#[test]
fn an_annotation_that_cannot_be_used_is_named_by_its_number() {
    let numbers = |numbers: &[f64]| Value::Numbers(numbers.to_vec());
    for (field, value, word) in [
        (
            "class",
            numbers(&[0.]),
            "class is 0, and there are the classes 1 to 2",
        ),
        (
            "class",
            numbers(&[3.]),
            "class is 3, and there are the classes 1 to 2",
        ),
        (
            "class",
            numbers(&[1.5]),
            "class is 1.5, expected is a whole number",
        ),
        ("class", numbers(&[f64::NAN]), "class is NaN"),
        (
            "class",
            numbers(&[1., 2.]),
            "class is an array of numbers, expected is one number",
        ),
        (
            "class",
            Value::Text("1".into()),
            "class is text, expected is one number",
        ),
        ("bbox_x2", numbers(&[-1.]), "bbox_x2 is -1"),
        ("bbox_y2", numbers(&[1e10]), "bbox_y2 is 10000000000"),
        ("bbox_y1", Value::Cell(vec![]), "bbox_y1 is a cell array"),
        (
            "relative_im_path",
            numbers(&[]),
            "relative_im_path is no text",
        ),
        (
            "relative_im_path",
            Value::Text(String::new()),
            "relative_im_path is no text",
        ),
    ] {
        let names = ["a", "b"].map(|name| Value::Text(name.into()));
        let variables = [
            ("annotations".to_owned(), annotation(field, value)),
            ("class_names".to_owned(), Value::Cell(names.into())),
        ];
        let message = dataset(Path::new("folder"), variables.into())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("cars_annos.mat has an annotation 1: its"),
            "{message}"
        );
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn a_box_without_area_is_told_and_left_out() {
    let names = ["a", "b"].map(|name| Value::Text(name.into()));
    let variables = [
        (
            "annotations".to_owned(),
            annotation("bbox_x2", Value::Numbers(vec![0.])),
        ),
        ("class_names".to_owned(), Value::Cell(names.into())),
    ];
    let dataset = dataset(Path::new("folder"), variables.into()).unwrap();
    assert_eq!(dataset.items()[0].bbox, None);
    let [note] = dataset.notes() else {
        panic!("{:?}", dataset.notes());
    };
    let told = "1 box has no area, the first is that of annotation 1: left out";
    assert_eq!(note.message(), told);
}

#[test]
fn variables_that_are_not_those_of_cars196_are_named() {
    let names = || {
        (
            "class_names".to_owned(),
            Value::Cell(vec![Value::Text("a".into())]),
        )
    };
    let annotations = |value| ("annotations".to_owned(), value);
    let fine = || annotation("class", Value::Numbers(vec![1.]));
    let others = |values: Vec<Value>| ("class_names".to_owned(), Value::Cell(values));
    for (variables, word) in [
        (
            vec![names()],
            "no variable `annotations`: expected is the folder of Cars196",
        ),
        (vec![annotations(fine())], "no variable `class_names`"),
        (
            vec![annotations(Value::Text("x".into())), names()],
            "text as `annotations`, without a field `relative_im_path`",
        ),
        (
            vec![
                annotations(fine()),
                ("class_names".to_owned(), Value::Numbers(vec![])),
            ],
            "an array of numbers as `class_names`, not a cell array",
        ),
        (
            vec![annotations(fine()), others(vec![Value::Numbers(vec![])])],
            "a class name 1 that is no text",
        ),
        (
            vec![
                annotations(fine()),
                others((0..197).map(|_| Value::Cell(vec![])).collect()),
            ],
            "197 class names instead of 196",
        ),
    ] {
        let variables = variables.into_iter().collect();
        let message = dataset(Path::new("folder"), variables)
            .unwrap_err()
            .to_string();
        assert!(message.contains(word), "{message}");
    }
    let message = read(&PathBuf::from("nowhere")).unwrap_err().to_string();
    assert!(
        message.contains("cars_annos.mat is not there: expected is the folder"),
        "{message}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_damaged_is_an_error_and_no_more(at in 0_usize..1 << 20, byte: u8) {
        let mut bytes = fixture("unpacked.mat");
        let at = at % bytes.len();
        bytes[at] = byte;
        let dir = folder(&bytes);
        let _ = read(dir.path());
    }
}
