//! The backends that are built in, by name.
//!
//! A backend is a crate of its own with one [`Backend`], a line of [`NAMES`] and one of [`BUILT_IN`].

use std::fmt;
use std::str::FromStr;

use recall_engine::{Backend, Device};
use thiserror::Error;

/// All backends there are, built in or not, in the order in which `auto` tries them.
const NAMES: [&str; 4] = ["cuda", "wgpu", "flex", "ndarray"];

/// Those that are built in.
static BUILT_IN: &[&Backend] = &[
    #[cfg(feature = "cuda")]
    &recall_cuda::BACKEND,
    #[cfg(feature = "wgpu")]
    &recall_wgpu::BACKEND,
    #[cfg(feature = "flex")]
    &recall_flex::BACKEND,
    #[cfg(feature = "ndarray")]
    &recall_ndarray::BACKEND,
];

/// The name of a backend. All of them are known; which ones are built in is up to Cargo's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedBackend(&'static str);

/// Why a backend cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No backend has this name.
    #[error("there is no backend `{0}`; choose auto, cuda, wgpu, flex or ndarray")]
    Unknown(String),
    /// It was not compiled in.
    #[error("this build has no {0} backend; build it with `--features {0}`")]
    NotBuilt(NamedBackend),
    /// No backend at all was compiled in.
    #[error(
        "this build has no backend; build it with one of the features cuda, wgpu, flex, ndarray"
    )]
    None,
    /// It is compiled in, but its device or driver does not answer.
    #[error("the {name} backend finds no usable device ({problem}); {hint}")]
    Unavailable {
        /// The backend.
        name: NamedBackend,
        /// What it says itself.
        problem: String,
        /// The way out.
        hint: &'static str,
    },
}

impl NamedBackend {
    /// CUDA, else a hardware adapter of wgpu, else flex, else ndarray: the first that is built in and
    /// answers.
    pub const AUTO: Self = Self("auto");
    /// NVIDIA GPUs.
    pub const CUDA: Self = Self("cuda");
    /// GPUs through Vulkan, Metal or DirectX.
    pub const WGPU: Self = Self("wgpu");
    /// The fast CPU backend.
    pub const FLEX: Self = Self("flex");
    /// The reference CPU backend.
    pub const NDARRAY: Self = Self("ndarray");

    /// Opens this backend's default device, after a small computation there has succeeded.
    ///
    /// # Errors
    ///
    /// [`BackendError`].
    pub fn open(self) -> Result<Box<dyn Device>, BackendError> {
        self.open_for(0)
    }

    /// The same for one of several processes on a machine, the one with this number, from 0. CUDA has a
    /// device for each; on other backends they share one.
    ///
    /// # Errors
    ///
    /// [`BackendError`].
    pub fn open_for(self, process: usize) -> Result<Box<dyn Device>, BackendError> {
        self.find(process).map(|backend| (backend.open)(process))
    }

    /// The backend that will be used: `auto` decided, any other one probed.
    ///
    /// # Errors
    ///
    /// [`BackendError`].
    pub fn resolve(self) -> Result<Self, BackendError> {
        self.find(0).map(|backend| Self(backend.name))
    }

    fn find(self, process: usize) -> Result<&'static Backend, BackendError> {
        if self == Self::AUTO {
            return BUILT_IN
                .iter()
                .find(|backend| (backend.is_worthwhile)() && (backend.answers)(process).is_ok())
                .copied()
                .ok_or(BackendError::None);
        }
        let backend = BUILT_IN.iter().find(|backend| backend.name == self.0);
        let backend = backend.copied().ok_or(BackendError::NotBuilt(self))?;
        match (backend.answers)(process) {
            Ok(()) => Ok(backend),
            Err(problem) => Err(BackendError::Unavailable {
                name: self,
                problem,
                hint: backend.hint,
            }),
        }
    }
}

impl FromStr for NamedBackend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        let names = NAMES.into_iter().chain([Self::AUTO.0]);
        let mut known = names.filter(|known| *known == name);
        known
            .next()
            .map(Self)
            .ok_or_else(|| BackendError::Unknown(name.to_owned()))
    }
}

impl fmt::Display for NamedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in NAMES.into_iter().chain(["auto"]) {
            let backend: NamedBackend = name.parse().unwrap();
            assert_eq!(backend.to_string(), name);
        }
        assert!(
            "nosuch"
                .parse::<NamedBackend>()
                .unwrap_err()
                .to_string()
                .contains("`nosuch`")
        );
    }

    #[test]
    fn what_is_built_in_is_tried_in_the_order_of_the_names() {
        let built_in = BUILT_IN.iter().map(|backend| backend.name);
        let order = NAMES.into_iter().filter(|name| {
            let mut built_in = BUILT_IN.iter();
            built_in.any(|backend| backend.name == *name)
        });
        assert!(built_in.eq(order));
    }
}
