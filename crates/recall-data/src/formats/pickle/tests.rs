use std::path::Path;

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    Pickle::read(Path::new("lists.pkl"), bytes).map_err(|error| error.to_string())
}

fn message(bytes: &[u8]) -> String {
    match read(bytes) {
        Ok(pickle) => panic!("{} is no error", pickle.root().kind()),
        Err(message) => message,
    }
}

#[test]
fn numbers_of_every_instruction_are_read() {
    for (bytes, number) in [
        (&b"I-12\n."[..], -12.),
        (b"L34L\n.", 34.),
        (b"L34\n.", 34.),
        (b"F-1.5e3\n.", -1500.),
        (b"K\xff.", 255.),
        (b"M\xff\xff.", 65_535.),
        (b"J\xfe\xff\xff\xff.", -2.),
        (b"G\x3f\xe0\0\0\0\0\0\0.", 0.5),
        (b"\x8a\0.", 0.),
        (b"\x8a\x01\xff.", -1.),
        (b"\x8a\x02\xff\0.", 255.),
        (
            b"\x8b\x08\0\0\0\0\0\0\0\0\0\0\x80.",
            -9_223_372_036_854_775_808.,
        ),
    ] {
        let list = [b"(", &bytes[..bytes.len() - 1], b"l."].concat();
        let pickle = read(&list).unwrap();
        assert_eq!(pickle.root().numbers(), Some(vec![number]), "{bytes:?}");
    }
}

#[test]
fn text_of_every_instruction_is_read() {
    for bytes in [
        &b"S'ab'\n."[..],
        b"S\"\\x61b\"\n.",
        b"Vab\n.",
        b"V\\u0061b\n.",
        b"U\x02ab.",
        b"T\x02\0\0\0ab.",
        b"X\x02\0\0\0ab.",
        b"\x8c\x02ab.",
        b"\x8d\x02\0\0\0\0\0\0\0ab.",
        b"C\x02ab.",
        b"B\x02\0\0\0ab.",
        b"\x8e\x02\0\0\0\0\0\0\0ab.",
        b"\x96\x02\0\0\0\0\0\0\0ab.",
    ] {
        let pickle = read(bytes).unwrap();
        assert_eq!(pickle.root().text().as_deref(), Some("ab"), "{bytes:?}");
    }
    assert_eq!(read(b"C\x01\xff.").unwrap().root().text(), None);
}

#[test]
fn containers_and_memory_work_as_in_python() {
    // {'a': [1, (2, 3)], 'b': (), 'c': the list of 'a'} with every way to do it.
    let pickle = read(
        b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(U\x01a]q\x05K\x01aK\x02K\x03\x86aU\x01b)uU\x01c(h\x05l\
          0h\x05s.",
    );
    let pickle = pickle.unwrap();
    let root = pickle.root();
    assert_eq!((root.kind(), root.len()), ("a dictionary", 3));
    let list = root.get("a").unwrap();
    assert_eq!(
        (list.kind(), list.len(), list.numbers()),
        ("a list", 2, None)
    );
    let tuple = list.items().unwrap().nth(1).unwrap();
    assert_eq!(
        (tuple.kind(), tuple.numbers()),
        ("a tuple", Some(vec![2., 3.]))
    );
    assert_eq!(root.get("b").unwrap().numbers(), Some(vec![]));
    assert_eq!(root.get("c").unwrap().id, list.id, "it is the same one");
    assert!(root.get("d").is_none() && list.get("a").is_none());

    let pickle = read(b"(U\x01aK\x01U\x01aK\x02dp7\n0g7\n2\x852\x87.").unwrap();
    let last = pickle.root().items().unwrap().next().unwrap();
    assert_eq!(last.get("a").unwrap().kind(), "a number");
    // The mark and what is above it go; N, True and False stay.
    let pickle = read(b"N(K\x01K\x02(01\x88\x89I01\n(tr\x05\0\0\0j\x05\0\0\0\x86\x87.").unwrap();
    let kinds: Vec<_> = pickle.root().items().unwrap().map(Value::kind).collect();
    assert_eq!(kinds, ["a truth value", "a truth value", "a tuple"]);
}

