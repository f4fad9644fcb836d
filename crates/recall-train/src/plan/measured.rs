//! What is reported while measuring goes on.

use std::fmt;

use crate::run::duration;

/// A part of what is measured. What comes next is reported before it is done: it may take a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured {
    /// So many images are embedded at once.
    Embedding(usize),
    /// From one image: what a step may take, in seconds, and how many steps there are, if that is known.
    Guess {
        /// Seconds.
        step: f64,
        /// Steps of the whole run.
        steps: Option<u64>,
    },
    /// The loss of so many embeddings.
    Loss(usize),
    /// Steps in chunks of so many images.
    Steps(usize),
    /// How fast images are loaded.
    Loading,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = |count: usize| match count {
            1 => "1 image".to_owned(),
            many => format!("{many} images"),
        };
        match *self {
            Self::Embedding(count) => write!(f, "measuring the embedding of {}", images(count)),
            Self::Guess { step, steps } => {
                write!(
                    f,
                    "a first guess, from one image: about {} a step",
                    duration(step)
                )?;
                match steps {
                    Some(steps) => {
                        let run = duration(step * steps as f64);
                        write!(f, ", {run} for {steps} steps; measuring goes on")
                    }
                    None => write!(f, "; measuring goes on"),
                }
            }
            Self::Loss(count) => write!(f, "measuring the loss of {count} embeddings"),
            Self::Steps(chunk) => write!(f, "measuring steps in chunks of {}", images(chunk)),
            Self::Loading => write!(f, "measuring how fast images are loaded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_in_words() {
        let guess = |steps| Measured::Guess { step: 90.0, steps };
        for (told, words) in [
            (Measured::Embedding(1), "measuring the embedding of 1 image"),
            (
                Measured::Loss(4000),
                "measuring the loss of 4000 embeddings",
            ),
            (
                guess(None),
                "a first guess, from one image: about 1 min 30 s a step; measuring goes on",
            ),
            (
                guess(Some(40)),
                "a first guess, from one image: about 1 min 30 s a step, 1 h 0 min for 40 steps; \
                 measuring goes on",
            ),
        ] {
            assert_eq!(told.to_string(), words);
        }
    }
}
