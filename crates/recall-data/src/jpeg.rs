//! JPEG files, decoded as libjpeg-turbo decodes them with its default settings, bit for bit: the
//! library behind Pillow, torchvision and OpenCV.
//!
//! There is a decoder of its own here for what the others in Rust do not offer: the same pixels, and
//! only those of a region. Training looks at a random part of each image, half of it on average.
//! The entropy code has to be read from the start, but it need not be read beyond the region, and
//! nothing outside of it goes through the inverse transform.
//!
//! Baseline, extended and progressive files of 8 bits with Huffman codes are decoded. What is left
//! (arithmetic codes, 12 bits, odd sampling factors) and what is damaged is left to another
//! decoder, which the caller asks when this one returns [`Unfit`].

mod bits;
mod blocks;
mod colour;
mod header;
mod huffman;
mod idct;
mod output;
mod progressive;
mod scan;
mod upsample;

use image::RgbImage;

pub(crate) use header::Jpeg;

use crate::transform::Region;
use bits::ScanBytes;
use blocks::Coefficients;
use header::Next;
use output::Planes;

/// Why a file is not decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Of a kind that this decoder does not know.
    Unsupported,
    /// It is damaged.
    Damaged(&'static str),
}

impl Jpeg<'_> {
    /// Decodes the pixels of `region`, at `1 / reduction` of the size: 1, 2, 4 or 8. A reduced
    /// picture begins and ends with the reduced pixels that `region` touches.
    pub fn decode(mut self, region: Region, reduction: u32) -> Result<RgbImage, Unfit> {
        let mut planes = Planes::new(&self.frame, region, reduction)?;
        let mut stored: Option<Coefficients> = None;
        let mut scans = 0;
        loop {
            let scan = match self.next()? {
                Next::Scan(scan) => scan,
                Next::End if stored.is_some() => break,
                Next::End => return Err(Unfit::Damaged("it has no scan")),
            };
            let (bytes, place) = ScanBytes::take(&self.bytes[self.place..]);
            self.place += place;
            if !self.frame.progressive && stored.is_none() && scan.has_all(&self.frame) {
                self.decode_rows(&scan, &bytes, &mut planes)?;
                return planes.into_rgb(self.colours());
            }
            // A bound, as each scan costs time whatever it holds.
            scans += 1;
            if scans > 500 {
                return Err(Unfit::Damaged("it has more than 500 scans"));
            }
            let stored = stored.get_or_insert_with(|| Coefficients::whole(&self.frame));
            if self.frame.progressive {
                self.decode_progressive(&scan, &bytes, stored)?;
            } else {
                self.decode_stored(&scan, &bytes, stored)?;
            }
            if !bytes.ended {
                break;
            }
        }
        for (number, component) in self.frame.components.iter().enumerate() {
            let quant = self.quant(component)?;
            if let Some(stored) = &stored {
                planes.fill_all(number, stored, quant);
            }
        }
        planes.into_rgb(self.colours())
    }
}
