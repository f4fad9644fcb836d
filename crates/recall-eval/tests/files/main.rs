//! Files of other programs, whole and damaged.

mod embeddings;
mod ground_truth;
mod labels;
mod made;
mod on_disk;
