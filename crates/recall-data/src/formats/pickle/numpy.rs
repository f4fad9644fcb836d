//! What numpy's arrays are in a pickle: calls of a handful of functions, done here.
//!
//! Numbers stay the bytes that they are until someone asks for them: a file that makes a thousand
//! arrays of the same bytes costs no more than its bytes. Only text that is really bytes (how
//! protocol 2 writes them from Python 3) is copied, and that within a budget: all copies together
//! are no larger than the file, as they are where each is of a text of its own.

use std::borrow::Cow;

use super::dialect::Dialect;
use super::node::{Id, Kind as _, Node as AnyNode};
use crate::formats::number::Number;

/// A value of this dialect.
pub(super) type Node<'a> = AnyNode<'a, Made>;

/// What numpy's functions make, and they themselves.
#[derive(Debug)]
pub(super) enum Made {
    Global(Global),
    Dtype(Dtype),
    /// Without anything until its contents come.
    Array(Option<Box<Array>>),
}

impl super::node::Kind for Made {
    fn kind(&self) -> &'static str {
        match self {
            Self::Global(_) => "a function or class",
            Self::Dtype(_) => "a numpy type",
            Self::Array(_) => "a numpy array",
        }
    }
}

/// Lists of images: plain values and numpy's arrays, nothing else.
pub(super) struct Numpy {
    /// How many bytes may still be made from texts.
    pub budget: usize,
}

/// The names that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// An array without contents, which come after it.
    Reconstruct,
    /// An array of bytes, a type, a shape and an order.
    FromBuffer,
    /// A number of a type.
    Scalar,
    /// The class of arrays.
    NdArray,
    /// A type.
    Dtype,
    /// Text to bytes.
    Encode,
    /// Bytes of nothing.
    Bytes,
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Self::Reconstruct
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::FromBuffer,
            ("numpy", "ndarray") => Self::NdArray,
            ("numpy", "dtype") => Self::Dtype,
            ("_codecs", "encode") => Self::Encode,
            ("builtins" | "__builtin__", "bytes" | "bytearray") => Self::Bytes,
            _ => return None,
        })
    }
}

/// The type of the values of an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dtype {
    kind: Kind,
    big: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Number(Number),
    /// Text of so many characters of four bytes.
    Wide(usize),
    /// Text of so many bytes.
    Narrow(usize),
    Object,
}

impl Dtype {
    fn named(name: &str) -> Option<Self> {
        let (big, name) = match name.strip_prefix('>') {
            Some(name) => (true, name),
            None => (false, name.trim_start_matches(['<', '|', '='])),
        };
        let kind = match name {
            "i1" => Kind::Number(Number::I8),
            "u1" => Kind::Number(Number::U8),
            "i2" => Kind::Number(Number::I16),
            "u2" => Kind::Number(Number::U16),
            "i4" => Kind::Number(Number::I32),
            "u4" => Kind::Number(Number::U32),
            "i8" => Kind::Number(Number::I64),
            "u8" => Kind::Number(Number::U64),
            "f4" => Kind::Number(Number::F32),
            "f8" => Kind::Number(Number::F64),
            "O" | "O8" => Kind::Object,
            _ => {
                // Text without length would make an endless array of no bytes.
                let length = name.get(1..)?.parse().ok().filter(|&length| length > 0)?;
                match name.as_bytes() {
                    [b'U', ..] => Kind::Wide(length),
                    [b'S', ..] => Kind::Narrow(length),
                    _ => return None,
                }
            }
        };
        Some(Self { kind, big })
    }

    /// The bytes of one value; `None` if they are more than can be counted.
    fn size(self) -> Option<usize> {
        match self.kind {
            Kind::Number(number) => Some(number.size()),
            Kind::Wide(length) => length.checked_mul(4),
            Kind::Narrow(length) => Some(length),
            Kind::Object => Some(1),
        }
    }
}

/// An array of one or two dimensions.
#[derive(Debug)]
pub(super) struct Array {
    rows: usize,
    columns: usize,
    /// Column after column, not row after row.
    fortran: bool,
    dtype: Dtype,
    data: Id,
}

impl Array {
    pub(super) fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// The bytes, or the list of objects.
    pub(super) fn data(&self) -> Id {
        self.data
    }

    pub(super) fn holds_objects(&self) -> bool {
        matches!(self.dtype.kind, Kind::Object)
    }

