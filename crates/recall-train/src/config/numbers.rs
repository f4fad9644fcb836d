//! The numbers that a setting takes.

use std::fmt;

/// Numbers between two bounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    /// What one of them is: `a whole number`, `a number`, or what it means.
    pub noun: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Whole {
        /// The first and the last that the setting takes.
        range: (i64, i64),
        /// The first and the last that its type holds.
        held: (i64, i64),
    },
    Real(Real),
}

/// Numbers that are kept in single precision, or used in it in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Real {
    pub low: Option<Bound>,
    pub high: Option<Bound>,
    /// Whether infinity is one of them.
    pub infinite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    Including(f64),
    Excluding(f64),
}

impl Numbers {
    /// One of them in words.
    pub(super) fn one(&self) -> String {
        format!("{}{}", self.noun, self.kind)
    }

    /// Several of them in words.
    pub(super) fn several(&self) -> String {
        format!("{}{}", plural(&self.noun), self.kind)
    }

    /// The bound that numbers without another one have.
    pub(super) fn last_bound(&self) -> Option<String> {
        match self.kind {
            Kind::Real(Real {
                high: None,
                infinite: false,
                ..
            }) => Some(format!("at most {:.1e} as single precision", f32::MAX)),
            _ => None,
        }
    }
}

/// `whole numbers` of `a whole number`, `shares of the run` of `a share of the run`.
pub(super) fn plural(noun: &str) -> String {
    let noun = without_article(noun);
    match noun.split_once(" of ") {
        Some((first, rest)) => format!("{first}s of {rest}"),
        None => format!("{noun}s"),
    }
}

pub(super) fn without_article(noun: &str) -> &str {
    let bare = noun.strip_prefix("a ").or_else(|| noun.strip_prefix("an "));
    bare.unwrap_or(noun)
}

impl Kind {
    /// Whether the type of the setting holds the number.
    pub(super) fn holds(self, number: i64) -> bool {
        match self {
            Self::Whole {
                held: (first, last),
                ..
            } => (first..=last).contains(&number),
            Self::Real(_) => true,
        }
    }

    /// Whether it has numbers that are written with a point.
    pub(super) fn has_fractions(self) -> bool {
        matches!(self, Self::Real(_))
    }

    pub(super) fn has_whole(self, number: i64) -> bool {
        match self {
            Self::Whole {
                range: (first, last),
                ..
            } => (first..=last).contains(&number),
            Self::Real(real) => real.has(number as f64),
        }
    }

    pub(super) fn has(self, number: f64) -> bool {
        match self {
            // A whole number is written without a point.
            Self::Whole { .. } => false,
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

/// What follows the noun: ` from 1 to 64`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Whole {
                range: (first, last),
                ..
            } => {
                match first {
                    i64::MIN => {}
                    first => write!(f, " from {first}")?,
                }
                match last {
                    i64::MAX => Ok(()),
                    last => write!(f, " to {last}"),
                }
            }
            Self::Real(Real {
                low,
                high,
                infinite,
            }) => {
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
                    (None, Some(Bound::Including(high))) => write!(f, " up to {high}")?,
                    (None, Some(Bound::Excluding(high))) => write!(f, " below {high}")?,
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
    use super::*;

    #[test]
    fn bounds_in_words() {
        let whole = |first, last| Kind::Whole {
            range: (first, last),
            held: (i64::MIN, i64::MAX),
        };
        let real = |low, high| {
            Kind::Real(Real {
                low,
                high,
                infinite: false,
            })
        };
        let (including, excluding) = (
            |number| Some(Bound::Including(number)),
            |number| Some(Bound::Excluding(number)),
        );
        for (kind, words) in [
            (whole(i64::MIN, i64::MAX), ""),
            (whole(1, i64::MAX), " from 1"),
            (whole(-2, 3), " from -2 to 3"),
            (real(None, None), ""),
            (real(including(0.0), including(0.5)), " from 0 to 0.5"),
            (real(excluding(0.0), including(1.0)), " above 0 and up to 1"),
            (real(including(0.0), excluding(1.0)), " from 0 and below 1"),
            (real(None, excluding(1.0)), " below 1"),
        ] {
            assert_eq!(kind.to_string(), words);
        }
    }

    #[test]
    fn a_noun_for_several() {
        for (one, several) in [
            ("a whole number", "whole numbers"),
            ("a share of the run", "shares of the run"),
            ("an epoch", "epochs"),
        ] {
            assert_eq!(plural(one), several);
        }
    }
}
