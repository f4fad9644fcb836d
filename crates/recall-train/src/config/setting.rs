//! A setting: its name, what it takes, and how that is said.

use std::fmt;

use super::numbers::{Numbers, plural};

/// One key, or a part with keys of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// The last part of its name.
    pub key: String,
    /// Its full name, such as `image.train.size`.
    pub name: String,
    pub takes: Takes,
    /// Whether it can be off.
    pub optional: bool,
    /// Whether a part that is on has to have it.
    pub required: bool,
    /// The comment on its field.
    #[cfg(test)]
    pub comment: String,
    /// What it is in a part that is turned on without it.
    #[cfg(test)]
    pub default: Option<serde_json::Value>,
}

impl Setting {
    /// Its own settings, if it is a part.
    pub(super) fn part(&self) -> Option<&[Self]> {
        match &self.takes {
            Takes::Part(settings) => Some(settings),
            _ => None,
        }
    }
}

/// What a setting takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Takes {
    /// Settings of its own.
    Part(Vec<Setting>),
    /// True or false.
    Switch,
    Number(Numbers),
    /// One of some words.
    Words(Vec<String>),
    /// Text that its type judges; a noun for it, with its article.
    Text(String),
    List {
        of: Box<Self>,
        /// How many it has, where they are not as many as one likes.
        length: Option<u64>,
    },
    /// Any of several.
    Either(Vec<Self>),
    /// Something there are no words for here: whoever reads it judges it.
    Other,
}

impl Takes {
    /// With the bound that all numbers have.
    pub(super) fn in_full(&self) -> String {
        let element = match self {
            Self::List { of, .. } => of,
            other => other,
        };
        let bound = match element {
            Self::Number(numbers) => numbers.last_bound(),
            _ => None,
        };
        match bound {
            Some(bound) => format!("{self}, {bound}"),
            None => self.to_string(),
        }
    }

    /// As the elements of a list.
    fn several(&self) -> String {
        match self {
            Self::Number(numbers) => numbers.several(),
            Self::Text(noun) => plural(noun),
            Self::Words(words) => format!("words of {}", listed(words)),
            Self::Either(of) => any_of(&of.iter().map(Self::several).collect::<Vec<_>>()),
            Self::Part(_) | Self::Switch | Self::List { .. } | Self::Other => {
                format!("values, each {self}")
            }
        }
    }
}

/// As a sentence has it behind the word "takes".
impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(settings) => {
                let keys: Vec<&str> = settings.iter().map(|of| of.key.as_str()).collect();
                write!(f, "settings of its own ({})", keys.join(", "))
            }
            Self::Switch => f.write_str("true or false"),
            Self::Number(numbers) => f.write_str(&numbers.one()),
            Self::Words(words) if words.len() > 1 => write!(f, "one of {}", listed(words)),
            Self::Words(words) => f.write_str(&listed(words)),
            Self::Text(noun) => f.write_str(noun),
            Self::List { of, length } => {
                let of = of.several();
                match length {
                    None => write!(f, "a list of {of}"),
                    Some(2) => write!(f, "a list of two {of}"),
                    Some(3) => write!(f, "a list of three {of}"),
                    Some(length) => write!(f, "a list of {length} {of}"),
                }
            }
            Self::Either(of) => {
                let all: Vec<String> = of.iter().map(Self::to_string).collect();
                f.write_str(&any_of(&all))
            }
            Self::Other => f.write_str("another value"),
        }
    }
}

pub(super) fn listed(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// `a, or b`; `a, b, or c`.
fn any_of(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{}, or {last}", first.join(", ")),
    }
}
