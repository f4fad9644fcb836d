use crate::formats::bytes::{Bytes, Problem};
use crate::formats::number::Number;

pub(super) const INT32: u32 = 5;
pub(super) const UINT32: u32 = 6;
pub(super) const MATRIX: u32 = 14;
pub(super) const COMPRESSED: u32 = 15;

/// The order of the bytes in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) big: bool,
}

impl Order {
    pub(super) fn u32(self, rest: &mut Bytes<'_>, what: &str) -> Result<u32, Problem> {
        let bytes = rest.array(what)?;
        Ok(match self.big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }
}

/// A type and data.
pub(super) struct Element<'a> {
    pub(super) kind: u32,
    pub(super) data: Bytes<'a>,
}

impl<'a> Element<'a> {
    /// Reads the next element, which is `what`.
    pub(super) fn read(rest: &mut Bytes<'a>, order: Order, what: &str) -> Result<Self, Problem> {
        let at = rest.offset();
        let tag = order.u32(rest, "a tag")?;
        let (kind, small) = (tag & 0xffff, (tag >> 16) as usize);
        if small > 4 {
            return Err(Problem::new(at, format!("the tag of {what} is damaged")));
        }
        if small > 0 {
            // Up to four bytes lie in the tag itself.
            let data = rest.part(4, what)?.part(small, what)?;
            return Ok(Self { kind, data });
        }
        let size = order.u32(rest, "a tag")? as usize;
        let data = rest.part(size, what)?;
        if kind != COMPRESSED {
            let padding = size.next_multiple_of(8) - size;
            // Some writers leave it out at the end of a file.
            rest.part(padding.min(rest.left()), "padding")?;
        }
        Ok(Self { kind, data })
    }

    /// Its numbers, exactly `count`.
    pub(super) fn numbers(&self, count: usize, order: Order) -> Result<Vec<f64>, Problem> {
        let at = self.data.offset();
        let number = match self.kind {
            1 => Number::I8,
            2 => Number::U8,
            3 => Number::I16,
            4 => Number::U16,
            INT32 => Number::I32,
            UINT32 => Number::U32,
            7 => Number::F32,
            9 => Number::F64,
            12 => Number::I64,
            13 => Number::U64,
            other => {
                let problem =
                    format!("numbers are of the unknown type {other}: the file is damaged");
                return Err(Problem::new(at, problem));
            }
        };
        let bytes = self.data.rest();
        if count.checked_mul(number.size()) != Some(bytes.len()) {
            let problem = format!(
                "an array should have {count} numbers, but has {} bytes of them: the file is damaged",
                bytes.len()
            );
            return Err(Problem::new(at, problem));
        }
        Ok(number.decode(bytes, order.big))
    }

    /// Its text; `None` in an encoding that is not known.
    pub(super) fn text(&self, order: Order) -> Result<Option<String>, Problem> {
        let bytes = self.data.rest();
        let refuse = |name| {
            let problem = format!("text is not {name}: the file is damaged");
            Err(Problem::new(self.data.offset(), problem))
        };
        let text = match self.kind {
            // Bytes of no declared encoding: old files mean Latin-1 beyond ASCII.
            1 | 2 => match str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes.iter().copied().map(char::from).collect(),
            },
            4 | 17 => {
                let (units, rest) = bytes.as_chunks();
                let units = units.iter().map(|&unit| match order.big {
                    true => u16::from_be_bytes(unit),
                    false => u16::from_le_bytes(unit),
                });
                match char::decode_utf16(units).collect::<Result<String, _>>() {
                    Ok(text) if rest.is_empty() => text,
                    _ => return refuse("UTF-16"),
                }
            }
            16 => match str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => return refuse("UTF-8"),
            },
            _ => return Ok(None),
        };
        Ok(Some(text))
    }
}
