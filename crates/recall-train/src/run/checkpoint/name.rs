//! What names a checkpoint.

use std::fmt;
use std::path::Path;

use super::CheckpointState;

const PREFIX: &str = "step-";

/// Behind the names of checkpoints from within an epoch.
const MID: &str = "-mid";

/// The place in the run that names a checkpoint; the later one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    step: u64,
    /// Whether it is from the end of an epoch, its evaluation done.
    over: bool,
}

impl Name {
    pub fn of(state: &CheckpointState) -> Self {
        Self {
            step: state.step,
            over: state.step_in_epoch == 0,
        }
    }

    /// That of the best checkpoint so far, if one was chosen.
    pub fn of_best(state: &CheckpointState) -> Option<Self> {
        state.best.as_ref().map(|best| Self {
            step: best.step,
            over: true,
        })
    }

    /// The name `text`, if it is one that a checkpoint can have.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix(PREFIX)?;
        let step = number.strip_suffix(MID).unwrap_or(number).parse().ok()?;
        let parsed = Self {
            step,
            over: !number.ends_with(MID),
        };
        (parsed.to_string() == text).then_some(parsed)
    }

    /// The name of the checkpoint in the folder `path`, if there is one.
    pub fn of_folder(path: &Path) -> Option<Self> {
        let name = Self::parse(path.file_name()?.to_str()?)?;
        path.is_dir().then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.over { "" } else { MID };
        write!(f, "{PREFIX}{:08}{end}", self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_checkpoints_are_names() {
        for text in ["step-00000012", "step-00000012-mid", "step-123456789"] {
            assert_eq!(Name::parse(text).unwrap().to_string(), text);
        }
        let others = [
            "",
            "step-12",
            "step-+0000012",
            "step-00000012-",
            "step-00000012/",
            "../step-00000012",
            "step-00000012.unfinished",
        ];
        for text in others {
            assert_eq!(Name::parse(text), None, "{text}");
        }
        assert!(Name::parse("step-00000012-mid") < Name::parse("step-00000012"));
    }
}
