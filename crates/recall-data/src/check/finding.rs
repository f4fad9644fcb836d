use std::path::PathBuf;

use serde::Serialize;

use super::words::{listed, number};
use crate::{Note, names};

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training stops at it, or its figures would mean nothing.
    Error,
    /// It may be meant, and is worth a look.
    Warning,
    /// Good to know.
    Note,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A part has other numbers of images or classes than its publication.
    WrongCount,
    /// Classes are trained on, and tested or used for validation.
    SharedClasses,
    /// Images are listed, but not there.
    MissingFiles,
    /// The system refuses to read files.
    UnreadableFiles,
    /// Files have no bytes.
    EmptyFiles,
    /// Images cannot be decoded.
    CorruptFiles,
    /// Rows of features are not finite, or all zeros.
    UselessRows,
    /// Images are to be shown otherwise than they are stored.
    TurnedImages,
    /// Boxes lie wholly outside of their images.
    BoxesOutside,
    /// Boxes reach beyond their images.
    BoxesBeyond,
    /// The same image is in several splits.
    DuplicatesAcrossSplits,
    /// The same image is in several classes of a split.
    DuplicatesAcrossClasses,
    /// The same image is several times in a class.
    DuplicatesWithinClass,
    /// Classes have a single image.
    SingleImageClasses,
    /// Queries have nothing to find.
    QueriesWithoutPositives,
    /// The sampler's settings make no batch of these classes.
    NoBatch,
    /// Something that the reader of the data set left aside.
    LeftAside,
    /// Nothing says which images belong together.
    Unlabelled,
}

/// Something to know about a data set before it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub kind: FindingKind,
    /// One sentence that names the first few cases.
    pub message: String,
    /// In how many cases it was found.
    pub count: usize,
    /// All cases that have a name.
    pub cases: Vec<Case>,
}

/// One case of a [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The file, class or part it is about; of duplicates all files.
    pub names: Vec<String>,
    /// What else there is to say, such as the message of the decoder.
    pub detail: Option<String>,
}

impl Case {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self::of([name.into()])
    }

    pub(super) fn of(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            names: names.into_iter().collect(),
            detail: None,
        }
    }

    pub(super) fn detailed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(name)
        }
    }
}

/// Cases and files of a case that a sentence names.
const NAMED: usize = 3;

impl Finding {
    /// The sentence is `what: case, case and 5 more; way_out`.
    pub(super) fn new(
        severity: Severity,
        kind: FindingKind,
        what: String,
        cases: Vec<Case>,
        way_out: &str,
    ) -> Self {
        let shown = cases.iter().map(|case| match &case.detail {
            Some(detail) => format!("{} ({detail})", few(&case.names, " = ")),
            None => few(&case.names, " = "),
        });
        // Cut before it is put together: there may be a hundred thousand.
        let mut named: Vec<String> = shown.take(NAMED).collect();
        if cases.len() > NAMED {
            named.push(format!("{} more", number(cases.len() - NAMED)));
        }
        Self {
            severity,
            kind,
            message: format!("{what}: {}; {way_out}", listed(&named)),
            count: cases.len(),
            cases,
        }
    }

    /// What a reader left aside; its sentence names what has to be named.
    pub(super) fn of_note(note: &Note) -> Self {
        let severity = match note.is_warning() {
            true => Severity::Warning,
            false => Severity::Note,
        };
        let path = |path: &PathBuf| Case::new(names::one_line(&path.to_string_lossy()));
        Self {
            count: note.paths().len().max(1),
            cases: note.paths().iter().map(path).collect(),
            ..Self::plain(severity, FindingKind::LeftAside, note.message())
        }
    }

    /// A finding without a case to name.
    pub(super) fn plain(severity: Severity, kind: FindingKind, message: impl Into<String>) -> Self {
        Self {
            severity,
            kind,
            message: message.into(),
            count: 1,
            cases: Vec::new(),
        }
    }
}

fn few(names: &[String], between: &str) -> String {
    let shown = &names[..names.len().min(NAMED)];
    match names.len() - shown.len() {
        0 => shown.join(between),
        more => format!("{}{between}{} more", shown.join(between), number(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_named_and_the_others_counted() {
        let message = |cases: Vec<Case>| {
            let kind = FindingKind::MissingFiles;
            let what = "these are gone".to_owned();
            Finding::new(Severity::Error, kind, what, cases, "look for them").message
        };
        let name = |number: usize| number.to_string();
        let single = |count| (0..count).map(|number| Case::new(name(number))).collect();
        assert_eq!(message(single(1)), "these are gone: 0; look for them");
        assert_eq!(
            message(single(3)),
            "these are gone: 0, 1 and 2; look for them"
        );
        assert_eq!(
            message(single(1004)),
            "these are gone: 0, 1, 2 and 1,001 more; look for them"
        );
        let several = vec![Case::of((0..5).map(name)), Case::detailed("x", "why")];
        assert_eq!(
            message(several),
            "these are gone: 0 = 1 = 2 = 2 more and x (why); look for them"
        );
    }
}
