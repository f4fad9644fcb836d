//! Each benchmark in the format in which it is published: read back from a small tree, and its split
//! at full size from lists made up for that.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use recall_data::{BoundingBox, DataSpec, Dataset, Part, Role, Split};

/// Writes files below a new folder.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write(dir.path(), path, content);
    }
    dir
}

fn write(dir: &Path, path: &str, content: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn spec(kind: &str, dir: &Path) -> DataSpec {
    format!("{kind}:{}", dir.display()).parse().unwrap()
}

fn open(kind: &str, dir: &tempfile::TempDir) -> Dataset {
    spec(kind, dir.path()).open().unwrap()
}

/// Name, class, split of each item.
fn summary(dataset: &Dataset) -> Vec<(&str, &str, Split)> {
    let items = dataset.items().iter();
    items
        .map(|item| {
            let class = dataset.class_names()[item.class as usize].as_str();
            (item.name.as_str(), class, item.split)
        })
        .collect()
}

fn super_classes(dataset: &Dataset) -> Vec<Option<&str>> {
    let name = |class: u32| dataset.super_class_names()[class as usize].as_str();
    let items = dataset.items().iter();
    items.map(|item| item.super_class.map(name)).collect()
}

/// Asserts that every published count is that of the data set, and that train and test share no class.
fn has_its_published_counts(dataset: &Dataset) {
    assert!(!dataset.published_counts().is_empty());
    for count in dataset.published_counts() {
        let ids = dataset.part(count.part);
        let classes: HashSet<u32> = dataset.labels(&ids).into_iter().collect();
        assert_eq!(ids.len(), count.images, "{}", count.part);
        assert_eq!(Some(classes.len()), count.classes, "{}", count.part);
    }
    let classes = |part| -> HashSet<u32> {
        let ids = dataset.part(part);
        dataset.labels(&ids).into_iter().collect()
    };
    assert!(classes(Part::Train).is_disjoint(&classes(Part::Test)));
}

/// As many sizes as there are classes, at least `least` each, that make `images` in all.
fn sizes(images: usize, classes: usize, least: usize) -> Vec<usize> {
    let beyond = images - classes * least;
    (0..classes)
        .map(|class| least + beyond / classes + usize::from(class < beyond % classes))
        .collect()
}

const SOP_HEADER: &str = "image_id class_id super_class_id path\n";

#[test]
fn sop() {
    let train = "1 1 1 bicycle_final/111085122871_0.JPG\n\
                 2 1 1 bicycle_final/111085122871_1.JPG\n\
                 3 7 2 cabinet_final/1_0.JPG\r\n";
    let test = "4 8 1 bicycle_final/9_0.JPG\n";
    let dir = tree(&[
        ("Ebay_train.txt", &format!("{SOP_HEADER}{train}")),
        ("Ebay_test.txt", &format!("{SOP_HEADER}{test}")),
        ("bicycle_final/111085122871_0.JPG", "pixels"),
        ("bicycle_final/111085122871_1.JPG", "x"),
        ("bicycle_final/9_0.JPG", "x"),
        ("cabinet_final/1_0.JPG", "x"),
    ]);
    let dataset = open("sop", &dir);
    assert_eq!(dataset.name(), "sop");
    assert_eq!(
        summary(&dataset),
        [
            ("bicycle_final/111085122871_0.JPG", "1", Split::Train),
            ("bicycle_final/111085122871_1.JPG", "1", Split::Train),
            ("cabinet_final/1_0.JPG", "7", Split::Train),
            ("bicycle_final/9_0.JPG", "8", Split::Test),
        ]
    );
    let (bicycle, cabinet) = (Some("bicycle_final"), Some("cabinet_final"));
    assert_eq!(
        super_classes(&dataset),
        [bicycle, bicycle, cabinet, bicycle]
    );
    assert_eq!(*dataset.read(0).unwrap(), *b"pixels");
}

#[test]
fn the_folder_that_the_archive_makes_is_found() {
    let files = [
        ("Stanford_Online_Products/Ebay_train.txt", SOP_HEADER),
        (
            "Stanford_Online_Products/Ebay_test.txt",
            &format!("{SOP_HEADER}1 1 1 a/1.JPG\n"),
        ),
        ("Stanford_Online_Products/a/1.JPG", "x"),
    ];
    assert_eq!(open("sop", &tree(&files)).items().len(), 1);
}

#[test]
fn sop_at_full_size() {
    let dir = tempfile::tempdir().unwrap();
    let (mut image, mut class) = (0, 0);
    for (list, images, classes) in [
        ("Ebay_train.txt", 59_551, 11_318),
        ("Ebay_test.txt", 60_502, 11_316),
    ] {
        let mut text = SOP_HEADER.to_owned();
        for size in sizes(images, classes, 2) {
            class += 1;
            for number in 0..size {
                image += 1;
                let kind = class % 12 + 1;
                writeln!(
                    text,
                    "{image} {class} {kind} kind{kind}/{class}_{number}.JPG"
                )
                .unwrap();
            }
        }
        write(dir.path(), list, &text);
    }
    let dataset = spec("sop", dir.path()).index().unwrap();
    has_its_published_counts(&dataset);
    assert_eq!(dataset.super_class_names().len(), 12);
}

/// The lists of CUB, an entry an image: its class, from 1.
fn cub_lists(dir: &Path, classes: usize, class_of: &[usize]) {
    let (mut images, mut labels, mut split, mut boxes) =
        (String::new(), String::new(), String::new(), String::new());
    for (image, class) in (1..).zip(class_of) {
        writeln!(
            images,
            "{image} {class:03}.Bird_{class}/Bird_{class}_{image:04}.jpg"
        )
        .unwrap();
        writeln!(labels, "{image} {class}").unwrap();
        writeln!(split, "{image} {}", image % 2).unwrap();
        writeln!(boxes, "{image} 60.0 27.0 {}.0 304.0", 100 + image).unwrap();
    }
    let classes: String = (1..=classes)
        .map(|class| format!("{class} {class:03}.Bird_{class}\n"))
        .collect();
    write(dir, "images.txt", &images);
    write(dir, "image_class_labels.txt", &labels);
    write(dir, "train_test_split.txt", &split);
    write(dir, "bounding_boxes.txt", &boxes);
    write(dir, "classes.txt", &classes);
}

#[test]
fn cub() {
    let dir = tempfile::tempdir().unwrap();
    cub_lists(dir.path(), 200, &[1, 1, 100, 101, 200]);
    let names = [
        "001.Bird_1/Bird_1_0001.jpg",
        "001.Bird_1/Bird_1_0002.jpg",
        "100.Bird_100/Bird_100_0003.jpg",
        "101.Bird_101/Bird_101_0004.jpg",
        "200.Bird_200/Bird_200_0005.jpg",
    ];
    for name in names {
        write(dir.path(), &format!("images/{name}"), "x");
    }
    let dataset = open("cub", &dir);
    assert_eq!(
        summary(&dataset),
        [
            (names[0], "001.Bird_1", Split::Train),
            (names[1], "001.Bird_1", Split::Train),
            (names[2], "100.Bird_100", Split::Train),
            (names[3], "101.Bird_101", Split::Test),
            (names[4], "200.Bird_200", Split::Test),
        ]
    );
    let bbox = BoundingBox::new(60, 27, 60 + 102, 27 + 304).ok();
    assert_eq!(dataset.items()[1].bbox, bbox);
    // As publications evaluate it; the boxes are there for those who want them.
    assert!(!dataset.crops_to_boxes());
    assert!(dataset.with_crops_to_boxes(true).crops_to_boxes());
}

#[test]
fn cub_at_full_size() {
    let mut class_of = Vec::new();
    let all = [sizes(5_864, 100, 41), sizes(5_924, 100, 41)].concat();
    for (class, size) in (1..).zip(all) {
        class_of.extend(std::iter::repeat_n(class, size));
    }
    let dir = tempfile::tempdir().unwrap();
    cub_lists(dir.path(), 200, &class_of);
    has_its_published_counts(&spec("cub", dir.path()).index().unwrap());
}

#[test]
fn inat2018() {
    let train = "train_val2018/Plantae/7477/3b60.jpg\ntrain_val2018/Aves/7477/11.jpg\n";
    let test = "train_val2018/Plantae/6100/4.jpg\n";
    let dir = tree(&[
        ("Inat_dataset_splits/Inaturalist_train_set1.txt", train),
        ("Inat_dataset_splits/Inaturalist_test_set1.txt", test),
        ("train_val2018/Plantae/7477/3b60.jpg", "x"),
        ("train_val2018/Aves/7477/11.jpg", "x"),
        ("train_val2018/Plantae/6100/4.jpg", "x"),
    ]);
    let dataset = open("inat2018", &dir);
    assert_eq!(
        summary(&dataset),
        [
            (
                "train_val2018/Plantae/7477/3b60.jpg",
                "Plantae/7477",
                Split::Train
            ),
            ("train_val2018/Aves/7477/11.jpg", "Aves/7477", Split::Train),
            (
                "train_val2018/Plantae/6100/4.jpg",
                "Plantae/6100",
                Split::Test
            ),
        ]
    );
    let (plants, birds) = (Some("Plantae"), Some("Aves"));
    assert_eq!(super_classes(&dataset), [plants, birds, plants]);
}

const IN_SHOP_HEADER: &str = "image_name item_id evaluation_status\n";

#[test]
fn in_shop() {
    let partition = "3\n\
        image_name                        item_id     evaluation_status\n\
        img/WOMEN/Dresses/id_00000002/02_1_front.jpg  id_00000002 train\n\
        img/MEN/Denim/id_00000080/01_1_front.jpg      id_00000080 query\n\
        img/MEN/Denim/id_00000080/01_2_side.jpg       id_00000080 gallery\n";
    let boxes = "3\nimage_name clothes_type pose_type x_1 y_1 x_2 y_2\n\
        img/WOMEN/Dresses/id_00000002/02_1_front.jpg  1  1  050 049 208 235\n\
        img/MEN/Denim/id_00000080/01_1_front.jpg      2  1  119 048 136 234\n\
        img/MEN/Denim/id_00000080/01_2_side.jpg       2  2  119 048 119 234\n";
    let dir = tree(&[
        ("Eval/list_eval_partition.txt", partition),
        ("Anno/list_bbox_inshop.txt", boxes),
        ("Img/img/WOMEN/Dresses/id_00000002/02_1_front.jpg", "x"),
        ("Img/img/MEN/Denim/id_00000080/01_1_front.jpg", "x"),
        ("Img/img/MEN/Denim/id_00000080/01_2_side.jpg", "x"),
    ]);
    let dataset = open("inshop", &dir);
    let found: Vec<_> = summary(&dataset)
        .into_iter()
        .map(|(_, class, split)| (class, split))
        .collect();
    let (dress, denim) = ("id_00000002", "id_00000080");
    assert_eq!(
        found,
        [
            (dress, Split::Train),
            (denim, Split::Test),
            (denim, Split::Test)
        ]
    );
    let roles: Vec<_> = dataset.items().iter().map(|item| item.role).collect();
    assert_eq!(roles, [Role::Both, Role::Query, Role::Gallery]);
    assert_eq!(
        dataset.items()[0].bbox,
        BoundingBox::new(50, 49, 208, 235).ok()
    );
    assert_eq!(dataset.items()[2].bbox, None);
    assert!(!dataset.crops_to_boxes());
    let notes: Vec<&str> = dataset.notes().iter().map(|note| note.message()).collect();
    assert_eq!(notes, ["1 box has no area and left aside"]);
}

#[test]
fn in_shop_at_full_size() {
    let mut lines = String::new();
    let mut add = |first: usize, status: &str, sizes: Vec<usize>| {
        for (item, size) in (first..).zip(sizes) {
            for image in 0..size {
                writeln!(
                    lines,
                    "img/{item}/{status}_{image}.jpg id_{item:08} {status}"
                )
                .unwrap();
            }
        }
    };
    add(1, "train", sizes(25_882, 3_997, 1));
    add(4_000, "query", sizes(14_218, 3_985, 1));
    add(4_000, "gallery", sizes(12_612, 3_985, 1));
    let text = format!("52712\n{IN_SHOP_HEADER}{lines}");
    let dir = tree(&[("list_eval_partition.txt", &text)]);
    has_its_published_counts(&spec("inshop", dir.path()).index().unwrap());

    // Without its last line it is no longer what its first line says.
    let cut = &text[..text.trim_end().rfind('\n').unwrap()];
    write(dir.path(), "list_eval_partition.txt", cut);
    let message = spec("inshop", dir.path()).index().unwrap_err().to_string();
    assert!(
        message.contains("52712 lines are promised, but 52711 follow"),
        "{message}"
    );
}

#[test]
fn vehicle_id() {
    let dir = tree(&[
        ("train_test_split/train_list.txt", "1 100\n2 100\n"),
        ("train_test_split/test_list_800.txt", "0000007 200\n9 200\n"),
        (
            "train_test_split/test_list_1600.txt",
            "9 200\n8 300\n7 200\n",
        ),
        ("train_test_split/test_list_2400.txt", "10 400\n"),
        ("attribute/model_attr.txt", "100 5\n300 5\n200 17\n"),
    ]);
    for image in [
        "0000001", "0000002", "0000007", "0000008", "0000009", "0000010",
    ] {
        write(dir.path(), &format!("image/{image}.jpg"), "x");
    }
    let dataset = open("vehicle-id", &dir);
    assert_eq!(
        summary(&dataset),
        [
            ("0000001.jpg", "100", Split::Train),
            ("0000002.jpg", "100", Split::Train),
            ("0000007.jpg", "200", Split::Test),
            ("0000009.jpg", "200", Split::Test),
            ("0000008.jpg", "300", Split::Test),
            ("0000010.jpg", "400", Split::Test),
        ]
    );
    let subsets: Vec<_> = dataset
        .subsets()
        .iter()
        .map(|subset| (subset.name.as_str(), subset.ids.as_slice()))
        .collect();
    assert_eq!(
        subsets,
        [
            ("small", &[2, 3][..]),
            ("medium", &[2, 3, 4]),
            ("large", &[5])
        ]
    );
    let models = [
        Some("5"),
        Some("5"),
        Some("17"),
        Some("17"),
        Some("5"),
        None,
    ];
    assert_eq!(super_classes(&dataset), models);
}

#[test]
fn vehicle_id_at_full_size() {
    let dir = tempfile::tempdir().unwrap();
    let (mut image, mut vehicle) = (0, 0);
    for (list, images, vehicles) in [
        ("train_list", 110_178, 13_134),
        ("test_list_800", 7_332, 800),
        ("test_list_1600", 12_995, 1_600),
        ("test_list_2400", 20_038, 2_400),
    ] {
        let mut text = String::new();
        for size in sizes(images, vehicles, 2) {
            vehicle += 1;
            for _ in 0..size {
                image += 1;
                writeln!(text, "{image:07} {vehicle}").unwrap();
            }
        }
        write(dir.path(), &format!("train_test_split/{list}.txt"), &text);
    }
    has_its_published_counts(&spec("vehicle-id", dir.path()).index().unwrap());
}

#[test]
fn missing_images_are_counted_and_the_first_is_named() {
    let test = format!("{SOP_HEADER}1 1 1 a/1.JPG\n2 1 1 a/2.JPG\n3 1 1 a/3.JPG\n");
    let dir = tree(&[
        ("Ebay_train.txt", SOP_HEADER),
        ("Ebay_test.txt", &test),
        ("a/2.JPG", "x"),
    ]);
    let message = spec("sop", dir.path()).open().unwrap_err().to_string();
    for words in ["2 of the 3 images of sop", "a/1.JPG", "recall-train check"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(
        spec("sop", dir.path())
            .index()
            .unwrap()
            .missing_files()
            .len(),
        2
    );
}

/// What a list can have wrong: the benchmark, the file, its content and the words of the message.
#[test]
fn a_line_that_cannot_be_used_is_named() {
    let cub = |file: &str, content: &str, words: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        cub_lists(dir.path(), 200, &[1, 150]);
        write(dir.path(), file, content);
        refused("cub", &dir, file, words);
    };
    cub(
        "images.txt",
        "1 a/1.jpg\n\n9 a/9.jpg\n",
        &["line 3", "the image 9 has no line"],
    );
    cub(
        "images.txt",
        "1\n",
        &["line 1", "1 fields", "image_id image_name"],
    );
    cub("images.txt", "x a/1.jpg\n", &["line 1", "image_id is `x`"]);
    cub(
        "image_class_labels.txt",
        "1 0\n",
        &["line 1", "class_id is 0", "1 to 200"],
    );
    cub(
        "image_class_labels.txt",
        "1 201\n",
        &["line 1", "class_id is 201"],
    );
    cub(
        "image_class_labels.txt",
        "1 1\n1 2\n",
        &["line 2", "image 1 comes a second time"],
    );
    cub("classes.txt", "1 a\n3 c\n", &["line 2", "numbered 1, 2, 3"]);
    cub(
        "bounding_boxes.txt",
        "1 5 5 0 9\n",
        &["line 1", "has no area"],
    );
    cub(
        "bounding_boxes.txt",
        "1 5 5 nan 9\n",
        &["line 1", "has no area"],
    );

    let sop = |content: &str, words: &[&str]| {
        let dir = tree(&[
            ("Ebay_train.txt", SOP_HEADER),
            ("Ebay_test.txt", &format!("{SOP_HEADER}{content}")),
        ]);
        refused("sop", &dir, "Ebay_test.txt", words);
    };
    sop("1 1 a/1.JPG\n", &["line 2", "3 fields"]);
    sop("1 one 1 a/1.JPG\n", &["line 2", "class_id is `one`"]);

    let in_shop = |content: &str, words: &[&str]| {
        let dir = tree(&[("list_eval_partition.txt", content)]);
        refused("inshop", &dir, "list_eval_partition.txt", words);
    };
    let line = "img/1.jpg id_1 val\n";
    in_shop(
        &format!("1\n{IN_SHOP_HEADER}{line}"),
        &["line 3", "`val`", "train, query or gallery"],
    );
    in_shop(
        "many\nheader\nimg/1.jpg id_1 train\n",
        &["line 1", "`many`"],
    );

    let vehicles = |list: &str, content: &str, words: &[&str]| {
        let dir = tree(&[
            ("train_test_split/train_list.txt", "1 100\n"),
            ("train_test_split/test_list_800.txt", "7 200\n"),
            ("train_test_split/test_list_1600.txt", "7 200\n"),
            ("train_test_split/test_list_2400.txt", "7 200\n"),
        ]);
        write(dir.path(), &format!("train_test_split/{list}"), content);
        refused("vehicle-id", &dir, list, words);
    };
    vehicles(
        "test_list_800.txt",
        "1 100\n",
        &["line 1", "image 1 is listed before"],
    );
    vehicles(
        "test_list_1600.txt",
        "7 201\n",
        &["line 1", "another vehicle"],
    );
    vehicles(
        "test_list_2400.txt",
        "7 200\n7 200\n",
        &["0000007.jpg twice"],
    );

    let inat = tree(&[
        ("Inaturalist_train_set1.txt", "image.jpg\n"),
        ("Inaturalist_test_set1.txt", ""),
    ]);
    refused(
        "inat2018",
        &inat,
        "Inaturalist_train_set1.txt",
        &["line 1", "super-class/class/image"],
    );
}

fn refused(kind: &str, dir: &tempfile::TempDir, file: &str, words: &[&str]) {
    let message = spec(kind, dir.path()).index().unwrap_err().to_string();
    for word in words.iter().chain([&file]) {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_folder_without_the_lists_is_told_what_is_expected() {
    for (kind, word) in [
        ("sop", "Ebay_train.txt"),
        ("cub", "classes.txt"),
        ("inat2018", "Inaturalist_train_set1.txt"),
        ("inshop", "list_eval_partition.txt"),
        ("vehicle-id", "train_list.txt"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let message = spec(kind, dir.path()).open().unwrap_err().to_string();
        assert!(message.contains("is not there: expected is"), "{message}");
        assert!(message.contains(word), "{message}");
    }
}
