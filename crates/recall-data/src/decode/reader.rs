//! A file in memory, as `zune-jpeg` reads it.

use zune_jpeg::zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZSeekFrom};

/// The decoder asks for four bytes thousands of times. The reader that comes with it copies them by a
/// call, as it does not know their number; here that is known once the call is inlined, and an image
/// is decoded in a tenth less time.
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    place: usize,
}

impl<'a> Bytes<'a> {
    pub fn new(all: &'a [u8]) -> Self {
        Self { all, place: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.all.get(self.place..).unwrap_or_default()
    }
}

impl ZByteReaderTrait for Bytes<'_> {
    #[inline(always)]
    fn read_byte_no_error(&mut self) -> u8 {
        match self.all.get(self.place) {
            Some(&byte) => {
                self.place += 1;
                byte
            }
            None => 0,
        }
    }

    #[inline(always)]
    fn read_exact_bytes(&mut self, to: &mut [u8]) -> Result<(), ZByteIoError> {
        self.peek_exact_bytes(to)?;
        self.place += to.len();
        Ok(())
    }

    fn read_bytes(&mut self, to: &mut [u8]) -> Result<usize, ZByteIoError> {
        let count = self.peek_bytes(to)?;
        self.place += count;
        Ok(count)
    }

    fn peek_bytes(&mut self, to: &mut [u8]) -> Result<usize, ZByteIoError> {
        let from = self.rest();
        let count = from.len().min(to.len());
        to[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    #[inline(always)]
    fn peek_exact_bytes(&mut self, to: &mut [u8]) -> Result<(), ZByteIoError> {
        let end = self.place.saturating_add(to.len());
        match self.all.get(self.place..end) {
            Some(from) => {
                to.copy_from_slice(from);
                Ok(())
            }
            None => Err(ZByteIoError::NotEnoughBytes(self.rest().len(), to.len())),
        }
    }

    fn z_seek(&mut self, to: ZSeekFrom) -> Result<u64, ZByteIoError> {
        let (from, by) = match to {
            ZSeekFrom::Start(place) => (0, i64::try_from(place).ok()),
            ZSeekFrom::End(by) => (self.all.len(), Some(by)),
            ZSeekFrom::Current(by) => (self.place, Some(by)),
        };
        let place = by.and_then(|by| from.checked_add_signed(isize::try_from(by).ok()?));
        self.place = place.ok_or(ZByteIoError::SeekError("before the start of the file"))?;
        Ok(self.place as u64)
    }

    #[inline(always)]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        Ok(self.place >= self.all.len())
    }

    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        Ok(self.place as u64)
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        let rest = self.rest();
        sink.extend_from_slice(rest);
        self.place += rest.len();
        Ok(rest.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zune_jpeg::zune_core::bytestream::ZCursor;

    use super::*;

    #[derive(Clone, Debug)]
    enum Call {
        Byte,
        Exact(usize),
        Some(usize),
        Peek(usize),
        PeekExact(usize),
        Start(u64),
        Current(i64),
        Rest,
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let call = prop_oneof![
            Just(Call::Byte),
            (1..6_usize).prop_map(Call::Exact),
            (1..6_usize).prop_map(Call::Some),
            (1..6_usize).prop_map(Call::Peek),
            (1..6_usize).prop_map(Call::PeekExact),
            (0..25_u64).prop_map(Call::Start),
            (-9..9_i64).prop_map(Call::Current),
            Just(Call::Rest),
        ];
        prop::collection::vec(call, 1..30)
    }

    /// What a call gives, and where the reader is then.
    fn answer(reader: &mut impl ZByteReaderTrait, call: &Call) -> (Option<Vec<u8>>, u64, bool) {
        let mut to = match call {
            Call::Exact(count) | Call::Some(count) | Call::Peek(count) | Call::PeekExact(count) => {
                vec![0; *count]
            }
            _ => Vec::new(),
        };
        let given = match call {
            Call::Byte => Some(vec![reader.read_byte_no_error()]),
            Call::Exact(_) => reader.read_exact_bytes(&mut to).ok().map(|()| to),
            Call::PeekExact(_) => reader.peek_exact_bytes(&mut to).ok().map(|()| to),
            Call::Some(_) => reader
                .read_bytes(&mut to)
                .ok()
                .map(|count| to[..count].to_vec()),
            Call::Peek(_) => reader
                .peek_bytes(&mut to)
                .ok()
                .map(|count| to[..count].to_vec()),
            Call::Start(place) => reader.z_seek(ZSeekFrom::Start(*place)).ok().map(|_| to),
            Call::Current(by) => reader.z_seek(ZSeekFrom::Current(*by)).ok().map(|_| to),
            Call::Rest => reader
                .z_position()
                .ok()
                .filter(|&place| place <= 20)
                .map(|_| {
                    reader.read_remaining(&mut to).unwrap();
                    to
                }),
        };
        (
            given,
            reader.z_position().unwrap(),
            reader.is_eof().unwrap(),
        )
    }

    proptest! {
        #[test]
        fn it_reads_as_the_decoders_own_reader(calls in calls()) {
            let bytes: Vec<u8> = (1..=20).collect();
            let (mut ours, mut theirs) = (Bytes::new(&bytes), ZCursor::new(&bytes[..]));
            for call in calls {
                prop_assert_eq!(answer(&mut ours, &call), answer(&mut theirs, &call), "{:?}", call);
            }
        }
    }
}
