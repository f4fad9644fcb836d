use super::node::{Id, Kind, Node};

/// What the names in a pickle mean: the only place where they mean anything.
///
/// Problems are reported in words; the machine adds the place in the file.
pub trait Dialect<'a> {
    /// What it makes beyond plain values.
    type Made: Kind;

    /// Whether a file may hold what the dialect does not know: objects of any class, sets, numbers of
    /// more than 64 bits. A set becomes a list, such a number the nearest float; objects are calls of
    /// their class, and what is put into them is dropped.
    const OBJECTS: bool;

    /// A function or class, by its name.
    ///
    /// # Errors
    ///
    /// If the dialect does not know it.
    fn global(&mut self, module: &'a str, name: &'a str) -> Result<Self::Made, String>;

    /// What a call gives. `function` and `arguments` are anything that a damaged file may put there.
    ///
    /// # Errors
    ///
    /// If the call cannot be understood.
    fn call(
        &mut self,
        nodes: &[Node<'a, Self::Made>],
        function: Id,
        arguments: Id,
    ) -> Result<Node<'a, Self::Made>, String>;

    /// Gives an object its contents.
    ///
    /// # Errors
    ///
    /// If they cannot be its contents.
    fn build(
        &mut self,
        nodes: &mut [Node<'a, Self::Made>],
        object: Id,
        state: Id,
    ) -> Result<(), String>;

    /// What a reference to something outside the pickle stands for.
    ///
    /// # Errors
    ///
    /// If the dialect knows no such references.
    fn persistent(
        &mut self,
        nodes: &[Node<'a, Self::Made>],
        reference: Id,
    ) -> Result<Self::Made, String> {
        let _ = (nodes, reference);
        Err(self.refusal("a reference to something outside the file"))
    }

    /// Says that `what` is known but not read, and what is.
    fn refusal(&self, what: &str) -> String;
}
