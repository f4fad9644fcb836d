//! The engine on `burn-ndarray`, the reference on a CPU.

use burn::backend::Autodiff;
use burn_ndarray::NdArray;
use recall_engine::{Backend, OfProcess};

/// The ndarray backend.
pub static BACKEND: Backend = Backend {
    name: "ndarray",
    hint: "",
    is_worthwhile: || true,
    answers: |_| Ok(()),
    open: |_| {
        Backend::device::<Autodiff<NdArray<f32>>>(Default::default(), |_| Box::new(OfProcess))
    },
};
