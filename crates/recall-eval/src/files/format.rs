//! Which format a file has, by its extension.

use std::path::Path;

use super::refusal::refuse;
use crate::EvalError;

#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    Npy,
    SafeTensors,
}

impl Format {
    /// `what` is kept there, for the message about another extension.
    pub fn of(path: &Path, what: &str) -> Result<Self, EvalError> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("");
        let way_out = match extension.to_ascii_lowercase().as_str() {
            "npy" => return Ok(Self::Npy),
            "safetensors" => return Ok(Self::SafeTensors),
            "npz" => {
                "take the array out of it with numpy.save(\"array.npy\", numpy.load(FILE)[NAME])"
            }
            "pt" | "pth" => {
                "bring the tensor there with numpy.save(\"array.npy\", tensor.float().cpu().numpy())"
            }
            "csv" | "txt" | "tsv" => {
                "bring it there with numpy.save(\"array.npy\", numpy.loadtxt(FILE, ...))"
            }
            _ => "use one of these extensions",
        };
        Err(refuse(
            path,
            format!("{what} are kept in .npy or .safetensors files"),
            way_out,
        ))
    }
}
