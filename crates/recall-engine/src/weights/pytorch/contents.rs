//! The tensors that a pickle names, with where their numbers are.

use std::collections::BTreeMap;

use recall_data::pickle::{Id, Kind, Node, Values};

use super::objects::{Element, Made, Name, Storage, Tensor};
use crate::weights::stored::{Numbers, Place, Stored};

/// The longest pickle that is read: names, shapes and whatever else was saved beside the numbers.
pub(super) const MAX_PICKLE: u64 = 16 << 20;

/// What a file holds.
#[derive(Default)]
pub(in crate::weights) struct Contents {
    /// By the keys that lead to them, with dots between.
    pub tensors: BTreeMap<String, Stored>,
    /// What is no tensor that can be read but might stand for one, in words.
    pub others: BTreeMap<String, String>,
}

/// Where a file has a storage, or what is wrong with it.
pub(super) type Places<'p> = dyn Fn(&Storage<'_>) -> Result<Place, String> + 'p;

/// The tensors in a pickle's nested dictionaries.
pub(super) fn contents(
    values: &Values<'_, Made<'_>>,
    places: &Places<'_>,
) -> Result<Contents, String> {
    let root = &values.nodes[values.root];
    match root {
        Node::Dict(_) => {}
        Node::Made(Made::Object(class)) => return Err(whole_model("it", class)),
        other => return Err(format!("it holds {}, not a state dict", other.kind())),
    }
    let mut walk = Walk {
        values,
        places,
        entries: MAX_ENTRIES,
        found: Contents::default(),
    };
    walk.dictionary(values.root, &mut Vec::new())?;
    if walk.found.tensors.is_empty() {
        for key in ["state_dict", "model_state_dict", "model", "ema"] {
            if let Some(Node::Made(Made::Object(class))) = walk.entry(key) {
                return Err(whole_model(&format!("its `{key}`"), class));
            }
        }
    }
    Ok(walk.found)
}

fn whole_model(what: &str, class: &Name<'_>) -> String {
    format!(
        "{what} is an object of the class `{class}`, not a state dict, and reading it would run its \
         code: where you trust the file, torch.save(model.state_dict(), \"weights.pth\") in Python \
         writes one"
    )
}

/// A pickle may have one dictionary in a million places; this many entries are looked at.
const MAX_ENTRIES: usize = 1_000_000;
const MAX_TENSORS: usize = 100_000;
/// Deeper there is no state dict.
const MAX_DEPTH: usize = 8;
const MAX_KEY: usize = 1_000;

struct Walk<'w, 'a> {
    values: &'w Values<'a, Made<'a>>,
    places: &'w Places<'w>,
    entries: usize,
    found: Contents,
}

impl Walk<'_, '_> {
    fn entry(&self, key: &str) -> Option<&Node<'_, Made<'_>>> {
        let Node::Dict(entries) = &self.values.nodes[self.values.root] else {
            return None;
        };
        let mut entries = entries.iter().rev();
        let (_, id) = entries.find(|(name, _)| self.key(*name) == Some(key))?;
        Some(&self.values.nodes[*id])
    }

    fn key(&self, id: Id) -> Option<&str> {
        match &self.values.nodes[id] {
            Node::Text(text) => Some(text),
            // Saved by Python 2.
            Node::Bytes(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    fn dictionary(&mut self, id: Id, path: &mut Vec<String>) -> Result<(), String> {
        let values = self.values;
        let Node::Dict(entries) = &values.nodes[id] else {
            return Ok(());
        };
        self.entries = self
            .entries
            .checked_sub(entries.len())
            .ok_or("its dictionaries have too many entries for a state dict")?;
        // Of entries with the same key the last one counts. Keys that are no text belong to other
        // things, such as the state of an optimiser.
        let mut named = BTreeMap::new();
        for &(key, value) in entries {
            if let Some(key) = self.key(key) {
                named.insert(key.to_owned(), value);
            }
        }
        for (key, id) in named {
            if key.len() > MAX_KEY {
                continue;
            }
            path.push(key);
            match &values.nodes[id] {
                Node::Dict(_) if path.len() < MAX_DEPTH => self.dictionary(id, path)?,
                Node::Made(Made::Tensor(tensor)) => self.tensor(tensor, path)?,
                Node::Made(Made::Object(class)) => {
                    let what = format!("is what `{class}` makes, and not a dense tensor");
                    self.found.others.insert(path.join("."), what);
                }
                _ => {}
            }
            path.pop();
            if self.found.tensors.len() + self.found.others.len() > MAX_TENSORS {
                return Err("it has too many tensors for a state dict".into());
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor<'_>, path: &[String]) -> Result<(), String> {
        let name = path.join(".");
        let place = (self.places)(&tensor.storage)
            .map_err(|problem| format!("the tensor {name} {problem}"))?;
        let numbers = match tensor.element {
            Element::Float(float) => {
                let (first, strides) = (tensor.first, tensor.strides.clone());
                let numbers = Numbers::new(place, float, first, &tensor.shape, strides);
                Ok(numbers.map_err(|problem| format!("the tensor {name} {problem}"))?)
            }
            Element::Other(kind, _) => Err(format!("holds {kind}, not floating-point numbers")),
        };
        let stored = Stored {
            shape: tensor.shape.clone(),
            path: path.to_vec(),
            numbers,
        };
        match self.found.tensors.insert(name, stored) {
            None => Ok(()),
            Some(_) => Err(format!("it has two tensors of the name {}", path.join("."))),
        }
    }
}
