use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{DataSpec, SmallClasses};

/// An image that no other number has.
fn picture(path: &Path, number: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let colour = Rgb([number as u8, (number >> 8) as u8, 7]);
    RgbImage::from_pixel(8, 6, colour).save(path).unwrap();
}

/// `train/a`, `train/b`, `test/c` and `test/d` with three images each.
fn tree() -> TempDir {
    let dir = tempdir().unwrap();
    let classes = ["train/a", "train/b", "test/c", "test/d"];
    for (class, folder) in (0..).zip(classes) {
        for image in 0..3 {
            let path = dir.path().join(folder).join(format!("{image}.png"));
            picture(&path, 10 * class + image);
        }
    }
    dir
}

fn config() -> CheckConfig {
    CheckConfig::new(BatchSamplerConfig::new(4, 2))
}

fn check(spec: &DataSpec) -> CheckReport {
    config().run(&spec.index().unwrap(), |_| ()).unwrap()
}

fn check_tree(dir: &TempDir) -> CheckReport {
    check(&DataSpec::Folder(dir.path().into()))
}

/// A table with these lines below its header, beside images `0.png` to `9.png`.
fn check_table(header: &str, lines: &[&str]) -> CheckReport {
    let dir = tempdir().unwrap();
    (0..10).for_each(|number| picture(&dir.path().join(format!("{number}.png")), number));
    let file = dir.path().join("table.csv");
    fs::write(&file, format!("{header}\n{}\n", lines.join("\n"))).unwrap();
    check(&DataSpec::Csv(file))
}

/// The one finding of a report.
#[track_caller]
fn only(report: &CheckReport, severity: Severity, kind: FindingKind) -> &Finding {
    let [finding] = &report.findings[..] else {
        panic!("{:#?}", report.findings);
    };
    assert_eq!((finding.severity, finding.kind), (severity, kind));
    let counts = (report.errors, report.warnings);
    let expected = match severity {
        Severity::Error => (1, 0),
        Severity::Warning => (0, 1),
        Severity::Note => (0, 0),
    };
    assert_eq!(counts, expected);
    finding
}

#[track_caller]
fn assert_says(finding: &Finding, words: &[&str]) {
    for word in words {
        assert!(finding.message.contains(word), "{}", finding.message);
    }
    assert!(!finding.message.contains('\n'), "{}", finding.message);
}

#[test]
fn a_sound_tree_has_no_findings() {
    let report = check_tree(&tree());
    assert_eq!(report.findings, []);
    assert_eq!((report.images, report.classes), (12, Some(4)));
    assert_eq!((report.files.read, report.files.decoded), (12, Some(12)));
    let parts = report.parts.iter();
    let parts: Vec<_> = parts
        .map(|part| (part.part.as_str(), part.images, part.classes))
        .collect();
    assert_eq!(parts, [("train", 6, Some(2)), ("test", 6, Some(2))]);
    let bin = SizeBin {
        from: 3,
        to: 3,
        classes: 2,
    };
    assert_eq!(report.class_sizes[0].histogram, [bin]);
    assert_eq!(report.sampling.as_ref().unwrap().steps_per_epoch, Some(1));
    assert!(report.to_string().ends_with("\n\nno errors"), "{report}");
}

#[test]
fn progress_counts_every_image() {
    let dataset = DataSpec::Emoji.open().unwrap();
    let mut told = Vec::new();
    let config = CheckConfig {
        threads: 3,
        ..config()
    };
    let report = config.run(&dataset, |done| told.push(done)).unwrap();
    assert!(told.into_iter().eq(1..=dataset.items().len()));
    assert_eq!((report.errors, report.super_classes), (0, 8));
    assert_eq!(report.files.decoded, Some(dataset.items().len()));
}

#[test]
fn files_that_are_not_there() {
    let header = "path,label,split";
    let lines = ["0.png,a,train", "1.png,a,train", "2.png,b,train"];
    let gone = ["no.png,b,train", "none.png,c,test", "8.png,c,test"];
    let report = check_table(header, &[lines, gone].concat());
    let finding = only(&report, Severity::Error, FindingKind::MissingFiles);
    assert_says(
        finding,
        &["2 images are not there", "no.png and ", "none.png"],
    );
    assert_eq!((finding.count, finding.cases.len()), (2, 2));
    assert_eq!(report.files.read, 4);

    let report = check_table(header, &["x.png,a,train", "y.png,b,train"]);
    let missing = &report.findings[0];
    assert_eq!(missing.kind, FindingKind::MissingFiles);
    assert_says(missing, &["none of the 2 images is there", "unpack"]);
}