    pub(super) fn numbers(&self, nodes: &[Node<'_>]) -> Option<Vec<f64>> {
        match (self.dtype.kind, &nodes[self.data]) {
            (Kind::Number(number), Node::Bytes(bytes)) => {
                Some(self.by_rows(number.decode(bytes, self.dtype.big)))
            }
            _ => None,
        }
    }

    pub(super) fn texts<'p>(&self, nodes: &'p [Node<'_>]) -> Option<Vec<Cow<'p, str>>> {
        let Node::Bytes(bytes) = &nodes[self.data] else {
            return None;
        };
        let values = bytes.chunks_exact(self.dtype.size()?);
        let texts: Option<Vec<_>> = match self.dtype.kind {
            Kind::Wide(_) => values.map(|value| wide(value, self.dtype.big)).collect(),
            Kind::Narrow(_) => values
                .map(|value| {
                    let length = value
                        .iter()
                        .rposition(|&byte| byte != 0)
                        .map_or(0, |at| at + 1);
                    str::from_utf8(&value[..length]).ok().map(Cow::Borrowed)
                })
                .collect(),
            _ => None,
        };
        texts.map(|texts| self.by_rows(texts))
    }

    fn by_rows<T: Clone>(&self, values: Vec<T>) -> Vec<T> {
        if !self.fortran || values.is_empty() {
            return values;
        }
        (0..self.rows)
            .flat_map(|row| values.iter().skip(row).step_by(self.rows).cloned())
            .collect()
    }
}

/// Characters of four bytes, padded with zeros.
fn wide(value: &[u8], big: bool) -> Option<Cow<'static, str>> {
    let (units, _) = value.as_chunks();
    let mut text = String::new();
    for &unit in units {
        let unit = if big {
            u32::from_be_bytes(unit)
        } else {
            u32::from_le_bytes(unit)
        };
        text.push(char::from_u32(unit)?);
    }
    text.truncate(text.trim_end_matches('\0').len());
    Some(Cow::Owned(text))
}

const DAMAGED: &str = "a numpy array is not made as numpy makes it: write the file anew from lists";

impl<'a> Dialect<'a> for Numpy {
    type Made = Made;
    const OBJECTS: bool = false;

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<Made, String> {
        Global::named(module, name)
            .map(Made::Global)
            .ok_or_else(|| {
                format!(
                    "`{module}.{name}` is asked for, and nothing but lists, dictionaries and numpy \
                     arrays is read: write the file anew with those only"
                )
            })
    }

    fn call(
        &mut self,
        nodes: &[Node<'a>],
        function: Id,
        arguments: Id,
    ) -> Result<Node<'a>, String> {
        let (Node::Made(Made::Global(function)), Node::Tuple(arguments)) =
            (&nodes[function], &nodes[arguments])
        else {
            return Err("something is called that is no function: the file is damaged".into());
        };
        match (function, arguments.as_slice()) {
            (Global::Reconstruct, &[class, ..])
                if matches!(nodes[class], Node::Made(Made::Global(Global::NdArray))) =>
            {
                Ok(Node::Made(Made::Array(None)))
            }
            (Global::FromBuffer, &[data, dtype, shape, order]) => {
                let fortran = matches!(&nodes[order], Node::Text(order) if order == "F");
                let array = array(nodes, shape, dtype, fortran, data)?;
                Ok(Node::Made(Made::Array(Some(Box::new(array)))))
            }
            (Global::Scalar, &[dtype, data]) => scalar(nodes, dtype, data),
            (Global::Dtype, &[name, ..]) => {
                dtype(nodes, name).map(|dtype| Node::Made(Made::Dtype(dtype)))
            }
            (Global::Encode, &[text, ..]) => self.encode(nodes, text),
            (Global::Bytes, &[]) => Ok(Node::Bytes(Cow::Borrowed(&[]))),
            _ => Err(DAMAGED.into()),
        }
    }

