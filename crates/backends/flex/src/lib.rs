//! The engine on `burn-flex`, the fast backend on a CPU.

use burn::backend::Autodiff;
use burn_flex::Flex;
use recall_engine::{Backend, OfProcess};

/// The flex backend.
pub static BACKEND: Backend = Backend {
    name: "flex",
    hint: "",
    is_worthwhile: || true,
    answers: |_| Ok(()),
    open: |_| Backend::device::<Autodiff<Flex>>(Default::default(), |_| Box::new(OfProcess)),
};
