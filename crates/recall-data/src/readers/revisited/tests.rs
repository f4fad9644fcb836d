use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(fixtures.join(name)).unwrap()
}

fn folder(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), bytes).unwrap();
    dir
}

fn assert_oxford(dataset: &Dataset, dir: &Path) {
    assert_eq!(dataset.name(), "roxford5k");
    let names: Vec<_> = dataset
        .items()
        .iter()
        .map(|item| item.name.as_str())
        .collect();
    let gallery = [
        "hall_000001",
        "hall_000002",
        "tower_000001",
        "tower_000007",
        "café_000003",
    ];
    assert_eq!(names[..5], gallery);
    assert_eq!(names[5..], ["hall_000009", "tower_000004"]);
    assert_eq!(
        dataset.class_names(),
        names,
        "each image is of a class of its own"
    );
    assert_eq!(dataset.labels(&[0, 6]), [0, 6]);
    assert_eq!(dataset.split(Split::Test).len(), 7);
    assert_eq!(dataset.part(Part::Gallery), [0, 1, 2, 3, 4]);
    assert_eq!(dataset.part(Part::Query), [5, 6]);
    assert_eq!(dataset.published_counts().len(), 2);

    assert!(dataset.crops_to_boxes());
    assert!(dataset.items()[..5].iter().all(|item| item.bbox.is_none()));
    // (10.5, 21.5) to (30, 41.7), halves to even, and (-3, 0) to (100.25, 50).
    assert_eq!(
        dataset.items()[5].bbox,
        BoundingBox::new(10, 22, 30, 42).ok()
    );
    assert_eq!(
        dataset.items()[6].bbox,
        BoundingBox::new(0, 0, 100, 50).ok()
    );
    let file = dir.join("jpg/hall_000009.jpg");
    assert_eq!(dataset.items()[5].source, ImageSource::File(file));

    let truth = |query, easy: &[_], hard: &[_], junk: &[_]| GroundTruth {
        query,
        easy: easy.into(),
        hard: hard.into(),
        junk: junk.into(),
    };
    let expected = [truth(5, &[0, 3], &[4], &[]), truth(6, &[], &[2], &[0, 1])];
    assert_eq!(dataset.ground_truth(), expected);
}

