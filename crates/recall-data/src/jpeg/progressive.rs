//! Files that come in several passes, each with a band of the coefficients or one more bit of them.

use super::Unfit;
use super::bits::{Bits, ScanBytes};
use super::blocks::Coefficients;
use super::header::{Jpeg, Scan, ZIGZAG};
use super::huffman::Huffman;
use super::scan::Step;

impl Jpeg<'_> {
    /// Decodes one scan.
    pub(super) fn decode_progressive(
        &self,
        scan: &Scan,
        bytes: &ScanBytes,
        stored: &mut Coefficients,
    ) -> Result<(), Unfit> {
        let missing = Unfit::Damaged("a Huffman table is missing");
        let table = |tables: &'_ [Option<Huffman>; 4], number: usize| {
            tables.get(number).cloned().flatten().ok_or(missing)
        };
        match (scan.band, scan.before) {
            ([0, 0], 0) => {
                let tables = (scan.parts.iter())
                    .map(|part| table(&self.dc, part.dc))
                    .collect::<Result<Vec<_>, _>>()?;
                let mut means = vec![0_i32; tables.len()];
                self.each_block(scan, bytes, stored, |step| {
                    match step {
                        Step::Restart => means.fill(0),
                        Step::Block(bits, part, block) => {
                            bits.refill();
                            let difference = tables[part].peek(bits)?.take_value(bits);
                            means[part] = means[part].wrapping_add(difference);
                            block[0] = (means[part] << scan.after) as i16;
                        }
                    }
                    Ok(())
                })
            }
            ([0, 0], _) => self.each_block(scan, bytes, stored, |step| {
                if let Step::Block(bits, _, block) = step {
                    bits.refill();
                    block[0] |= (bits.take(1) << scan.after) as i16;
                }
                Ok(())
            }),
            ([0, _], _) => Err(Unfit::Damaged("a scan header makes no sense")),
            _ if scan.parts.len() > 1 => Err(Unfit::Damaged("a scan header makes no sense")),
            (band, before) => {
                let mut band = Band {
                    table: table(&self.ac, scan.parts[0].ac)?,
                    band,
                    bit: scan.after,
                    empty: 0,
                };
                self.each_block(scan, bytes, stored, |step| match step {
                    Step::Restart => {
                        band.empty = 0;
                        Ok(())
                    }
                    Step::Block(bits, _, block) if before == 0 => band.first(bits, block),
                    Step::Block(bits, _, block) => band.refine(bits, block),
                })
            }
        }
    }
}

/// A scan over a band of coefficients.
struct Band {
    table: Huffman,
    /// First and last one.
    band: [usize; 2],
    /// The bit that is told.
    bit: u32,
    /// Blocks to come that have nothing (new) in the band.
    empty: u32,
}

impl Band {
    fn first(&mut self, bits: &mut Bits<'_>, block: &mut [i16; 64]) -> Result<(), Unfit> {
        if self.empty > 0 {
            self.empty -= 1;
            return Ok(());
        }
        let [mut next, last] = self.band;
        while next <= last {
            bits.refill();
            let (run, size) = self.table.take(bits)?;
            if size > 0 {
                next += run;
                let place = *ZIGZAG.get(next).ok_or(TOO_MANY)?;
                block[usize::from(place)] = (bits.take_signed(size) << self.bit) as i16;
                next += 1;
            } else if run == 15 {
                next += 16;
            } else {
                // This block is the first of the empty ones.
                self.empty = (1 << run) + bits.take(run as u32) - 1;
                break;
            }
        }
        Ok(())
    }

    fn refine(&mut self, bits: &mut Bits<'_>, block: &mut [i16; 64]) -> Result<(), Unfit> {
        let [mut next, last] = self.band;
        let step = 1_i16 << self.bit;
        while self.empty == 0 && next <= last {
            bits.refill();
            let (mut zeros, size) = self.table.take(bits)?;
            let mut value = 0;
            if size > 0 {
                value = if bits.take(1) == 1 { step } else { -step };
            } else if zeros < 15 {
                // Its own place in the count is taken off below.
                self.empty = (1 << zeros) + bits.take(zeros as u32);
                break;
            }
            // Over so many coefficients that were zero, and all that were not.
            while next <= last {
                let place = &mut block[usize::from(ZIGZAG[next])];
                next += 1;
                if *place != 0 {
                    refine(bits, place, step);
                } else if zeros > 0 {
                    zeros -= 1;
                } else {
                    *place = value;
                    break;
                }
            }
        }
        if self.empty > 0 {
            for &place in &ZIGZAG[next..=last] {
                let place = &mut block[usize::from(place)];
                if *place != 0 {
                    refine(bits, place, step);
                }
            }
            self.empty -= 1;
        }
        Ok(())
    }
}

/// One more bit of a coefficient.
fn refine(bits: &mut Bits<'_>, value: &mut i16, step: i16) {
    bits.refill();
    if bits.take(1) == 1 && *value & step == 0 {
        *value = value.wrapping_add(if *value > 0 { step } else { -step });
    }
}

const TOO_MANY: Unfit = Unfit::Damaged("a block has more than 64 coefficients");
