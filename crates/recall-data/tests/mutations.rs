//! Files that were cut, flipped and spliced at random: each is refused or decoded, in bounded time.
//!
//! `RECALL_MUTATIONS=100000` tries as many; without it a few hundred. `examples/verdicts.rs` tells the
//! verdicts of such files to `xtask/peers/image_mutations.py`, which asks Pillow about the same.

use std::path::Path;
use std::time::{Duration, Instant};

use image::{ImageFormat, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_data::decode_rgb;

/// Small files of all kinds.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_str().unwrap().ends_with(".expected.png"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    let picture = RgbImage::from_fn(37, 21, |x, y| {
        image::Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8])
    });
    let mut bmp = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bmp, ImageFormat::Bmp).unwrap();
    files.push(("rgb.bmp".to_owned(), bmp.into_inner()));
    files
}

/// Cuts, flips or splices a file.
fn mutate(file: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut mutated = file.to_vec();
    match rng.random_range(0..4) {
        0 => mutated.truncate(rng.random_range(0..file.len())),
        1 => {
            for _ in 0..rng.random_range(1..9) {
                let place = rng.random_range(0..file.len());
                mutated[place] ^= 1 << rng.random_range(0..8);
            }
        }
        2 => {
            // Without a piece in the middle, or with one twice.
            let mut ends = [0, 0].map(|_| rng.random_range(0..file.len()));
            ends.sort_unstable();
            let [start, end] = ends;
            let piece: Vec<u8> = match rng.random() {
                true => Vec::new(),
                false => file[start..end].repeat(2),
            };
            mutated.splice(start..end, piece);
        }
        _ => {
            let start = rng.random_range(0..file.len());
            let end = (start + rng.random_range(1..40)).min(file.len());
            mutated[start..end].fill_with(|| rng.random());
        }
    }
    mutated
}

#[test]
fn a_mutated_file_is_refused_or_decoded_in_bounded_time() {
    let count = std::env::var("RECALL_MUTATIONS").map_or(400, |count| count.parse().unwrap());
    let files = files();
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let (mut refused, mut slowest) = (0, Duration::ZERO);
    for number in 0..count {
        let (name, file) = &files[number % files.len()];
        let mutated = mutate(file, &mut rng);
        let start = Instant::now();
        if let Err(error) = decode_rgb(&mutated, name) {
            refused += 1;
            let message = error.to_string();
            assert!(message.contains(&name[..]), "{message}");
            assert!(!message.contains("gave up"), "{number}: a decoder panicked");
        }
        slowest = slowest.max(start.elapsed());
    }
    println!("{refused} of {count} refused, {slowest:?} at most");
    assert!(refused > count / 4 && refused < count);
    // A header may claim 134 million pixels; these take a second or two, on a busy machine more.
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
}

#[test]
fn the_verdicts_where_pillow_disagrees_are_those_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mutated");
    let decoded = ["code-twice.jpg", "noise-in-alpha.webp"];
    let refused = [
        ("scan-ends-early.jpg", "ends early"),
        ("without-end.png", "ends early"),
        ("bytes-between-headers.jpg", "bytes between header"),
        ("wrong-checksum.png", "CRC error"),
        ("without-announced-chunk.webp", "chunk was missing"),
    ];
    let read = |name: &str| decode_rgb(&std::fs::read(folder.join(name)).unwrap(), name);
    for name in decoded {
        assert_eq!(read(name).unwrap().dimensions(), (61, 45), "{name}");
    }
    for (name, why) in refused {
        let message = read(name).unwrap_err().to_string();
        assert!(message.contains(why), "{message}");
    }
}
