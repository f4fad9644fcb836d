//! One small reader for each layout.

mod aside;
pub(crate) mod cars196;
pub(crate) mod csv;
pub(crate) mod cub;
pub(crate) mod embeddings;
pub(crate) mod emoji;
pub(crate) mod folder;
pub(crate) mod gldv1;
pub(crate) mod gldv2;
pub(crate) mod gldv2_retrieval;
pub(crate) mod ilias;
pub(crate) mod inat2018;
pub(crate) mod inshop;
mod lines;
mod named;
mod records;
pub(crate) mod revisited;
pub(crate) mod revisitop1m;
pub(crate) mod sfm120k;
pub(crate) mod sop;
pub(crate) mod vehicle_id;

pub use aside::is_image;

/// Text of a file as a message can show it: in one line, and not all of a long one.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}

/// `1 file is`, `2 files are`.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
