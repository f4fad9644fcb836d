//! Expected pixels were computed with Pillow 13 on the image of [`pattern`].

use proptest::prelude::*;

use rand_chacha::ChaCha8Rng;

use super::*;
use crate::random::{Key, Purpose};

pub(super) fn pattern(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (i64::from(x), i64::from(y));
        image::Rgb([
            (x * 37 + y * 11).rem_euclid(256) as u8,
            (x * x + 3 * y).rem_euclid(256) as u8,
            (255 - x * 5 + y * y * 7).rem_euclid(256) as u8,
        ])
    })
}

fn rng(item: u64) -> ChaCha8Rng {
    Key {
        item,
        ..Key::default()
    }
    .generator(Purpose::AUGMENTATION)
}

/// The resampling may round the last bit otherwise, in each of its two passes.
pub(super) fn assert_near(found: &[u8], expected: &[u8], tolerance: u8) {
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found.abs_diff(*expected) <= tolerance,
            "{found}, not {expected}, at {place}"
        );
    }
}

fn resized(image: &RgbImage, region: Region, width: u32, height: u32) -> Vec<u8> {
    let picture = Picture::of(image).unwrap();
    planes(&resize_rgb(&picture, region, width, height).unwrap())
}

pub(super) fn planes(pixels: &[u8]) -> Vec<u8> {
    let mut planes = vec![0; pixels.len()];
    planar(pixels, &mut planes);
    planes
}

#[test]
fn resizing_is_pillows_antialiased_bilinear() {
    let image = pattern(11, 7);
    let down = resized(&image, Region::of(&image).unwrap(), 5, 3);
    #[rustfmt::skip]
    assert_near(&down, &[
        39, 111, 184, 75, 93, 63, 135, 190, 83, 117, 87, 159, 170, 69, 141,
        4, 11, 29, 56, 88, 10, 17, 35, 62, 94, 16, 23, 41, 68, 100,
        116, 186, 200, 228, 218, 67, 68, 76, 108, 98, 184, 174, 163, 152, 142,
    ], 1);
    let image = pattern(4, 3);
    let up = resized(&image, Region::of(&image).unwrap(), 6, 5);
    #[rustfmt::skip]
    assert_near(&up, &[
        0, 19, 43, 68, 93, 111, 4, 23, 47, 72, 97, 115, 11, 30, 54, 79, 104, 122,
        18, 37, 61, 86, 111, 129, 22, 41, 65, 90, 115, 133,
        0, 1, 2, 3, 7, 9, 1, 2, 3, 4, 8, 10, 3, 4, 5, 6, 10, 12, 5, 6, 7, 8, 12, 14, 6, 7, 8, 9, 13, 15,
        255, 253, 249, 246, 243, 240, 155, 153, 167, 232, 246, 243, 6, 4, 43, 210, 250, 247,
        19, 17, 30, 95, 109, 106, 27, 25, 21, 18, 15, 12,
    ], 1);
}

#[test]
fn what_lies_outside_of_a_crop_has_no_influence() {
    let image = pattern(11, 7);
    let region = Region {
        left: 2,
        top: 1,
        width: 6,
        height: 5,
    };
    #[rustfmt::skip]
    assert_near(&resized(&image, region, 4, 4), &[
        102, 154, 207, 99, 115, 167, 220, 112, 127, 179, 183, 68, 140, 192, 160, 41,
        10, 19, 32, 48, 13, 22, 35, 51, 17, 26, 39, 55, 20, 29, 42, 58,
        191, 184, 199, 234, 30, 23, 65, 158, 79, 72, 65, 58, 146, 139, 132, 125,
    ], 1);
}

