//! What `torch.save` wrote of a state dict, read without running anything.
//!
//! A file is a pickle, which says what there is, and storages, which are the numbers. Since PyTorch 1.6
//! they are entries of a zip archive ([`archive`]); before, one came behind the other ([`legacy`]).
//! [`objects`] is what the names in the pickle mean. [`contents`] makes tensors with names of its
//! values.

mod archive;
mod contents;
mod legacy;
mod objects;

pub(super) use archive::read as read_archive;
pub(super) use contents::Contents;
pub(super) use legacy::{is_start as is_legacy, read as read_legacy};

#[cfg(test)]
mod tests;
