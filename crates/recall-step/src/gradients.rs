//! Gradients of parameters, added up over ranks.

use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};

use crate::collective::{Collective, CollectiveError};

/// The sum over all ranks of the gradients that each has of `model`, the same bits on all. A parameter that
/// has a gradient on any rank has one on all: ranks without rows have none by themselves.
pub(crate) fn sum_over<B: AutodiffBackend, M: AutodiffModule<B>>(
    ranks: &dyn Collective,
    model: &M,
    gradients: GradientsParams,
) -> Result<GradientsParams, CollectiveError> {
    let mut present = Present {
        gradients: &gradients,
        seen: Vec::new(),
        flags: Vec::new(),
    };
    model.visit(&mut present);
    let Present { seen, flags, .. } = present;
    let mut anywhere = vec![false; seen.len()];
    for (rank, theirs) in ranks.all_gather(&flags)?.into_iter().enumerate() {
        if theirs.len() != seen.len() {
            return Err(CollectiveError::Differs {
                rank,
                problem: format!(
                    "has a model of {} parameters, and rank {} one of {}",
                    theirs.len(),
                    ranks.rank(),
                    seen.len()
                ),
            });
        }
        let both = anywhere.iter_mut().zip(theirs);
        both.for_each(|(anywhere, there)| *anywhere |= there != 0);
    }
    let with = seen.into_iter().zip(anywhere);
    let with: Vec<ParamId> = with.filter(|(_, any)| *any).map(|(id, _)| id).collect();

    let mut flat = Flat {
        with: with.clone(),
        gradients,
        values: Vec::new(),
    };
    model.visit(&mut flat);
    let mut values = flat.values;
    ranks.all_reduce(&mut values)?;

    let mut sums = Sums {
        with,
        values: &values,
        gradients: GradientsParams::new(),
    };
    model.visit(&mut sums);
    Ok(sums.gradients)
}

/// Which parameters have a gradient here, in the order of the model. One that is in several places counts
/// once.
struct Present<'a> {
    gradients: &'a GradientsParams,
    seen: Vec<ParamId>,
    flags: Vec<u8>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Present<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !self.seen.contains(&param.id) {
            let gradient = self.gradients.get::<B::InnerBackend, D>(param.id);
            self.seen.push(param.id);
            self.flags.push(u8::from(gradient.is_some()));
        }
    }
}

/// Their numbers one behind the other; zeros for a gradient that is none here.
struct Flat {
    /// Parameters that are not done yet.
    with: Vec<ParamId>,
    gradients: GradientsParams,
    values: Vec<f32>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !take(&mut self.with, param.id) {
            return;
        }
        // Removed, so that each is freed when it is copied.
        match self.gradients.remove::<B::InnerBackend, D>(param.id) {
            Some(gradient) => {
                let data = gradient.into_data();
                // Whole where it can be: the other way asks a boxed iterator for each number.
                match data.as_slice::<f32>() {
                    Ok(values) => self.values.extend_from_slice(values),
                    Err(_) => self.values.extend(data.iter::<f32>()),
                }
            }
            None => {
                let count = param.val().shape().num_elements();
                self.values.resize(self.values.len() + count, 0.0);
            }
        }
    }
}

/// The sums as gradients again.
struct Sums<'a> {
    with: Vec<ParamId>,
    /// Those that are not taken yet.
    values: &'a [f32],
    gradients: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Sums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !take(&mut self.with, param.id) {
            return;
        }
        let value = param.val();
        let shape = value.shape();
        let (own, rest) = self.values.split_at(shape.num_elements());
        self.values = rest;
        let data = TensorData::new(own.to_vec(), shape);
        let options = (&value.device(), value.dtype());
        let gradient = Tensor::<B::InnerBackend, D>::from_data(data, options);
        self.gradients.register(param.id, gradient);
    }
}

/// Takes `id` out of `ids`, and says whether it was there.
fn take(ids: &mut Vec<ParamId>, id: ParamId) -> bool {
    // In the order of the model, so that it is the first one.
    let place = ids.iter().position(|other| *other == id);
    place.map(|place| ids.remove(place)).is_some()
}
