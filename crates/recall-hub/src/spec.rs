use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::HubError;
use crate::names::{file_problem, one_line, repository_problem, revision_problem};

/// What every such text begins with.
const SCHEME: &str = "hf:";

/// A file of a model on the Hub, as a command line or a configuration names it:
/// `hf:OWNER/NAME[@REVISION][/FILE]`.
///
/// | part | |
/// |---|---|
/// | `OWNER/NAME` | the repository of a model |
/// | `REVISION` | a branch, a tag or a commit, `main` where none is named; a slash in it is written `%2F` |
/// | `FILE` | a file of the repository, in folders or not; where none is named, see [`Hub::fetch`](crate::Hub::fetch) |
///
/// A branch may move. A commit in full (40 digits) always means the same file.
///
/// `Display` writes what `FromStr` reads. No part can name anything outside the folder of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HubSpec {
    repository: String,
    revision: Option<String>,
    file: Option<String>,
}

impl HubSpec {
    /// The repository, `OWNER/NAME`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit, as it was named.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The file in the repository, as it was named.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The branch, tag or commit that is meant.
    pub(crate) fn revision_or_main(&self) -> &str {
        self.revision().unwrap_or("main")
    }

    /// The same revision, and this file of it.
    pub(crate) fn with_file(&self, file: &str) -> Self {
        Self {
            file: Some(file.to_owned()),
            ..self.clone()
        }
    }
}

impl FromStr for HubSpec {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = |problem: &'static str| HubError::Spec {
            given: one_line(text),
            problem,
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| problem("does not begin with `hf:`"))?;
        let (owner, rest) = rest
            .split_once('/')
            .ok_or_else(|| problem("names no repository OWNER/NAME"))?;
        let (name, rest) = rest.split_at(rest.find(['@', '/']).unwrap_or(rest.len()));
        let (revision, file) = match rest.strip_prefix('@') {
            Some(rest) => match rest.split_once('/') {
                Some((revision, file)) => (Some(revision), Some(file)),
                None => (Some(rest), None),
            },
            None => (None, rest.strip_prefix('/')),
        };
        let revision = revision.map(|text| text.replace("%2F", "/").replace("%2f", "/"));

        let wrong = repository_problem(owner)
            .or_else(|| repository_problem(name))
            .or_else(|| revision.as_deref().and_then(revision_problem))
            .or_else(|| file.and_then(file_problem));
        match wrong {
            Some(wrong) => Err(problem(wrong)),
            None => Ok(Self {
                repository: format!("{owner}/{name}"),
                revision,
                file: file.map(str::to_owned),
            }),
        }
    }
}

impl fmt::Display for HubSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repository)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{}", revision.replace('/', "%2F"))?;
        }
        match &self.file {
            Some(file) => write!(f, "/{file}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for HubSpec {
    type Error = HubError;

    fn try_from(text: String) -> Result<Self, HubError> {
        text.parse()
    }
}

impl From<HubSpec> for String {
    fn from(spec: HubSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_part_is_found() {
        for (text, revision, file) in [
            ("hf:o/n", None, None),
            ("hf:o/n@v1.0", Some("v1.0"), None),
            ("hf:o/n/a b@c.bin", None, Some("a b@c.bin")),
            ("hf:o/n@main/d/x.pth", Some("main"), Some("d/x.pth")),
            ("hf:o/n@refs%2Fpr%2F1/x", Some("refs/pr/1"), Some("x")),
        ] {
            let spec: HubSpec = text.parse().unwrap();
            assert_eq!(spec.repository(), "o/n");
            assert_eq!((spec.revision(), spec.file()), (revision, file), "{text}");
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_the_accepted_form() {
        for (text, part) in [
            ("", "hf:"),
            ("resnet50", "hf:"),
            ("https://huggingface.co/o/n", "hf:"),
            ("hf:n", "OWNER/NAME"),
            ("hf:/n", "OWNER"),
            ("hf:o/", "NAME"),
            ("hf:o/n@", "REVISION"),
            ("hf:o/n@a:b", "REVISION"),
            ("hf:o/n@..", "REVISION"),
            ("hf:o/n@a%2F..%2Fb", "REVISION"),
            ("hf:o/n/", "FILE"),
            ("hf:o/n//etc/passwd", "FILE"),
            ("hf:o/n/../x", "FILE"),
            ("hf:o/n/a/../../x", "FILE"),
            ("hf:o/n/C:\\x", "FILE"),
            ("hf:o/n/a\u{0}b", "FILE"),
            ("hf:../n", "OWNER"),
            ("hf:o/..", "NAME"),
            ("hf:o--x/n", "--"),
            ("hf:o x/n", "OWNER"),
        ] {
            let message = text.parse::<HubSpec>().unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
            assert!(
                message.contains("hf:OWNER/NAME[@REVISION][/FILE]"),
                "{message}"
            );
            assert!(!message.contains(['\n', '\0']), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), tail in "[@/.:%2F\\\\a-]{0,12}") {
            for text in [text.clone(), format!("hf:{text}"), format!("hf:o/n{tail}{text}")] {
                if let Ok(spec) = text.parse::<HubSpec>() {
                    prop_assert_eq!(spec.to_string().parse::<HubSpec>().unwrap(), spec);
                }
            }
        }

        #[test]
        fn display_round_trips(
            revision in proptest::option::of("[a-z0-9]{1,8}(/[a-z]{1,4})?"),
            file in proptest::option::of("[a-z@ %]{1,8}(/[a-z.]{0,4}x)?"),
        ) {
            let spec = HubSpec { repository: "o/n".into(), revision, file };
            prop_assert_eq!(spec.to_string().parse::<HubSpec>().unwrap(), spec);
        }
    }
}
