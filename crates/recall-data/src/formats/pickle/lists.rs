//! Lists of images in a pickle, as numpy's arrays and Python's own values hold them.

use std::borrow::Cow;
use std::path::Path;

use super::machine::{self, Values};
use super::node::{Id, Kind, Node};
use super::numpy::{Made, Numpy};
use crate::DataError;

/// A list of images in a pickle.
pub(crate) struct Pickle<'a> {
    pub(super) nodes: Vec<Node<'a, Made>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the bytes of the file `path`.
    pub(crate) fn read(path: &Path, bytes: &'a [u8]) -> Result<Self, DataError> {
        let dialect = Numpy {
            budget: bytes.len(),
        };
        let Values { nodes, root, .. } =
            machine::read(bytes, dialect).map_err(|problem| problem.of(path))?;
        Ok(Self { nodes, root })
    }

    /// The value that was stored.
    pub(crate) fn root(&self) -> Value<'_> {
        Value {
            pickle: self,
            id: self.root,
        }
    }
}

/// A value in a pickle.
#[derive(Clone, Copy)]
pub(crate) struct Value<'p> {
    pub(super) pickle: &'p Pickle<'p>,
    pub(super) id: Id,
}

impl<'p> Value<'p> {
    fn node(self) -> &'p Node<'p, Made> {
        &self.pickle.nodes[self.id]
    }

    fn of(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// What it is, for a message.
    pub(crate) fn kind(self) -> &'static str {
        self.node().kind()
    }

    /// How many values it holds, with which the cost of looking through it grows. What holds none
    /// counts as one.
    pub(crate) fn len(self) -> usize {
        match self.node() {
            Node::List(ids) | Node::Tuple(ids) => ids.len(),
            Node::Dict(entries) => entries.len(),
            Node::Made(Made::Array(Some(array))) => match &self.pickle.nodes[array.data()] {
                Node::List(objects) => objects.len(),
                _ => array.len(),
            },
            _ => 1,
        }
    }

    /// What a dictionary has under a key.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        let Node::Dict(entries) = self.node() else {
            return None;
        };
        // As in Python, the last one counts.
        let mut entries = entries.iter().rev();
        let entry = entries.find(|(name, _)| self.of(*name).text().is_some_and(|text| text == key));
        entry.map(|&(_, value)| self.of(value))
    }

    pub(crate) fn text(self) -> Option<Cow<'p, str>> {
        match self.node() {
            Node::Text(text) => Some(Cow::Borrowed(text)),
            // What Python 2 calls a string.
            Node::Bytes(bytes) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
            _ => None,
        }
    }

    /// The values of a list, a tuple or a numpy array of objects.
    pub(crate) fn items(self) -> Option<impl Iterator<Item = Self>> {
        let ids = match self.node() {
            Node::List(ids) | Node::Tuple(ids) => ids,
            Node::Made(Made::Array(Some(array))) => match &self.pickle.nodes[array.data()] {
                Node::List(ids) if array.holds_objects() => ids,
                _ => return None,
            },
            _ => return None,
        };
        Some(ids.iter().map(move |&id| self.of(id)))
    }

    /// The numbers of a list or a numpy array, row by row.
    pub(crate) fn numbers(self) -> Option<Vec<f64>> {
        let number = |item: Self| match *item.node() {
            Node::Int(number) => Some(number as f64),
            Node::Float(number) => Some(number),
            _ => None,
        };
        if let Some(items) = self.items() {
            return items.map(number).collect();
        }
        match self.node() {
            Node::Made(Made::Array(Some(array))) => array.numbers(&self.pickle.nodes),
            _ => None,
        }
    }

    /// The texts of a list or a numpy array.
    pub(crate) fn texts(self) -> Option<Vec<Cow<'p, str>>> {
        if let Some(items) = self.items() {
            return items.map(Self::text).collect();
        }
        match self.node() {
            Node::Made(Made::Array(Some(array))) => array.texts(&self.pickle.nodes),
            _ => None,
        }
    }
}
