//! Behaviour across the crates of recall.

mod check;
mod command_line;
mod data_sets;
mod gallery;
mod judging;
mod reproducible;
mod resume;
mod support;
mod two_pass;