#[test]
fn a_list_may_hold_itself() {
    let pickle = read(b"]\x94h\0a.").unwrap();
    assert_eq!((pickle.root().len(), pickle.root().numbers()), (1, None));
}

/// An array as numpy makes it.
fn array(dtype: &[u8], shape: &[u8], fortran: bool, data: &[u8]) -> Vec<u8> {
    [
        &b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01"[..],
        shape,
        dtype,
        if fortran { b"\x88" } else { b"\x89" },
        &[b'U', data.len() as u8],
        data,
        b"tb.",
    ]
    .concat()
}

const I16: &[u8] =
    b"cnumpy\ndtype\nU\x02i2\x85R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb";

#[test]
fn arrays_of_two_dimensions_come_row_by_row() {
    let data = [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0];
    for (shape, fortran, expected) in [
        (&b"K\x06\x85"[..], false, [1., 2., 3., 4., 5., 6.]),
        (b"K\x06\x85", true, [1., 2., 3., 4., 5., 6.]),
        (b"K\x02K\x03\x86", false, [1., 2., 3., 4., 5., 6.]),
        (b"K\x02K\x03\x86", true, [1., 3., 5., 2., 4., 6.]),
    ] {
        let bytes = array(I16, shape, fortran, &data);
        let pickle = read(&bytes).unwrap();
        assert_eq!(
            (pickle.root().kind(), pickle.root().len()),
            ("a numpy array", 6)
        );
        assert_eq!(pickle.root().numbers().unwrap(), expected);
        assert_eq!(pickle.root().texts(), None);
    }
    let big = b"cnumpy\ndtype\nU\x03>i2\x85R";
    let bytes = array(big, b"K\x01\x85", false, &[1, 2]);
    assert_eq!(read(&bytes).unwrap().root().numbers(), Some(vec![258.]));
    // No values, but endlessly many rows of them.
    let endless = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x0fK\0\x86";
    let bytes = array(I16, endless, true, &[]);
    assert_eq!(read(&bytes).unwrap().root().numbers(), Some(vec![]));
}

