//! The numbers that each setting takes, in one place: all others are refused by their key, and messages
//! and docs/configuration.md say the same.

use std::fmt;

use toml::{Table, Value};

use super::ConfigError;
use super::keys::lookup;

/// What a setting takes: a number, or a list of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Takes {
    numbers: Numbers,
    count: Count,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    /// Whole numbers from the first to the last.
    Whole(u64, u64),
    /// Whole epochs or steps from 0, or shares of the run.
    PartsOfRun,
    Real(Real),
}

/// Numbers that are kept in single precision, or used in it in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Real {
    low: Option<Bound>,
    high: Option<Bound>,
    /// Whether infinity is one of them.
    infinite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    Including(f64),
    Excluding(f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Count {
    One,
    /// As many as one likes.
    Any,
    Two,
    Three,
}

/// The largest whole number of TOML.
const MOST: u64 = i64::MAX as u64;

/// Sides of images, in pixels; what `recall_data` takes.
const SIDE: Takes = one(Numbers::Whole(1, 16_384));

const fn one(numbers: Numbers) -> Takes {
    Takes {
        numbers,
        count: Count::One,
    }
}

const fn from(first: u64) -> Takes {
    one(Numbers::Whole(first, MOST))
}

const fn up_to(first: u64, last: u64) -> Takes {
    one(Numbers::Whole(first, last))
}

const fn real(low: Option<Bound>, high: Option<Bound>) -> Takes {
    one(Numbers::Real(Real {
        low,
        high,
        infinite: false,
    }))
}

/// Any number.
const ANY: Takes = real(None, None);
/// From 0.
const NOT_NEGATIVE: Takes = real(Some(Bound::Including(0.0)), None);
/// Above 0.
const POSITIVE: Takes = real(Some(Bound::Excluding(0.0)), None);
/// A probability, or a part of something.
const SHARE: Takes = real(Some(Bound::Including(0.0)), Some(Bound::Including(1.0)));
/// A part that is not the whole.
const PART: Takes = real(Some(Bound::Including(0.0)), Some(Bound::Excluding(1.0)));
/// A part that is not nothing.
const SOME: Takes = real(Some(Bound::Excluding(0.0)), Some(Bound::Including(1.0)));

const fn angle(last: Bound) -> Takes {
    real(Some(Bound::Including(0.0)), Some(last))
}

impl Takes {
    const fn times(self, count: Count) -> Self {
        Self { count, ..self }
    }
}

/// Every setting that takes numbers. Where nothing else bounds a number from above, it is bounded where
/// sizes could no longer be multiplied, or a tensor would not fit any memory.
#[rustfmt::skip]
pub(super) static RANGES: [(&str, Takes); 49] = [
    ("seed", from(0)),
    ("epochs", up_to(1, 1_000_000)),
    ("batch.size", up_to(4, 1_000_000)),
    ("batch.samples_per_class", up_to(2, 1_000_000)),
    ("batch.chunk", from(1)),
    ("batch.super_classes", up_to(1, 1_000_000)),
    ("model.dim", up_to(1, 65_536)),
    ("model.dropout", PART),
    ("model.drop_path", PART),
    ("model.widths", up_to(1, 4096).times(Count::Any)),
    ("model.grid", up_to(1, 64)),
    ("loss.ks", from(1).times(Count::Any)),
    ("loss.tau_k", POSITIVE.times(Count::Any)),
    ("loss.tau_rank", POSITIVE),
    ("loss.block_size", from(1)),
    ("optimiser.learning_rate", POSITIVE),
    ("optimiser.weight_decay", NOT_NEGATIVE),
    ("optimiser.warmup_steps", one(Numbers::PartsOfRun)),
    ("optimiser.milestones", one(Numbers::PartsOfRun).times(Count::Any)),
    ("optimiser.factor", SOME),
    ("optimiser.backbone_rate", NOT_NEGATIVE),
    ("optimiser.head_rate", NOT_NEGATIVE),
    ("optimiser.freeze_stages", from(0)),
    ("optimiser.clip_norm", POSITIVE),
    ("optimiser.average", PART),
    ("image.cache.shorter_side", SIDE),
    ("image.train.size", SIDE.times(Count::Two)),
    ("image.train.random_resized_crop.scale", SOME.times(Count::Two)),
    ("image.train.random_resized_crop.ratio", POSITIVE.times(Count::Two)),
    ("image.train.horizontal_flip", SHARE),
    ("image.train.random_affine.degrees", angle(Bound::Including(180.0))),
    ("image.train.random_affine.translate", SHARE.times(Count::Two)),
    ("image.train.random_affine.scale", POSITIVE.times(Count::Two)),
    ("image.train.random_affine.shear", angle(Bound::Excluding(90.0))),
    ("image.train.colour_jitter.brightness", NOT_NEGATIVE),
    ("image.train.colour_jitter.contrast", NOT_NEGATIVE),
    ("image.train.colour_jitter.saturation", NOT_NEGATIVE),
    ("image.train.colour_jitter.hue", angle(Bound::Including(0.5))),
    ("image.eval.resize", SIDE),
    ("image.eval.crop", SIDE),
    ("image.standardise.mean", ANY.times(Count::Three)),
    ("image.standardise.std", POSITIVE.times(Count::Three)),
    ("evaluation.every", from(1)),
    ("evaluation.validation", PART),
    ("evaluation.ks", from(1).times(Count::Any)),
    ("evaluation.chunk", from(1)),
    ("evaluation.gallery", from(0)),
    ("checkpoint.keep", from(1)),
    ("checkpoint.every_minutes", one(Numbers::Real(Real {
        low: Some(Bound::Excluding(0.0)),
        high: None,
        infinite: true,
    }))),
];

/// What the setting `key` takes, if it takes numbers. An index behind it, as in `loss.ks[1]`, names one
/// number of a list.
pub(super) fn range_of(key: &str) -> Option<Takes> {
    let name = key.split('[').next().unwrap_or(key);
    let (_, takes) = RANGES.iter().find(|(known, _)| *known == name)?;
    Some(match name == key {
        true => *takes,
        false => takes.times(Count::One),
    })
}

/// Refuses the first number in a configuration that its setting does not take.
pub(super) fn check(table: &Table) -> Result<(), ConfigError> {
    for (key, takes) in &RANGES {
        if let Some(wrong) = lookup(table, key).and_then(|value| takes.refused(value)) {
            let problem = format!("{wrong} is out of range; it takes a {}", takes.in_full());
            return Err(ConfigError::Value { key, problem });
        }
    }
    Ok(())
}

impl Takes {
    /// The first number of `value` that is not taken. What is no number is for others to judge.
    fn refused(self, value: &Value) -> Option<String> {
        match value {
            Value::Array(values) => values.iter().find_map(|value| self.refused(value)),
            Value::Integer(number) if !self.numbers.has_whole(*number) => Some(number.to_string()),
            // With its exponent: the zeros of 1e300 tell nobody anything.
            Value::Float(number) if !self.numbers.has(*number) => Some(format!("{number:?}")),
            _ => None,
        }
    }

    /// In words, with the bound that all numbers have.
    pub(super) fn in_full(self) -> String {
        match self.numbers {
            Numbers::Real(Real {
                high: None,
                infinite: false,
                ..
            }) => format!("{self}, at most {:.1e} as single precision", f32::MAX),
            _ => self.to_string(),
        }
    }
}

impl Numbers {
    fn has_whole(self, number: i64) -> bool {
        match self {
            Self::Whole(first, last) => {
                u64::try_from(number).is_ok_and(|number| (first..=last).contains(&number))
            }
            Self::PartsOfRun => number >= 0,
            Self::Real(_) => self.has(number as f64),
        }
    }

    fn has(self, number: f64) -> bool {
        match self {
            // A whole number is written without a point.
            Self::Whole(..) => false,
            Self::PartsOfRun => (0.0..1.0).contains(&number),
            Self::Real(real) => real.has(number),
        }
    }
}

impl Real {
    fn has(self, number: f64) -> bool {
        let Self {
            low,
            high,
            infinite,
        } = self;
        let held = (number as f32).is_finite() || (infinite && number > 0.0);
        let enough = match low {
            None => true,
            Some(Bound::Including(low)) => number >= low,
            // What vanishes in single precision is 0 there.
            Some(Bound::Excluding(low)) => {
                number > low && (number as f32).abs() >= f32::MIN_POSITIVE
            }
        };
        held && enough
            && match high {
                None => true,
                Some(Bound::Including(high)) => number <= high,
                Some(Bound::Excluding(high)) => number < high,
            }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.count == Count::One { "" } else { "s" };
        f.write_str(match self.count {
            Count::One => "",
            Count::Any => "list of ",
            Count::Two => "list of two ",
            Count::Three => "list of three ",
        })?;
        match self.numbers {
            Numbers::Whole(first, MOST) => write!(f, "whole number{s} from {first}"),
            Numbers::Whole(first, last) => write!(f, "whole number{s} from {first} to {last}"),
            Numbers::PartsOfRun => {
                let a = if s.is_empty() { "a " } else { "" };
                write!(
                    f,
                    "whole number{s} from 0, or {a}share{s} of the run below 1"
                )
            }
            Numbers::Real(Real {
                low,
                high,
                infinite,
            }) => {
                write!(f, "number{s}")?;
                match low {
                    None => {}
                    Some(Bound::Including(low)) => write!(f, " from {low}")?,
                    Some(Bound::Excluding(low)) => write!(f, " above {low}")?,
                }
                match (low, high) {
                    (_, None) => {}
                    (Some(Bound::Including(_)), Some(Bound::Including(high))) => {
                        write!(f, " to {high}")?;
                    }
                    (_, Some(Bound::Including(high))) => write!(f, " and up to {high}")?,
                    (_, Some(Bound::Excluding(high))) => write!(f, " and below {high}")?,
                }
                match infinite {
                    true => f.write_str(" or `inf`"),
                    false => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::RunConfig;
    use super::super::keys::{KEYS, documented};
    use super::*;

    /// The keys whose values are numbers, or lists of them.
    fn with_numbers() -> BTreeSet<String> {
        fn is_number(value: &Value) -> bool {
            match value {
                Value::Array(values) => values.iter().all(is_number),
                other => other.is_integer() || other.is_float(),
            }
        }
        let names = KEYS.names().into_iter();
        names
            .filter(|name| KEYS.example(name).is_some_and(is_number))
            .collect()
    }

    #[test]
    fn every_setting_with_numbers_has_a_range() {
        let known: BTreeSet<String> = RANGES.iter().map(|(key, _)| (*key).to_owned()).collect();
        assert_eq!(known, with_numbers());
        assert_eq!(known.len(), RANGES.len());
    }

    /// Parts that have to be there for what is in them.
    const PARTS: [&str; 2] = [
        "image.cache={folder=\"kept\", shorter_side=256}",
        "image.train.random_affine={degrees=0, scale=[1, 1]}",
    ];

    #[test]
    fn numbers_out_of_range_are_refused_by_their_key_with_the_range() {
        for (key, takes) in &RANGES {
            for number in ["-1", "0", "nan", "inf", "1e300"] {
                let value = match takes.count {
                    Count::One => number.to_owned(),
                    Count::Any => format!("[{number}]"),
                    Count::Two => format!("[{number}, 1]"),
                    Count::Three => format!("[1, 1, {number}]"),
                };
                let mut set = PARTS.map(str::to_owned).to_vec();
                set.push(format!("{key}={value}"));
                let number: Value = match number.parse() {
                    Ok(whole) => Value::Integer(whole),
                    Err(_) => Value::Float(number.parse().unwrap()),
                };
                match (takes.refused(&number), RunConfig::read(None, &set)) {
                    (None, Ok(config)) => {
                        let again = RunConfig::read(Some(("again", &config.to_toml())), &[]);
                        assert_eq!(again.unwrap(), config, "{set:?}");
                    }
                    (Some(_), Err(refused)) => {
                        let message = refused.to_string();
                        assert!(message.contains(key), "{message}");
                        let words = takes.times(Count::One).to_string();
                        let listed = takes.to_string();
                        assert!(
                            message.contains(&words) || message.contains(&listed),
                            "{message}: {takes}"
                        );
                    }
                    (expected, read) => panic!("{set:?}: {expected:?}, {read:?}"),
                }
            }
        }
    }

    #[test]
    fn a_configuration_made_in_code_is_refused_as_well() {
        let refusal = |change: fn(&mut RunConfig)| {
            let mut config = RunConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        for (refused, message) in [
            (
                refusal(|config| config.optimiser.factor = -1.0),
                "optimiser.factor: -1.0 is out of range; it takes a number above 0 and up to 1",
            ),
            (
                refusal(|config| config.optimiser.weight_decay = f32::INFINITY),
                "optimiser.weight_decay: inf is out of range; it takes a number from 0, at most 3.4e38 as \
                 single precision",
            ),
            (
                refusal(|config| config.model.widths = vec![8, 0]),
                "model.widths: 0 is out of range; it takes a list of whole numbers from 1 to 4096",
            ),
            (
                refusal(|config| config.seed = u64::MAX),
                "the settings: a whole number is above 9223372036854775807, which TOML cannot hold",
            ),
        ] {
            assert_eq!(refused, message);
        }
    }

    #[test]
    fn the_page_of_settings_has_the_ranges() {
        let documented = documented();
        for (key, takes) in &RANGES {
            let (_, cells) = documented.iter().find(|(name, _)| name == key).unwrap();
            let words = takes.to_string();
            let rest = cells[1].strip_prefix(&words);
            let rest = rest.unwrap_or_else(|| panic!("{key} takes: {} and not {words}", cells[1]));
            assert!(
                rest.is_empty() || rest.starts_with(',') || rest.starts_with(" or "),
                "{key}: {rest}"
            );
        }
    }
}
