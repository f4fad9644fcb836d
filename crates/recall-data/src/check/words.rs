//! Numbers and plurals as the sentences of a report have them.

use crate::Dataset;

/// `59551` as `59,551`.
pub(super) fn number(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 image is`, `2 images are`.
pub(super) fn counted(value: usize, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// What a data set has: images, or rows of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noun {
    pub one: &'static str,
    pub many: &'static str,
}

impl Noun {
    pub const IMAGE: Self = Self {
        one: "image",
        many: "images",
    };
    pub const ROW: Self = Self {
        one: "row",
        many: "rows",
    };

    pub fn of(dataset: &Dataset) -> Self {
        match dataset.features() {
            Some(_) => Self::ROW,
            None => Self::IMAGE,
        }
    }

    /// `1 image`, `2 rows`.
    pub fn counted(self, value: usize) -> String {
        counted(value, self.one, self.many)
    }

    /// `1 image is`, `2 rows are`, with what follows.
    pub fn said(self, value: usize, one: &str, many: &str) -> String {
        let one = format!("{} {one}", self.one);
        counted(value, &one, &format!("{} {many}", self.many))
    }
}

pub(super) fn classes(value: usize) -> String {
    counted(value, "class", "classes")
}

/// `a, b and c`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `3.2 GB`, in powers of 1000.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["bytes", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        // What would be rounded to 1000 of the smaller unit is 1 of the next.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "bytes" => counted(bytes as usize, "byte", "bytes"),
        _ if value < 9.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_words_their_plural() {
        let shown = [0, 999, 1000, 59_551, 1_000_000].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "59,551", "1,000,000"]);
        let counts = [Noun::IMAGE.counted(1), Noun::ROW.counted(0)];
        assert_eq!(counts, ["1 image", "0 rows"]);
        assert_eq!(Noun::ROW.said(2, "is", "are"), "2 rows are");
        assert_eq!(classes(2000), "2,000 classes");
    }

    #[test]
    fn lists_end_with_and() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(listed(&names), "a, b and c");
        assert_eq!(listed(&names[..2]), "a and b");
        assert_eq!(listed(&names[..1]), "a");
    }

    #[test]
    fn sizes_have_two_digits_and_a_unit() {
        for (bytes, shown) in [
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (9_960, "10 kB"),
            (999_900, "1.0 MB"),
            (2_940_000_000, "2.9 GB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
