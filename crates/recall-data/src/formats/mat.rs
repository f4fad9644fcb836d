//! MATLAB files of version 5, which `save -v7`, older versions and SciPy write, as far as lists of
//! images need them: numbers, text, cells and structs.
//!
//! A file is a header of 128 bytes and elements, each a tag (type and size) and data, up to eight
//! bytes. A variable is an element of elements: flags, dimensions, name, values. It may lie in
//! a zlib stream, which is an element of its own.

mod element;
mod unpack;

use std::collections::HashMap;
use std::path::Path;

use self::element::{Element, Order};
use super::bytes::{Bytes, Problem};
use crate::DataError;

/// How deep cells and structs may lie in one another: the readers want two.
const MAX_DEPTH: usize = 16;

/// A variable, or what is in one. Arrays are flat, column by column; their dimensions are of no use
/// to the readers.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Numbers(Vec<f64>),
    Text(String),
    Cell(Vec<Value>),
    /// The fields and their values, one for each struct of the array.
    Struct(Vec<(String, Vec<Value>)>),
    /// Something that is not read, by its name.
    Other(&'static str),
}

impl Value {
    /// What it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "an array of numbers",
            Self::Text(_) => "text",
            Self::Cell(_) => "a cell array",
            Self::Struct(_) => "a struct array",
            Self::Other(kind) => kind,
        }
    }

    pub(crate) fn numbers(&self) -> Option<&[f64]> {
        match self {
            Self::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// The only number of an array.
    pub(crate) fn number(&self) -> Option<f64> {
        match self.numbers() {
            Some(&[number]) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn cell(&self) -> Option<&[Value]> {
        match self {
            Self::Cell(values) => Some(values),
            _ => None,
        }
    }

    /// A field of a struct array: its value in each of the structs.
    pub(crate) fn field(&self, name: &str) -> Option<&[Value]> {
        let Self::Struct(fields) = self else {
            return None;
        };
        let field = fields.iter().find(|(field, _)| field == name);
        field.map(|(_, values)| values.as_slice())
    }
}

/// The variables of a file by their names.
pub(crate) type Variables = HashMap<String, Value>;

/// Reads those of the variables `wanted` that the file `path` has; the rest is not looked at.
pub(crate) fn read(path: &Path, bytes: &[u8], wanted: &[&str]) -> Result<Variables, DataError> {
    variables(bytes, wanted).map_err(|problem| problem.of(path))
}

fn variables(bytes: &[u8], wanted: &[&str]) -> Result<Variables, Problem> {
    let mut rest = Bytes::new(bytes);
    let order = header(&mut rest)?;
    let mut found = Variables::new();
    let mut keep = |mut body: Bytes<'_>| {
        let head = head(&mut body, order)?;
        if wanted.contains(&head.name.as_str()) {
            let value = value(&mut body, &head, order, 0)?;
            found.insert(head.name, value);
        }
        Ok(found.len() < wanted.len())
    };
    let is_wanted = |start: &[u8]| {
        // An error comes again, and is reported, when all of it is read.
        let head = variable_of(start, order).and_then(|mut body| head(&mut body, order));
        head.map_or(true, |head| wanted.contains(&head.name.as_str()))
    };
    let (mut budget, mut more) = (unpack::MAX_UNPACKED, true);
    while more && rest.left() > 0 {
        let element = Element::read(&mut rest, order, "a variable")?;
        match element.kind {
            element::MATRIX => more = keep(element.data)?,
            element::COMPRESSED => {
                let unpacked = unpack::unpack(&element.data, order, &mut budget, is_wanted)?;
                if let Some(unpacked) = unpacked {
                    more = keep(variable_of(&unpacked, order)?)?;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The data of the variable that unpacked bytes start with; they may end early.
fn variable_of(unpacked: &[u8], order: Order) -> Result<Bytes<'_>, Problem> {
    let mut rest = Bytes::new(unpacked);
    let [kind, _] = [
        order.u32(&mut rest, "a tag")?,
        order.u32(&mut rest, "a tag")?,
    ];
    match kind {
        element::MATRIX => Ok(rest),
        _ => Err(Problem::new(
            0,
            format!("packed is an element of type {kind}, not a variable"),
        )),
    }
}

/// Reads the header, and tells the order of the bytes from it.
fn header(rest: &mut Bytes<'_>) -> Result<Order, Problem> {
    let all = rest.rest();
    let refuse = |problem: &str| Err(Problem::new(0, problem));
    let hdf5 = b"\x89HDF\r\n\x1a\n";
    if [Some(all), all.get(512..)]
        .into_iter()
        .flatten()
        .any(|from| from.starts_with(hdf5))
    {
        return refuse(
            "this is a MATLAB file of version 7.3 (HDF5), which is not read: load it in MATLAB and save \
             it with `save -v7`",
        );
    }
    let header: [u8; 128] = rest.array("the header of a MATLAB file")?;
    let order = match [header[126], header[127]] {
        [b'I', b'M'] => Order { big: false },
        [b'M', b'I'] => Order { big: true },
        _ if header[..4].contains(&0) => {
            return refuse(
                "this is no MATLAB file of version 5, but perhaps one of version 4: load it in MATLAB \
                 and save it with `save -v7`",
            );
        }
        _ => return refuse("this is no MATLAB file: expected is one that `save -v7` wrote"),
    };
    match (header[124], header[125]) {
        (0, 1) | (1, 0) => Ok(order),
        (low, high) => refuse(&format!(
            "this is a MATLAB file of the unknown version {low:02x}{high:02x}: load it in MATLAB and save \
             it with `save -v7`"
        )),
    }
}

/// What a variable says of itself before its values.
struct Head {
    class: u8,
    complex: bool,
    /// Its values: the product of its dimensions.
    count: usize,
    name: String,
}

fn head(body: &mut Bytes<'_>, order: Order) -> Result<Head, Problem> {
    let at = body.offset();
    if body.left() == 0 {
        // A cell that was never set is stored as nothing at all.
        return Ok(Head {
            class: class::DOUBLE,
            complex: false,
            count: 0,
            name: String::new(),
        });
    }
    let mut flags = Element::read(body, order, "the flags of an array")?;
    if flags.kind != element::UINT32 || flags.data.left() != 8 {
        return Err(Problem::new(
            at,
            "an array does not start with its flags: the file is damaged",
        ));
    }
    let flags = order.u32(&mut flags.data, "flags")?;
    let class = (flags & 0xff) as u8;
    let count = match class {
        class::OPAQUE => 0,
        _ => count_of(
            Element::read(body, order, "the dimensions of an array")?,
            order,
        )?,
    };
    let name = Element::read(body, order, "the name of an array")?;
    let name = String::from_utf8_lossy(name.data.rest()).into_owned();
    Ok(Head {
        class,
        complex: flags & 0x0800 != 0,
        count,
        name,
    })
}

/// The product of dimensions.
fn count_of(dims: Element<'_>, order: Order) -> Result<usize, Problem> {
    let at = dims.data.offset();
    if dims.kind != element::INT32 || dims.data.left() < 8 {
        return Err(Problem::new(
            at,
            "an array has no dimensions: the file is damaged",
        ));
    }
    let (mut rest, mut count) = (dims.data, Some(1_usize));
    while rest.left() > 0 {
        let dim = order.u32(&mut rest, "a dimension")?;
        if dim > i32::MAX as u32 {
            return Err(Problem::new(
                at,
                "an array has a negative dimension: the file is damaged",
            ));
        }
        count = count.and_then(|count| count.checked_mul(dim as usize));
    }
    count.ok_or_else(|| {
        Problem::new(
            at,
            "an array has more values than there is memory: the file is damaged",
        )
    })
}

mod class {
    pub(super) const CELL: u8 = 1;
    pub(super) const STRUCT: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const CHAR: u8 = 4;
    pub(super) const SPARSE: u8 = 5;
    pub(super) const DOUBLE: u8 = 6;
    pub(super) const UINT64: u8 = 15;
    pub(super) const FUNCTION: u8 = 16;
    pub(super) const OPAQUE: u8 = 17;
}

fn value(body: &mut Bytes<'_>, head: &Head, order: Order, depth: usize) -> Result<Value, Problem> {
    let at = body.offset();
    match head.class {
        class::CELL => Ok(Value::Cell(values(body, head.count, order, depth)?)),
        class::STRUCT => {
            let names = field_names(body, order)?;
            let count = head.count.checked_mul(names.len()).ok_or_else(|| {
                Problem::new(
                    at,
                    "a struct has more values than there is memory: the file is damaged",
                )
            })?;
            let fields = names.len();
            let mut columns: Vec<_> = names.into_iter().map(|name| (name, Vec::new())).collect();
            // Stored is struct after struct.
            for (place, value) in values(body, count, order, depth)?.into_iter().enumerate() {
                columns[place % fields].1.push(value);
            }
            Ok(Value::Struct(columns))
        }
        _ if head.complex => Ok(Value::Other("complex numbers")),
        class::CHAR => {
            let text = Element::read(body, order, "text")?.text(order)?;
            Ok(text.map_or(Value::Other("text of an unknown encoding"), Value::Text))
        }
        class::DOUBLE..=class::UINT64 if head.count == 0 => Ok(Value::Numbers(Vec::new())),
        class::DOUBLE..=class::UINT64 => Element::read(body, order, "numbers")?
            .numbers(head.count, order)
            .map(Value::Numbers),
        class::OBJECT => Ok(Value::Other("an object")),
        class::SPARSE => Ok(Value::Other("a sparse matrix")),
        class::FUNCTION => Ok(Value::Other("a function handle")),
        class::OPAQUE => Ok(Value::Other("an object")),
        other => Err(Problem::new(
            at,
            format!("an array is of the unknown class {other}: the file is damaged"),
        )),
    }
}

/// The values of a cell or struct array.
fn values(
    body: &mut Bytes<'_>,
    count: usize,
    order: Order,
    depth: usize,
) -> Result<Vec<Value>, Problem> {
    let at = body.offset();
    if depth >= MAX_DEPTH {
        let problem = format!("cells and structs lie more than {MAX_DEPTH} deep in one another");
        return Err(Problem::new(at, problem));
    }
    // Each has a tag at least.
    if count > body.left() / 8 {
        let problem = format!(
            "an array should have {count} values, but {} bytes are left: the file is cut short or \
             damaged, get it again",
            body.left()
        );
        return Err(Problem::new(at, problem));
    }
    let mut values = Vec::new();
    for _ in 0..count {
        let mut element = Element::read(body, order, "a value")?;
        if element.kind != element::MATRIX {
            let problem = format!(
                "a value is an element of type {}, not an array: the file is damaged",
                element.kind
            );
            return Err(Problem::new(at, problem));
        }
        let head = head(&mut element.data, order)?;
        values.push(value(&mut element.data, &head, order, depth + 1)?);
    }
    Ok(values)
}

/// The names of the fields of a struct array, each padded with zeros to the same length.
fn field_names(body: &mut Bytes<'_>, order: Order) -> Result<Vec<String>, Problem> {
    let at = body.offset();
    let mut length = Element::read(body, order, "the length of field names")?;
    let length = order.u32(&mut length.data, "the length of field names")? as usize;
    let names = Element::read(body, order, "field names")?;
    let names = names.data.rest();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if length == 0 || names.len() % length != 0 {
        return Err(Problem::new(at, "the field names of a struct are damaged"));
    }
    let name = |padded: &[u8]| {
        let name = padded.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    };
    Ok(names.chunks_exact(length).map(name).collect())
}

#[cfg(test)]
mod tests;
