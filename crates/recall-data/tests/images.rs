//! What Pillow and torchvision make of the same images: `xtask/peers/image_fixtures.py` made both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use recall_data::{
    BatchRequest, BoundingBox, Dataset, EvalTransform, ImageSource, Item, Loader, LoaderConfig,
    Split, TrainTransform, Transform, decode_rgb,
};

/// Width of the expected pixels, and the rows of their parts.
const WIDTH: u32 = 48;
const ROWS: [u32; 4] = [48, 36, 32, 24];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images")
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".expected.png"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 20);
    names
}

fn decoded(name: &str) -> RgbImage {
    decode_rgb(&std::fs::read(folder().join(name)).unwrap(), name).unwrap()
}

/// One of the four parts of what is expected.
fn expected(name: &str, part: usize) -> Vec<u8> {
    let whole = decoded(&format!("{name}.expected.png"));
    let top: u32 = ROWS[..part].iter().sum();
    image::imageops::crop_imm(&whole, 0, top, WIDTH, ROWS[part])
        .to_image()
        .into_raw()
}

/// Loads a file, of which `bbox` may be cut out, through a transform; interleaved.
fn loaded(name: &str, bbox: Option<BoundingBox>, transform: impl Into<Transform>) -> Vec<u8> {
    let source = ImageSource::File(folder().join(name));
    let mut item = Item::new("x", source, 0, Split::Test);
    item.bbox = bbox;
    let dataset = Dataset::from_items("images", vec![item], vec!["a".into()]).unwrap();
    // torchvision takes images as they are stored.
    let dataset = dataset.with_turns_upright(false);
    let config = LoaderConfig {
        threads: 1,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(Arc::new(dataset), transform, config).unwrap();
    let request = BatchRequest {
        epoch: 0,
        step: 0,
        ids: vec![0],
    };
    let planes = loader.load(request).unwrap().pixels().to_vec();
    let plane = planes.len() / 3;
    (0..plane)
        .flat_map(|place| [0, 1, 2].map(|channel| planes[channel * plane + place]))
        .collect()
}

fn plain(height: u32, width: u32) -> TrainTransform {
    TrainTransform {
        size: [height as usize, width as usize],
        random_resized_crop: None,
        horizontal_flip: 0.0,
        ..TrainTransform::default()
    }
}

/// The largest and the mean difference.
fn difference(found: &[u8], expected: &[u8]) -> (u8, f64) {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    (differences.max().unwrap(), sum as f64 / found.len() as f64)
}

fn assert_near(found: &[u8], name: &str, part: usize) {
    let (most, mean) = difference(found, &expected(name, part));
    println!("{name}, part {part}: {most}, {mean:.3}");
    // Of a JPEG the decoder rounds otherwise than libjpeg-turbo, beside the resizing.
    let (bound, mean_bound) = match name.ends_with(".jpg") {
        true => (4, 0.5),
        false => (2, 0.3),
    };
    assert!(
        most <= bound && mean <= mean_bound,
        "{name}, part {part}: {most}, {mean}"
    );
}

const EVAL: EvalTransform = EvalTransform {
    resize: 56,
    crop: 48,
    longest_side: None,
};

/// A region of an image as a box.
fn region(image: &RgbImage) -> BoundingBox {
    let (width, height) = image.dimensions();
    let (top, left) = (height / 7, width / 5);
    BoundingBox::new(left, top, left + width * 5 / 7, top + height * 3 / 5).unwrap()
}

#[test]
fn evaluation_is_torchvisions() {
    for name in names() {
        assert_near(&loaded(&name, None, EVAL), &name, 0);
    }
}

#[test]
fn a_crop_of_a_region_is_torchvisions() {
    for name in names() {
        let bbox = region(&decoded(&name));
        let found = loaded(&name, Some(bbox), plain(ROWS[1], WIDTH));
        assert_near(&found, &name, 1);
    }
}

#[test]
fn resizing_is_torchvisions() {
    for name in names() {
        let found = loaded(&name, None, plain(ROWS[2], WIDTH));
        assert_near(&found, &name, 2);
    }
}

#[test]
fn decoding_is_pillows() {
    for name in names() {
        let image = decoded(&name);
        let (left, top) = (image.width() - WIDTH, image.height() - ROWS[3]);
        let corner = image::imageops::crop_imm(&image, left, top, WIDTH, ROWS[3]);
        let (most, mean) = difference(&corner.to_image().into_raw(), &expected(&name, 3));
        println!("{name}: {most}, {mean:.3}");
        let (bound, mean_bound) = match name.ends_with(".jpg") {
            true => (4, 0.4),
            false => (0, 0.0),
        };
        assert!(
            most <= bound && mean <= mean_bound,
            "{name}: {most}, {mean}"
        );
    }
}

#[test]
fn a_region_is_decoded_as_a_part_of_the_whole() {
    for name in names().iter().filter(|name| name.ends_with(".jpg")) {
        let whole = decoded(name);
        let (width, height) = whole.dimensions();
        for number in 0..40 {
            let (left, top) = (number * 7_919 % width, number * 104_729 % height);
            let (across, down) = (
                1 + number * 31 % (width - left),
                1 + number * 17 % (height - top),
            );
            let bbox = BoundingBox::new(left, top, left + across, top + down).unwrap();
            let found = loaded(name, Some(bbox), plain(down, across));
            let part = image::imageops::crop_imm(&whole, left, top, across, down);
            assert_eq!(found, part.to_image().into_raw(), "{name}: {bbox:?}");
        }
    }
}

#[test]
fn a_file_that_ends_early_is_refused_at_every_length() {
    for name in names() {
        let file = std::fs::read(folder().join(&name)).unwrap();
        let early = (0..file.len()).filter(|length| length % 61 == 0 || file.len() - length < 16);
        for length in early {
            let message = decode_rgb(&file[..length], &name).unwrap_err().to_string();
            assert!(message.contains(&name), "{message}");
        }
        // What comes after the end is no part of the picture.
        let longer = [&file[..], b"and more"].concat();
        assert_eq!(decode_rgb(&longer, &name).unwrap(), decoded(&name));
    }
}

#[test]
fn a_scan_that_ends_early_is_refused_though_the_file_has_its_end() {
    for name in [
        "420.jpg",
        "444.jpg",
        "grey.jpg",
        "cmyk-adobe.jpg",
        "progressive.jpg",
    ] {
        let file = std::fs::read(folder().join(name)).unwrap();
        for percent in [50, 80, 95] {
            let kept = &file[..file.len() * percent / 100];
            let ended = [kept, &[0xff, 0xd9]].concat();
            let refused = decode_rgb(&ended, name).map(|_| ());
            let message = refused
                .expect_err(&format!("{name}, {percent} %"))
                .to_string();
            assert!(message.contains("ends early"), "{message}");
        }
    }
}

#[test]
fn a_decompression_bomb_is_refused_before_it_goes_off() {
    // The header of a PNG of 60,000 x 60,000, with a sound checksum and no pixels.
    let mut file = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut file);
    image::ImageEncoder::write_image(encoder, &[0], 1, 1, image::ExtendedColorType::L8).unwrap();
    file[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = (file[12..29].iter()).fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    file[29..33].copy_from_slice(&(!crc).to_be_bytes());
    let message = decode_rgb(&file, "bomb.png").unwrap_err().to_string();
    assert!(
        message.contains("bomb.png") && message.contains("60000"),
        "{message}"
    );

    // The same of a JPEG: its frame header says how large it is.
    let mut file = std::fs::read(folder().join("420.jpg")).unwrap();
    let frame = file
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    file[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    let message = decode_rgb(&file, "bomb.jpg").unwrap_err().to_string();
    assert!(message.contains("60000 x 60000"), "{message}");
}