#[test]
fn arrays_hold_text_and_objects_too() {
    let narrow = b"cnumpy\ndtype\nU\x02S3\x85R";
    let bytes = array(narrow, b"K\x02\x85", false, b"ab\0cde");
    assert_eq!(read(&bytes).unwrap().root().texts().unwrap(), ["ab", "cde"]);
    let wide = b"cnumpy\ndtype\nU\x03>U2\x85R";
    let bytes = array(
        wide,
        b"K\x02\x85",
        false,
        b"\0\0\0a\0\0\0\0\0\0\x20\xac\0\x01\xf6\0",
    );
    assert_eq!(read(&bytes).unwrap().root().texts().unwrap(), ["a", "€😀"]);
    let objects =
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01\
                    K\x02\x85cnumpy\ndtype\nU\x02O8\x85R\x89(K\x05U\x01xltb.";
    let pickle = read(objects).unwrap();
    assert_eq!(pickle.root().len(), 2);
    let kinds: Vec<_> = pickle.root().items().unwrap().map(Value::kind).collect();
    assert_eq!(kinds, ["a number", "bytes"]);
}

#[test]
fn nothing_is_run() {
    for (bytes, name) in [
        (&b"cos\nsystem\n(S'true'\ntR."[..], "`os.system`"),
        (
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
            "`posix.system`",
        ),
        (b"c__builtin__\neval\n.", "`__builtin__.eval`"),
        (b"cbuiltins\ngetattr\n.", "`builtins.getattr`"),
        (
            b"cnumpy.testing._private.utils\nrunstring\n.",
            "`numpy.testing._private.utils.runstring`",
        ),
        (
            b"cnumpy.core.multiarray\nfromfile\n.",
            "`numpy.core.multiarray.fromfile`",
        ),
        (b"ccollections\nOrderedDict\n.", "`collections.OrderedDict`"),
    ] {
        let message = message(bytes);
        assert!(message.contains(name), "{message}");
        assert!(
            message.contains("is asked for, and nothing but lists"),
            "{message}"
        );
    }
    for (bytes, what) in [
        (&b"(ios\nsystem\n."[..], "an object of a class"),
        (b"N)\x81.", "an object of a class"),
        (b"P1\n.", "a reference to something outside the file"),
        (b"\x82\x01.", "an extension code"),
        (b"\x8f.", "a set"),
        (b"\x97.", "data outside the file"),
    ] {
        let message = message(bytes);
        assert!(
            message.contains(&format!("{what} comes, and nothing but numbers")),
            "{message}"
        );
    }
}

#[test]
fn damage_is_named_by_its_place() {
    let reconstruct = |state: &[u8]| {
        let new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R";
        [new, state, b"b."].concat()
    };
    let dtype = |name: &[u8]| {
        [
            &b"cnumpy\ndtype\nU"[..],
            &[name.len() as u8],
            name,
            b"\x85R.",
        ]
        .concat()
    };
    for (bytes, word) in [
        (
            b"".to_vec(),
            "byte 0: an instruction should have 1 bytes, but 0 are left",
        ),
        (
            b"<html>".to_vec(),
            "byte 0: 0x3c is no instruction: the file is damaged, or no pickle",
        ),
        (
            b"\x80\x06N.".to_vec(),
            "the pickle has protocol 6, known are 0 to 5",
        ),
        (b"N".to_vec(), "byte 1: an instruction should"),
        (b".".to_vec(), "a value is wanted where there is none"),
        (b"N(a.".to_vec(), "a value is wanted where there is none"),
        (b"Nt.".to_vec(), "byte 1: the values have no beginning"),
        (b"Ih\n.".to_vec(), "`h` is no number"),
        (b"I12".to_vec(), "byte 1: the line of a number does not end"),
        (
            b"L99999999999999999999L\n.".to_vec(),
            "`99999999999999999999` is no number, or too large",
        ),
        (b"\x8a\x09123456789.".to_vec(), "more than 64 bits"),
        (
            b"X\x05\0\0\0ab.".to_vec(),
            "text should have 5 bytes, but 3 are left",
        ),
        (
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.".to_vec(),
            "but 3 are left: the file is cut",
        ),
        (
            b"T\xff\xff\xff\xff.".to_vec(),
            "bytes should have 4294967295 bytes",
        ),
        (b"X\x01\0\0\0\xff.".to_vec(), "text is not UTF-8"),
        (b"S'a\n.".to_vec(), "text is damaged"),
        (b"V\\u1\n.".to_vec(), "text is damaged"),
        (b"h\x01.".to_vec(), "byte 0: nothing was put at place 1"),
        (b"NNa.".to_vec(), "a value is added to None, not to a list"),
        (
            b"](N\x85u.".to_vec(),
            "an entry is added to a list, not to a dictionary",
        ),
        (b"}(Nu.".to_vec(), "a key has no value"),
        (b"NN\x93.".to_vec(), "a name is no text"),
        (b"N)R.".to_vec(), "something is called that is no function"),
        (
            b"cnumpy\nndarray\n)R.".to_vec(),
            "not made as numpy makes it: write the file anew",
        ),
        (
            b"]Nb.".to_vec(),
            "a list is given contents that it cannot have",
        ),
        (
            reconstruct(b"N"),
            "a numpy array is given contents that it cannot have",
        ),
        (reconstruct(b"(NNNNNt"), "not made as numpy makes it"),
        (
            dtype(b"f2"),
            "of the type `f2`, and nothing but numbers of up to 64 bits",
        ),
        (dtype(b"U0"), "of the type `U0`"),
        (dtype(b"V8"), "of the type `V8`"),
        (dtype("é".as_bytes()), "of the type `é`"),
        (
            array(I16, b"K\x02\x85", false, &[0; 3]),
            "1 x 2 values has 3 bytes",
        ),
        (
            array(I16, b"J\xff\xff\xff\xff\x85", false, &[]),
            "not made as numpy makes it",
        ),
        (
            array(I16, b"K\x01K\x01K\x01\x87", false, &[0; 2]),
            "has 3 dimensions, and at most two",
        ),
        (
            array(I16, b"\x8a\x08\0\0\0\0\0\0\0\x40K\x02\x86", false, &[]),
            "4611686018427387904 x 2 values has 0 bytes",
        ),
    ] {
        let message = message(&bytes);
        assert!(message.starts_with("lists.pkl at byte "), "{message}");
        assert!(message.contains(word), "{message}\n{word}");
    }
}

#[test]
fn memory_is_bounded_by_the_file() {
    // Lists of lists of lists, each twice what it holds: there are 100 lists, not 2^100.
    let mut doubled = b"]\x94".to_vec();
    for place in 0..100 {
        doubled.extend([b'(', b'h', place, b'h', place, b'l', 0x94]);
    }
    doubled.push(b'.');
    let pickle = read(&doubled).unwrap();
    assert_eq!((pickle.nodes.len(), pickle.root().len()), (101, 2));

    // A million lists in one another are neither read nor dropped by recursion.
    let mut deep = b"]".repeat(1_000_000);
    deep.extend(b"a".repeat(999_999));
    deep.push(b'.');
    assert_eq!(read(&deep).unwrap().nodes.len(), 1_000_000);

    // The same text made bytes again and again.
    let text = "a".repeat(100);
    let mut copies = format!("c_codecs\nencode\np0\n0V{text}\np1\n0").into_bytes();
    copies.extend(b"g0\ng1\n\x85R0".repeat(1_000));
    copies.extend(b"N.");
    assert!(message(&copies).contains("more bytes are made than the file has"));

    // The same bytes made arrays again and again stay the same bytes.
    let mut arrays = b"cnumpy.core.numeric\n_frombuffer\n\x94".to_vec();
    arrays.extend(b"cnumpy\ndtype\nU\x02i1\x85R\x94B\x64\0\0\0");
    arrays.extend([7; 100]);
    arrays.extend(b"\x94K\x64\x85\x94\x8c\x01C\x94]");
    arrays.extend(b"h\0(h\x02h\x01h\x03h\x04tRa".repeat(1_000));
    arrays.push(b'.');
    let pickle = read(&arrays).unwrap();
    let last = pickle.root().items().unwrap().last().unwrap();
    assert_eq!(last.numbers(), Some(vec![7.; 100]));
}

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/roxford5k");
    std::fs::read(fixtures.join(name)).unwrap()
}

