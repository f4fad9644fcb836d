//! From drawings to pixels.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg;

use super::classes::{EmojiClass, MIN_SETS};
use super::sources::{Drawing, IconSet};

/// Side of an image of the asset, in pixels.
pub(super) const SIDE: usize = 32;

/// The artwork is rendered this many times larger and averaged down: edges that meet inside a
/// pixel then mix their own colours, instead of letting the background through.
const OVERSAMPLING: usize = 4;

/// A class with the pixels of its images.
pub(super) struct RenderedClass {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) images: Vec<RenderedImage>,
}

pub(super) struct RenderedImage {
    pub(super) set: &'static str,
    /// `SIDE` x `SIDE` RGB, row by row.
    pub(super) pixels: Vec<u8>,
}

pub(super) fn render_all(sets: &[IconSet], classes: &[EmojiClass]) -> Result<Vec<RenderedClass>> {
    classes
        .par_iter()
        .map(|class| {
            let images = class
                .drawings
                .iter()
                .map(|(set, name)| {
                    let set = &sets[*set];
                    let pixels = render(&set.drawings[name])
                        .with_context(|| format!("{} of {}", name, set.key))?;
                    Ok(RenderedImage {
                        set: set.key,
                        pixels,
                    })
                })
                .collect::<Result<_>>()?;
            Ok(RenderedClass {
                name: class.name.clone(),
                group: class.group.clone(),
                images,
            })
        })
        .collect()
}

/// Renders a drawing, fitted whole into the middle of a white square.
pub(super) fn render(drawing: &Drawing) -> Result<Vec<u8>> {
    let &Drawing {
        left,
        top,
        width,
        height,
        ..
    } = drawing;
    let body = &drawing.body;
    let (before, after) = if drawing.mirrored {
        (
            format!(
                "<g transform=\"translate({} 0) scale(-1 1)\">",
                2.0 * left + width
            ),
            "</g>",
        )
    } else {
        (String::new(), "")
    };
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
         width=\"{width}\" height=\"{height}\" viewBox=\"{left} {top} {width} {height}\">\
         {before}{body}{after}</svg>"
    );
    let tree = usvg::Tree::from_str(&svg, &usvg::Options::default())?;

    let large = SIDE * OVERSAMPLING;
    let mut canvas = Pixmap::new(large as u32, large as u32).context("no canvas")?;
    canvas.fill(Color::WHITE);
    let size = tree.size();
    let scale = large as f32 / size.width().max(size.height());
    let shift = |extent: f32| (large as f32 - extent * scale) / 2.0;
    let place = Transform::from_row(
        scale,
        0.0,
        0.0,
        scale,
        shift(size.width()),
        shift(size.height()),
    );
    resvg::render(&tree, place, &mut canvas.as_mut());

    // The canvas is opaque, so its premultiplied colours are the colours.
    let source = canvas.data();
    let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
    for y in 0..SIDE {
        for x in 0..SIDE {
            for channel in 0..3 {
                let mut sum = 0;
                for row in y * OVERSAMPLING..(y + 1) * OVERSAMPLING {
                    for column in x * OVERSAMPLING..(x + 1) * OVERSAMPLING {
                        sum += u32::from(source[(row * large + column) * 4 + channel]);
                    }
                }
                let count = (OVERSAMPLING * OVERSAMPLING) as u32;
                pixels.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    ensure!(
        pixels.iter().any(|&value| value != 255),
        "nothing but white came out"
    );
    Ok(pixels)
}

/// Classes without exact duplicates, and a line for each thing that was dropped.
pub(super) struct Distinct {
    pub(super) classes: Vec<RenderedClass>,
    /// Images that repeat another one.
    pub(super) repeats: Vec<String>,
    /// Classes that were left with fewer than [`MIN_SETS`] images.
    pub(super) too_few: Vec<String>,
}

/// Drops renderings that repeat an earlier one byte for byte, wherever that is: within a class the
/// copy would be found for nothing, in another class it could not be told apart.
pub(super) fn drop_duplicates(classes: Vec<RenderedClass>) -> Distinct {
    let mut seen: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut distinct = Distinct {
        classes: Vec::new(),
        repeats: Vec::new(),
        too_few: Vec::new(),
    };
    for mut class in classes {
        class.images.retain(|image| {
            let here = format!("{} of {}", class.name, image.set);
            if let Some(first) = seen.get(&image.pixels) {
                distinct.repeats.push(format!("{here} repeats {first}"));
                return false;
            }
            seen.insert(image.pixels.clone(), here);
            true
        });
        if class.images.len() >= MIN_SETS {
            distinct.classes.push(class);
        } else {
            let left = class.images.len();
            distinct
                .too_few
                .push(format!("{}, {left} distinct drawings left", class.name));
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(body: &str, width: f64, height: f64) -> Drawing {
        Drawing {
            body: body.into(),
            left: 0.0,
            top: 0.0,
            width,
            height,
            mirrored: false,
        }
    }

    fn pixel(pixels: &[u8], x: usize, y: usize) -> [u8; 3] {
        let at = (y * SIDE + x) * 3;
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    }

    #[test]
    fn a_drawing_is_fitted_into_the_middle_of_a_white_square() {
        const RED: [u8; 3] = [255, 0, 0];
        const WHITE: [u8; 3] = [255; 3];
        let left_half = "<path fill=\"#f00\" d=\"M0 0h4v4H0z\"/>";
        let mut wide = drawing(left_half, 8.0, 4.0);
        let pixels = render(&wide).unwrap();
        assert_eq!(pixel(&pixels, 0, 8), RED);
        assert_eq!(pixel(&pixels, 15, 23), RED);
        assert_eq!(pixel(&pixels, 16, 16), WHITE);
        assert_eq!(pixel(&pixels, 0, 7), WHITE);
        wide.mirrored = true;
        let pixels = render(&wide).unwrap();
        assert_eq!(pixel(&pixels, 31, 23), RED);
        assert_eq!(pixel(&pixels, 15, 16), WHITE);
        assert!(
            render(&drawing(
                "<path fill=\"#fff\" d=\"M0 0h4v4H0z\"/>",
                4.0,
                4.0
            ))
            .is_err()
        );
        assert!(render(&drawing("<path", 4.0, 4.0)).is_err());
    }

    #[test]
    fn an_image_that_repeats_another_one_is_dropped_and_with_it_a_class_of_too_few() {
        let image = |set, value: u8| RenderedImage {
            set,
            pixels: vec![value],
        };
        let class = |name: &str, values: &[u8]| RenderedClass {
            name: name.into(),
            group: String::new(),
            images: values.iter().map(|&value| image("noto", value)).collect(),
        };
        let found = drop_duplicates(vec![
            class("a", &[1, 2, 3, 4, 1]),
            class("b", &[5, 6, 7, 2]),
        ]);
        assert_eq!(found.repeats.len(), 2);
        assert_eq!(found.too_few.len(), 1);
        assert_eq!(found.classes.len(), 1);
        assert_eq!(found.classes[0].images.len(), 4);
    }
}
