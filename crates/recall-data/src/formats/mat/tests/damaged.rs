//! Nothing that a file may hold is more than an error.

use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(fixtures.join(name)).unwrap()
}

const FIXTURES: [&str; 3] = [
    "cars196/cars_annos.mat",
    "cars196/unpacked.mat",
    "roxford5k/gnd.mat",
];

const WANTED: [&str; 4] = ["annotations", "class_names", "gnd", "imlist"];

#[test]
fn every_beginning_of_a_file_is_read_or_refused() {
    for name in FIXTURES {
        let bytes = fixture(name);
        let whole = read(Path::new(name), &bytes, &WANTED).unwrap();
        assert_eq!(whole.len(), 2);
        for length in 0..bytes.len() {
            let _ = read(Path::new(name), &bytes[..length], &WANTED);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(Path::new(""), &bytes, &WANTED);
        // With a header, and as a variable that is wanted.
        let _ = read(Path::new(""), &LITTLE.file(&bytes), &WANTED);
        let _ = read_x(&LITTLE.file(&LITTLE.packed(&bytes)));
        for class in [1, 2, 4, 6] {
            let _ = read_x(&LITTLE.file(&LITTLE.array("x", class, &[1, 2], &bytes)));
        }
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        name in prop::sample::select(FIXTURES.to_vec()),
        changes in prop::collection::vec((0_usize..1 << 20, any::<u8>()), 1..4),
        // Most of what matters is where numbers are small.
        small: bool,
    ) {
        let mut bytes = fixture(name);
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = if small { byte % 20 } else { byte };
        }
        let _ = read(Path::new(name), &bytes, &WANTED);
    }

    #[test]
    fn damage_inside_a_stream_is_read_or_refused(
        changes in prop::collection::vec((0_usize..1 << 20, 0_u8..20), 1..4),
    ) {
        let mut variable = fixture(FIXTURES[1])[128..].to_vec();
        let length = variable.len();
        for (at, byte) in changes {
            variable[at % length] = byte;
        }
        let _ = read(Path::new(""), &LITTLE.file(&LITTLE.packed(&variable)), &WANTED);
    }
}
