//! Data sets of one's own: folders and tables.

use std::fs;
use std::path::Path;

use recall_eval::{Embeddings, EmptyQueries, Metric, Retrieval, evaluate, read_labels};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{class_folders, command, metrics, picture, refuse, succeed, tiny};

fn eval(dir: &Path, data: &str) -> Value {
    let arguments = [
        "eval",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--data",
        data,
        "--json",
    ];
    let (stdout, _) = succeed(&mut command(dir, &arguments));
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn a_folder_with_splits() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    class_folders(&dir.path().join("images/test"), 4..7, 3);
    fs::write(dir.path().join("images/train/class-00/notes.txt"), "x").unwrap();
    let arguments = ["--data", "folder:images", "--out", "run"];
    let (_, stderr) = succeed(&mut tiny(dir.path(), &arguments));
    let counts = "16 training images of 4 classes, 0 validation and 9 test images";
    assert!(stderr.contains(counts), "{stderr}");
    assert!(stderr.contains("1 file is no image"), "{stderr}");
    assert_eq!(eval(dir.path(), "folder:images")["queries"], 9);

    // The run without --out takes the next free folder.
    for number in ["001", "002"] {
        succeed(&mut tiny(dir.path(), &["--data", "folder:images"]));
        let run = dir.path().join(format!("runs/images-{number}"));
        assert_eq!(metrics(&run), metrics(&dir.path().join("run")));
    }
}

#[test]
fn a_folder_without_splits_is_split_by_the_names_of_its_classes() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images"), 0..8, 4);
    let arguments = ["--data", "folder:images", "--out", "run"];
    let (_, stderr) = succeed(&mut tiny(dir.path(), &arguments));
    let counts = "20 training images of 5 classes, 0 validation and 12 test images";
    assert!(stderr.contains(counts), "{stderr}");
}

#[test]
fn a_benchmark_in_its_published_layout() {
    let dir = tempdir().unwrap();
    // Eight classes of 4, 3 or 2 images in two super-classes; half of them train.
    for (list, classes) in [("Ebay_train.txt", 0..8), ("Ebay_test.txt", 8..16)] {
        let mut text = "image_id class_id super_class_id path\n".to_owned();
        for class in classes {
            for image in 0..4 - class % 3 {
                let path = format!("kind-{}_final/{class}_{image}.JPG", class % 2);
                picture(&dir.path().join("sop").join(&path), class, image);
                text += &format!("{class}{image} {class} {} {path}\n", class % 2 + 1);
            }
        }
        fs::write(dir.path().join("sop").join(list), text).unwrap();
    }
    let run = |out: &str, settings: &[&str]| {
        let mut command = tiny(dir.path(), &["--data", "sop:sop", "--out", out]);
        command.args([
            "--set",
            "batch.samples_per_class=4",
            "--set",
            "batch.size=16",
        ]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        succeed(&mut command).1
    };
    let said = run(
        "run",
        &["batch.small_classes=repeat", "batch.super_classes=2"],
    );
    let counts = "25 training images of 8 classes, 0 validation and 24 test images";
    assert!(said.contains(counts), "{said}");
    assert!(
        said.contains("5 classes with fewer than 4 images are filled up"),
        "{said}"
    );
    assert_eq!(eval(dir.path(), "sop:sop")["queries"], 24);

    let said = run("whole", &["batch.small_classes=take-all"]);
    assert!(said.contains("are taken whole (13 images)"), "{said}");

    // What was kept by one run is what the next one would have made.
    let kept = "image.cache={folder=\"cache\",shorter_side=24}";
    for out in ["cold", "warm"] {
        run(out, &["batch.small_classes=take-all", kept]);
    }
    let of = |out| metrics(&dir.path().join(out));
    assert_eq!(of("cold"), of("warm"));
    assert_ne!(of("cold"), of("whole"));
    assert!(fs::read_dir(dir.path().join("cache")).unwrap().count() > 0);
}

#[test]
fn classes_of_one_image_fill_half_of_a_batch_for_any_loss() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    class_folders(&dir.path().join("images/train"), 20..30, 1);
    class_folders(&dir.path().join("images/test"), 4..7, 3);
    for kind in [
        "recall-at-k",
        "smooth-ap",
        "triplet",
        "proxy-nca",
        "info-nce",
    ] {
        let mut command = tiny(dir.path(), &["--data", "folder:images", "--out", kind]);
        for setting in [
            "batch.samples_per_class=4",
            "batch.size=16",
            "batch.small_classes=take-singletons",
            &format!("loss.kind={kind}"),
        ] {
            command.args(["--set", setting]);
        }
        let (_, said) = succeed(&mut command);
        let taken = "10 classes with fewer than 4 images are taken whole (10 images)";
        assert!(said.contains(taken), "{said}");
        // Two places of four have the ten: four and four of them, or four and two.
        let of_step = |record: Value| record["images"].as_u64();
        let images: Vec<u64> = (metrics(&dir.path().join(kind)).into_iter())
            .filter(|record| record["kind"] == "step")
            .filter_map(of_step)
            .collect();
        assert!(!images.is_empty());
        assert!(
            images.iter().all(|images| [14, 16].contains(images)),
            "{images:?}"
        );
    }
}

