//! Expected sizes and pixels are those of `Image.thumbnail((side, side), Image.LANCZOS)` of Pillow 13, the pixels with
//! `reducing_gap=None`.

use super::*;
use crate::Transform;
use crate::transform::tests::{assert_near, pattern, planes};

fn whole(longest_side: usize) -> WholeTransform {
    WholeTransform::new(longest_side)
}

#[test]
fn sizes_are_those_of_a_thumbnail() {
    for ([width, height], longest, size) in [
        ([1024, 768], 362, [272, 362]),
        ([768, 1024], 362, [362, 271]),
        ([500, 375], 1024, [375, 500]),
        ([1025, 3], 1024, [3, 1024]),
        ([3, 2000], 1024, [1024, 2]),
        ([5000, 1], 1024, [1, 1024]),
        ([1000, 667], 362, [241, 362]),
        ([333, 1000], 362, [362, 121]),
        ([1023, 1024], 1000, [1000, 999]),
        ([999, 1000], 362, [362, 362]),
        ([1600, 1067], 1024, [683, 1024]),
        ([641, 480], 100, [75, 100]),
        ([1, 1], 1, [1, 1]),
    ] {
        assert_eq!(
            whole(longest).size_of(width, height),
            size,
            "{width} x {height}"
        );
    }
}

#[test]
fn pixels_are_those_of_a_thumbnail() {
    #[rustfmt::skip]
    assert_near(&whole(6).apply(&pattern(11, 7)).unwrap(), &[
        20, 84, 167, 173, 26, 104, 39, 103, 186, 204, 45, 123, 59, 122, 210, 112, 61, 145, 78, 141, 230, 84, 78, 164,
        1, 6, 18, 36, 61, 93, 6, 11, 23, 41, 66, 98, 12, 17, 29, 47, 72, 104, 17, 22, 34, 52, 77, 109,
        140, 237, 246, 241, 235, 225, 9, 55, 49, 146, 182, 165, 108, 86, 74, 61, 48, 40, 219, 212, 202, 195, 186, 177,
    ], 1);
    #[rustfmt::skip]
    assert_near(&whole(7).apply(&pattern(5, 9)).unwrap(), &[
        7, 52, 100, 145, 21, 66, 114, 159, 35, 80, 128, 173, 49, 94, 142, 187, 63, 108, 156, 201, 77, 122, 170, 215,
        91, 136, 184, 229,
        0, 2, 7, 15, 4, 6, 11, 19, 8, 10, 15, 23, 12, 14, 19, 27, 16, 18, 23, 31, 20, 22, 27, 35, 24, 26, 31, 39,
        198, 224, 255, 255, 0, 53, 149, 134, 54, 36, 12, 7, 104, 100, 98, 92, 218, 212, 206, 200, 157, 151, 145, 139,
        151, 145, 139, 133,
    ], 1);
}

#[test]
fn what_is_small_enough_stays_as_it_is() {
    for (width, height) in [(8, 5), (3, 8), (1, 1)] {
        let image = pattern(width, height);
        assert_eq!(whole(8).apply(&image).unwrap(), planes(image.as_raw()));
    }
}

#[test]
fn sides_suit_the_model() {
    let patches = WholeTransform {
        multiple_of: 14,
        ..whole(100)
    };
    for ([width, height], size) in [
        ([1, 1], [14, 14]),
        ([20, 21], [28, 14]),
        ([50, 30], [28, 56]),
        ([200, 100], [56, 98]),
    ] {
        assert_eq!(patches.size_of(width, height), size, "{width} x {height}");
        let pixels = patches.apply(&pattern(width, height)).unwrap();
        assert_eq!(pixels.len(), 3 * size[0] * size[1]);
    }
    let least = WholeTransform {
        at_least: 8,
        ..whole(32)
    };
    assert_eq!(least.size_of(3, 5), [8, 8]);
    assert_eq!(least.size_of(1000, 10), [8, 32]);
}

#[test]
fn sides_that_no_image_has_are_refused() {
    for transform in [
        whole(0),
        whole(1 << 40),
        WholeTransform {
            multiple_of: 0,
            ..whole(4)
        },
    ] {
        assert!(transform.apply(&pattern(4, 4)).is_err());
        assert!(Transform::from(transform).validate().is_err());
    }
    assert!(whole(4).apply(&RgbImage::new(0, 4)).is_err());
    assert_eq!(Transform::from(whole(4)).size(), None);
}
