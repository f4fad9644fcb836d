//! What the backends of Burn do faster than [`plain`](crate::plain) tensor operations, one file or
//! folder each. The only place of the crate with `unsafe` code.

mod autodiff;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cpu")]
pub mod product;