#[test]
fn a_data_set_with_lists_is_judged_in_its_three_setups() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    class_folders(&dir.path().join("images/test"), 4..7, 3);
    let train = ["--data", "folder:images", "--out", "run"];
    succeed(&mut tiny(dir.path(), &train));

    // Pickled by hand: {'imlist': ['a', 'b'], 'qimlist': ['q'],
    // 'gnd': [{'bbx': …, 'easy': [0], 'hard': [], 'junk': [1]}]}
    let gnd = "(dVimlist\np0\n(lp1\nVa\np2\naVb\np16\nasVqimlist\np3\n(lp4\nVq\np5\nasVgnd\np6\n(lp7\n\
               (dVbbx\np8\n(lp9\nF0\naF0\naF8\naF8\nasVeasy\np10\n(lp11\nI0\nasVhard\np12\n\
               (lp13\nsVjunk\np14\n(lp15\nI1\nasas.";
    fs::create_dir_all(dir.path().join("oxford/jpg")).unwrap();
    fs::write(dir.path().join("oxford/gnd_roxford5k.pkl"), gnd).unwrap();
    picture(&dir.path().join("oxford/jpg/a.jpg"), 1, 0);
    picture(&dir.path().join("oxford/jpg/b.jpg"), 2, 1);
    picture(&dir.path().join("oxford/jpg/q.jpg"), 2, 0);
    let eval = [
        "eval",
        "--checkpoint",
        "run",
        "--data",
        "roxford5k:oxford",
        "--empty",
        "zero",
        "--json",
    ];
    let (json, _) = succeed(&mut command(dir.path(), &eval));
    let judged: Value = serde_json::from_str(&json).unwrap();
    for (setup, precision, without) in [("easy", 1.0, 0), ("medium", 1.0, 0), ("hard", 0.0, 1)] {
        let of = &judged[setup];
        // The junk is out of the way, so the one that is left comes first.
        assert_eq!(of["map_trapezoid"], precision, "{json}");
        assert_eq!(of["mp@10"], precision, "{json}");
        assert_eq!(
            (&of["queries"], &of["without_positives"]),
            (&1.into(), &without.into())
        );
    }
    assert!(
        json.starts_with("{\"easy\":{\"map_trapezoid\":1.0,\"mp@1\""),
        "{json}"
    );
    let protocol = [&eval[..5], &["--protocol", "each-against-rest"]].concat();
    let message = refuse(&mut command(dir.path(), &protocol));
    assert!(message.contains("roxford5k says by lists"), "{message}");
    // Nobody has something to find in the hard set-up.
    let message = refuse(&mut command(dir.path(), &eval[..5]));
    assert!(message.contains("nothing to average"), "{message}");
}

/// Google Landmarks v2 with a clean list of as many landmarks, of three images each.
fn landmarks(dir: &Path, classes: u32) {
    let mut list = "landmark_id,images\n".to_owned();
    for class in 0..classes {
        let ids = [0, 1, 2].map(|image| format!("{class:x}{image}f{:013x}", class * 7 + image));
        for (image, id) in (0..).zip(&ids) {
            let folders = format!("{}/{}/{}", &id[..1], &id[1..2], &id[2..3]);
            picture(&dir.join(format!("train/{folders}/{id}.jpg")), class, image);
        }
        list += &format!("{},{}\n", 100 + class, ids.join(" "));
    }
    fs::write(dir.join("train_clean.csv"), list).unwrap();
}

