use std::borrow::Cow;

/// The place of a value among all of a pickle.
pub type Id = usize;

/// A value; `M` is what a [`Dialect`](super::Dialect) makes beyond these. The texts and bytes of a file
/// are not copied.
#[derive(Debug)]
pub enum Node<'a, M> {
    /// Nothing.
    None,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes, or what Python 2 calls a string.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A dictionary: its entries in their order. Of entries with the same key the last one counts.
    Dict(Vec<(Id, Id)>),
    /// Something of the dialect.
    Made(M),
}

/// What a value is, for a message.
pub trait Kind {
    /// Such as `a list`.
    fn kind(&self) -> &'static str;
}

impl<M: Kind> Kind for Node<'_, M> {
    fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Made(made) => made.kind(),
        }
    }
}
