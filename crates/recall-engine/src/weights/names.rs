//! What stands before the names of a file's tensors: wrappings of training scripts come off, and of
//! others it is said how to take them off.

use std::collections::BTreeMap;
use std::path::Path;

use super::stored::{Format, Stored};

/// What wraps a model, and whether it has to be before all names. A training script's file may hold
/// other tensors beside its model (those of the optimiser): under `state_dict` or `model`, what is not
/// beneath it is no part of the model.
const WRAPPINGS: [(&str, bool); 5] = [
    ("state_dict.", false),
    ("model_state_dict.", false),
    ("model.", false),
    ("module.", true),
    ("_orig_mod.", true),
];

/// What comes off, all of it in one piece.
pub(super) fn wrappings(tensors: &BTreeMap<String, Stored>) -> String {
    let mut names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    let mut wraps = String::new();
    // Each round takes something off every name that stays.
    loop {
        let found = WRAPPINGS.iter().find(|(wrapping, alone)| {
            let wrapped = names.iter().filter(|name| name.starts_with(wrapping));
            let wrapped = wrapped.count();
            wrapped > 0 && (!alone || wrapped == names.len())
        });
        let Some((wrapping, _)) = found else {
            return wraps;
        };
        wraps += wrapping;
        names = names
            .into_iter()
            .filter_map(|name| name.strip_prefix(wrapping))
            .collect();
    }
}

/// What is beneath the wrappings, by its name there.
pub(super) fn unwrap<T>(named: BTreeMap<String, T>, wraps: &str) -> BTreeMap<String, T> {
    if wraps.is_empty() {
        return named;
    }
    let named = named.into_iter();
    named
        .filter_map(|(name, value)| Some((name.strip_prefix(wraps)?.to_owned(), value)))
        .collect()
}

/// If the model's tensors are there with something before their names: what, and how to take it off.
pub(super) fn before_names(
    wanted: &[&str],
    tensors: &BTreeMap<String, Stored>,
    path: &Path,
    format: Format,
) -> Option<String> {
    let (first, others) = wanted.split_first()?;
    let known = |prefix: &str| {
        let others = others.iter();
        others
            .filter(|name| tensors.contains_key(&format!("{prefix}{name}")))
            .count()
    };
    let prefixes = tensors.keys().filter_map(|name| {
        let prefix = name.strip_suffix(first)?;
        (prefix.ends_with('.')).then_some(prefix)
    });
    let (count, prefix) = prefixes
        .map(|prefix| (known(prefix), prefix))
        .max_by_key(|(count, prefix)| (*count, std::cmp::Reverse(prefix.len())))?;
    if count * 2 < others.len() {
        return None;
    }
    let stored = tensors.get(&format!("{prefix}{first}"))?;
    let way = match way_out(first, stored, path, format) {
        Some(code) => format!("; without it they are read; in Python: {code}"),
        None => ": write a file without it".into(),
    };
    Some(format!(
        "its names begin with `{prefix}`, which the model's do not{way}"
    ))
}

/// Python that writes the file again under the model's names.
fn way_out(name: &str, stored: &Stored, path: &Path, format: Format) -> Option<String> {
    // The keys of dictionaries that lie before the name, and what is left of it before the last key.
    let (key, outer) = stored.path.split_last()?;
    let rest = key.strip_suffix(name)?;
    let keys: String = outer.iter().map(|key| format!("[{key:?}]")).collect();
    let file = match path.file_name().map(|name| name.to_string_lossy()) {
        Some(name)
            if name
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') =>
        {
            format!("{name:?}")
        }
        _ => "FILE".to_owned(),
    };
    let (import, load, save) = match format {
        Format::Safetensors => (
            "from safetensors.torch import load_file, save_file",
            format!("load_file({file})"),
            ["save_file(", ", \"stripped.safetensors\")"],
        ),
        Format::PyTorch => (
            "import torch",
            format!("torch.load({file}, map_location=\"cpu\")"),
            ["torch.save(", ", \"stripped.pth\")"],
        ),
    };
    let stripped = match rest {
        "" => "w".to_owned(),
        rest => format!(
            "{{k.removeprefix({rest:?}): v for k, v in w.items() if k.startswith({rest:?})}}"
        ),
    };
    let [before, behind] = save;
    Some(format!(
        "{import}; w = {load}{keys}; {before}{stripped}{behind}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(paths: &[&[&str]]) -> BTreeMap<String, Stored> {
        let stored = paths.iter().map(|path| {
            let stored = Stored {
                shape: Vec::new(),
                path: path.iter().map(|&key| key.to_owned()).collect(),
                numbers: Err(String::new()),
            };
            (path.join("."), stored)
        });
        stored.collect()
    }

    fn names(paths: &[&[&str]]) -> Vec<String> {
        let tensors = file(paths);
        let wraps = wrappings(&tensors);
        unwrap(tensors, &wraps).into_keys().collect()
    }

    #[test]
    fn wrappings_come_off_in_any_order() {
        assert_eq!(names(&[&["a.weight"], &["b"]]), ["a.weight", "b"]);
        for wrapping in [
            "module.",
            "_orig_mod.",
            "_orig_mod.module.",
            "module._orig_mod.",
            "model.",
            "model._orig_mod.module.",
            "model_state_dict.",
            "state_dict.model.",
            "state_dict.module._orig_mod.",
        ] {
            let (a, b) = (format!("{wrapping}a.weight"), format!("{wrapping}b"));
            assert_eq!(names(&[&[&a], &[&b]]), ["a.weight", "b"], "{wrapping}");
        }
        // Beside the model, and not before all names.
        let beside: &[&[&str]] = &[&["state_dict", "a"], &["optimizer", "m"]];
        assert_eq!(names(beside), ["a"]);
        assert_eq!(names(&[&["module.a"], &["b"]]), ["b", "module.a"]);
    }

    #[test]
    fn what_is_not_known_is_told_with_the_way_to_take_it_off() {
        let said = |paths: &[&[&str]], format| {
            let tensors = file(paths);
            let wraps = wrappings(&tensors);
            let tensors = unwrap(tensors, &wraps);
            before_names(&["a.weight", "b"], &tensors, Path::new("x/in.pth"), format)
        };
        let nested: &[&[&str]] = &[
            &["state_dict", "net.backbone.a.weight"],
            &["state_dict", "net.backbone.b"],
            &["state_dict", "loss"],
        ];
        let said_nested = said(nested, Format::PyTorch).unwrap();
        assert!(
            said_nested.contains("begin with `net.backbone.`"),
            "{said_nested}"
        );
        assert!(
            said_nested.ends_with(
                "import torch; w = torch.load(\"in.pth\", map_location=\"cpu\")[\"state_dict\"]; \
                 torch.save({k.removeprefix(\"net.backbone.\"): v for k, v in w.items() if \
                 k.startswith(\"net.backbone.\")}, \"stripped.pth\")"
            ),
            "{said_nested}"
        );
        let keys: &[&[&str]] = &[&["net", "a.weight"], &["net", "b"]];
        let said_keys = said(keys, Format::PyTorch).unwrap();
        assert!(
            said_keys.ends_with("[\"net\"]; torch.save(w, \"stripped.pth\")"),
            "{said_keys}"
        );
        let flat: &[&[&str]] = &[&["x.a.weight"], &["x.b"]];
        let said_flat = said(flat, Format::Safetensors).unwrap();
        assert!(
            said_flat.contains("w = load_file(\"in.pth\"); save_file({k.removeprefix(\"x.\")"),
            "{said_flat}"
        );
        assert_eq!(said(&[&["c"], &["d.b"]], Format::PyTorch), None);
    }
}
