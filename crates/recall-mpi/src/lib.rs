//! The ranks of an MPI job as a `Collective` of `recall-step`.
//!
//! Without the feature `mpi` the crate is empty; with it, an MPI and libclang are needed when it is built.
//!
//! MPI's collectives wait for ever for a process that is frozen. `World` passes all messages point to point
//! and without blocking instead, and gives up when a rank has not answered for a time. All calls of MPI are made by one
//! thread, so that the process can end even where MPI hangs.

#[cfg(feature = "mpi")]
mod exchange;
#[cfg(feature = "mpi")]
mod world;

#[cfg(feature = "mpi")]
pub use world::World;
