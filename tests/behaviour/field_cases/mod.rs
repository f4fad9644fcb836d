//! Cases from the field: inputs as people have them, each with the right value or the right sentence.
//!
//! Whoever meets a new one adds it here, in the file of its subject. A case is small: it makes its own
//! files, runs the command as a user would, and states what has to come out.

mod all_one_has;
mod aside;
mod choosing;
mod disks;
mod going_on;
mod images;
mod labels;
mod moved;
mod names;
mod outputs;
mod pages;
mod pipes;
mod runs;
mod settings;
mod skipping;
mod splits;
mod validation;
mod weights;