#[test]
fn evaluation_resizes_the_shorter_side_and_cuts_the_middle() {
    let wide = EvalTransform {
        resize: 5,
        crop: 4,
        longest_side: None,
    }
    .apply(&pattern(11, 7))
    .unwrap();
    #[rustfmt::skip]
    assert_near(&wide, &[
        129, 189, 105, 48, 142, 202, 118, 61, 158, 208, 114, 77, 174, 180, 38, 93,
        13, 26, 45, 67, 17, 30, 49, 71, 21, 34, 53, 75, 25, 38, 57, 79,
        240, 232, 224, 216, 114, 136, 241, 233, 48, 49, 78, 70, 122, 114, 106, 98,
    ], 1);
    let tall = EvalTransform {
        resize: 6,
        crop: 3,
        longest_side: None,
    }
    .apply(&pattern(9, 20))
    .unwrap();
    #[rustfmt::skip]
    assert_near(&tall, &[
        207, 94, 62, 182, 68, 79, 155, 42, 95, 35, 47, 63, 40, 52, 68, 44, 56, 72,
        125, 117, 110, 105, 97, 90, 119, 111, 104,
    ], 1);
    let same = EvalTransform {
        resize: 8,
        crop: 8,
        longest_side: None,
    }
    .apply(&pattern(8, 8))
    .unwrap();
    assert_eq!(same, planes(pattern(8, 8).as_raw()), "nothing to do");
}

#[test]
fn whole_images_are_evaluated_where_that_is_asked_for() {
    let transform = EvalTransform {
        longest_side: Some(6),
        ..EvalTransform::default()
    };
    let whole = WholeTransform::new(6);
    let image = pattern(11, 7);
    assert_eq!(
        transform.apply(&image).unwrap(),
        whole.apply(&image).unwrap()
    );
    assert_eq!(Transform::from(transform), Transform::Whole(whole));
    let none = EvalTransform {
        longest_side: Some(0),
        ..EvalTransform::default()
    };
    assert!(none.validate().is_err());
}

#[test]
fn a_panorama_costs_no_more_than_a_square() {
    let pixels = EvalTransform {
        resize: 256,
        crop: 224,
        longest_side: None,
    }
    .apply(&pattern(60_000, 1))
    .unwrap();
    assert_eq!(pixels.len(), 3 * 224 * 224);
}

#[test]
fn training_gives_the_size_with_height_first() {
    let mut transform = TrainTransform {
        size: [4, 6],
        ..TrainTransform::default()
    };
    let image = pattern(30, 20);
    assert_eq!(
        transform.apply(&image, &mut rng(0)).unwrap().len(),
        3 * 4 * 6
    );
    assert_ne!(
        transform.apply(&image, &mut rng(0)).unwrap(),
        transform.apply(&image, &mut rng(1)).unwrap()
    );

    // With everything off it is a resize, and with a certain flip its mirror image.
    transform.random_resized_crop = None;
    transform.horizontal_flip = 0.0;
    let plain = transform.apply(&image, &mut rng(0)).unwrap();
    assert_eq!(plain, resized(&image, Region::of(&image).unwrap(), 6, 4));
    transform.horizontal_flip = 1.0;
    let mirrored = transform.apply(&image, &mut rng(0)).unwrap();
    for (row, mirrored) in plain.chunks(6).zip(mirrored.chunks(6)) {
        assert!(row.iter().eq(mirrored.iter().rev()));
    }
}

#[test]
fn an_image_of_one_pixel_can_be_trained_and_evaluated() {
    let image = pattern(1, 1);
    let train = TrainTransform {
        size: [3, 3],
        ..TrainTransform::default()
    };
    assert_eq!(train.apply(&image, &mut rng(0)).unwrap().len(), 27);
    assert_eq!(
        EvalTransform {
            resize: 5,
            crop: 3,
            longest_side: None
        }
        .apply(&image)
        .unwrap()
        .len(),
        27
    );
    let none = RgbImage::new(0, 4);
    assert!(train.apply(&none, &mut rng(0)).is_err());
    assert!(EvalTransform::default().apply(&none).is_err());
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    let train = TrainTransform::default();
    let crop = |scale, ratio| Some(RandomResizedCrop { scale, ratio });
    let cases = [
        (
            TrainTransform {
                size: [0, 8],
                ..train.clone()
            },
            "size",
        ),
        (
            TrainTransform {
                size: [8, 1 << 40],
                ..train.clone()
            },
            "size",
        ),
        (
            TrainTransform {
                horizontal_flip: 1.5,
                ..train.clone()
            },
            "horizontal_flip",
        ),
        (
            TrainTransform {
                horizontal_flip: f32::NAN,
                ..train.clone()
            },
            "horizontal_flip",
        ),
        (
            TrainTransform {
                random_resized_crop: crop((0.0, 1.0), (1.0, 1.0)),
                ..train.clone()
            },
            "scale",
        ),
        (
            TrainTransform {
                random_resized_crop: crop((0.5, 0.1), (1.0, 1.0)),
                ..train.clone()
            },
            "scale",
        ),
        (
            TrainTransform {
                random_resized_crop: crop((0.5, 1.0), (0.0, 1.0)),
                ..train.clone()
            },
            "ratio",
        ),
        (
            TrainTransform {
                colour_jitter: Some(ColourJitter {
                    contrast: -1.0,
                    ..ColourJitter::default()
                }),
                ..train
            },
            "contrast",
        ),
    ];
    for (transform, field) in cases {
        let message = transform
            .apply(&pattern(4, 4), &mut rng(0))
            .unwrap_err()
            .to_string();
        assert!(message.contains(field), "{message}");
    }
    assert!(
        EvalTransform {
            resize: 0,
            crop: 0,
            longest_side: None
        }
        .validate()
        .is_err()
    );
}

