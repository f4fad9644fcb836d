use super::Unfit;
use super::bits::{Bits, ScanBytes};
use super::blocks::{Blocks, Coefficients};
use super::header::{Jpeg, Scan, ZIGZAG};
use super::huffman::Huffman;
use super::output::Planes;

const NO_TABLE: Unfit = Unfit::Damaged("a Huffman table is missing");
const CUT: Unfit = Unfit::Damaged("its data ends too early");

/// What a scan says of a component, with the tables at hand.
struct Part<'a> {
    component: usize,
    factors: [usize; 2],
    dc: &'a Huffman,
    ac: &'a Huffman,
    /// The last block's mean, from which the next one's is told.
    mean: i32,
}

impl Jpeg<'_> {
    fn parts(&self, scan: &Scan) -> Result<Vec<Part<'_>>, Unfit> {
        let part = |part: &super::header::ScanPart| {
            Ok(Part {
                component: part.component,
                factors: self.frame.components[part.component].factors,
                dc: self
                    .dc
                    .get(part.dc)
                    .and_then(Option::as_ref)
                    .ok_or(NO_TABLE)?,
                ac: self
                    .ac
                    .get(part.ac)
                    .and_then(Option::as_ref)
                    .ok_or(NO_TABLE)?,
                mean: 0,
            })
        };
        scan.parts.iter().map(part).collect()
    }

    /// Decodes the one scan of a sequential file, a row of units at a time and not beyond the last
    /// one that `planes` wants.
    pub(super) fn decode_rows(
        &self,
        scan: &Scan,
        bytes: &ScanBytes,
        planes: &mut Planes,
    ) -> Result<(), Unfit> {
        let mut parts = self.parts(scan)?;
        let first = &self.frame.components[0];
        let units = [0, 1].map(|axis| first.padded[axis] / first.factors[axis]);
        // Without a marker behind it the data may be cut: then all of it has to be there.
        let rows = if bytes.ended {
            planes.unit_rows()
        } else {
            units[1]
        };
        let mut buffers: Vec<Blocks> = (parts.iter())
            .map(|part| Blocks::new(planes.across(part.component), part.factors[1], 0))
            .collect();
        let mut place = Place::new(bytes, self.restart)?;
        for row in 0..rows {
            for buffer in &mut buffers {
                buffer.values.fill([0; 64]);
                buffer.last.fill(0);
            }
            for unit in 0..units[0] {
                if place.advance()? {
                    parts.iter_mut().for_each(|part| part.mean = 0);
                }
                for (part, buffer) in parts.iter_mut().zip(&mut buffers) {
                    for y in 0..part.factors[1] {
                        for x in 0..part.factors[0] {
                            let block = [unit * part.factors[0] + x, row * part.factors[1] + y];
                            match planes.column(part.component, block) {
                                Some(column) => {
                                    let block = y * buffer.across + column;
                                    buffer.last[block] =
                                        part.decode(&mut place.bits, &mut buffer.values[block])?;
                                }
                                None => part.skip(&mut place.bits)?,
                            }
                        }
                    }
                }
            }
            if place.bits.overrun() {
                return Err(CUT);
            }
            for (part, buffer) in parts.iter().zip(&buffers) {
                let quant = self.quant(&self.frame.components[part.component])?;
                planes.fill_row(part.component, row * part.factors[1], buffer, quant);
            }
        }
        Ok(())
    }

    /// Decodes a scan of a sequential file with several of them.
    pub(super) fn decode_stored(
        &self,
        scan: &Scan,
        bytes: &ScanBytes,
        stored: &mut Coefficients,
    ) -> Result<(), Unfit> {
        let mut parts = self.parts(scan)?;
        self.each_block(scan, bytes, stored, |step| match step {
            Step::Restart => {
                parts.iter_mut().for_each(|part| part.mean = 0);
                Ok(())
            }
            Step::Block(bits, number, block) => parts[number].decode(bits, block).map(|_| ()),
        })
    }

    /// Goes through the blocks of a scan in their order.
    pub(super) fn each_block(
        &self,
        scan: &Scan,
        bytes: &ScanBytes,
        stored: &mut Coefficients,
        mut step: impl FnMut(Step<'_, '_>) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        let mut place = Place::new(bytes, self.restart)?;
        let first = &self.frame.components[scan.parts[0].component];
        // A component that comes alone has no blocks to fill up its last unit.
        let alone = scan.parts.len() == 1;
        let units = [0, 1].map(|axis| match alone {
            true => first.blocks[axis],
            false => first.padded[axis] / first.factors[axis],
        });
        for row in 0..units[1] {
            for unit in 0..units[0] {
                if place.advance()? {
                    step(Step::Restart)?;
                }
                for (number, part) in scan.parts.iter().enumerate() {
                    let factors = self.frame.components[part.component].factors;
                    let [across, down] = if alone { [1, 1] } else { factors };
                    let blocks = &mut stored.parts[part.component];
                    for y in 0..down {
                        for x in 0..across {
                            let block = (row * down + y) * blocks.across + unit * across + x;
                            let block = &mut blocks.values[block];
                            step(Step::Block(&mut place.bits, number, block))?;
                        }
                    }
                }
            }
            if place.bits.overrun() {
                return Err(CUT);
            }
        }
        Ok(())
    }
}