#[test]
fn landmarks_are_checked_and_trained_on() {
    let dir = tempdir().unwrap();
    let place = dir.path().join("landmarks");
    landmarks(&place, 12);
    let check = |data: &str| {
        let batches = ["--batch-size", "8", "--samples-per-class", "2"];
        let arguments = [&["check", data, "--json"][..], &batches].concat();
        let output = command(dir.path(), &arguments).output().unwrap();
        // Numbers that differ from the published ones are errors.
        assert_eq!(output.status.code(), Some(1), "{data}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = check("gldv2:landmarks");
    assert_eq!(
        (&report["images"], &report["classes"]),
        (&36.into(), &12.into())
    );
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report}");
    let told = "36 images of 12 classes instead of 1,580,470 images of 81,313 classes";
    assert!(
        findings[0]["message"].as_str().unwrap().contains(told),
        "{report}"
    );

    // The list can be named, and one of one's own has no published numbers.
    fs::copy(place.join("train_clean.csv"), place.join("mine.csv")).unwrap();
    let mine = ["check", "gldv2:landmarks/mine.csv", "--batch-size", "8"];
    succeed(command(dir.path(), &mine).args(["--samples-per-class", "2"]));
    let train = ["--data", "gldv2:landmarks/mine.csv", "--out", "run"];
    let (_, said) = succeed(tiny(dir.path(), &train).args(["--set", "evaluation.validation=0.3"]));
    assert!(said.contains("0 test images"), "{said}");

    fs::write(place.join("broken.csv"), "landmark,images\n").unwrap();
    let message = refuse(&mut command(
        dir.path(),
        &["check", "gldv2:landmarks/broken.csv"],
    ));
    assert!(message.contains("no column `landmark_id`"), "{message}");
    let message = refuse(&mut command(dir.path(), &["check", "sfm120k:landmarks"]));
    assert!(
        message.contains("retrieval-SfM-120k.pkl is not there"),
        "{message}"
    );
}

#[test]
fn distractors_join_the_gallery() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    class_folders(&dir.path().join("images/test"), 4..7, 3);
    let train = ["--data", "folder:images", "--out", "run"];
    succeed(&mut tiny(dir.path(), &train));

    // {'imlist': ['a', 'b'], 'qimlist': ['q'], 'gnd': [{'bbx': …, 'easy': [0], 'hard': [1], 'junk': []}]}
    let gnd = "(dVimlist\n(lVa\naVb\nasVqimlist\n(lVq\nasVgnd\n(l(dVbbx\n(lF0\naF0\naF99\naF99\nasVeasy\n(lI0\nas\
               Vhard\n(lI1\nasVjunk\n(lsas.";
    let place = |path: &str| dir.path().join(path);
    fs::create_dir_all(place("oxford/jpg")).unwrap();
    fs::write(place("oxford/gnd_roxford5k.pkl"), gnd).unwrap();
    picture(&place("oxford/jpg/a.jpg"), 5, 1);
    picture(&place("oxford/jpg/b.jpg"), 6, 1);
    picture(&place("oxford/jpg/q.jpg"), 2, 0);
    // The same picture as the query comes before what it should find.
    picture(&place("million/jpg/1/0a.jpg"), 2, 0);
    picture(&place("million/jpg/1/0b.jpg"), 2, 0);
    fs::write(place("million/revisitop1m.txt"), "1/0a.jpg\n1/0b.jpg\n").unwrap();
    let judged = |more: &[&str]| {
        let eval = ["eval", "--backend", "flex", "--checkpoint", "run", "--json"];
        let data = ["--data", "roxford5k:oxford"];
        let (json, _) = succeed(&mut command(dir.path(), &[&eval[..], &data, more].concat()));
        serde_json::from_str::<Value>(&json).unwrap()
    };
    assert_eq!(judged(&[])["medium"]["mp@1"], 1.0);
    let with = judged(&["--distractors", "revisitop1m:million"]);
    assert_eq!(with["medium"]["mp@1"], 0.0, "{with}");
    assert_eq!(with["medium"]["queries"], 1);

    let more = ["--distractors", "revisitop1m:million"];
    let check = [&["check", "roxford5k:oxford", "--json"][..], &more].concat();
    // Other numbers than the published ones would be an error: with distractors there are none.
    let (json, _) = succeed(&mut command(dir.path(), &check));
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["images"], 5, "{report}");

    let eval = ["eval", "--backend", "flex", "--checkpoint", "run"];
    let data = ["--data", "folder:images"];
    let message = refuse(&mut command(
        dir.path(),
        &[&eval[..], &data, &more].concat(),
    ));
    assert!(message.contains("no queries beside a gallery"), "{message}");
}