#[test]
fn a_configuration_survives_toml_and_unknown_keys_do_not() {
    let off = TrainTransform {
        size: [32, 48],
        random_resized_crop: None,
        horizontal_flip: 0.0,
        random_affine: None,
        colour_jitter: None,
    };
    for train in [TrainTransform::default(), off.clone()] {
        let config = TransformConfig {
            train,
            eval: EvalTransform {
                resize: 40,
                crop: 32,
                longest_side: None,
            },
        };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(
            toml::from_str::<TransformConfig>(&text).unwrap(),
            config,
            "{text}"
        );
    }
    assert_eq!(
        toml::from_str::<TrainTransform>("size = [32, 48]").unwrap(),
        off
    );
    let error = toml::from_str::<TrainTransform>("size = [1, 1]\nrotate = 3").unwrap_err();
    assert!(error.to_string().contains("rotate"), "{error}");
}

proptest! {
    #[test]
    fn a_crop_lies_within_the_image_and_obeys_its_bounds(
        width in 1_u32..300,
        height in 1_u32..300,
        low in 0.01_f32..1.0,
        ratio in 0.2_f32..1.0,
        item: u64,
    ) {
        let crop = RandomResizedCrop { scale: (low, 1.0), ratio: (ratio, 1.0 / ratio) };
        let region = crop.draw(width, height, &mut rng(item));
        prop_assert!(region.width >= 1 && region.left + region.width <= width);
        prop_assert!(region.height >= 1 && region.top + region.height <= height);
        if width.min(height) > 50 && low > 0.1 {
            // Half a pixel of rounding on each side, and the way out after ten tries.
            let slack = 1.06;
            let found = f64::from(region.width) / f64::from(region.height);
            prop_assert!(found <= slack / f64::from(ratio) && found >= f64::from(ratio) / slack);
        }
    }

    #[test]
    fn evaluation_is_a_resize_and_then_a_crop(
        width in 1_u32..60,
        height in 1_u32..60,
        resize in 1_usize..40,
        margin in 0_usize..10,
    ) {
        let image = pattern(width, height);
        let crop = resize.saturating_sub(margin).max(1);
        let found = EvalTransform { resize, crop, longest_side: None }.apply(&image).unwrap();

        let (short, long) = (width.min(height) as usize, width.max(height) as usize);
        let longer = resize * long / short;
        let (new_width, new_height) =
            if width <= height { (resize, longer) } else { (longer, resize) };
        let region = Region::of(&image).unwrap();
        let whole = resized(&image, region, new_width as u32, new_height as u32);
        let offset = |side: usize| ((side - crop) as f64 / 2.0).round_ties_even() as usize;
        let (left, top) = (offset(new_width), offset(new_height));
        let mut expected = Vec::new();
        for channel in 0..3 {
            for row in top..top + crop {
                let start = (channel * new_height + row) * new_width + left;
                expected.extend(&whole[start..start + crop]);
            }
        }
        assert_near(&found, &expected, 2);
    }
}