#[test]
fn files_that_are_empty() {
    let dir = tree();
    // Two, which are not told as the same image.
    for file in ["train/a/1.png", "test/c/1.png"] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    let report = check_tree(&dir);
    let finding = only(&report, Severity::Error, FindingKind::EmptyFiles);
    assert_says(finding, &["2 files are empty", "train/a/1.png"]);
}

#[test]
fn files_that_are_cut_short() {
    let dir = tree();
    let file = dir.path().join("train/a/1.png");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 20]).unwrap();
    let report = check_tree(&dir);
    let finding = only(&report, Severity::Error, FindingKind::CorruptFiles);
    assert_says(finding, &["1 image cannot be decoded", "train/a/1.png ("]);
    assert!(finding.cases[0].detail.as_ref().unwrap().len() > 5);
    assert_eq!((report.files.read, report.files.decoded), (12, Some(11)));

    let config = CheckConfig {
        decode: false,
        ..config()
    };
    let dataset = DataSpec::Folder(dir.path().into()).index().unwrap();
    let report = config.run(&dataset, |_| ()).unwrap();
    assert_eq!((report.findings.len(), report.files.decoded), (0, None));
    assert!(report.to_string().contains("all read, not decoded"));
}

#[test]
fn an_image_in_both_splits() {
    let dir = tree();
    let path = |name: &str| dir.path().join(name);
    fs::copy(path("train/a/0.png"), path("test/c/7.png")).unwrap();
    let report = check_tree(&dir);
    let kind = FindingKind::DuplicatesAcrossSplits;
    let finding = only(&report, Severity::Error, kind);
    assert_says(finding, &["1 image is trained on", "a/0.png = ", "c/7.png"]);
    assert_eq!(finding.cases[0].names.len(), 2);
}

#[test]
fn an_image_in_two_classes_or_twice_in_one() {
    let dir = tree();
    let path = |name: &str| dir.path().join(name);
    fs::copy(path("train/a/0.png"), path("train/b/7.png")).unwrap();
    let report = check_tree(&dir);
    let kind = FindingKind::DuplicatesAcrossClasses;
    let finding = only(&report, Severity::Warning, kind);
    assert_says(finding, &["1 image is in several classes"]);

    fs::remove_file(path("train/b/7.png")).unwrap();
    fs::copy(path("test/c/0.png"), path("test/c/7.png")).unwrap();
    let report = check_tree(&dir);
    let kind = FindingKind::DuplicatesWithinClass;
    let finding = only(&report, Severity::Note, kind);
    assert_says(finding, &["1 image is in its class more than once"]);
}

#[test]
fn boxes_outside_of_their_images_and_over_the_edge() {
    let header = "path,label,split,x_1,y_1,x_2,y_2";
    // The images have 8 x 6 pixels.
    let mut lines = ["0.png,a,train,0,0,8,6", "1.png,a,train,1,1,9,6"].to_vec();
    lines.extend(["2.png,b,train,8,0,9,2", "3.png,b,train,,,,"]);
    for decode in [true, false] {
        let dir = tempdir().unwrap();
        (0..4).for_each(|number| picture(&dir.path().join(format!("{number}.png")), number));
        let file = dir.path().join("table.csv");
        fs::write(&file, format!("{header}\n{}", lines.join("\n"))).unwrap();
        let dataset = DataSpec::Csv(file).index().unwrap();
        let config = CheckConfig { decode, ..config() };
        let report = config.run(&dataset, |_| ()).unwrap();
        let [outside, beyond] = &report.findings[..] else {
            panic!("{:#?}", report.findings);
        };
        assert_eq!(outside.kind, FindingKind::BoxesOutside);
        assert_says(
            outside,
            &["1 box lies outside", "2.png ((8, 0) to (9, 2) in 8 x 6"],
        );
        assert_eq!(beyond.kind, FindingKind::BoxesBeyond);
        assert_says(beyond, &["1 box reaches beyond", "1.png"]);
        assert_eq!((report.errors, report.warnings), (1, 0));
    }
}

#[test]
fn two_boxes_of_one_image_are_two_images() {
    let lines = [
        "0.png,a,train,0,0,4,6",
        "0.png,b,train,4,0,8,6",
        "1.png,a,train,0,0,8,6",
        "2.png,b,train,0,0,8,6",
    ];
    let report = check_table("path,label,split,x_1,y_1,x_2,y_2", &lines);
    assert_eq!(report.findings, []);
}

#[test]
fn a_class_of_both_splits() {
    let dir = tree();
    for image in 0..2 {
        let path = dir.path().join(format!("test/a/{image}.png"));
        picture(&path, 900 + image);
    }
    let report = check_tree(&dir);
    let finding = only(&report, Severity::Warning, FindingKind::SharedClasses);
    assert_says(finding, &["1 class is trained on and tested: a;"]);
}

