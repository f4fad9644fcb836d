use super::Unfit;
use super::huffman::Huffman;

/// Where each coefficient of the zigzag order is, row by row.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A file whose frame header was read: its size is known, nothing is decoded yet.
#[derive(Debug)]
pub(crate) struct Jpeg<'a> {
    pub(super) bytes: &'a [u8],
    /// Where to read on.
    pub(super) place: usize,
    pub(super) frame: Frame,
    pub(super) quant: [Option<Box<[i32; 64]>>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// Blocks of a scan between two restart markers, 0 for none.
    pub(super) restart: usize,
    jfif: bool,
    /// What Adobe's marker says of the colours.
    adobe: Option<u8>,
}

/// What the frame header says.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub progressive: bool,
    pub width: u32,
    pub height: u32,
    pub components: Vec<Component>,
    /// The largest sampling factors, across and down.
    pub most: [usize; 2],
}

/// One of the colours of a picture, or its brightness.
#[derive(Debug, Clone)]
pub(super) struct Component {
    id: u8,
    /// Sampling factors, across and down.
    pub factors: [usize; 2],
    table: u8,
    /// Blocks across and down that hold samples.
    pub blocks: [usize; 2],
    /// The same with those that fill up the last units.
    pub padded: [usize; 2],
}

/// One pass over some of the components.
#[derive(Debug)]
pub(super) struct Scan {
    pub parts: Vec<ScanPart>,
    /// First and last coefficient.
    pub band: [usize; 2],
    /// Bits that were left out before this scan and are after it; 0 before for the first one.
    pub before: u32,
    pub after: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ScanPart {
    pub component: usize,
    pub dc: usize,
    pub ac: usize,
}

impl Scan {
    pub fn has_all(&self, frame: &Frame) -> bool {
        self.parts.len() == frame.components.len()
    }
}

/// What comes next in a file.
pub(super) enum Next {
    Scan(Scan),
    End,
}

/// What the components mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

const SHORT: Unfit = Unfit::Damaged("it is cut short");

impl<'a> Jpeg<'a> {
    /// Whether bytes begin as a JPEG file does.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&[0xff, 0xd8, 0xff])
    }