const FIXTURES: [&str; 6] = [
    "lists-0.pkl",
    "lists-4.pkl",
    "numpy-0.pkl",
    "numpy-2.pkl",
    "numpy-5.pkl",
    "python2.pkl",
];

/// Reads and looks at everything.
fn walk(bytes: &[u8]) {
    let Ok(pickle) = read(bytes) else {
        return;
    };
    for id in 0..pickle.nodes.len() {
        let value = Value {
            pickle: &pickle,
            id,
        };
        let _ = (value.kind(), value.len(), value.get("easy").is_some());
        let _ = (value.text(), value.texts(), value.numbers());
    }
}

#[test]
fn every_beginning_of_a_file_is_read_or_refused() {
    for name in FIXTURES {
        let bytes = fixture(name);
        assert_eq!(read(&bytes).unwrap().root().len(), 3);
        for length in 0..bytes.len() {
            walk(&bytes[..length]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        bytes.push(b'.');
        walk(&bytes);
    }

    #[test]
    fn any_program_is_read_or_refused(
        program in prop::collection::vec(
            prop::sample::select(vec![
                "(", "0", "1", "2", "N", "K\x01", "K\x02", "U\x01a", "U\x01<", "U\x02i2", "U\x02U1",
                "U\x02O8", "]", "}", ")", "t", "l", "d", "a", "e", "s", "u", "R", "b", "q\0", "q\x01",
                "h\0", "h\x01", "cnumpy\ndtype\n", "cnumpy\nndarray\n", "c_codecs\nencode\n", "Va\n",
                "cnumpy.core.multiarray\n_reconstruct\n", "cnumpy.core.multiarray\nscalar\n",
                "cnumpy.core.numeric\n_frombuffer\n", "cbuiltins\nbytes\n",
            ]),
            0..60,
        ),
    ) {
        // Enough on the stack that few programs end early.
        walk(format!("N]}}(NN)]{}.", program.concat()).as_bytes());
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        name in prop::sample::select(FIXTURES.to_vec()),
        changes in prop::collection::vec((0_usize..1 << 16, any::<u8>()), 1..4),
    ) {
        let mut bytes = fixture(name);
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = byte;
        }
        walk(&bytes);
    }
}
