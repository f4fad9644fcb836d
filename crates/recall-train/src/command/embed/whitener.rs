//! A whitening on the way from the model to the file.

use std::borrow::Cow;
use std::path::Path;

use recall_eval::refine::Whitening;
use recall_eval::{Embeddings, EvalError};
use sha2::{Digest, Sha256};

/// Whitens embeddings, or passes them on.
pub(super) struct Whitener(Option<Whitening>);

impl Whitener {
    pub fn open(path: Option<&Path>) -> Result<Self, EvalError> {
        Ok(Self(path.map(Whitening::open).transpose()?))
    }

    pub fn apply<'r>(&self, rows: &'r Embeddings) -> Result<Cow<'r, Embeddings>, EvalError> {
        Ok(match &self.0 {
            None => Cow::Borrowed(rows),
            Some(whitening) => Cow::Owned(whitening.apply(&rows.clone().normalised()?)?),
        })
    }

    /// Tells a whitening from all others.
    pub fn hash(&self) -> Option<String> {
        let whitening = self.0.as_ref()?;
        let values = whitening
            .mean()
            .iter()
            .chain(whitening.projection().as_slice());
        let mut hash = Sha256::new();
        values.for_each(|value| hash.update(value.to_le_bytes()));
        Some(format!("{:x}", hash.finalize()))
    }
}
