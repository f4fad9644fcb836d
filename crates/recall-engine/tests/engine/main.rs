//! What an engine computes. One program of all these tests, since each that is one by itself compiles the models and
//! their derivatives anew.

mod architectures;
mod backbones;
mod batches;
mod features;
mod heads;
mod losses;
mod precision;
mod ranks;
mod scales;
mod seeds;
mod support;
mod weights;
