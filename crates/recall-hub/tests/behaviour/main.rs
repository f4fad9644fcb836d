//! The crate against a server on this machine that behaves as the Hub does, and as it should not.

mod answers;
mod cached;
mod chosen;
mod processes;
mod server;
mod support;
mod transfers;
