//! Names of files and classes as text: one printable line each, and different ones stay different.
//!
//! On disk a name is a string of bytes, with whatever in it: a line break, an escape of a terminal, bytes
//! that are no UTF-8. Here a name is what is written into lists, one a line, compared, hashed and shown.
//! So readers of data sets write names with these escapes:
//!
//! | in the name | written |
//! |---|---|
//! | a backslash | `\\` |
//! | a line break, carriage return, tab | `\n`, `\r`, `\t` |
//! | any other control character, a line or paragraph separator, a mark that turns the direction of text | `\u001b` |
//! | a byte that is not UTF-8 | `\xff` |
//!
//! Everything else stands for itself. [`unescape`] is the way back.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

/// A name of the file system, escaped.
///
/// ```
/// use recall_data::names::escape_os;
///
/// assert_eq!(escape_os("red chair.png".as_ref()), "red chair.png");
/// assert_eq!(escape_os("two\nlines.png".as_ref()), r"two\nlines.png");
/// ```
pub fn escape_os(name: &OsStr) -> String {
    let bytes = name.as_encoded_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_escaped(&mut text, chunk.valid());
        for byte in chunk.invalid() {
            // Writing into a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A name that is text already, escaped.
pub fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    push_escaped(&mut text, name);
    text
}

/// A name from a list, which may be one of ours: what is escaped already stays as it is, and other text is
/// escaped.
///
/// ```
/// use recall_data::names::{escape, listed};
///
/// let name = escape("two\nlines");
/// assert_eq!(listed(&name), name);
/// assert_eq!(listed("C:\\Images"), escape("C:\\Images"));
/// ```
pub fn listed(text: &str) -> String {
    match unescape(text) {
        Some(name) if escape_os(&name) == text => text.to_owned(),
        _ => escape(text),
    }
}

fn push_escaped(text: &mut String, name: &str) {
    for character in name.chars() {
        match character {
            '\\' => text.push_str(r"\\"),
            _ => push_visible(text, character),
        }
    }
}

/// What was escaped; `None` of text that no name is written as.
pub fn unescape(text: &str) -> Option<OsString> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let kind = after.chars().next()?;
        rest = &after[kind.len_utf8()..];
        let mut hexadecimal = |digits: usize| {
            let (value, after) = rest.split_at_checked(digits)?;
            rest = after;
            u32::from_str_radix(value, 16).ok()
        };
        match kind {
            '\\' => bytes.push(b'\\'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'u' => {
                let character = char::from_u32(hexadecimal(4)?)?;
                bytes.extend(character.encode_utf8(&mut [0; 4]).bytes());
            }
            'x' => bytes.push(u8::try_from(hexadecimal(2)?).ok()?),
            _ => return None,
        }
    }
    bytes.extend(rest.bytes());
    os_string(bytes)
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(Into::into)
}

/// Text for a terminal in one line: whatever would move the cursor, colour what follows or break the
/// line is written as an escape. Backslashes stay, so this is for reading and not for names.
pub fn one_line(text: &str) -> Cow<'_, str> {
    visible(text, |_| false)
}

/// The same in lines: line breaks and tabs stay. For text whose line breaks are the program's own.
pub fn lines(text: &str) -> Cow<'_, str> {
    visible(text, |character| matches!(character, '\n' | '\t'))
}

fn visible(text: &str, stays: fn(char) -> bool) -> Cow<'_, str> {
    let moves = |character: char| is_invisible(character) && !stays(character);
    if !text.contains(moves) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match moves(character) {
            true => push_visible(&mut shown, character),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A character as itself or as its escape. All that are escaped have four digits, as JSON writes them.
fn push_visible(text: &mut String, character: char) {
    match character {
        '\n' => text.push_str(r"\n"),
        '\r' => text.push_str(r"\r"),
        '\t' => text.push_str(r"\t"),
        _ if is_invisible(character) => {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        }
        _ => text.push(character),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_names_stand_for_themselves() {
        for name in ["a.png", "red chair (2).JPG", "Ärmel/é.webp", "猫", "🙂"] {
            assert_eq!(escape(name), name);
            assert_eq!(escape_os(name.as_ref()), name);
            assert_eq!(one_line(name), name);
        }
    }

    #[test]
    fn a_name_is_one_printable_line() {
        for (name, written) in [
            ("a\nb", r"a\nb"),
            ("a\r\tb", r"a\r\tb"),
            (r"a\nb", r"a\\nb"),
            ("\u{1b}[31mred", r"\u001b[31mred"),
            ("a\u{85}b\u{2028}c", r"a\u0085b\u2028c"),
            ("gpj\u{202e}.exe", r"gpj\u202e.exe"),
        ] {
            assert_eq!(escape(name), written);
            assert_eq!(escape_os(name.as_ref()), written);
        }
        assert_eq!(one_line("\\a\u{1b}[2J\n"), r"\a\u001b[2J\n");
        assert_eq!(lines("a\tb\n\u{7}"), "a\tb\n\\u0007");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_differ_in_bytes_differ() {
        use std::os::unix::ffi::OsStrExt;
        let [one, other] = [&b"caf\xe9"[..], b"caf\xe8"].map(OsStr::from_bytes);
        assert_eq!(escape_os(one), r"caf\xe9");
        assert_eq!(escape_os(other), r"caf\xe8");
        assert_ne!(escape_os(one), escape_os(r"caf\xe9".as_ref()));
    }

    #[test]
    fn what_no_name_is_written_as_is_told() {
        for text in ["\\", r"a\q", r"\u12", r"\ud800", r"\xg0", r"\x"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    #[cfg(unix)]
    proptest! {
        #[test]
        fn the_way_back_leads_to_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            use std::os::unix::ffi::OsStrExt;
            let name = OsStr::from_bytes(&bytes);
            let written = escape_os(name);
            prop_assert!(!written.chars().any(is_invisible));
            prop_assert_eq!(unescape(&written), Some(name.to_owned()));
        }

        #[test]
        fn the_way_back_leads_to_the_text(name in any::<String>()) {
            prop_assert_eq!(unescape(&escape(&name)), Some(name.into()));
        }
    }
}
