use std::fmt;
use std::str::FromStr;

/// An amount of memory. Reads `8GB`, `1.5 GiB`, `500MB`, `1024B`; writes the number with GB, MB or B that
/// reads back as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const UNITS: [(&str, f64); 5] = [
    ("GiB", 1_073_741_824.0),
    ("MiB", 1_048_576.0),
    ("GB", 1e9),
    ("MB", 1e6),
    ("B", 1.0),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, size)| Some((text.strip_suffix(name)?, *size)))
            .unwrap_or(("", 1.0));
        match number.trim().parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => Ok(Self((number * unit) as u64)),
            _ => Err("write a size such as 8GB or 500MB".to_owned()),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1_000_000_000) => {
                write!(f, "{}GB", bytes / 1_000_000_000)
            }
            bytes if bytes > 0 && bytes.is_multiple_of(1_000_000) => {
                write!(f, "{}MB", bytes / 1_000_000)
            }
            bytes => write!(f, "{bytes}B"),
        }
    }
}

/// As text in a configuration.
pub(super) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Bytes;

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Bytes {
    /// As a person would say it: `12.35 GB`, `999 MB`.
    pub fn rounded(self) -> String {
        let mega = self.0 as f64 / 1e6;
        match mega >= 1000.0 {
            true => format!("{:.2} GB", mega / 1000.0),
            false => format!("{mega:.0} MB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes, written) in [
            ("8GB", 8_000_000_000, "8GB"),
            ("1.5 MiB", 1_572_864, "1572864B"),
            ("0.5GB", 500_000_000, "500MB"),
            ("123B", 123, "123B"),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string(), written);
            assert_eq!(written.parse(), Ok(Bytes(bytes)));
        }
        for wrong in ["8", "8 gigs", "-1GB", "GB", "infGB", "0MB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_in_words() {
        assert_eq!(Bytes(999_400_000).rounded(), "999 MB");
        assert_eq!(Bytes(12_345_000_000).rounded(), "12.35 GB");
    }
}