#[test]
fn lists_of_one_grade_are_judged_once() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    class_folders(&dir.path().join("images/test"), 4..7, 3);
    let train = ["--data", "folder:images", "--out", "run"];
    succeed(&mut tiny(dir.path(), &train));
    let place = |path: &str| dir.path().join(path);
    picture(&place("gld/index/a/0/0/a000.jpg"), 2, 0);
    picture(&place("gld/index/b/0/0/b000.jpg"), 5, 1);
    picture(&place("gld/test/c/0/0/c000.jpg"), 2, 0);
    fs::write(place("gld/index.csv"), "id\na000\nb000\n").unwrap();
    let solution = "id,images,Usage\nc000,a000,Public\nd000,None,Ignored\n";
    fs::write(place("gld/retrieval_solution_v2.1.csv"), solution).unwrap();
    let judged = eval(dir.path(), "gldv2-retrieval:gld");
    assert_eq!(judged["map@100"], 1.0, "{judged}");
    assert_eq!(judged["queries"], 1, "{judged}");
}

#[test]
fn vehicle_id_is_judged_by_both_protocols_for_each_list() {
    let dir = tempdir().unwrap();
    let (mut train, mut small) = (String::new(), String::new());
    for class in 0..8 {
        for instance in 0..4 {
            let name = format!("{class:06}{instance}");
            picture(
                &dir.path().join(format!("vehicles/image/{name}.jpg")),
                class,
                instance,
            );
            let list = if class < 4 { &mut train } else { &mut small };
            *list += &format!("{name} {class}\n");
        }
    }
    let lists = dir.path().join("vehicles/train_test_split");
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("train_list.txt"), train).unwrap();
    for (size, list) in [("800", &small), ("1600", &small), ("2400", &small)] {
        fs::write(lists.join(format!("test_list_{size}.txt")), list).unwrap();
    }
    let data = ["--data", "vehicle-id:vehicles"];
    succeed(tiny(dir.path(), &data).args(["--out", "run"]));
    let judged = eval(dir.path(), "vehicle-id:vehicles");
    for list in ["small", "medium", "large"] {
        let drawn = &judged[format!("{list}/random-gallery")];
        assert_eq!(
            (&drawn["draws"], &drawn["queries"]),
            (&10.into(), &12.into()),
            "{judged}"
        );
        let [mean, std] = ["recall@1", "recall@1_std"].map(|key| drawn[key].as_f64().unwrap());
        assert!(
            (0.0..=1.0).contains(&mean) && (0.0..0.3).contains(&std),
            "{judged}"
        );
        // A gallery of four has it among the first five.
        assert_eq!(drawn["recall@5"], 1.0);
        let rest = &judged[format!("{list}/each-against-rest")];
        assert_eq!(rest["queries"], 16, "{judged}");
        assert_eq!(rest["intervals"]["recall@5"].as_array().unwrap().len(), 2);
    }
    // One of them alone.
    let (text, _) = succeed(
        command(dir.path(), &["eval", "--checkpoint", "run"])
            .args(data)
            .args(["--protocol", "random-gallery", "--draws", "3"]),
    );
    assert!(text.starts_with("small\nrecall@1  "), "{text}");
    assert_eq!(
        text.matches("of 3 draws of 12 queries").count(),
        3,
        "{text}"
    );
    assert!(!text.contains("each"), "{text}");
}

/// A table whose test images are queries, gallery or both, as `role` says.
fn table(dir: &Path, role: impl Fn(u32) -> [bool; 2]) {
    let mut table = "path,label,split,is_query,is_gallery\n".to_owned();
    for class in 0..9 {
        for instance in 0..4 {
            let path = format!("images/{class}-{instance}.png");
            picture(&dir.join(&path), class, instance);
            let (split, [query, gallery]) = match class {
                0..4 => ("train", [false, false]),
                _ => ("test", role(instance)),
            };
            table += &format!("{path},label {class},{split},{query},{gallery}\n");
        }
    }
    fs::write(dir.join("table.csv"), table).unwrap();
}