    fn build(&mut self, nodes: &mut [Node<'a>], object: Id, state: Id) -> Result<(), String> {
        let state = match &nodes[state] {
            Node::Tuple(state) => state.as_slice(),
            _ => &[],
        };
        let built = match (&nodes[object], state) {
            (Node::Made(Made::Array(_)), &[_, shape, dtype, fortran, data]) => {
                let fortran = matches!(nodes[fortran], Node::Bool(true) | Node::Int(1));
                let array = array(nodes, shape, dtype, fortran, data)?;
                Made::Array(Some(Box::new(array)))
            }
            (&Node::Made(Made::Dtype(dtype)), &[_, order, ..]) => {
                let big = match &nodes[order] {
                    Node::Text(order) => order == ">",
                    Node::Bytes(order) => **order == *b">",
                    _ => return Err(DAMAGED.into()),
                };
                Made::Dtype(Dtype { big, ..dtype })
            }
            (object, _) => {
                let kind = object.kind();
                return Err(format!(
                    "{kind} is given contents that it cannot have: the file is damaged"
                ));
            }
        };
        nodes[object] = Node::Made(built);
        Ok(())
    }

    fn refusal(&self, what: &str) -> String {
        format!(
            "{what} comes, and nothing but numbers, text, lists, dictionaries and numpy arrays is \
             read: write the file anew with those only"
        )
    }
}

impl Numpy {
    /// Bytes that were written as text of the characters 0 to 255.
    fn encode<'a>(&mut self, nodes: &[Node<'a>], text: Id) -> Result<Node<'a>, String> {
        let Node::Text(text) = &nodes[text] else {
            return Err(DAMAGED.into());
        };
        let Some(budget) = self.budget.checked_sub(text.len()) else {
            return Err("more bytes are made than the file has: the file is damaged".into());
        };
        let bytes = text.chars().map(|character| u8::try_from(character).ok());
        let bytes: Option<Vec<u8>> = bytes.collect();
        let bytes = bytes.ok_or(DAMAGED)?;
        self.budget = budget;
        Ok(Node::Bytes(Cow::Owned(bytes)))
    }
}

fn array(
    nodes: &[Node<'_>],
    shape: Id,
    dtype: Id,
    fortran: bool,
    data: Id,
) -> Result<Array, String> {
    let (Node::Tuple(shape), &Node::Made(Made::Dtype(dtype))) = (&nodes[shape], &nodes[dtype])
    else {
        return Err(DAMAGED.into());
    };
    let size = |id: &Id| match nodes[*id] {
        Node::Int(size) => usize::try_from(size).map_err(|_| DAMAGED.to_owned()),
        _ => Err(DAMAGED.into()),
    };
    let (rows, columns) = match shape.as_slice() {
        [] => (1, 1),
        [length] => (1, size(length)?),
        [rows, columns] => (size(rows)?, size(columns)?),
        more => {
            let problem = format!(
                "a numpy array has {} dimensions, and at most two are read",
                more.len()
            );
            return Err(problem);
        }
    };
    let found = match (&nodes[data], dtype.kind) {
        (Node::List(objects), Kind::Object) => objects.len(),
        (_, Kind::Object) => return Err(DAMAGED.into()),
        (Node::Bytes(bytes), _) => bytes.len(),
        _ => return Err(DAMAGED.into()),
    };
    let needed = rows.checked_mul(columns).zip(dtype.size());
    if needed.and_then(|(count, size)| count.checked_mul(size)) != Some(found) {
        let problem = format!(
            "a numpy array of {rows} x {columns} values has {found} bytes of them: the file is damaged"
        );
        return Err(problem);
    }
    Ok(Array {
        rows,
        columns,
        fortran,
        dtype,
        data,
    })
}

fn scalar<'a>(nodes: &[Node<'a>], dtype: Id, data: Id) -> Result<Node<'a>, String> {
    let (&Node::Made(Made::Dtype(dtype)), Node::Bytes(bytes)) = (&nodes[dtype], &nodes[data])
    else {
        return Err(DAMAGED.into());
    };
    match dtype.kind {
        Kind::Number(number) if number.size() == bytes.len() => {
            let numbers = number.decode(bytes, dtype.big);
            Ok(Node::Float(numbers[0]))
        }
        _ => Err(DAMAGED.into()),
    }
}

fn dtype(nodes: &[Node<'_>], name: Id) -> Result<Dtype, String> {
    let name = match &nodes[name] {
        Node::Text(name) => name,
        Node::Bytes(name) => str::from_utf8(name).map_err(|_| DAMAGED.to_owned())?,
        _ => return Err(DAMAGED.into()),
    };
    Dtype::named(name).ok_or_else(|| {
        format!(
            "a numpy array is of the type `{name}`, and nothing but numbers of up to 64 bits and \
             text is read: write the file anew from lists"
        )
    })
}