#[test]
fn pickles_of_all_protocols_are_read_with_lists_and_arrays() {
    let protocols = 0..=5;
    let names = protocols.flat_map(|p| [format!("lists-{p}.pkl"), format!("numpy-{p}.pkl")]);
    for name in names.chain(["python2.pkl".to_owned()]) {
        let dir = folder("gnd_roxford5k.pkl", &fixture(&format!("roxford5k/{name}")));
        let dataset = read_oxford(dir.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_oxford(&dataset, dir.path());
    }
}

#[test]
fn the_matlab_file_is_read_where_there_is_no_pickle() {
    let dir = folder("gnd_roxford5k.mat", &fixture("roxford5k/gnd.mat"));
    assert_oxford(&read_oxford(dir.path()).unwrap(), dir.path());
    std::fs::write(dir.path().join("gnd_roxford5k.pkl"), "no pickle").unwrap();
    assert!(read_oxford(dir.path()).is_err(), "the pickle comes first");
}

#[test]
fn paris_is_another_file() {
    let dir = folder("gnd_rparis6k.pkl", &fixture("rparis6k/gnd.pkl"));
    let spec = crate::DataSpec::Benchmark(crate::Benchmark::Rparis6k, dir.path().into());
    let dataset = spec.index().unwrap();
    assert_eq!((dataset.name(), dataset.items().len()), ("rparis6k", 3));
    assert_eq!(dataset.ground_truth()[0].easy, [1]);
    assert_eq!(dataset.published_counts()[1].images, 6_322);
    assert!(
        spec.open()
            .unwrap_err()
            .to_string()
            .contains("3 of the 3 images")
    );
    std::fs::create_dir(dir.path().join("jpg")).unwrap();
    for name in ["gate_000001", "gate_000002", "gate_000005"] {
        std::fs::write(dir.path().join(format!("jpg/{name}.jpg")), "x").unwrap();
    }
    assert_eq!(*spec.open().unwrap().read(2).unwrap(), *b"x");
}

#[test]
fn without_either_file_both_are_named() {
    let message = read_oxford(&PathBuf::from("nowhere"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("gnd_roxford5k.pkl is not there")
            && message.contains("gnd_roxford5k.pkl or gnd_roxford5k.mat"),
        "{message}"
    );
}

/// A pickle of protocol 0 in the words of Python, as far as the tries below need them.
fn pickled(python: &str) -> Vec<u8> {
    let mut pickle = Vec::new();
    let mut rest = python;
    while let Some(first) = rest.chars().next() {
        let mut length = 1;
        match first {
            '[' => pickle.extend(b"(l("),
            ']' => pickle.push(b'e'),
            '{' => pickle.extend(b"(d("),
            '}' => pickle.push(b'u'),
            '\'' => {
                length = rest[1..].find('\'').unwrap() + 2;
                pickle.extend(format!("S{}\n", &rest[..length]).bytes());
            }
            '-' | '0'..='9' => {
                length = rest.find([',', ']', '}']).unwrap();
                let kind = if rest[..length].contains(['.', 'e']) {
                    'F'
                } else {
                    'I'
                };
                pickle.extend(format!("{kind}{}\n", &rest[..length]).bytes());
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    pickle.push(b'.');
    pickle
}

const FINE: &str = "{'imlist': ['a', 'b'], 'qimlist': ['q'], 'gnd': [{'bbx': [1, 2, 3.5, 4], \
                    'easy': [0, 1], 'hard': [], 'junk': []}]}";

#[test]
fn lists_that_cannot_be_used_are_named() {
    let dir = folder("gnd_roxford5k.pkl", &pickled(FINE));
    assert_eq!(read_oxford(dir.path()).unwrap().items().len(), 3);
    for (from, to, word) in [
        (
            "'imlist'",
            "'images'",
            "has a dictionary without `imlist`: expected is the folder of",
        ),
        (
            "['a', 'b']",
            "'a'",
            "has bytes as `imlist`, not a list of names",
        ),
        (
            "['a', 'b']",
            "['a', 1]",
            "has a list as `imlist`, not a list of names",
        ),
        ("'b'", "'a'", "names the image a twice"),
        ("'b'", "'q'", "names the query q twice"),
        (
            "['q']",
            "['q', 'r']",
            "`gnd` of 1 queries, but 2 names in `qimlist`",
        ),
        ("'easy'", "'ok'", "query q: its `easy` is not there"),
        (
            "[0, 1]",
            "0",
            "query q: its `easy` is a number, not a list of numbers",
        ),
        (
            "[0, 1]",
            "['0']",
            "query q: its `easy` is a list, not a list of numbers",
        ),
        (
            "[0, 1]",
            "[2]",
            "query q: its `easy` lists the image 2, and the images of `imlist` have \
                           the numbers 0 to 1",
        ),
        ("[0, 1]", "[-1]", "query q: its `easy` lists the image -1"),
        ("[0, 1]", "[0.5]", "query q: its `easy` lists the image 0.5"),
        (
            "'junk': []",
            "'junk': [9]",
            "query q: its `junk` lists the image 9",
        ),
        (
            "[1, 2, 3.5, 4]",
            "[1, 2, 3]",
            "query q: its `bbx` has 3 numbers instead of 4",
        ),
        (
            "[1, 2, 3.5, 4]",
            "[1, 2, 1, 4]",
            "query q: the box from (1, 2) to (1, 4) has no area",
        ),
        (
            "[1, 2, 3.5, 4]",
            "[1, 2, 9e999, 4]",
            "query q: its `bbx` is [1.0, 2.0, inf, 4.0]",
        ),
        (
            "[1, 2, 3.5, 4]",
            "[-9, 2, -8, 4]",
            "query q: the box from (0, 2) to (0, 4) has no area",
        ),
    ] {
        let wrong = FINE.replacen(from, to, 1);
        assert_ne!(wrong, FINE);
        let dir = folder("gnd_roxford5k.pkl", &pickled(&wrong));
        let message = read_oxford(dir.path()).unwrap_err().to_string();
        assert!(message.contains("gnd_roxford5k.pkl"), "{message}");
        assert!(message.contains(word), "{message}\n{word}");
    }
    let dir = folder(
        "gnd_roxford5k.pkl",
        &pickled("{'imlist': [], 'qimlist': [], 'gnd': []}"),
    );
    assert!(
        read_oxford(dir.path())
            .unwrap_err()
            .to_string()
            .contains("no items")
    );
}

#[test]
fn places_from_0_in_a_matlab_file_are_found_out_by_the_first_image() {
    let lists = Lists {
        images: vec!["a".into(), "b".into()],
        queries: vec![Query {
            name: "q".into(),
            bbx: vec![0., 0., 1., 1.],
            easy: vec![0.],
            hard: vec![],
            junk: vec![],
        }],
    };
    let message = items(Path::new(""), &lists, 1).unwrap_err();
    let word = "lists the image 0, and the images of `imlist` have the numbers 1 to 2 (they count \
                from 0 in a .pkl and from 1 in a .mat)";
    assert!(message.contains(word), "{message}");
}

#[test]
fn what_is_small_in_the_file_and_large_in_memory_is_an_error() {
    // Many queries with the same long list.
    let many = |count: usize, what: &str| what.repeat(count);
    let zeros = format!("(l({}e", many(5_000, "I0\n"));
    let mut pickle = "(d(S'imlist'\n(l(S'a'\neS'qimlist'\n(l(".to_owned();
    for query in 0..1_000 {
        pickle += &format!("S'q{query}'\n");
    }
    pickle += "eS'gnd'\n(l(";
    pickle += &format!("(d(S'bbx'\n(l(I0\nI0\nI1\nI1\neS'easy'\n{zeros}");
    pickle += "S'hard'\n(lS'junk'\n(lu";
    pickle += "p0\n";
    pickle += &many(999, "g0\n");
    pickle += "eu.";
    let dir = folder("gnd_roxford5k.pkl", pickle.as_bytes());
    let message = read_oxford(dir.path()).unwrap_err().to_string();
    assert!(
        message.contains("its `easy` makes the lists of all queries too long"),
        "{message}"
    );

    // Many images of the same long name.
    let name = "n".repeat(100_000);
    let names = format!("(l(S'{name}'\np0\n{}e", many(100, "g0\n"));
    let pickle = format!("(d(S'imlist'\n{names}S'qimlist'\n(lS'gnd'\n(lu.");
    let dir = folder("gnd_roxford5k.pkl", pickle.as_bytes());
    let message = read_oxford(dir.path()).unwrap_err().to_string();
    assert!(
        message.contains("makes the names in `imlist` too long"),
        "{message}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_is_damaged_is_an_error_and_no_more(
        name in prop::sample::select(vec!["lists-0", "lists-4", "numpy-2", "numpy-5", "python2"]),
        at in 0_usize..4096,
        byte: u8,
    ) {
        let mut bytes = fixture(&format!("roxford5k/{name}.pkl"));
        let at = at % bytes.len();
        bytes[at] = byte;
        let dir = folder("gnd_roxford5k.pkl", &bytes);
        let _ = read_oxford(dir.path());
    }
}
