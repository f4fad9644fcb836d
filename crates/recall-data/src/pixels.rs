//! Items as networks see them.

use image::RgbImage;
use image::imageops::crop_imm;

use crate::picture::{Picture, Region};
use crate::{DataError, Dataset, ItemId};

impl Dataset {
    /// The pixels of an item as a [`Loader`](crate::Loader) hands them to its transform: upright where
    /// the data set [turns them](Self::turns_upright), and cut to its box where it
    /// [crops to boxes](Self::crops_to_boxes). What is shown of an item should be
    /// this and not its file, of which a network may see a part.
    ///
    /// # Errors
    ///
    /// An id that is not of this data set, an image that cannot be read or decoded.
    pub fn pixels(&self, id: ItemId) -> Result<RgbImage, DataError> {
        let item = self.item(id)?;
        let (bytes, name) = (item.encoded_bytes()?, item.location());
        let mut picture = Picture::open(&bytes, &name, self.turns_upright())?;
        if let Some(bbox) = item.bbox.filter(|_| self.crops_to_boxes()) {
            picture.crop_to(bbox)?;
        }
        let (width, height) = picture.dimensions();
        let (image, place) = picture.part(Region::whole(width, height));
        Ok(crop_imm(image, place.left, place.top, width, height).to_image())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb};

    use super::*;
    use crate::{BoundingBox, ImageSource, Item, Split};

    fn dataset(format: ImageFormat) -> Dataset {
        // Red on the left, green on the right.
        let image = RgbImage::from_fn(40, 24, |x, _| match x {
            ..20 => Rgb([200, 20, 20]),
            _ => Rgb([20, 200, 20]),
        });
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        let bytes: &'static [u8] = file.into_inner().leak();
        let mut item = Item::new("x", ImageSource::Embedded(bytes), 0, Split::Test);
        item.bbox = Some(BoundingBox::new(24, 3, 36, 99).unwrap());
        Dataset::from_items("own", vec![item], vec!["a".into()]).unwrap()
    }

    #[test]
    fn boxes_are_cut_where_the_data_set_cuts_them() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let whole = dataset(format).with_crops_to_boxes(false);
            assert_eq!(whole.pixels(0).unwrap().dimensions(), (40, 24));
            let cut = whole.with_crops_to_boxes(true).pixels(0).unwrap();
            assert_eq!(cut.dimensions(), (12, 21));
            assert!(cut.pixels().all(|pixel| pixel.0[1] > pixel.0[0] + 100));
        }
        assert!(dataset(ImageFormat::Png).pixels(1).is_err());
    }
}