    /// Reads up to the frame header.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Unfit> {
        let mut jpeg = Self {
            bytes,
            place: 2,
            frame: Frame::default(),
            quant: Default::default(),
            dc: Default::default(),
            ac: Default::default(),
            restart: 0,
            jfif: false,
            adobe: None,
        };
        while jpeg.frame.components.is_empty() {
            match jpeg.marker()? {
                0xd9 | 0xda => return Err(Unfit::Damaged("it has no frame header")),
                marker => jpeg.segment(marker)?,
            }
        }
        Ok(jpeg)
    }

    /// Width and height in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.frame.width, self.frame.height)
    }

    /// Reads on to the next scan.
    pub(super) fn next(&mut self) -> Result<Next, Unfit> {
        loop {
            match self.marker() {
                Ok(0xd9) | Err(_) => return Ok(Next::End),
                Ok(0xda) => return self.scan().map(Next::Scan),
                Ok(marker) => self.segment(marker)?,
            }
        }
    }

    /// The next marker, whatever lies before it.
    fn marker(&mut self) -> Result<u8, Unfit> {
        loop {
            let rest = self.bytes.get(self.place..).ok_or(SHORT)?;
            let found = memchr::memchr(0xff, rest).ok_or(SHORT)?;
            self.place += found + 1;
            match *self.bytes.get(self.place).ok_or(SHORT)? {
                0xff | 0 => {}
                marker => {
                    self.place += 1;
                    return Ok(marker);
                }
            }
        }
    }

    /// The content of the segment here.
    fn content(&mut self) -> Result<&'a [u8], Unfit> {
        let rest = self.bytes.get(self.place..).ok_or(SHORT)?;
        let length = match rest {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(SHORT),
        };
        self.place += length;
        rest.get(2..length).ok_or(SHORT)
    }

    fn segment(&mut self, marker: u8) -> Result<(), Unfit> {
        match marker {
            // Markers without content.
            0x01 | 0xd0..=0xd8 => Ok(()),
            0xc0..=0xc2 => {
                let content = self.content()?;
                self.frame(content, marker == 0xc2)
            }
            0xc4 => {
                let content = self.content()?;
                self.huffman(content)
            }
            0xdb => {
                let content = self.content()?;
                self.quantisation(content)
            }
            0xdd => {
                self.restart = match self.content()? {
                    [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                    _ => return Err(SHORT),
                };
                Ok(())
            }
            0xe0 => {
                self.jfif |= self.content()?.starts_with(b"JFIF\0");
                Ok(())
            }
            0xee => {
                let content = self.content()?;
                if content.starts_with(b"Adobe") {
                    self.adobe = content.get(11).copied().or(self.adobe);
                }
                Ok(())
            }
            // Lossless, hierarchical and arithmetic frames; a height that comes later.
            0xc3 | 0xc5..=0xcf | 0xdc | 0xde | 0xdf => Err(Unfit::Unsupported),
            _ => self.content().map(|_| ()),
        }
    }

    fn frame(&mut self, content: &[u8], progressive: bool) -> Result<(), Unfit> {
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = content else {
            return Err(SHORT);
        };
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if !self.frame.components.is_empty() {
            return Err(Unfit::Damaged("it has two frame headers"));
        }
        if precision != 8 || width == 0 || height == 0 || ![1, 3, 4].contains(&count) {
            return Err(Unfit::Unsupported);
        }
        let mut components = Vec::new();
        for part in rest.chunks_exact(3).take(count.into()) {
            let factors = [usize::from(part[1] >> 4), usize::from(part[1] & 15)];
            if factors.iter().any(|factor| ![1, 2, 4].contains(factor)) || part[2] > 3 {
                return Err(Unfit::Unsupported);
            }
            components.push(Component {
                id: part[0],
                factors,
                table: part[2],
                blocks: [0; 2],
                padded: [0; 2],
            });
        }
        if components.len() < count.into() {
            return Err(SHORT);
        }
        // With one component there is nothing to sample otherwise, whatever its factors say.
        if let [only] = components.as_mut_slice() {
            only.factors = [1; 2];
        }
        let most = [0, 1].map(|axis| {
            components
                .iter()
                .map(|c| c.factors[axis])
                .max()
                .unwrap_or(1)
        });
        for component in &mut components {
            for (axis, side) in [width, height].into_iter().enumerate() {
                let (side, factor) = (usize::from(side), component.factors[axis]);
                component.blocks[axis] = (side * factor).div_ceil(8 * most[axis]);
                component.padded[axis] = side.div_ceil(8 * most[axis]) * factor;
            }
        }
        self.frame = Frame {
            progressive,
            width: width.into(),
            height: height.into(),
            components,
            most,
        };
        Ok(())
    }

    fn huffman(&mut self, mut content: &[u8]) -> Result<(), Unfit> {
        while let Some((&[kind, ref counts @ ..], rest)) = content.split_first_chunk::<17>() {
            let counts: &[u8; 16] = counts;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (values, rest) = rest.split_at_checked(count).ok_or(SHORT)?;
            let tables = if kind >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            let table = tables.get_mut(usize::from(kind & 15));
            *table.ok_or(Unfit::Damaged("a table has a wrong number"))? =
                Some(Huffman::new(counts, values)?);
            content = rest;
        }
        Ok(())
    }

    fn quantisation(&mut self, mut content: &[u8]) -> Result<(), Unfit> {
        while let Some((&kind, rest)) = content.split_first() {
            let wide = kind >> 4 != 0;
            let bytes = if wide { 128 } else { 64 };
            let (numbers, rest) = rest.split_at_checked(bytes).ok_or(SHORT)?;
            let mut table = Box::new([0; 64]);
            for (number, &place) in ZIGZAG.iter().enumerate() {
                table[usize::from(place)] = if wide {
                    i32::from(numbers[2 * number]) << 8 | i32::from(numbers[2 * number + 1])
                } else {
                    numbers[number].into()
                };
            }
            let place = self.quant.get_mut(usize::from(kind & 15));
            *place.ok_or(Unfit::Damaged("a table has a wrong number"))? = Some(table);
            content = rest;
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<Scan, Unfit> {
        let (&count, rest) = self.content()?.split_first().ok_or(SHORT)?;
        let count = usize::from(count);
        let (parts, rest) = rest.split_at_checked(2 * count).ok_or(SHORT)?;
        let &[first, last, bits, ..] = rest else {
            return Err(SHORT);
        };
        let mut scan = Scan {
            parts: Vec::with_capacity(count),
            band: [first.into(), last.into()],
            before: (bits >> 4).into(),
            after: (bits & 15).into(),
        };
        for part in parts.chunks_exact(2) {
            let component = self.frame.components.iter().position(|c| c.id == part[0]);
            scan.parts.push(ScanPart {
                component: component.ok_or(Unfit::Damaged("a scan is of no component"))?,
                dc: usize::from(part[1] >> 4),
                ac: usize::from(part[1] & 15),
            });
        }
        let distinct = (1..count).all(|i| {
            let earlier = &scan.parts[..i];
            earlier
                .iter()
                .all(|part| part.component != scan.parts[i].component)
        });
        if count == 0 || !distinct || first > last || last > 63 || scan.after > 13 {
            return Err(Unfit::Damaged("a scan header makes no sense"));
        }
        Ok(scan)
    }

    pub(super) fn quant(&self, component: &Component) -> Result<&[i32; 64], Unfit> {
        let table = self.quant[usize::from(component.table)].as_deref();
        table.ok_or(Unfit::Damaged("a quantisation table is missing"))
    }

    /// What the components mean, by the rules of the library: the markers, else the names.
    pub(super) fn colours(&self) -> Colours {
        let ids: Vec<u8> = self.frame.components.iter().map(|c| c.id).collect();
        match (ids.as_slice(), self.adobe) {
            ([_], _) => Colours::Grey,
            ([_, _, _], _) if self.jfif => Colours::YCbCr,
            ([_, _, _], Some(0)) | (b"RGB", None) => Colours::Rgb,
            ([_, _, _], _) => Colours::YCbCr,
            (_, None | Some(0)) => Colours::Cmyk,
            (_, Some(_)) => Colours::Ycck,
        }
    }
}
