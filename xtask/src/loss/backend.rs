use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::case::{Case, Measured, measure};

/// Backends that can be measured; one more is a variant and an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    Flex,
    Ndarray,
    #[cfg(feature = "cuda")]
    Cuda,
    #[cfg(feature = "wgpu")]
    Wgpu,
}

impl BackendName {
    /// The name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            #[cfg(feature = "cuda")]
            Self::Cuda => "cuda",
            #[cfg(feature = "wgpu")]
            Self::Wgpu => "wgpu",
        }
    }

    /// Measures a case on this backend.
    pub fn measure(self, case: &Case) -> anyhow::Result<Measured> {
        match self {
            Self::Flex => measure::<burn_flex::Flex>(&Default::default(), case),
            Self::Ndarray => measure::<burn_ndarray::NdArray>(&Default::default(), case),
            #[cfg(feature = "cuda")]
            Self::Cuda => measure::<burn_cuda::Cuda>(&Default::default(), case),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => measure::<burn_wgpu::Wgpu>(&Default::default(), case),
        }
    }
}
