use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::*;

mod damaged;

/// Writes what MATLAB would, in either order of bytes.
#[derive(Clone, Copy)]
struct Writer {
    big: bool,
}

impl Writer {
    fn u32(self, number: u32) -> [u8; 4] {
        if self.big {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn element(self, kind: u32, data: &[u8]) -> Vec<u8> {
        let mut element = [self.u32(kind), self.u32(data.len() as u32)].concat();
        element.extend(data);
        if kind != element::COMPRESSED {
            element.resize(element.len().next_multiple_of(8), 0);
        }
        element
    }

    /// An element in its tag.
    fn small(self, kind: u32, data: &[u8]) -> Vec<u8> {
        let mut element = self.u32((data.len() as u32) << 16 | kind).to_vec();
        element.extend(data);
        element.resize(8, 0);
        element
    }

    fn words(self, kind: u32, words: &[u32]) -> Vec<u8> {
        let words: Vec<u8> = words.iter().flat_map(|&word| self.u32(word)).collect();
        self.element(kind, &words)
    }

    fn array(self, name: &str, class: u32, dims: &[u32], values: &[u8]) -> Vec<u8> {
        let flags = self.words(element::UINT32, &[class, 0]);
        let dims = self.words(element::INT32, dims);
        let name = self.element(1, name.as_bytes());
        self.element(element::MATRIX, &[&flags, &dims, &name, values].concat())
    }

    fn numbers(self, name: &str, numbers: &[f64]) -> Vec<u8> {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| self.f64(*number))
            .collect();
        self.array(
            name,
            6,
            &[1, numbers.len() as u32],
            &self.element(9, &bytes),
        )
    }

    fn f64(self, number: f64) -> [u8; 8] {
        if self.big {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn packed(self, variable: &[u8]) -> Vec<u8> {
        self.element(element::COMPRESSED, &packed(variable))
    }

    fn file(self, variables: &[u8]) -> Vec<u8> {
        let mut file = vec![b' '; 124];
        file.extend(if self.big { *b"\x01\0MI" } else { *b"\0\x01IM" });
        file.extend(variables);
        file
    }
}

const LITTLE: Writer = Writer { big: false };

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn read_x(file: &[u8]) -> Result<Option<Value>, String> {
    let variables = read(Path::new("lists.mat"), file, &["x"]).map_err(|error| error.to_string());
    variables.map(|mut variables| variables.remove("x"))
}

/// The variable `x` of a file with only this in it.
fn x(variable: &[u8]) -> Result<Value, String> {
    read_x(&LITTLE.file(variable)).map(|x| x.expect("x is there"))
}

#[test]
fn numbers_of_every_type_are_read_in_both_orders() {
    for (kind, little, value) in [
        (1, vec![0xfe], -2.),
        (2, vec![0xfe], 254.),
        (3, (-2_i16).to_le_bytes().to_vec(), -2.),
        (4, 65_534_u16.to_le_bytes().to_vec(), 65_534.),
        (5, (-2_i32).to_le_bytes().to_vec(), -2.),
        (6, 4_294_967_294_u32.to_le_bytes().to_vec(), 4_294_967_294.),
        (7, 0.5_f32.to_le_bytes().to_vec(), 0.5),
        (9, 0.1_f64.to_le_bytes().to_vec(), 0.1),
        (12, (-2_i64).to_le_bytes().to_vec(), -2.),
        (13, 2_u64.to_le_bytes().to_vec(), 2.),
    ] {
        for big in [false, true] {
            let writer = Writer { big };
            let mut stored = little.clone();
            if big {
                stored.reverse();
            }
            let long = writer.array("x", 6, &[1, 1], &writer.element(kind, &stored));
            let mut files = vec![writer.file(&long), writer.file(&writer.packed(&long))];
            if stored.len() <= 4 {
                let small = writer.array("x", 6, &[1, 1], &writer.small(kind, &stored));
                files.push(writer.file(&small));
            }
            for file in files {
                let x = read_x(&file).unwrap();
                assert_eq!(
                    x,
                    Some(Value::Numbers(vec![value])),
                    "type {kind}, big {big}"
                );
            }
        }
    }
}

#[test]
fn text_of_every_encoding_is_read() {
    let both: [(u32, &[u8], &str); 8] = [
        (1, b"abc", "abc"),
        (2, "é".as_bytes(), "é"),
        (2, b"\xe9", "é"),
        (4, b"\xac\x20a\0", "€a"),
        (17, b"\x3d\xd8\x00\xde", "😀"),
        (16, "€".as_bytes(), "€"),
        (16, b"", ""),
        (16, b"a longer text", "a longer text"),
    ];
    for (kind, data, text) in both {
        let value = LITTLE.array("x", 4, &[1, text.len() as u32], &LITTLE.element(kind, data));
        assert_eq!(x(&value).unwrap().text(), Some(text));
    }
    for (kind, data, word) in [
        (16, &b"\xff"[..], "text is not UTF-8"),
        (17, b"\x00\xd8", "text is not UTF-16"),
        (4, b"a\0b", "text is not UTF-16"),
    ] {
        let value = LITTLE.array("x", 4, &[1, 1], &LITTLE.element(kind, data));
        let message = x(&value).unwrap_err();
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn cells_and_structs_lie_in_one_another() {
    let cell = [
        LITTLE.numbers("", &[1., 2.]),
        LITTLE.element(element::MATRIX, &[]),
    ]
    .concat();
    let cell = LITTLE.array("", 1, &[1, 2], &cell);
    let text = |text: &str| LITTLE.array("", 4, &[1, 2], &LITTLE.element(16, text.as_bytes()));
    let names = [
        LITTLE.small(5, &[4, 0, 0, 0]),
        LITTLE.element(1, b"a\0\0\0bc\0\0"),
    ]
    .concat();
    let values = [cell.clone(), text("b0"), cell, text("b1")].concat();
    let value = LITTLE.array("x", 2, &[2, 1], &[names, values].concat());
    let x = x(&value).unwrap();
    let cell = || Value::Cell(vec![Value::Numbers(vec![1., 2.]), Value::Numbers(vec![])]);
    assert_eq!(x.field("a"), Some(&[cell(), cell()][..]));
    assert_eq!(x.field("bc").unwrap()[1].text(), Some("b1"));
    assert_eq!(x.field("b"), None);
    assert_eq!(
        (x.kind(), x.numbers(), x.cell()),
        ("a struct array", None, None)
    );
}

#[test]
fn what_is_not_read_is_known_by_name_and_in_no_ones_way() {
    for (class, kind) in [
        (3, "an object"),
        (5, "a sparse matrix"),
        (16, "a function handle"),
        (0x0806, "complex numbers"),
    ] {
        let other = LITTLE.array("x", class, &[1, 1], b"whatever");
        assert_eq!(x(&other).unwrap().kind(), kind);
    }
    // An object of a class has no dimensions.
    let opaque = [
        LITTLE.words(6, &[17, 0]),
        LITTLE.small(1, b"x"),
        LITTLE.small(1, b"MCOS"),
    ];
    let opaque = LITTLE.element(element::MATRIX, &opaque.concat());
    assert_eq!(x(&opaque).unwrap().kind(), "an object");

    // Another variable may be as damaged as it will.
    let other = LITTLE.array("other", 6, &[1, 7], b"damaged!");
    let unknown = LITTLE.element(99, b"?");
    let parts = [
        LITTLE.packed(&other),
        other,
        unknown,
        LITTLE.numbers("x", &[3.]),
    ];
    assert_eq!(x(&parts.concat()).unwrap().number(), Some(3.));
    assert_eq!(read_x(&LITTLE.file(&[])), Ok(None));
}

#[test]
fn other_files_are_told_apart() {
    let header = |text: &[u8], end: &[u8]| [text, &vec![b' '; 124 - text.len()], end].concat();
    let mut hdf5 = header(b"MATLAB 7.3 MAT-file", b"\0\x02IM");
    hdf5.resize(512, 0);
    hdf5.extend(b"\x89HDF\r\n\x1a\n");
    for (file, word) in [
        (
            hdf5,
            "version 7.3 (HDF5), which is not read: load it in MATLAB and save it with `save -v7`",
        ),
        (b"\x89HDF\r\n\x1a\n".to_vec(), "version 7.3 (HDF5)"),
        (
            header(b"MATLAB", b"\0\x02IM"),
            "the unknown version 0002: load it",
        ),
        (
            header(b"MATLAB", b"\0\x01XX"),
            "no MATLAB file: expected is one that `save -v7` wrote",
        ),
        (
            header(b"\0\0\0\0", b"1234"),
            "perhaps one of version 4: load it",
        ),
        (b"<html>".to_vec(), "should have 128 bytes, but 6 are left"),
        (vec![], "should have 128 bytes, but 0 are left"),
    ] {
        let message = read_x(&file).unwrap_err();
        assert!(message.starts_with("lists.mat at byte 0: "), "{message}");
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn damage_is_named_by_its_place() {
    let element = |kind, data: &[u8]| LITTLE.element(kind, data);
    let array = |class, dims: &[u32], values: &[u8]| LITTLE.array("x", class, dims, values);
    let flags = LITTLE.words(6, &[6, 0]);
    let fields = |length: u8, names: &[u8]| {
        let length = LITTLE.small(5, &[length, 0, 0, 0]);
        array(2, &[1, 1], &[length, element(1, names)].concat())
    };
    let mut tag = array(6, &[1, 1], &[0; 8]);
    let end = tag.len() - 8;
    tag[end..end + 4].copy_from_slice(&(5_u32 << 16 | 1).to_le_bytes());
    for (variable, word) in [
        (
            element(14, &[1; 8]),
            "byte 136: the tag of the flags of an array is damaged",
        ),
        (
            element(14, &element(9, &[0; 8])),
            "byte 136: an array does not start with its flags",
        ),
        (
            element(14, &[flags.clone(), element(5, &[1; 4])].concat()),
            "an array has no dimensions",
        ),
        (array(6, &[1, 1 << 31], &[]), "a negative dimension"),
        (
            array(6, &[1 << 30, 1 << 30, 1 << 30], &[]),
            "more values than there is memory",
        ),
        (
            array(6, &[1, 2], &element(9, &[0; 8])),
            "should have 2 numbers, but has 8 bytes of them",
        ),
        (
            array(6, &[1, 1], &element(99, &[0; 8])),
            "numbers are of the unknown type 99",
        ),
        (
            array(6, &[1, 1], &[]),
            "byte 184: a tag should have 4 bytes, but 0 are left",
        ),
        (
            array(99, &[1, 1], &[]),
            "an array is of the unknown class 99",
        ),
        (
            array(1, &[1, 1], &element(9, &[])),
            "a value is an element of type 9, not an array",
        ),
        (
            array(1, &[1, (1 << 31) - 1], &[0; 96]),
            "should have 2147483647 values, but 96 bytes",
        ),
        (
            fields(4, b"a\0\0\0b"),
            "field names of a struct are damaged",
        ),
        (fields(0, b"a"), "field names of a struct are damaged"),
        (tag, "the tag of numbers is damaged"),
        (
            element(14, &[0; 8])[..12].to_vec(),
            "a variable should have 8 bytes, but 4 are left",
        ),
        (
            element(15, b"no zlib stream"),
            "a packed variable cannot be unpacked",
        ),
        (
            LITTLE.packed(&element(9, &[0; 8])),
            "packed is an element of type 9, not a variable",
        ),
    ] {
        let message = match x(&variable) {
            Ok(value) => panic!("{value:?} instead of {word}"),
            Err(message) => message,
        };
        assert!(message.contains(word), "{message}\n{word}");
        assert!(message.starts_with("lists.mat at byte "), "{message}");
    }
}

#[test]
fn a_struct_of_many_fields_and_values_is_counted_before_it_is_made() {
    let names = [LITTLE.small(5, &[1, 0, 0, 0]), LITTLE.element(1, b"abcd")].concat();
    let value = LITTLE.array("x", 2, &[(1 << 31) - 1, (1 << 31) - 1, 2], &names);
    assert!(
        x(&value)
            .unwrap_err()
            .contains("a struct has more values than there is memory")
    );
    let value = LITTLE.array("x", 2, &[1, (1 << 31) - 1], &names);
    assert!(
        x(&value)
            .unwrap_err()
            .contains("should have 8589934588 values, but 0 bytes")
    );
    // None of the many values has a field.
    let none = [LITTLE.small(5, &[1, 0, 0, 0]), LITTLE.element(1, b"")].concat();
    let value = LITTLE.array("x", 2, &[1, (1 << 31) - 1], &none);
    assert_eq!(x(&value).unwrap(), Value::Struct(vec![]));
}

#[test]
fn values_lie_only_so_deep() {
    let nested = |depth| {
        let inner = LITTLE.numbers("", &[1.]);
        let inner = (1..depth).fold(inner, |inner, _| LITTLE.array("", 1, &[1, 1], &inner));
        LITTLE.array("x", 1, &[1, 1], &inner)
    };
    assert!(x(&nested(MAX_DEPTH)).is_ok());
    let message = x(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert!(message.contains("more than 16 deep"), "{message}");
    assert!(x(&nested(10_000)).is_err());
}

#[test]
fn a_small_stream_does_not_fill_the_memory() {
    // A tag that claims four gigabytes.
    let claims = |size: u32| [LITTLE.u32(14).as_slice(), &LITTLE.u32(size), &[0; 9000]].concat();
    let stream = |bytes: &[u8]| LITTLE.element(element::COMPRESSED, &packed(bytes));
    let message = x(&stream(&claims(u32::MAX))).unwrap_err();
    assert!(
        message.contains("claims to have 4294967295 bytes, and at most 64 MiB"),
        "{message}"
    );
    let message = x(&stream(&claims(9001))).unwrap_err();
    assert!(
        message.contains("a packed variable is cut short"),
        "{message}"
    );

    // The same, with what was claimed: 100 times 1 MiB. What nobody wants is not unpacked.
    let large = LITTLE.array("large", 2, &[1, 1], &vec![0; 1 << 20]);
    let stream = LITTLE.packed(&large).repeat(100);
    let all = [stream.clone(), LITTLE.packed(&LITTLE.numbers("x", &[1.]))].concat();
    assert_eq!(x(&all).unwrap().number(), Some(1.));
    let large = LITTLE.array(
        "x",
        4,
        &[1, 1 << 20],
        &LITTLE.element(16, &vec![b'a'; 65 << 20]),
    );
    let message = x(&LITTLE.packed(&large)).unwrap_err();
    assert!(message.contains("at most 64 MiB are unpacked"), "{message}");
}

#[test]
fn a_stream_whose_check_sum_is_wrong_is_damaged() {
    let mut stream = LITTLE.packed(&LITTLE.numbers("x", &[1., 2.]));
    assert!(x(&stream).is_ok());
    *stream.last_mut().unwrap() ^= 1;
    let message = x(&stream).unwrap_err();
    assert!(message.contains("cannot be unpacked"), "{message}");
}
