//! Choosing a backend by name, and making sure that it is there before anything is done with it.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use recall_loss::RecallBackend;
use thiserror::Error;

/// A backend by name. All of them are known; which ones are built in is up to Cargo's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendName {
    /// CUDA, else a hardware adapter of wgpu, else flex, whichever is built in and there.
    Auto,
    /// NVIDIA GPUs.
    Cuda,
    /// GPUs through Vulkan, Metal or DirectX.
    Wgpu,
    /// The fast CPU backend.
    Flex,
    /// The reference CPU backend.
    Ndarray,
}

const NAMES: [(&str, BackendName); 5] = [
    ("auto", BackendName::Auto),
    ("cuda", BackendName::Cuda),
    ("wgpu", BackendName::Wgpu),
    ("flex", BackendName::Flex),
    ("ndarray", BackendName::Ndarray),
];

/// Why a backend cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No backend has this name.
    #[error("there is no backend `{0}`; choose auto, cuda, wgpu, flex or ndarray")]
    Unknown(String),
    /// It was not compiled in.
    #[error("this build has no {0} backend; build it with `--features {0}`")]
    NotBuilt(BackendName),
    /// No backend at all was compiled in.
    #[error(
        "this build has no backend; build it with one of the features cuda, wgpu, flex, ndarray"
    )]
    None,
    /// It is compiled in, but its device or driver does not answer.
    #[error("the {name} backend finds no usable device ({problem}); {hint}")]
    Unavailable {
        /// The backend.
        name: BackendName,
        /// What it says itself.
        problem: String,
        /// The way out.
        hint: &'static str,
    },
}

impl FromStr for BackendName {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|&(_, backend)| backend)
            .ok_or_else(|| BackendError::Unknown(name.to_owned()))
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES
            .iter()
            .find(|(_, backend)| backend == self)
            .map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

/// Something to do on a backend that is known only at run time.
pub trait OnBackend {
    /// What comes of it.
    type Output;
    /// Does it on a device of `B`.
    fn run<B: AutodiffBackend<InnerBackend: RecallBackend>>(
        self,
        device: &B::Device,
    ) -> Self::Output;
}

impl BackendName {
    /// Runs `job` on this backend's default device, after a small computation there has succeeded.
    ///
    /// # Errors
    ///
    /// [`BackendError`], before `job` is touched.
    pub fn run<J: OnBackend>(self, job: J) -> Result<J::Output, BackendError> {
        match self.resolve()? {
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(on::<Autodiff<burn_cuda::Cuda>, J>(job)),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(on::<Autodiff<burn_wgpu::Wgpu>, J>(job)),
            #[cfg(feature = "flex")]
            Self::Flex => Ok(on::<Autodiff<burn_flex::Flex>, J>(job)),
            #[cfg(feature = "ndarray")]
            Self::Ndarray => Ok(on::<Autodiff<burn_ndarray::NdArray<f32>>, J>(job)),
            #[allow(unreachable_patterns)]
            absent => Err(BackendError::NotBuilt(absent)),
        }
    }

    /// The backend that will be used: `auto` decided, any other one probed.
    ///
    /// # Errors
    ///
    /// [`BackendError`].
    pub fn resolve(self) -> Result<Self, BackendError> {
        if self != Self::Auto {
            return self.probe().map(|()| self);
        }
        let candidates = [Self::Cuda, Self::Wgpu, Self::Flex, Self::Ndarray];
        candidates
            .into_iter()
            .filter(|backend| *backend != Self::Wgpu || hardware_adapter())
            .find(|backend| backend.probe().is_ok())
            .ok_or(BackendError::None)
    }

    fn probe(self) -> Result<(), BackendError> {
        #[allow(unused_variables)]
        let unavailable = |hint| {
            move |problem| BackendError::Unavailable {
                name: self,
                problem,
                hint,
            }
        };
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda => compute::<burn_cuda::Cuda>().map_err(unavailable(
                "install NVIDIA's driver and the CUDA toolkit's nvrtc, or choose --backend flex, \
                 which needs neither",
            )),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => compute::<burn_wgpu::Wgpu>().map_err(unavailable(
                "install a Vulkan driver, or choose --backend flex, which needs none",
            )),
            #[cfg(feature = "flex")]
            Self::Flex => Ok(()),
            #[cfg(feature = "ndarray")]
            Self::Ndarray => Ok(()),
            absent => Err(BackendError::NotBuilt(absent)),
        }
    }
}

#[allow(dead_code)]
fn on<B: AutodiffBackend<InnerBackend: RecallBackend>, J: OnBackend>(job: J) -> J::Output {
    job.run::<B>(&B::Device::default())
}

/// A sum on the device. Drivers that are missing make a backend panic: here that becomes a message.
#[allow(dead_code)]
fn compute<B: Backend>() -> Result<(), String> {
    let said = Arc::new(Mutex::new(None::<String>));
    let previous = panic::take_hook();
    let hook = Arc::clone(&said);
    panic::set_hook(Box::new(move |info| {
        let message = info
            .payload()
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| info.payload().downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        // The first panic is the cause; what follows on other threads is its echo.
        if let Ok(mut said) = hook.lock() {
            said.get_or_insert_with(|| message.to_owned());
        }
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let device = B::Device::default();
        Tensor::<B, 1>::ones([8], &device)
            .sum()
            .into_data()
            .iter::<f32>()
            .next()
    }));
    panic::set_hook(previous);
    match outcome {
        Ok(Some(8.0)) => Ok(()),
        Ok(other) => Err(format!("1 + … + 1 came out as {other:?}")),
        Err(_) => {
            let said = said
                .lock()
                .ok()
                .and_then(|mut said| said.take())
                .unwrap_or_default();
            let words: Vec<_> = said.split_whitespace().collect();
            let mut line = words.join(" ");
            if let Some((cut, _)) = line.char_indices().nth(160) {
                line.truncate(cut);
                line.push('…');
            }
            Err(line)
        }
    }
}

/// Whether wgpu has an adapter that is not a software renderer.
fn hardware_adapter() -> bool {
    #[cfg(feature = "wgpu")]
    {
        // Not OpenGL: it is no backend of ours, and its libraries print lines of their own.
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        let instance = wgpu::Instance::new(descriptor);
        let adapters =
            burn::tensor::try_read_sync(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        adapters.is_some_and(|adapters| {
            adapters
                .iter()
                .any(|adapter| adapter.get_info().device_type != wgpu::DeviceType::Cpu)
        })
    }
    #[cfg(not(feature = "wgpu"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for (name, backend) in NAMES {
            assert_eq!(name.parse(), Ok(backend));
            assert_eq!(backend.to_string(), name);
        }
        assert!(
            "nosuch"
                .parse::<BackendName>()
                .unwrap_err()
                .to_string()
                .contains("`nosuch`")
        );
    }
}
