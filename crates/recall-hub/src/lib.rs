//! Files of models from the Hugging Face Hub: `hf:OWNER/NAME[@REVISION][/FILE]` becomes a local path.
//!
//! A file is fetched when it is asked for, once. It lies in the Hub's own cache, so what Python's
//! `huggingface_hub` has fetched is found here, and the other way round. A transfer that was cut goes on
//! where it stopped. Contents are compared with the checksum that the Hub names, and a file has its
//! name in the cache only after that.
//!
//! ```no_run
//! use recall_hub::{Hub, HubSpec};
//!
//! let spec: HubSpec = "hf:timm/vit_small_patch16_224.dino".parse()?;
//! let fetched = Hub::from_env()?.fetch(&spec, &mut |done, total| println!("{done} of {total} bytes"))?;
//! println!("{} of commit {}", fetched.path.display(), fetched.commit);
//! # Ok::<(), recall_hub::HubError>(())
//! ```
//!
//! The crate knows files, not models: what is in them, the caller finds out. It prints nothing.

mod cache;
mod choice;
mod client;
mod digest;
mod error;
mod hub;
mod names;
mod part;
mod remote;
mod retry;
mod settings;
mod spec;
mod transfer;

pub use error::HubError;
pub use hub::{Fetched, Hub};
pub use settings::HubSettings;
pub use spec::HubSpec;

/// The Rust block of the page is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
