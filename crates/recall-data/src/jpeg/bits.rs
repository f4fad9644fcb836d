use memchr::memchr;

use super::Unfit;

/// Zeros behind each interval, so that eight bytes can be read wherever there is one.
const PADDING: usize = 8;

/// The entropy-coded bytes of a scan: without the zeros stuffed behind each `0xff`, cut at the
/// restart markers. A reader of bits then has no byte to look at twice.
#[derive(Debug, Default)]
pub(super) struct ScanBytes {
    bytes: Vec<u8>,
    /// Start and end of each interval in `bytes`.
    intervals: Vec<(usize, usize)>,
    /// Whether a marker ended the scan, and not the file.
    pub ended: bool,
}

impl ScanBytes {
    /// Takes the scan that `data` begins with. Returns it and the place of the marker behind it.
    pub fn take(data: &[u8]) -> (Self, usize) {
        let mut scan = Self {
            bytes: Vec::with_capacity(data.len() + PADDING),
            ..Self::default()
        };
        let (mut place, mut start) = (0, 0);
        loop {
            let Some(found) = memchr(0xff, &data[place..]) else {
                scan.bytes.extend_from_slice(&data[place..]);
                place = data.len();
                break;
            };
            let marker = place + found;
            match data.get(marker + 1) {
                Some(0) => {
                    scan.bytes.extend_from_slice(&data[place..=marker]);
                    place = marker + 2;
                }
                Some(0xd0..=0xd7) => {
                    scan.bytes.extend_from_slice(&data[place..marker]);
                    scan.end_interval(&mut start);
                    place = marker + 2;
                }
                // A marker may be preceded by any number of these.
                Some(0xff) => {
                    scan.bytes.extend_from_slice(&data[place..marker]);
                    place = marker + 1;
                }
                next => {
                    scan.bytes.extend_from_slice(&data[place..marker]);
                    scan.ended = next.is_some();
                    place = marker;
                    break;
                }
            }
        }
        scan.end_interval(&mut start);
        (scan, place)
    }

    fn end_interval(&mut self, start: &mut usize) {
        self.intervals.push((*start, self.bytes.len()));
        self.bytes.extend_from_slice(&[0; PADDING]);
        *start = self.bytes.len();
    }

    /// The bits of an interval between restart markers.
    pub fn interval(&self, number: usize) -> Result<Bits<'_>, Unfit> {
        let &(start, end) = self
            .intervals
            .get(number)
            .ok_or(Unfit::Damaged("a restart marker is missing"))?;
        Ok(Bits {
            bytes: &self.bytes[start..end + PADDING],
            place: 0,
            held: 0,
            count: 0,
        })
    }
}

/// Reads bits, the first one of a byte being its highest. Behind the end come zeros.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    place: usize,
    /// The next bits, from the highest down.
    held: u64,
    /// How many of them are valid. Those below may be set, to what they will be.
    count: u32,
}

impl Bits<'_> {
    /// Holds at least 56 bits.
    #[inline(always)]
    pub fn refill(&mut self) {
        let next = match self.bytes.get(self.place..self.place + 8) {
            Some(&[a, b, c, d, e, f, g, h]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => 0,
        };
        self.held |= next >> self.count;
        // As many whole bytes as there was room for.
        self.place += (63 - self.count as usize) >> 3;
        self.count |= 56;
    }

    /// The next `count` bits, 1 to 32.
    #[inline(always)]
    pub fn peek(&self, count: u32) -> u32 {
        (self.held >> (64 - count)) as u32
    }

    /// Passes over bits that are held.
    #[inline(always)]
    pub fn consume(&mut self, count: u32) {
        self.held <<= count;
        self.count -= count;
    }

    /// The next `count` bits, 0 to 16, of those that are held.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u32 {
        // In two steps, as nothing shifts by 64.
        let bits = (self.held >> 1 >> (63 - count)) as u32;
        self.consume(count);
        bits
    }

    /// `count` bits as a difference or a coefficient: half of the values are negative.
    #[inline(always)]
    pub fn take_signed(&mut self, count: u32) -> i32 {
        let bits = self.take(count) as i32;
        // Without the highest bit, it is negative.
        let negative = (bits >> count.saturating_sub(1)) ^ 1;
        bits - ((negative << count) - negative) * i32::from(count > 0)
    }

    /// Whether more bits were taken than there are.
    pub fn overrun(&self) -> bool {
        let taken = (self.place * 8).saturating_sub(self.count as usize);
        taken > (self.bytes.len() - PADDING) * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_and_markers_are_taken_out() {
        let data = [1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xff, 0xd9, 9];
        let (scan, place) = ScanBytes::take(&data);
        assert!(scan.ended);
        assert_eq!(data[place + 1], 0xd9);
        let mut first = scan.interval(0).unwrap();
        first.refill();
        assert_eq!(first.peek(24), 0x01_ff_02);
        first.consume(24);
        assert!(!first.overrun());
        first.consume(1);
        assert!(first.overrun());
        let mut second = scan.interval(1).unwrap();
        second.refill();
        assert_eq!(second.take(8), 3);
        assert!(scan.interval(2).is_err());
        assert!(!ScanBytes::take(&data[..4]).0.ended);
    }

    #[test]
    fn values_are_signed_by_their_first_bit() {
        let (scan, _) = ScanBytes::take(&[0b0110_0010, 0b1000_0000]);
        let mut bits = scan.interval(0).unwrap();
        bits.refill();
        assert_eq!(bits.take_signed(1), -1);
        assert_eq!(bits.take_signed(1), 1);
        assert_eq!(bits.take_signed(2), 2);
        assert_eq!(bits.take_signed(3), -6);
        assert_eq!(bits.take_signed(0), 0);
        assert_eq!(bits.take_signed(2), -2);
    }
}
