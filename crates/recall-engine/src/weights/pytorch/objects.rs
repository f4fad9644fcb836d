//! What the names in PyTorch's pickles mean: storages, tensors and dictionaries. Everything else that
//! a checkpoint may hold (settings, epochs, numpy's numbers) is an object that nobody looks into.

use std::fmt;
use std::rc::Rc;

use recall_data::pickle::{Dialect, Id, Kind, Node as AnyNode};

use crate::weights::stored::Float;

type Node<'a> = AnyNode<'a, Made<'a>>;

/// A function or class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    module: &'a str,
    name: &'a str,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

#[derive(Debug)]
pub(super) enum Made<'a> {
    Name(Name<'a>),
    Storage(Rc<Storage<'a>>),
    Tensor(Rc<Tensor<'a>>),
    /// What a function or class of this name would make.
    Object(Name<'a>),
}

impl Kind for Made<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "a function or class",
            Self::Storage(_) => "numbers without a shape",
            Self::Tensor(_) => "one tensor",
            Self::Object(_) => "an object",
        }
    }
}

/// What a tensor's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float(Float),
    /// In words, and the bytes of one.
    Other(&'static str, u64),
}

impl Element {
    pub(super) fn size(self) -> u64 {
        match self {
            Self::Float(float) => float.size(),
            Self::Other(_, size) => size,
        }
    }
}

/// Numbers that tensors share.
#[derive(Debug)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub element: Element,
    pub count: u64,
}

#[derive(Debug)]
pub(super) struct Tensor<'a> {
    pub storage: Rc<Storage<'a>>,
    pub element: Element,
    pub first: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The dialect of `torch.save`.
pub(super) struct Torch {
    /// How many entries of dictionaries may still be copied from lists.
    budget: usize,
}

impl Torch {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            budget: bytes.len(),
        }
    }
}

const DAMAGED: &str = "a tensor is not made as PyTorch makes it: the file is damaged";

/// More dimensions than PyTorch has.
const MAX_DIMENSIONS: usize = 64;

