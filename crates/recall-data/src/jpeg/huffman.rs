use super::Unfit;
use super::bits::Bits;

/// Codes up to this length are found by one look into a table.
const LOOKUP_BITS: u32 = 10;

/// A Huffman table of a JPEG file.
#[derive(Debug, Clone)]
pub(super) struct Huffman {
    /// What the next bits begin with, see [`Symbol`]; 0 where the code is longer.
    lookup: Box<[u32; 1 << LOOKUP_BITS]>,
    /// By length: one past the last code, its bits moved to the top of 16.
    limits: [u32; 17],
    /// By length: what to add to a code to have its place in `values`.
    offsets: [i32; 17],
    values: Vec<u8>,
}

/// A code and the bits that follow it: a run of zeros and how many bits the value has. The value
/// too, where code and value are short.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol(u32);

impl Symbol {
    const KNOWN: u32 = 1 << 15;

    fn new(code_bits: u32, value: u8) -> Self {
        let (run, size) = (u32::from(value >> 4), u32::from(value & 15));
        Self((code_bits + size) | size << 6 | run << 10)
    }

    /// Bits of the code and of the value behind it.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        self.0 & 63
    }

    /// Bits of the value.
    #[inline(always)]
    pub fn size(self) -> u32 {
        self.0 >> 6 & 15
    }

    /// Zeros before the value.
    #[inline(always)]
    pub fn run(self) -> usize {
        (self.0 >> 10 & 15) as usize
    }

    /// Takes the symbol from `bits`, and its value.
    #[inline(always)]
    pub fn take_value(self, bits: &mut Bits<'_>) -> i32 {
        if self.0 & Self::KNOWN != 0 {
            bits.consume(self.bits());
            self.0 as i32 >> 16
        } else {
            bits.consume(self.bits() - self.size());
            bits.take_signed(self.size())
        }
    }
}

impl Huffman {
    /// The table with so many codes of each length, from 1 to 16.
    pub fn new(counts: &[u8; 16], values: &[u8]) -> Result<Self, Unfit> {
        let mut table = Self {
            lookup: Box::new([0; 1 << LOOKUP_BITS]),
            limits: [0; 17],
            offsets: [0; 17],
            values: values.to_vec(),
        };
        let (mut code, mut place) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = usize::from(counts[length as usize - 1]);
            table.offsets[length as usize] = place as i32 - code as i32;
            for &value in values.get(place..place + count).ok_or(DAMAGED)? {
                if code >= 1 << length {
                    return Err(DAMAGED);
                }
                table.enter(code, length, value);
                code += 1;
            }
            place += count;
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// Fills in all the lookups that begin with a code.
    fn enter(&mut self, code: u32, length: u32, value: u8) {
        let Some(rest) = LOOKUP_BITS.checked_sub(length) else {
            return;
        };
        let symbol = Symbol::new(length, value);
        let size = symbol.size();
        for tail in 0..1_u32 << rest {
            let mut entry = symbol.0;
            if size > 0 && size <= rest {
                let bits = (tail >> (rest - size)) as i32;
                let negative = bits >> (size - 1) == 0;
                let value = if negative {
                    bits - (1 << size) + 1
                } else {
                    bits
                };
                entry |= Symbol::KNOWN | (value as u32) << 16;
            }
            self.lookup[(code << rest | tail) as usize] = entry;
        }
    }

    /// The symbol that comes next; it is not passed over. 31 bits have to be held.
    #[inline(always)]
    pub fn peek(&self, bits: &Bits<'_>) -> Result<Symbol, Unfit> {
        let entry = self.lookup[bits.peek(LOOKUP_BITS) as usize];
        if entry != 0 {
            return Ok(Symbol(entry));
        }
        self.peek_long(bits)
    }

    #[cold]
    fn peek_long(&self, bits: &Bits<'_>) -> Result<Symbol, Unfit> {
        let next = bits.peek(16);
        let length = (LOOKUP_BITS + 1..=16)
            .find(|&length| next < self.limits[length as usize])
            .ok_or(DAMAGED)?;
        let place = (next >> (16 - length)) as i32 + self.offsets[length as usize];
        let value = usize::try_from(place)
            .ok()
            .and_then(|place| self.values.get(place))
            .ok_or(DAMAGED)?;
        Ok(Symbol::new(length, *value))
    }

    /// Takes a symbol without value, as progressive scans have them: its run and its size.
    #[inline(always)]
    pub fn take(&self, bits: &mut Bits<'_>) -> Result<(usize, u32), Unfit> {
        let symbol = self.peek(bits)?;
        bits.consume(symbol.bits() - symbol.size());
        Ok((symbol.run(), symbol.size()))
    }
}

const DAMAGED: Unfit = Unfit::Damaged("a Huffman code is not in its table");
