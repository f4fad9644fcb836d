use crate::names::{file_problem, one_line};
use crate::{HubError, HubSpec};

/// The usual names of a file with all weights, the better first: a file of safetensors cannot run code.
const USUAL: [&str; 3] = [
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
];

/// The one that is taken whatever else there is.
pub(crate) const FIRST: &str = USUAL[0];

/// How many names a message lists.
const LISTED: usize = 10;

/// The file of weights among those of a repository.
///
/// Names that are not safe as paths are passed over.
pub(crate) fn choose<'a>(spec: &HubSpec, files: &'a [String]) -> Result<&'a str, HubError> {
    let what = spec.to_string();
    let files = files.iter().map(String::as_str);
    let files: Vec<&str> = files.filter(|file| file_problem(file).is_none()).collect();
    if let Some(usual) = USUAL
        .iter()
        .find_map(|usual| files.iter().find(|file| *file == usual))
    {
        return Ok(usual);
    }
    if let Some(index) = files.iter().find(|file| is_index(file)) {
        return Err(HubError::Sharded {
            what,
            index: one_line(index),
        });
    }
    let mut weights: Vec<&str> = files.into_iter().filter(|file| is_weights(file)).collect();
    weights.sort_unstable();
    match *weights {
        [] => Err(HubError::NoWeights { what }),
        [only] => Ok(only),
        _ => {
            let names = weights.iter().take(LISTED).map(|name| one_line(name));
            let mut files = names.collect::<Vec<_>>().join(", ");
            if weights.len() > LISTED {
                files = format!("{files} and {} more", weights.len() - LISTED);
            }
            Err(HubError::SeveralWeights { what, files })
        }
    }
}

fn is_weights(file: &str) -> bool {
    [".safetensors", ".pth", ".bin"]
        .iter()
        .any(|ending| file.ends_with(ending))
}

/// `model.safetensors.index.json` and the like list the parts of weights.
fn is_index(file: &str) -> bool {
    file.strip_suffix(".index.json").is_some_and(is_weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[&str]) -> Result<String, String> {
        let spec = "hf:o/n".parse().unwrap();
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        match choose(&spec, &files) {
            Ok(file) => Ok(file.to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn usual_names_come_in_their_order_and_then_the_only_file() {
        for (files, file) in [
            (
                &[
                    "pytorch_model.bin",
                    "open_clip_model.safetensors",
                    "model.safetensors",
                ][..],
                "model.safetensors",
            ),
            (
                &["pytorch_model.bin", "open_clip_model.safetensors"],
                "open_clip_model.safetensors",
            ),
            (
                &["pytorch_model.bin", "x.pth", "model.safetensors.index.json"],
                "pytorch_model.bin",
            ),
            (&["README.md", "d/resnet50.pth"], "d/resnet50.pth"),
            (&["x.bin", "../y.bin", "/z.bin"], "x.bin"),
        ] {
            assert_eq!(chosen(files).as_deref(), Ok(file));
        }
    }

    #[test]
    fn what_cannot_be_chosen_is_a_sentence() {
        let message = chosen(&["a.pth", "b.safetensors", "README.md"]).unwrap_err();
        assert!(
            message.contains("a.pth, b.safetensors; name one"),
            "{message}"
        );
        let many: Vec<String> = (10..30).map(|number| format!("{number}.bin")).collect();
        let message = chosen(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
        assert!(
            message.contains("10.bin") && message.contains("19.bin and 10 more"),
            "{message}"
        );
        let message = chosen(&["README.md", "../x.bin"]).unwrap_err();
        assert!(
            message.contains("no .safetensors, .pth or .bin"),
            "{message}"
        );
        let parts = [
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
        ];
        let message = chosen(&parts).unwrap_err();
        assert!(
            message.contains("model.safetensors.index.json"),
            "{message}"
        );
    }
}