impl<'a> Dialect<'a> for Torch {
    type Made = Made<'a>;
    const OBJECTS: bool = true;

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<Made<'a>, String> {
        Ok(Made::Name(Name { module, name }))
    }

    fn call(
        &mut self,
        nodes: &[Node<'a>],
        function: Id,
        arguments: Id,
    ) -> Result<Node<'a>, String> {
        let (name, arguments) = match (&nodes[function], &nodes[arguments]) {
            (Node::Made(Made::Name(name)), Node::Tuple(arguments)) => (*name, arguments),
            (&Node::Made(Made::Object(name)), _) => return Ok(Node::Made(Made::Object(name))),
            _ => {
                return Err("something is called that is no function: the file is damaged".into());
            }
        };
        match (name.module, name.name, arguments.as_slice()) {
            // A tensor with attributes of its own: the function that makes it, its class, what the
            // function takes. A subclass may compute anything from the numbers.
            ("torch._tensor", "_rebuild_from_type_v2", &[function, class, arguments, _]) => {
                let (Node::Made(Made::Name(function)), Node::Tuple(arguments)) =
                    (&nodes[function], &nodes[arguments])
                else {
                    return Err(DAMAGED.into());
                };
                let Node::Made(Made::Name(class)) = nodes[class] else {
                    return Err(DAMAGED.into());
                };
                match (class.module, class.name) {
                    ("torch", "Tensor")
                    | ("torch.nn.parameter", "Parameter" | "Buffer")
                    | ("torch.nn", "Parameter" | "Buffer") => {
                        Ok(self.make(nodes, *function, arguments)?)
                    }
                    _ => Ok(Node::Made(Made::Object(class))),
                }
            }
            (_, _, arguments) => self.make(nodes, name, arguments),
        }
    }

    fn build(&mut self, _: &mut [Node<'a>], _: Id, _: Id) -> Result<(), String> {
        // Attributes: what the numbers are does not depend on them.
        Ok(())
    }

    fn persistent(&mut self, nodes: &[Node<'a>], reference: Id) -> Result<Made<'a>, String> {
        let Node::Tuple(reference) = &nodes[reference] else {
            return Err(DAMAGED.into());
        };
        let text = |id: &Id| match nodes[*id] {
            Node::Text(std::borrow::Cow::Borrowed(text)) => Some(text),
            Node::Bytes(std::borrow::Cow::Borrowed(bytes)) => str::from_utf8(bytes).ok(),
            _ => None,
        };
        match (reference.first().and_then(text), reference.as_slice()) {
            // The source code of a class, which the first PyTorch kept beside whole models.
            (Some("module"), &[_, class, ..]) => match nodes[class] {
                Node::Made(Made::Name(class)) => Ok(Made::Name(class)),
                _ => Err(DAMAGED.into()),
            },
            (Some("storage"), [_, class, key, _, count, view @ ..]) => {
                let (&Node::Made(Made::Name(class)), Some(key), &Node::Int(count)) =
                    (&nodes[*class], text(key), &nodes[*count])
                else {
                    return Err(DAMAGED.into());
                };
                let whole = view.iter().all(|&view| matches!(nodes[view], Node::None));
                let element = element_of_storage(class.name);
                Ok(Made::Storage(Rc::new(Storage {
                    key,
                    element: match (element, whole) {
                        (element, true) => element,
                        (element, false) => {
                            Element::Other("a part of another storage", element.size())
                        }
                    },
                    count: u64::try_from(count).map_err(|_| DAMAGED)?,
                })))
            }
            _ => Err(DAMAGED.into()),
        }
    }

    fn refusal(&self, what: &str) -> String {
        format!("{what} comes, which `torch.save` does not write: the file is damaged")
    }
}

impl Torch {
    fn make<'a>(
        &mut self,
        nodes: &[Node<'a>],
        name: Name<'a>,
        arguments: &[Id],
    ) -> Result<Node<'a>, String> {
        match (name.module, name.name, arguments) {
            ("torch._utils", "_rebuild_tensor", &[storage, first, shape, strides]) => {
                tensor(nodes, storage, first, shape, strides, None)
            }
            (
                "torch._utils",
                "_rebuild_tensor_v2",
                &[storage, first, shape, strides, _, _, ref metadata @ ..],
            ) => {
                let changed = metadata.iter().any(|&id| is_lazily_changed(nodes, id));
                let element = changed.then_some(Element::Other("numbers with lazy signs", 0));
                tensor(nodes, storage, first, shape, strides, element)
            }
            (
                "torch._utils",
                "_rebuild_tensor_v3",
                &[storage, first, shape, strides, _, _, kind, ..],
            ) => {
                let Node::Made(Made::Name(kind)) = &nodes[kind] else {
                    return Err(DAMAGED.into());
                };
                let element = Some(element_of_dtype(kind.name));
                tensor(nodes, storage, first, shape, strides, element)
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", arguments) => {
                match arguments.first().map(|&data| &nodes[data]) {
                    Some(Node::Made(Made::Tensor(tensor))) => {
                        Ok(Node::Made(Made::Tensor(Rc::clone(tensor))))
                    }
                    Some(&Node::Made(Made::Object(name))) => Ok(Node::Made(Made::Object(name))),
                    _ => Err(DAMAGED.into()),
                }
            }
            ("collections", "OrderedDict", &[pairs])
            | ("builtins" | "__builtin__", "dict", &[pairs]) => self.pairs(nodes, pairs, name),
            ("collections", "OrderedDict" | "defaultdict", _)
            | ("builtins" | "__builtin__", "dict", _) => Ok(Node::Dict(Vec::new())),
            ("torch", "Size", &[sizes]) => Ok(match &nodes[sizes] {
                Node::Tuple(sizes) | Node::List(sizes) if sizes.len() <= MAX_DIMENSIONS => {
                    Node::Tuple(sizes.clone())
                }
                _ => Node::Made(Made::Object(name)),
            }),
            _ => Ok(Node::Made(Made::Object(name))),
        }
    }

    /// A dictionary as Python 2 writes one: made from a list of pairs.
    fn pairs<'a>(
        &mut self,
        nodes: &[Node<'a>],
        pairs: Id,
        name: Name<'a>,
    ) -> Result<Node<'a>, String> {
        let (Node::List(pairs) | Node::Tuple(pairs)) = &nodes[pairs] else {
            return Ok(Node::Made(Made::Object(name)));
        };
        self.budget = self
            .budget
            .checked_sub(pairs.len())
            .ok_or("more entries are made than the file has: the file is damaged")?;
        let entries = pairs.iter().map(|&pair| match &nodes[pair] {
            Node::List(pair) | Node::Tuple(pair) => match pair[..] {
                [key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        });
        match entries.collect() {
            Some(entries) => Ok(Node::Dict(entries)),
            None => Err("a dictionary is not made of pairs: the file is damaged".into()),
        }
    }
}

fn tensor<'a>(
    nodes: &[Node<'a>],
    storage: Id,
    first: Id,
    shape: Id,
    strides: Id,
    element: Option<Element>,
) -> Result<Node<'a>, String> {
    let sizes = |id: Id| -> Option<Vec<usize>> {
        let Node::Tuple(sizes) = &nodes[id] else {
            return None;
        };
        if sizes.len() > MAX_DIMENSIONS {
            return None;
        }
        let sizes = sizes.iter().map(|&size| match nodes[size] {
            Node::Int(size) => usize::try_from(size).ok(),
            _ => None,
        });
        sizes.collect()
    };
    let (Node::Made(Made::Storage(storage)), &Node::Int(first)) = (&nodes[storage], &nodes[first])
    else {
        return Err(DAMAGED.into());
    };
    let (Some(shape), Some(strides), Ok(first)) =
        (sizes(shape), sizes(strides), u64::try_from(first))
    else {
        return Err(DAMAGED.into());
    };
    if shape.len() != strides.len() {
        return Err(DAMAGED.into());
    }
    Ok(Node::Made(Made::Tensor(Rc::new(Tensor {
        element: element.unwrap_or(storage.element),
        storage: Rc::clone(storage),
        first,
        shape,
        strides,
    }))))
}

/// Whether a tensor's numbers are to be read with other signs than they are stored with.
fn is_lazily_changed(nodes: &[Node<'_>], metadata: Id) -> bool {
    match &nodes[metadata] {
        Node::Dict(entries) => entries
            .iter()
            .any(|&(_, value)| matches!(nodes[value], Node::Bool(true))),
        _ => false,
    }
}

fn element_of_storage(class: &str) -> Element {
    match class {
        "FloatStorage" => Element::Float(Float::F32),
        "DoubleStorage" => Element::Float(Float::F64),
        "HalfStorage" => Element::Float(Float::F16),
        "BFloat16Storage" => Element::Float(Float::Bf16),
        "LongStorage" => Element::Other("64-bit integers", 8),
        "IntStorage" => Element::Other("32-bit integers", 4),
        "ShortStorage" => Element::Other("16-bit integers", 2),
        "ByteStorage" | "CharStorage" => Element::Other("8-bit integers", 1),
        "BoolStorage" => Element::Other("truth values", 1),
        "ComplexFloatStorage" => Element::Other("complex numbers", 8),
        "ComplexDoubleStorage" => Element::Other("complex numbers", 16),
        "QInt32Storage" => Element::Other("quantised numbers", 4),
        "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => {
            Element::Other("quantised numbers", 1)
        }
        _ => Element::Other("bytes", 1),
    }
}

fn element_of_dtype(name: &str) -> Element {
    match name {
        "float32" | "float" => Element::Float(Float::F32),
        "float64" | "double" => Element::Float(Float::F64),
        "float16" | "half" => Element::Float(Float::F16),
        "bfloat16" => Element::Float(Float::Bf16),
        name if name.starts_with("float") => Element::Other("floats of 8 bits or fewer", 1),
        _ => Element::Other("integers", 1),
    }
}
