//! A backend that a program chooses by name when it runs.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;
use burn::tensor::backend::{self as burn_backend, AutodiffBackend};
use recall_loss::RecallBackend;
use recall_nn::NnBackend;

use crate::device::DeviceOf;
use crate::{Device, Memory};

/// The backends of Burn that an engine trains on: they differentiate, and what they differentiate has the
/// loss and the layers. Every backend that meets these bounds is one of them.
pub trait EngineBackend:
    AutodiffBackend<InnerBackend: RecallBackend + NnBackend> + RecallBackend + NnBackend
{
}

impl<B> EngineBackend for B where
    B: AutodiffBackend<InnerBackend: RecallBackend + NnBackend> + RecallBackend + NnBackend
{
}

/// One backend: what a crate that adds one hands over, as a `static`, so that all that is generic is
/// compiled in that crate and not in the ones that use it.
#[derive(Debug, Clone, Copy)]
pub struct Backend {
    /// As users call it.
    pub name: &'static str,
    /// What can be done where it finds no usable device.
    pub hint: &'static str,
    /// Whether it is worth choosing where nobody asked for it by name.
    pub is_worthwhile: fn() -> bool,
    /// Whether it computes on a device, or in a line why it does not: see [`probe`](Self::probe). The number
    /// is that of the process among those on its machine that each want a device, from 0; backends whose
    /// processes share one do not ask.
    pub answers: fn(usize) -> Result<(), String>,
    /// Opens the device of that process: see [`device`](Self::device).
    pub open: fn(usize) -> Box<dyn Device>,
}

impl Backend {
    /// A device of `B`, whose memory is opened by `memory`.
    pub fn device<B>(
        device: B::Device,
        memory: fn(&B::Device) -> Box<dyn Memory>,
    ) -> Box<dyn Device>
    where
        B: EngineBackend,
    {
        Box::new(DeviceOf::<B> { device, memory })
    }

    /// Takes a sum on the device of `B` that `device` finds. A driver that is missing makes a backend panic: here that
    /// becomes a message.
    ///
    /// # Errors
    ///
    /// What the backend says, on one line.
    pub fn probe<B: burn_backend::Backend>(
        device: impl FnOnce() -> Result<B::Device, String>,
    ) -> Result<(), String> {
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
            let sum = Tensor::<B, 1>::ones([8], &device()?).sum();
            Ok(sum.into_data().iter::<f32>().next())
        }));
        panic::set_hook(previous);
        match outcome {
            Ok(Ok(Some(8.0))) => Ok(()),
            Ok(Err(problem)) => Err(problem),
            Ok(Ok(other)) => Err(format!("1 + … + 1 came out as {other:?}")),
            Err(_) => {
                let said = said.lock().ok().and_then(|mut said| said.take());
                Err(one_line(&said.unwrap_or_default()))
            }
        }
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if let Some((cut, _)) = line.char_indices().nth(160) {
        line.truncate(cut);
        line.push('…');
    }
    line
}