/// What [`Jpeg::each_block`] comes across.
pub(super) enum Step<'a, 'b> {
    /// What was predicted starts anew.
    Restart,
    /// A block of the scan's component of this number.
    Block(&'a mut Bits<'b>, usize, &'a mut [i16; 64]),
}

/// The bits at a place of a scan.
struct Place<'a> {
    bytes: &'a ScanBytes,
    bits: Bits<'a>,
    interval: usize,
    restart: usize,
    /// Units to come before the next restart marker.
    left: usize,
}

impl<'a> Place<'a> {
    fn new(bytes: &'a ScanBytes, restart: usize) -> Result<Self, Unfit> {
        Ok(Self {
            bytes,
            bits: bytes.interval(0)?,
            interval: 0,
            restart,
            left: if restart == 0 { usize::MAX } else { restart },
        })
    }

    /// To be called before each unit; true if a restart marker was passed.
    #[inline(always)]
    fn advance(&mut self) -> Result<bool, Unfit> {
        if self.left > 0 {
            self.left -= 1;
            return Ok(false);
        }
        if self.bits.overrun() {
            return Err(CUT);
        }
        self.interval += 1;
        self.bits = self.bytes.interval(self.interval)?;
        self.left = self.restart - 1;
        Ok(true)
    }
}

impl Part<'_> {
    /// Decodes the next block; returns its last coefficient that is not zero.
    #[inline(always)]
    fn decode(&mut self, bits: &mut Bits<'_>, block: &mut [i16; 64]) -> Result<u8, Unfit> {
        self.next_mean(bits)?;
        block[0] = self.mean as i16;
        let mut last = 0;
        let mut next = 1;
        while next < 64 {
            bits.refill();
            let symbol = self.ac.peek(bits)?;
            if symbol.size() == 0 {
                bits.consume(symbol.bits());
                if symbol.run() < 15 {
                    break;
                }
                next += 16;
                continue;
            }
            next += symbol.run();
            let value = symbol.take_value(bits);
            let place = *ZIGZAG.get(next).ok_or(TOO_MANY)?;
            block[usize::from(place & 63)] = value as i16;
            last = next as u8;
            next += 1;
        }
        Ok(last)
    }

    /// Passes over the next block.
    #[inline(always)]
    fn skip(&mut self, bits: &mut Bits<'_>) -> Result<(), Unfit> {
        self.next_mean(bits)?;
        let mut next = 1;
        while next < 64 {
            bits.refill();
            let symbol = self.ac.peek(bits)?;
            bits.consume(symbol.bits());
            if symbol.size() == 0 && symbol.run() < 15 {
                return Ok(());
            }
            next += symbol.run() + 1;
        }
        if next > 64 {
            return Err(TOO_MANY);
        }
        Ok(())
    }

    #[inline(always)]
    fn next_mean(&mut self, bits: &mut Bits<'_>) -> Result<(), Unfit> {
        bits.refill();
        let symbol = self.dc.peek(bits)?;
        self.mean = self.mean.wrapping_add(symbol.take_value(bits));
        Ok(())
    }
}

const TOO_MANY: Unfit = Unfit::Damaged("a block has more than 64 coefficients");