/// Rows of the embedded test images, by the instance in their names.
fn side(dir: &Path, wanted: impl Fn(u32) -> bool) -> (Embeddings, Vec<i64>) {
    let all = Embeddings::open(dir.join("e.npy")).unwrap();
    let labels = read_labels(dir.join("e.labels.npy")).unwrap();
    let names = fs::read_to_string(dir.join("e.txt")).unwrap();
    let instance = |name: &str| name.rsplit_once('-').unwrap().1[..1].parse().unwrap();
    let rows: Vec<usize> = names
        .lines()
        .enumerate()
        .filter(|(_, name)| wanted(instance(name)))
        .map(|(row, _)| row)
        .collect();
    let values = rows.iter().flat_map(|&row| all.row(row).to_vec()).collect();
    let labels = rows.iter().map(|&row| labels[row]).collect();
    (Embeddings::new(values, all.dim()).unwrap(), labels)
}

#[test]
fn a_table_with_roles_is_judged_query_against_gallery() {
    let dir = tempdir().unwrap();
    table(dir.path(), |instance| [instance == 0, instance != 0]);
    succeed(&mut tiny(
        dir.path(),
        &["--data", "csv:table.csv", "--out", "run"],
    ));
    let judged = eval(dir.path(), "csv:table.csv");
    assert_eq!(judged["queries"], 5);

    let embed = [
        "embed",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--output",
        "e.npy",
    ];
    succeed(command(dir.path(), &embed).args(["--data", "csv:table.csv"]));
    let (queries, query_labels) = side(dir.path(), |instance| instance == 0);
    let (gallery, gallery_labels) = side(dir.path(), |instance| instance != 0);
    assert_eq!((queries.rows(), gallery.rows()), (5, 15));
    let metrics = [Metric::RecallAt(1), Metric::MapAtR];
    let ranks =
        Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &gallery_labels)
            .and_then(|retrieval| retrieval.ranks())
            .unwrap();
    let expected = evaluate(&ranks, &metrics, EmptyQueries::Skip).unwrap();
    for metric in metrics {
        assert_eq!(
            judged[metric.to_string()].as_f64(),
            expected.get(metric),
            "{metric}"
        );
    }
    assert!(
        expected.get(Metric::RecallAt(1)).unwrap() < 1.0,
        "too easy to tell"
    );
}

/// An image that is a query and in the gallery does not find itself.
#[test]
fn a_query_is_no_part_of_its_own_gallery() {
    let dir = tempdir().unwrap();
    // The fourth image of each class only asks, the others ask and answer.
    table(dir.path(), |instance| [true, instance != 3]);
    succeed(&mut tiny(
        dir.path(),
        &["--data", "csv:table.csv", "--out", "run"],
    ));
    let judged = eval(dir.path(), "csv:table.csv");
    assert_eq!(judged["queries"], 20);

    let embed = [
        "embed",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--output",
        "e.npy",
    ];
    succeed(command(dir.path(), &embed).args(["--data", "csv:table.csv"]));
    let (all, labels) = side(dir.path(), |_| true);
    let (gallery, gallery_labels) = side(dir.path(), |instance| instance != 3);
    let itself = |row: usize, other: &usize| gallery.row(*other) == all.row(row);
    let own: Vec<Vec<u32>> = (0..all.rows())
        .map(|row| {
            let same = (0..gallery.rows()).filter(|other| itself(row, other));
            same.map(|other| other as u32).collect()
        })
        .collect();
    assert_eq!(own.iter().filter(|own| own.len() == 1).count(), 15);
    assert_eq!(own.iter().filter(|own| own.is_empty()).count(), 5);
    let ranks = Retrieval::query_against_gallery(&all, &labels, &gallery, &gallery_labels)
        .and_then(|retrieval| retrieval.junk(own))
        .and_then(|retrieval| retrieval.ranks())
        .unwrap();
    let metrics = [Metric::RecallAt(1), Metric::MapAtR];
    let expected = evaluate(&ranks, &metrics, EmptyQueries::Skip).unwrap();
    for metric in metrics {
        assert_eq!(
            judged[metric.to_string()].as_f64(),
            expected.get(metric),
            "{metric}"
        );
    }
}
