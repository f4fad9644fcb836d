use std::borrow::Cow;

use super::numpy::{Array, Dtype, Global};

/// The place of a value among all.
pub(super) type Id = usize;

/// A value. The texts and bytes of a file are not copied.
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Dtype(Dtype),
    /// Without anything until its contents come.
    Array(Option<Box<Array>>),
}

impl Node<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a function or class",
            Self::Dtype(_) => "a numpy type",
            Self::Array(_) => "a numpy array",
        }
    }
}
