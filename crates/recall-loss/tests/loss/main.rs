//! The losses against outputs of the authors' code, against a plain loop over scalars, against finite
//! differences, and by their properties.

mod batches;
mod finite_differences;
mod gather;
mod kernels;
mod oracle;
mod properties;
mod reference;
mod shares;
mod smooth_ap;
mod stored;
