//! Empty: this crate is its list of dependencies, which makes builds of one package and of the whole
//! workspace share theirs.
