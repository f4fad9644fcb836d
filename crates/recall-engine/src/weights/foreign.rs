//! What a file is that holds no weights: people are handed such files under names of weights.

use std::collections::BTreeSet;

use serde::Deserialize;
use std::collections::BTreeMap;

/// A word on the file that begins with `start`, if it is of a known kind.
pub(super) fn describe(start: &[u8], whole: bool) -> Option<String> {
    let begins = |word: &[u8]| start.starts_with(word);
    let text = start.trim_ascii_start();
    if start.is_empty() {
        return Some("the file is empty: get it again".into());
    }
    if begins(b"version https://git-lfs") {
        return Some(
            "this is a pointer of Git LFS, not the weights themselves: `git lfs pull` in its folder \
             gets them"
                .into(),
        );
    }
    if text.first() == Some(&b'<') {
        return Some(
            "this is a web page, not a file of weights: the address it came from asks for something \
             first, or is the page about the file"
                .into(),
        );
    }
    if text.first() == Some(&b'{') {
        return Some(index(text, whole));
    }
    let tar = start.get(257..262) == Some(b"ustar");
    let kinds: [(bool, &str); 6] = [
        (
            tar,
            "this is a tar archive: unpack it if weights are packed in it; if PyTorch before 0.1.10 \
             wrote it, load and save it in a later one",
        ),
        (begins(b"\x1f\x8b"), "this is compressed by gzip: unpack it"),
        (
            begins(b"\x89HDF"),
            "this is an HDF5 file, as Keras writes, and those are not read: save the tensors in \
             safetensors format under the names of torchvision or timm",
        ),
        (
            begins(b"GGUF"),
            "this is a GGUF file of a language model, and those are not read",
        ),
        (
            begins(b"\x93NUMPY"),
            "this is one numpy array, not a file of weights: save arrays in safetensors format \
             under the names of the model's tensors",
        ),
        (
            begins(b"\x80"),
            "this is a pickle, but not one that `torch.save` wrote: load it in Python and save its \
             tensors by torch.save",
        ),
    ];
    let known = kinds.into_iter().find(|(is, _)| *is);
    known.map(|(_, word)| word.to_owned())
}

/// A JSON file: an index of shards, most likely.
fn index(text: &[u8], whole: bool) -> String {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    match serde_json::from_slice::<Index>(text) {
        Ok(index) => {
            let shards: BTreeSet<_> = index.weight_map.values().collect();
            let first = shards.first().map_or("", |name| name.as_str());
            let (reader, shard) = match first.ends_with(".safetensors") {
                true => (
                    "from safetensors.torch import load_file, save_file",
                    "load_file(f)",
                ),
                false => ("import torch", "torch.load(f, map_location=\"cpu\")"),
            };
            let save = match first.ends_with(".safetensors") {
                true => "save_file(w, \"whole.safetensors\")",
                false => "torch.save(w, \"whole.pth\")",
            };
            format!(
                "this is the index of weights in {} files ({first} and so on), which hold the \
                 tensors; in their folder, `import json; {reader}; w = {{}}; [w.update({shard}) for f \
                 in set(json.load(open(INDEX))[\"weight_map\"].values())]; {save}` in Python joins them",
                shards.len(),
            )
        }
        Err(_) if whole => "this is a JSON file, not a file of weights".into(),
        Err(_) => "this is text, not a file of weights".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_for_what_they_are() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (start, word) in [
            (&b""[..], "empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
                "`git lfs pull`",
            ),
            (b"\n<!DOCTYPE html><html>", "a web page"),
            (b"{\"error\": \"gated\"}", "a JSON file"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x89HDF\r\n", "Keras"),
            (b"GGUF\x03", "language model"),
            (b"\x93NUMPY\x01", "one numpy array"),
            (b"\x80\x04N.", "a pickle"),
            (&tar, "tar archive"),
        ] {
            let said = describe(start, true).unwrap();
            assert!(said.contains(word), "{said}");
        }
        assert_eq!(describe(b"\x01\x02\x03", true), None);
    }

    #[test]
    fn an_index_of_shards_says_how_to_join_them() {
        let index =
            br#"{"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#;
        let said = describe(index, true).unwrap();
        assert!(
            said.contains("in 2 files (m-1.safetensors and so on)"),
            "{said}"
        );
        assert!(said.contains("w.update(load_file(f))"), "{said}");
        let index = br#"{"weight_map": {"a": "pytorch_model-1.bin"}}"#;
        let said = describe(index, true).unwrap();
        assert!(said.contains("torch.save(w, \"whole.pth\")"), "{said}");
    }
}