#[test]
fn a_benchmark_that_is_not_as_published() {
    let dir = tempdir().unwrap();
    let header = "image_id class_id super_class_id path\n";
    let list = |classes: std::ops::Range<u32>| {
        let line = |number: u32| {
            let path = format!("bicycle_final/{number}.JPG");
            picture(&dir.path().join(&path).with_extension("png"), number);
            fs::rename(
                dir.path().join(&path).with_extension("png"),
                dir.path().join(&path),
            )
            .unwrap();
            format!("{number} {} 1 {path}\n", number / 2)
        };
        header.to_owned() + &classes.map(line).collect::<String>()
    };
    fs::write(dir.path().join("Ebay_train.txt"), list(0..8)).unwrap();
    fs::write(dir.path().join("Ebay_test.txt"), list(8..10)).unwrap();
    let spec: DataSpec = format!("sop:{}", dir.path().display()).parse().unwrap();
    let report = check(&spec);
    let finding = only(&report, Severity::Error, FindingKind::WrongCount);
    assert_says(
        finding,
        &[
            "2 parts are not as published",
            "train (8 images of 4 classes instead of 59,551 images of 11,318 classes)",
        ],
    );
    let text = report.to_string();
    assert!(text.contains("59,551 images of 11,318 classes"), "{text}");
    assert!(text.contains("in 1 super-class;"), "{text}");

    // What a publication keeps apart must be apart.
    fs::write(dir.path().join("Ebay_test.txt"), list(7..10)).unwrap();
    let kinds: Vec<_> = check(&spec)
        .findings
        .iter()
        .map(|finding| (finding.severity, finding.kind))
        .collect();
    assert!(kinds.contains(&(Severity::Error, FindingKind::SharedClasses)));
    assert!(kinds.contains(&(Severity::Error, FindingKind::DuplicatesAcrossSplits)));
}

#[test]
fn classes_of_a_single_image() {
    let dir = tree();
    picture(&dir.path().join("train/e/0.png"), 800);
    let report = check_tree(&dir);
    let finding = only(&report, Severity::Warning, FindingKind::SingleImageClasses);
    assert_says(finding, &["1 train class has a single image: e;"]);
    assert_eq!(report.class_sizes[0].single, 1);
    let sampling = report.sampling.as_ref().unwrap();
    let left_out = crate::ClassCount {
        classes: 1,
        images: 1,
    };
    assert_eq!(sampling.left_out, Some(left_out));
    let text = report.to_string();
    assert!(text.contains("1 of 3 classes with 1 of 7 images"), "{text}");
}

#[test]
fn queries_that_have_nothing_to_find() {
    let lines = [
        "0.png,a,train,false,false",
        "1.png,a,train,false,false",
        "2.png,b,train,false,false",
        "3.png,b,train,false,false",
        "4.png,c,test,true,false",
        "5.png,c,test,false,true",
        "6.png,d,test,true,false",
        // It would find itself only.
        "7.png,e,test,true,true",
        "8.png,f,test,false,true",
    ];
    let report = check_table("path,label,split,is_query,is_gallery", &lines);
    let kind = FindingKind::QueriesWithoutPositives;
    let finding = only(&report, Severity::Warning, kind);
    assert_says(finding, &["2 queries have no image", "6.png and ", "7.png"]);
    let parts: Vec<_> = report.parts.iter().map(|part| &part.part[..]).collect();
    assert_eq!(parts, ["train", "test", "query", "gallery"]);
}

#[test]
fn settings_that_these_classes_make_no_batch_of() {
    let dir = tree();
    let dataset = DataSpec::Folder(dir.path().into()).index().unwrap();
    let run = |batch_size, samples_per_class| {
        let mut sampler = BatchSamplerConfig::new(batch_size, samples_per_class);
        sampler.small_classes = SmallClasses::TakeAll;
        CheckConfig::new(sampler).run(&dataset, |_| ())
    };
    let report = run(12, 4).unwrap();
    let finding = only(&report, Severity::Warning, FindingKind::NoBatch);
    assert_says(finding, &["a batch of 12 images"]);
    assert!(report.to_string().contains("not one can be drawn"));
    // No data set would do.
    assert!(run(7, 2).is_err() && run(4, 4).is_err() && run(4, 0).is_err());
}

#[test]
fn what_the_reader_left_aside() {
    let dir = tree();
    fs::write(dir.path().join("train/a/notes.txt"), "x").unwrap();
    let report = check_tree(&dir);
    only(&report, Severity::Note, FindingKind::LeftAside);
}
