//! Behaviour across the crates of recall.

mod after_network;
mod check;
mod command_line;
mod compare;
mod data_sets;
mod features;
mod field_cases;
mod gallery;
mod hub;
mod judging;
mod losses;
#[cfg(all(unix, feature = "mpi"))]
mod mpi;
mod own;
mod plan;
mod precision;
mod presets;
mod ranks;
mod reproducible;
mod resume;
mod shape;
mod support;
mod two_pass;
