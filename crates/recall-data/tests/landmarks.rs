//! The sets of landmark recognition in the layouts in which they are published, read back from small trees.

use std::fs;
use std::path::{Path, PathBuf};

use recall_data::check::CheckConfig;
use recall_data::{
    BatchSamplerConfig, BoundingBox, DataSpec, Dataset, GroundTruth, ImageSource, Part, Protocol,
    Role, Split,
};
use tempfile::{TempDir, tempdir};

fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempdir().unwrap();
    for (path, content) in files {
        write(dir.path(), path, content.as_bytes());
    }
    dir
}

fn write(dir: &Path, path: &str, content: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn spec(kind: &str, path: &Path) -> DataSpec {
    format!("{kind}:{}", path.display()).parse().unwrap()
}

fn open(kind: &str, path: &Path) -> Dataset {
    spec(kind, path)
        .open()
        .unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// Name, class and split of each item, and its file from `dir`.
fn summary<'a>(dataset: &'a Dataset, dir: &Path) -> Vec<(&'a str, &'a str, Split, String)> {
    let items = dataset.items().iter();
    items
        .map(|item| {
            let class = dataset.class_names()[item.class as usize].as_str();
            let ImageSource::File(path) = &item.source else {
                panic!("{} is no file", item.name);
            };
            let path = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            (item.name.as_str(), class, item.split, path)
        })
        .collect()
}

/// Asserts that the file is refused in one sentence that has all of `words` and names it.
fn refused(spec: &DataSpec, file: &str, words: &[&str]) {
    let message = spec.index().unwrap_err().to_string();
    for word in words.iter().chain([&file]) {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
}

const CLEAN: &str = "landmark_id,images\n\
                     1,17660ef415d37059 92b6290d571448f6\n\
                     27,cd41bf948edc0340 fb09f1e98c6d2f70 25c9dfc7ea69838d\n";
const ALL: &str = "id,url,landmark_id\n\
                   17660ef415d37059,http://upload.wikimedia.org/a.jpg,1\n\
                   00cba0067c078490,\"https://upload.wikimedia.org/b,c.jpg\",27\n";

fn gldv2() -> TempDir {
    tree(&[
        ("train_clean.csv", CLEAN),
        ("train.csv", ALL),
        ("train/1/7/6/17660ef415d37059.jpg", "x"),
        ("train/9/2/b/92b6290d571448f6.jpg", "x"),
        ("train/c/d/4/cd41bf948edc0340.jpg", "x"),
        ("train/f/b/0/fb09f1e98c6d2f70.jpg", "x"),
        ("train/2/5/c/25c9dfc7ea69838d.jpg", "x"),
        ("train/0/0/c/00cba0067c078490.jpg", "x"),
    ])
}

#[test]
fn google_landmarks_v2_by_its_clean_list() {
    let dir = gldv2();
    let dataset = open("gldv2", dir.path());
    let train = |name, class, path: &str| (name, class, Split::Train, path.to_owned());
    assert_eq!(
        summary(&dataset, dir.path()),
        [
            train("17660ef415d37059", "1", "train/1/7/6/17660ef415d37059.jpg"),
            train("92b6290d571448f6", "1", "train/9/2/b/92b6290d571448f6.jpg"),
            train("cd41bf948edc0340", "27", "train/c/d/4/cd41bf948edc0340.jpg"),
            train("fb09f1e98c6d2f70", "27", "train/f/b/0/fb09f1e98c6d2f70.jpg"),
            train("25c9dfc7ea69838d", "27", "train/2/5/c/25c9dfc7ea69838d.jpg"),
        ]
    );
    let [published] = dataset.published_counts() else {
        panic!("{:?}", dataset.published_counts());
    };
    assert_eq!(
        (published.images, published.classes),
        (1_580_470, Some(81_313))
    );
    assert!(!dataset.turns_upright());
}

#[test]
fn the_list_of_google_landmarks_v2_can_be_chosen() {
    let dir = gldv2();
    let dataset = open("gldv2", &dir.path().join("train.csv"));
    assert_eq!(dataset.items().len(), 2);
    assert_eq!(dataset.items()[1].name, "00cba0067c078490");
    assert_eq!(dataset.published_counts()[0].images, 4_132_914);

    // A list of one's own says nothing about the published ones.
    fs::rename(dir.path().join("train.csv"), dir.path().join("mine.csv")).unwrap();
    let dataset = open("gldv2", &dir.path().join("mine.csv"));
    assert_eq!(dataset.items().len(), 2);
    assert!(dataset.published_counts().is_empty());

    // The competitions have the clean list in the other form.
    let form = "id,landmark_id\n17660ef415d37059,1\n";
    write(dir.path(), "train.csv", form.as_bytes());
    fs::remove_file(dir.path().join("train_clean.csv")).unwrap();
    let dataset = open("gldv2", dir.path());
    assert_eq!(dataset.published_counts()[0].images, 1_580_470);
}

#[test]
fn the_lists_of_google_landmarks_v2_may_lie_where_they_were_fetched_from() {
    for folder in ["metadata", "train"] {
        let dir = gldv2();
        let list = dir.path().join(folder).join("train_clean.csv");
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        fs::rename(dir.path().join("train_clean.csv"), &list).unwrap();
        for path in [dir.path(), &*list] {
            assert_eq!(open("gldv2", path).items().len(), 5, "{folder}");
        }
    }
}

#[test]
fn lists_of_google_landmarks_v2_that_cannot_be_used_are_named_with_the_way_out() {
    let clean = |text: &str, words: &[&str]| {
        let dir = tree(&[("train_clean.csv", text)]);
        refused(&spec("gldv2", dir.path()), "train_clean.csv", words);
    };
    let header = "landmark_id,images\n";
    clean(
        "landmark,images\n1,0123456789abcdef\n",
        &["no column `landmark_id`", "expected is"],
    );
    clean(header, &["no lines", "expected is"]);
    clean("", &["no column `id`", "expected is"]);
    clean(
        &format!("{header}1,0123456789abcdef\nx,0123\n"),
        &["line 3 of", "`x`", "number"],
    );
    clean(
        &format!("{header}1,../../passwd\n"),
        &["line 2 of", "`../../passwd`", "an id such as"],
    );
    clean(&format!("{header}1,ab\n"), &["line 2 of", "`ab`"]);
    clean(&format!("{header}1\n"), &["line 2 of", "1 fields"]);
    let nothing = tempdir().unwrap();
    let words = [
        "is not there: expected is",
        "train.csv",
        "gldv2:DIR/train.csv",
    ];
    refused(&spec("gldv2", nothing.path()), "train_clean.csv", &words);

    let dir = gldv2();
    fs::remove_file(dir.path().join("train/1/7/6/17660ef415d37059.jpg")).unwrap();
    let message = spec("gldv2", dir.path()).open().unwrap_err().to_string();
    assert!(
        message.starts_with("1 of the 5 images of gldv2"),
        "{message}"
    );
    assert!(message.contains("17660ef415d37059.jpg"), "{message}");
    assert!(message.contains("--skip-corrupt"), "{message}");
}

#[test]
fn google_landmarks_v1() {
    let list = "\"id\",\"url\",\"landmark_id\"\n\
                \"cacf8152e2d2ae60\",\"http://static.panoramio.com/a.jpg\",4676\n\
                \"0a58358a2afd3e4e\",\"None\",None\n\
                \"6b2bb500b6a38aa0\",\"http://lh6.ggpht.com/b.jpg\",6651\n";
    for folder in ["train", "images/train"] {
        let dir = tree(&[("train.csv", list)]);
        for id in ["cacf8152e2d2ae60", "6b2bb500b6a38aa0"] {
            write(dir.path(), &format!("{folder}/{id}.jpg"), b"x");
        }
        let dataset = open("gldv1", dir.path());
        let names: Vec<&str> = dataset.items().iter().map(|item| &*item.name).collect();
        assert_eq!(names, ["cacf8152e2d2ae60", "6b2bb500b6a38aa0"]);
        assert_eq!(dataset.class_names(), ["4676", "6651"]);
        assert_eq!(
            dataset.notes()[0].message(),
            "1 image has no landmark and left aside"
        );
    }
    for (list, words) in [
        ("id,url\na,b\n", ["no column `landmark_id`", "expected is"]),
        ("id,url,landmark_id\na,b,c\n", ["line 2 of", "`c`"]),
        ("id,url,landmark_id\na/b,b,1\n", ["line 2 of", "`a/b`"]),
    ] {
        let dir = tree(&[("train.csv", list)]);
        refused(&spec("gldv1", dir.path()), "train.csv", &words);
    }
}

const SOLUTION: &str = "id,images,Usage\n\
                        e324e0f3e6d9e504,a0000000000000aa b0000000000000bb,Public\n\
                        d9e17c5f3e0c47b3,None,Ignored\n\
                        1a748a755ed67512,c0000000000000cc,Private\n";

#[test]
fn the_retrieval_task_of_google_landmarks_v2() {
    let index = "id\na0000000000000aa\nb0000000000000bb\nc0000000000000cc\nd0000000000000dd\n";
    let dir = tree(&[
        ("index.csv", index),
        ("retrieval_solution_v2.1.csv", SOLUTION),
        ("index/a/0/0/a0000000000000aa.jpg", "x"),
        ("index/b/0/0/b0000000000000bb.jpg", "x"),
        ("index/c/0/0/c0000000000000cc.jpg", "x"),
        ("index/d/0/0/d0000000000000dd.jpg", "x"),
        ("test/e/3/2/e324e0f3e6d9e504.jpg", "x"),
        ("test/1/a/7/1a748a755ed67512.jpg", "x"),
    ]);
    let dataset = open("gldv2-retrieval", dir.path());
    assert_eq!(dataset.part(Part::Gallery), [0, 1, 2, 3]);
    assert_eq!(dataset.part(Part::Query), [4, 5]);
    let truth = |query, easy: &[usize]| GroundTruth {
        query,
        easy: easy.to_vec(),
        hard: Vec::new(),
        junk: Vec::new(),
    };
    assert_eq!(dataset.ground_truth(), [truth(4, &[0, 1]), truth(5, &[2])]);
    assert_eq!(dataset.protocols(), [Protocol::Lists]);
    assert!(!dataset.is_graded());
    let note = dataset.notes()[0].message();
    assert_eq!(note, "1 test image is no query and left aside");

    write(dir.path(), "index.csv", b"id\na0000000000000aa\n");
    let words = ["line 2 of", "b0000000000000bb is not in index.csv"];
    refused(
        &spec("gldv2-retrieval", dir.path()),
        "retrieval_solution_v2.1.csv",
        &words,
    );
    write(dir.path(), "index.csv", b"id\nabc\nabc\n");
    let words = ["line 3 of", "abc is listed before"];
    refused(&spec("gldv2-retrieval", dir.path()), "index.csv", &words);
    fs::remove_file(dir.path().join("index.csv")).unwrap();
    let words = ["is not there: expected is", "retrieval_solution_v2.1.csv"];
    refused(&spec("gldv2-retrieval", dir.path()), "index.csv", &words);
}

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sfm120k");
    fs::read(fixtures.join(name)).unwrap()
}

/// The image of a number in the fixtures, and its file.
fn cid(image: u128) -> (String, String) {
    let name = format!(
        "{:032x}",
        0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128 + image * 0x10305
    );
    let [last, before, first] = [30, 28, 26].map(|at| &name[at..at + 2]);
    let path = format!("ims/{last}/{before}/{first}/{name}");
    (name, path)
}

#[test]
fn sfm_120k_with_its_models_and_pairs() {
    for file in ["lists.pkl", "numpy.pkl"] {
        let dir = tempdir().unwrap();
        write(dir.path(), "retrieval-SfM-120k.pkl", &fixture(file));
        for image in [0, 1, 2, 3, 4, 10, 11, 12] {
            write(dir.path(), &cid(image).1, b"x");
        }
        let dataset = open("sfm120k", dir.path());
        let expected = [
            (0, "train/7", Split::Train),
            (1, "train/7", Split::Train),
            (2, "train/7", Split::Train),
            (3, "train/12", Split::Train),
            (4, "train/12", Split::Train),
            (10, "val/7", Split::Validation),
            (11, "val/7", Split::Validation),
            (12, "val/3", Split::Validation),
        ];
        let images = expected.map(|(image, class, split)| (cid(image), class, split));
        let expected: Vec<_> = images
            .iter()
            .map(|((name, path), class, split)| (name.as_str(), *class, *split, path.clone()))
            .collect();
        assert_eq!(summary(&dataset, dir.path()), expected, "{file}");
        let pairs = [[0, 1], [1, 2], [3, 4], [0, 2], [6, 5]];
        assert_eq!(dataset.pairs(), pairs, "{file}");
        let published = dataset.published_counts().iter().map(|count| count.images);
        assert!(published.eq([91_642, 6_403]));
    }
}

#[test]
fn the_pairs_for_a_whitening_are_read_where_they_are_named() {
    let dir = tempdir().unwrap();
    write(
        dir.path(),
        "retrieval-SfM-120k-whiten.pkl",
        &fixture("whiten.pkl"),
    );
    for image in 0..5 {
        write(dir.path(), &cid(image).1, b"x");
    }
    let dataset = open("sfm120k", &dir.path().join("retrieval-SfM-120k-whiten.pkl"));
    assert_eq!(dataset.items().len(), 5);
    assert!(!dataset.is_labelled());
    assert_eq!(dataset.pairs(), [[0, 2], [3, 4]]);
}

#[test]
fn lists_of_sfm_120k_that_cannot_be_used_are_named_with_the_way_out() {
    /// A pickle of protocol 0 as Python writes it, of a dictionary in a dictionary.
    fn pickled(entries: &[(&str, &str)]) -> String {
        let entries = entries
            .iter()
            .map(|(key, value)| format!("V{key}\n{value}s"));
        let part: String = entries.collect();
        format!("(dVtrain\n(d{part}sVval\n(d{part}s.")
    }
    let (name, _) = cid(0);
    let names = format!("(lV{name}\na");
    let good = [
        ("cids", &*names),
        ("cluster", "(lI4\na"),
        ("qidxs", "(lI0\na"),
        ("pidxs", "(lI0\na"),
    ];
    let file = "retrieval-SfM-120k.pkl";
    let dir = tempdir().unwrap();
    write(dir.path(), file, pickled(&good).as_bytes());
    assert_eq!(
        spec("sfm120k", dir.path()).index().unwrap().items().len(),
        2
    );

    for (place, value, words) in [
        (
            0,
            "I5\n",
            &["a number as `cids`", "in `train`", "expected is"][..],
        ),
        (0, "(lV../../a\na", &["`../../a` in `cids`", "in `train`"]),
        (1, "(l", &["0 numbers in `cluster` for 1 names"]),
        (1, "(lF0.5\na", &["0.5 in `cluster`", "whole numbers"]),
        (2, "(lI1\na", &["image 1 in `qidxs`", "1 in `cids`"]),
        (3, "(l", &["1 queries in `qidxs`", "0 images in `pidxs`"]),
        (3, "(lVa\na", &["a list as `pidxs`, not a list of numbers"]),
    ] {
        let mut entries = good;
        entries[place].1 = value;
        write(dir.path(), file, pickled(&entries).as_bytes());
        refused(&spec("sfm120k", dir.path()), file, words);
    }
    write(dir.path(), file, b"(dVtrain\n(ds.");
    refused(
        &spec("sfm120k", dir.path()),
        file,
        &["without `cids` in `train`"],
    );
    write(dir.path(), file, b"(d.");
    refused(
        &spec("sfm120k", dir.path()),
        file,
        &["without `train`", "expected is"],
    );
    write(dir.path(), file, b"cos\nsystem\n(Vtrue\ntR.");
    refused(&spec("sfm120k", dir.path()), file, &["at byte 0"]);
    let nothing = tempdir().unwrap();
    let words = ["is not there: expected is", "ims"];
    refused(&spec("sfm120k", nothing.path()), file, &words);
}

/// A ground truth of one query that finds `hall`.
const OXFORD: &str = "(dVimlist\n(lVhall\naVtower\nasVqimlist\n(lVgate\nasVgnd\n(l(dVbbx\n(lF0\naF0\naF8\naF8\nas\
                      Veasy\n(lI0\nasVhard\n(lsVjunk\n(lsas.";

#[test]
fn revisitop1m_is_a_gallery_of_distractors() {
    let dir = tree(&[
        ("revisitop1m.txt", "1/0a1b.jpg\n1/2c3d.jpg\r\n64/4e5f\n"),
        ("jpg/1/0a1b.jpg", "x"),
        ("jpg/1/2c3d.jpg", "x"),
        ("jpg/64/4e5f.jpg", "x"),
    ]);
    let distractors = open("revisitop1m", dir.path());
    assert!(!distractors.is_labelled());
    let paths: Vec<String> = (summary(&distractors, dir.path()).into_iter())
        .map(|(.., path)| path)
        .collect();
    assert_eq!(
        paths,
        ["jpg/1/0a1b.jpg", "jpg/1/2c3d.jpg", "jpg/64/4e5f.jpg"]
    );
    assert_eq!(distractors.published_counts()[0].images, 1_001_001);

    let oxford = tree(&[
        ("gnd_roxford5k.pkl", OXFORD),
        ("jpg/hall.jpg", "x"),
        ("jpg/tower.jpg", "x"),
        ("jpg/gate.jpg", "x"),
    ]);
    let alone = open("roxford5k", oxford.path());
    let both = alone.clone().with_distractors(&distractors).unwrap();
    assert_eq!(both.items().len(), 6);
    assert_eq!(both.part(Part::Gallery), [0, 1, 3, 4, 5]);
    assert_eq!(both.part(Part::Query), [2]);
    assert_eq!(both.split(Split::Test), [0, 1, 2, 3, 4, 5]);
    assert_eq!(both.ground_truth(), alone.ground_truth());
    assert_eq!(both.name(), "roxford5k");
    assert!(both.published_counts().is_empty());
    let queries = [alone.items()[0].class, alone.items()[2].class];
    assert!(
        both.items()[3..]
            .iter()
            .all(|item| !queries.contains(&item.class))
    );

    // Where nobody searches a gallery, there is none to add to.
    let message = distractors.clone().with_distractors(&alone).unwrap_err();
    let message = message.to_string();
    assert!(
        message.contains("revisitop1m") && message.contains("roxford5k"),
        "{message}"
    );

    let nothing = tempdir().unwrap();
    let words = ["is not there: expected is", "jpg"];
    refused(
        &spec("revisitop1m", nothing.path()),
        "revisitop1m.txt",
        &words,
    );
    let nothing = tree(&[("revisitop1m.txt", "\n")]);
    refused(
        &spec("revisitop1m", nothing.path()),
        "revisitop1m",
        &["no items"],
    );
}

#[test]
fn the_core_of_ilias() {
    let dir = tree(&[
        ("ilias_core/bold_bimp_000/query/Q000_00.jpg", "x"),
        (
            "ilias_core/bold_bimp_000/query/Q000_00_bbox.txt",
            "10 20 30 40\n5 25 10 10\n",
        ),
        (
            "ilias_core/bold_bimp_000/query/Q000_00_url.txt",
            "http://a\n",
        ),
        ("ilias_core/bold_bimp_000/query/T000.txt", "a bold bimp\n"),
        ("ilias_core/bold_bimp_000/pos/P000_00.jpg", "x"),
        ("ilias_core/bold_bimp_000/pos/P000_00_bbox.txt", "1 2 3 4\n"),
        ("ilias_core/bold_bimp_000/pos/P000_01.jpg", "x"),
        ("ilias_core/zippy_999/query/Q999_00.jpg", "x"),
        ("ilias_core/zippy_999/pos/P999_00.jpg", "x"),
        ("taxonomy.json", "{}"),
    ]);
    let core = dir.path().join("ilias_core");
    for path in [dir.path(), &*core] {
        let dataset = open("ilias", path);
        assert_eq!(dataset.class_names(), ["bold_bimp_000", "zippy_999"]);
        let items = dataset.items().iter();
        let items: Vec<_> = items
            .map(|item| (&*item.name, item.class, item.role))
            .collect();
        assert_eq!(
            items,
            [
                ("bold_bimp_000/query/Q000_00.jpg", 0, Role::Query),
                ("bold_bimp_000/pos/P000_00.jpg", 0, Role::Gallery),
                ("bold_bimp_000/pos/P000_01.jpg", 0, Role::Gallery),
                ("zippy_999/query/Q999_00.jpg", 1, Role::Query),
                ("zippy_999/pos/P999_00.jpg", 1, Role::Gallery),
            ]
        );
        assert_eq!(
            dataset.items()[0].bbox,
            BoundingBox::new(5, 20, 40, 60).ok()
        );
        assert!(dataset.items()[1..].iter().all(|item| item.bbox.is_none()));
        assert!(!dataset.crops_to_boxes() && dataset.turns_upright());
        assert_eq!(dataset.protocols(), [Protocol::QueryGallery]);
    }
    write(&core, "bold_bimp_000/query/Q000_00_bbox.txt", b"1 2 3\n");
    refused(
        &spec("ilias", dir.path()),
        "Q000_00_bbox.txt",
        &["line 1 of", "3 fields"],
    );
    let nothing = tempdir().unwrap();
    let place = nothing.path().to_str().unwrap();
    refused(
        &spec("ilias", nothing.path()),
        place,
        &["has no objects: expected is"],
    );
    let gone: PathBuf = nothing.path().join("gone");
    refused(
        &spec("ilias", &gone),
        "gone",
        &["is not there: expected is"],
    );
}

#[test]
fn a_check_tells_what_is_not_as_published() {
    let dir = gldv2();
    let config = CheckConfig {
        decode: false,
        ..CheckConfig::new(BatchSamplerConfig::new(4, 2))
    };
    let dataset = spec("gldv2", dir.path()).index().unwrap();
    let report = config.run(&dataset, |_| ()).unwrap().to_string();
    let told = "5 images of 2 classes instead of 1,580,470 images of 81,313 classes";
    assert!(report.contains(told), "{report}");
}
