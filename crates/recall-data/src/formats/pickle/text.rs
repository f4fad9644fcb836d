//! The texts of protocol 0, in which everything is written in printable characters.

/// A Python 2 string in its quotes, with escapes.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return None,
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => u8::try_from(hex(&mut rest, 2)?).ok()?,
            escaped @ (b'\\' | b'\'' | b'"') => escaped,
            // Python writes no others.
            _ => return None,
        });
    }
    Some(bytes)
}

/// Text as Latin-1, the rest of Unicode in escapes.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            text.push(char::from(byte));
            continue;
        }
        let digits = match rest.clone().next() {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => {
                text.push('\\');
                continue;
            }
        };
        rest.next();
        text.push(char::from_u32(hex(&mut rest, digits)?)?);
    }
    Some(text)
}

fn hex(rest: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    let mut number = 0;
    for _ in 0..digits {
        number = number << 4 | char::from(rest.next()?).to_digit(16)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_python_2() {
        assert_eq!(quoted(b"'a\\'b'").unwrap(), b"a'b");
        assert_eq!(quoted(b"\"\\x00\\xff\\\\\\n\"").unwrap(), b"\0\xff\\\n");
        assert_eq!(quoted(b"''").unwrap(), b"");
        for wrong in ["", "'", "a", "'a\"", "'\\'", "'\\x1'", "'\\q'"] {
            assert_eq!(quoted(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn unicode_of_protocol_0() {
        assert_eq!(
            raw_unicode(b"a\xe9\\u20ac\\U0001f600\\n\\").unwrap(),
            "aé€😀\\n\\"
        );
        for wrong in ["\\u12", "\\ud800", "\\Uffffffff", "\\u00zz"] {
            assert_eq!(raw_unicode(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
