//! A value that can be moved out to be changed.

use std::ops::Deref;

/// A value behind a reference to its holder, which can still be handed by value to what changes it. A model
/// that is moved through its optimiser is updated in place; a clone would share its tensors, and each would
/// have to be copied.
pub(crate) struct Held<T>(Option<T>);

impl<T> Held<T> {
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Replaces the value by what `change` makes of it.
    pub fn change(&mut self, change: impl FnOnce(T) -> T) {
        self.0 = self.0.take().map(change);
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let value = self.0.as_ref();
        value.expect("a change puts a value back, unless it panics")
    }
}
