//! Images whose metadata say that they are to be shown otherwise than they are stored.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use recall_data::check::{CheckConfig, FindingKind};
use recall_data::{
    BatchRequest, BatchSamplerConfig, BoundingBox, CacheConfig, Dataset, EvalTransform, ImageCache,
    ImageSource, Item, Loader, LoaderConfig, Split, decode_rgb, decode_upright,
};

/// No two rows, columns or corners are alike.
fn shown() -> RgbImage {
    RgbImage::from_fn(40, 24, |x, y| {
        image::Rgb([(x * 6) as u8, (y * 10) as u8, (x * y % 251) as u8])
    })
}

/// How a camera that lay so stores what is to be shown: the definition of EXIF, pixel by pixel.
fn stored(shown: &RgbImage, orientation: u16) -> RgbImage {
    let (across, down) = shown.dimensions();
    let (width, height) = match orientation > 4 {
        true => (down, across),
        false => (across, down),
    };
    let mut stored = RgbImage::new(width, height);
    for (x, y, pixel) in shown.enumerate_pixels() {
        let (column, row) = match orientation {
            1 => (x, y),
            2 => (width - 1 - x, y),
            3 => (width - 1 - x, height - 1 - y),
            4 => (x, height - 1 - y),
            5 => (y, x),
            6 => (y, height - 1 - x),
            7 => (width - 1 - y, height - 1 - x),
            _ => (width - 1 - y, x),
        };
        stored.put_pixel(column, row, *pixel);
    }
    stored
}

/// EXIF data with an orientation and nothing else, in either order of bytes.
fn exif(orientation: u16, little: bool) -> Vec<u8> {
    let two = |number: u16| match little {
        true => number.to_le_bytes().to_vec(),
        false => number.to_be_bytes().to_vec(),
    };
    let four = |number: u32| match little {
        true => number.to_le_bytes().to_vec(),
        false => number.to_be_bytes().to_vec(),
    };
    let order = if little { b"II" } else { b"MM" };
    [
        &order[..],
        &two(42),
        &four(8),
        &two(1),
        &two(0x112),
        &two(3),
        &four(1),
        &two(orientation),
        &two(0),
        &four(0),
    ]
    .concat()
}

fn encoded(mut encoder: impl ImageEncoder, image: &RgbImage, exif: Vec<u8>) {
    encoder.set_exif_metadata(exif).unwrap();
    let (width, height) = image.dimensions();
    let kind = ExtendedColorType::Rgb8;
    encoder.write_image(image, width, height, kind).unwrap();
}

fn file(kind: &str, orientation: u16) -> Vec<u8> {
    let image = stored(&shown(), orientation);
    let exif = exif(orientation, orientation.is_multiple_of(2));
    let mut file = Cursor::new(Vec::new());
    match kind {
        "jpg" => encoded(JpegEncoder::new_with_quality(&mut file, 100), &image, exif),
        "png" => encoded(PngEncoder::new(&mut file), &image, exif),
        _ => encoded(WebPEncoder::new_lossless(&mut file), &image, exif),
    }
    file.into_inner()
}

#[test]
fn all_eight_orientations_are_shown_upright() {
    for kind in ["jpg", "png", "webp"] {
        for orientation in 1..=8 {
            let file = file(kind, orientation);
            let (upright, shown) = (decode_upright(&file, "x").unwrap(), shown());
            assert_eq!(upright.dimensions(), (40, 24), "{kind}, {orientation}");
            let most = upright
                .iter()
                .zip(shown.iter())
                .map(|(a, b)| a.abs_diff(*b));
            let bound = if kind == "jpg" { 8 } else { 0 };
            assert!(most.max().unwrap() <= bound, "{kind}, {orientation}");
            // Asked for as stored, it stays so.
            let plain = decode_rgb(&file, "x").unwrap();
            assert_eq!(plain.dimensions(), stored(&shown, orientation).dimensions());
        }
    }
}

/// A data set of one turned file, of which a box is cut out.
fn dataset(folder: &Path, orientation: u16) -> Dataset {
    let path = folder.join(format!("{orientation}.png"));
    std::fs::write(&path, file("png", orientation)).unwrap();
    let mut item = Item::new("x", ImageSource::File(path), 0, Split::Test);
    item.bbox = Some(BoundingBox::new(5, 3, 39, 20).unwrap());
    Dataset::from_items("own", vec![item], vec!["a".into()]).unwrap()
}

fn pixels(dataset: Dataset, cache: Option<&Arc<ImageCache>>) -> Vec<u8> {
    let transform = EvalTransform {
        resize: 12,
        crop: 9,
        longest_side: None,
    };
    let mut loader = Loader::new(Arc::new(dataset), transform, LoaderConfig::default()).unwrap();
    if let Some(cache) = cache {
        loader = loader.with_cache(Arc::clone(cache));
    }
    let request = BatchRequest {
        epoch: 0,
        step: 0,
        ids: vec![0],
    };
    loader.load(request).unwrap().pixels().to_vec()
}

#[test]
fn a_turned_copy_and_its_box_are_loaded_as_the_upright_one() {
    let dir = tempfile::tempdir().unwrap();
    let upright = pixels(dataset(dir.path(), 1), None);
    for orientation in 2..=8 {
        let turned = dataset(dir.path(), orientation);
        assert_eq!(pixels(turned.clone(), None), upright, "{orientation}");
        let ignored = turned.with_turns_upright(false);
        assert_ne!(pixels(ignored, None), upright, "{orientation}");
    }
}

#[test]
fn the_cache_keeps_turned_and_stored_pictures_apart() {
    let dir = tempfile::tempdir().unwrap();
    let config = CacheConfig {
        folder: dir.path().join("cache"),
        shorter_side: 14,
    };
    let cache = Arc::new(ImageCache::open(config).unwrap());
    let upright = pixels(dataset(dir.path(), 1), Some(&cache));
    for _ in 0..2 {
        let turned = dataset(dir.path(), 6);
        assert_eq!(pixels(turned.clone(), Some(&cache)), upright);
        let ignored = turned.with_turns_upright(false);
        assert_ne!(pixels(ignored, Some(&cache)), upright);
    }
}

#[test]
fn check_counts_turned_images_and_says_what_happens_to_them() {
    let dir = tempfile::tempdir().unwrap();
    for (turns, words) in [(true, "turned upright"), (false, "taken as stored")] {
        for decode in [true, false] {
            let dataset = dataset(dir.path(), 6).with_turns_upright(turns);
            let config = CheckConfig {
                decode,
                ..CheckConfig::new(BatchSamplerConfig::new(8, 4))
            };
            let report = config.run(&dataset, |_| {}).unwrap();
            let of = |kind| report.findings.iter().find(|finding| finding.kind == kind);
            let turned = of(FindingKind::TurnedImages).unwrap();
            assert_eq!(turned.count, 1);
            assert!(turned.message.contains(words), "{}", turned.message);
            // The box is one of the image as it is shown: stored, that is only 24 pixels wide.
            assert_eq!(of(FindingKind::BoxesBeyond).is_some(), !turns);
        }
    }
}
