//! The state of an optimiser as a file: what a resumed run goes on with.
//!
//! A safetensors file with three tensors for each parameter that was updated: `NAME.time`, the
//! number of updates, and `NAME.moment_1` and `NAME.moment_2`, in Burn's layout. `NAME` is where the
//! parameter is in the model.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    Adam, AdamState, AdamW, AdamWState, AdaptiveMomentumState, Optimizer, SimpleOptimizer,
};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, View};

use super::{Optimiser, Stepper};
use crate::weights::unwritten;
use crate::{Embedder, EngineError};

/// The optimisers whose state is two moments and a count.
trait Moments<B: AutodiffBackend>: SimpleOptimizer<B::InnerBackend> {
    fn momentum<const D: usize>(state: Self::State<D>)
    -> AdaptiveMomentumState<B::InnerBackend, D>;
    fn state<const D: usize>(momentum: AdaptiveMomentumState<B::InnerBackend, D>)
    -> Self::State<D>;
}

impl<B: AutodiffBackend> Moments<B> for Adam {
    fn momentum<const D: usize>(
        state: AdamState<B::InnerBackend, D>,
    ) -> AdaptiveMomentumState<B::InnerBackend, D> {
        state.momentum
    }
    fn state<const D: usize>(
        momentum: AdaptiveMomentumState<B::InnerBackend, D>,
    ) -> AdamState<B::InnerBackend, D> {
        AdamState { momentum }
    }
}

impl<B: AutodiffBackend> Moments<B> for AdamW {
    fn momentum<const D: usize>(
        state: AdamWState<B::InnerBackend, D>,
    ) -> AdaptiveMomentumState<B::InnerBackend, D> {
        state.momentum
    }
    fn state<const D: usize>(
        momentum: AdaptiveMomentumState<B::InnerBackend, D>,
    ) -> AdamWState<B::InnerBackend, D> {
        AdamWState { momentum }
    }
}

impl<B: AutodiffBackend, M: AutodiffModule<B> + Embedder<B>> Optimiser<B, M> {
    /// Writes the state.
    ///
    /// # Errors
    ///
    /// [`EngineError::File`] if the file cannot be written.
    pub(crate) fn save(&self, model: &M, path: &Path) -> Result<(), EngineError> {
        let mut tensors = Tensors::new();
        for stepper in &self.steppers {
            match stepper {
                Stepper::Adam(adam) => collect(adam, model, &mut tensors),
                Stepper::AdamW(adamw) => collect(adamw, model, &mut tensors),
            }
        }
        safetensors::serialize_to_file(&tensors, None, path).map_err(|error| unwritten(path, error))
    }

    /// Takes over the state that [`save`](Self::save) wrote for the same model.
    ///
    /// # Errors
    ///
    /// [`EngineError::Weights`] if the file cannot be read or belongs to another model.
    pub(crate) fn load(&mut self, model: &M, path: &Path) -> Result<(), EngineError> {
        let bytes = fs::read(path).map_err(EngineError::file("read", path))?;
        let stored =
            SafeTensors::deserialize(&bytes).map_err(|error| refuse(path, error.to_string()))?;
        let mut taken = 0;
        for (group, stepper) in self.steppers.iter_mut().enumerate() {
            let of_group = |id: ParamId| self.groups.of(id) == Some(group);
            taken += match stepper {
                Stepper::Adam(adam) => restore(adam, model, &stored, &of_group),
                Stepper::AdamW(adamw) => restore(adamw, model, &stored, &of_group),
            }
            .map_err(|problem| refuse(path, problem))?;
        }
        if 3 * taken != stored.len() {
            let problem = "it holds the state of parameters that the model does not have";
            return Err(refuse(path, problem.to_owned()));
        }
        Ok(())
    }
}

fn refuse(path: &Path, problem: String) -> EngineError {
    EngineError::Weights {
        path: path.to_owned(),
        problem,
    }
}

/// What is written, by name.
type Tensors = BTreeMap<String, Written>;

/// A tensor that is read from its device when its turn comes: the moments are twice as large as the
/// model, and need not be there a second time.
struct Written {
    dtype: Dtype,
    shape: Vec<usize>,
    read: Box<dyn Fn() -> Vec<u8>>,
}

impl View for &Written {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned((self.read)())
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

const PARTS: [&str; 3] = ["time", "moment_1", "moment_2"];

fn collect<B, M, O>(optimiser: &OptimizerAdaptor<O, M, B>, model: &M, tensors: &mut Tensors)
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
    O: Moments<B>,
{
    let records = optimiser.to_record();
    model.visit(&mut Collect::<B, O, _> {
        path: Vec::new(),
        record: |id: ParamId| records.get(&id).cloned(),
        tensors,
        kind: std::marker::PhantomData,
    });
}

struct Collect<'a, B: AutodiffBackend, O, F> {
    path: Vec<String>,
    record: F,
    tensors: &'a mut Tensors,
    kind: std::marker::PhantomData<(B, O)>,
}

impl<B, O, F> ModuleVisitor<B> for Collect<'_, B, O, F>
where
    B: AutodiffBackend,
    O: Moments<B>,
    F: Fn(ParamId) -> Option<AdaptorRecord<O, B>>,
{
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(record) = (self.record)(param.id) else {
            return;
        };
        let momentum = O::momentum(record.into_state::<D>());
        let name = self.path.join(".");
        let [time, first, second] = PARTS.map(|part| format!("{name}.{part}"));
        let count = (momentum.time as u64).to_le_bytes();
        let count = Written {
            dtype: Dtype::U64,
            shape: vec![1],
            read: Box::new(move || count.to_vec()),
        };
        self.tensors.insert(time, count);
        for (name, moment) in [(first, momentum.moment_1), (second, momentum.moment_2)] {
            let written = Written {
                dtype: Dtype::F32,
                shape: moment.dims().to_vec(),
                read: Box::new(move || {
                    let values = moment.to_data().convert::<f32>();
                    values.iter::<f32>().flat_map(f32::to_le_bytes).collect()
                }),
            };
            self.tensors.insert(name, written);
        }
    }
}

/// How many parameters were found.
fn restore<B, M, O>(
    optimiser: &mut OptimizerAdaptor<O, M, B>,
    model: &M,
    stored: &SafeTensors<'_>,
    of_group: &dyn Fn(ParamId) -> bool,
) -> Result<usize, String>
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
    O: Moments<B>,
    OptimizerAdaptor<O, M, B>: Clone,
{
    let mut found = Vec::new();
    let mut restore = Restore::<B, O> {
        path: Vec::new(),
        stored,
        of_group,
        found: &mut found,
        problem: None,
    };
    model.visit(&mut restore);
    if let Some(problem) = restore.problem {
        return Err(problem);
    }
    let mut records = optimiser.to_record();
    let count = found.len();
    records.extend(found);
    *optimiser = optimiser.clone().load_record(records);
    Ok(count)
}

struct Restore<'a, B: AutodiffBackend, O: SimpleOptimizer<B::InnerBackend>> {
    path: Vec<String>,
    stored: &'a SafeTensors<'a>,
    of_group: &'a dyn Fn(ParamId) -> bool,
    found: &'a mut Vec<(ParamId, AdaptorRecord<O, B>)>,
    problem: Option<String>,
}

impl<B: AutodiffBackend, O: Moments<B>> Restore<'_, B, O> {
    fn read<const D: usize>(
        &self,
        param: &Param<Tensor<B, D>>,
    ) -> Result<Option<AdaptiveMomentumState<B::InnerBackend, D>>, String> {
        let name = self.path.join(".");
        let device = param.val().device();
        let shape = param.val().dims();
        let mut views = Vec::with_capacity(PARTS.len());
        for part in PARTS {
            match self.stored.tensor(&format!("{name}.{part}")) {
                Ok(view) => views.push(view),
                // Of a parameter that is not trained there is nothing.
                Err(_) if part == "time" => return Ok(None),
                Err(_) => return Err(format!("{name}.{part} is missing")),
            }
        }
        let time = <[u8; 8]>::try_from(views[0].data())
            .map_err(|_| format!("{name}.time is no single number"))?;
        let moment = |view: &TensorView<'_>| {
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                return Err(format!(
                    "the moments of {name} are {:?} and should be {shape:?}",
                    view.shape()
                ));
            }
            let values = view.data().chunks_exact(4);
            let values: Vec<f32> = values
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect();
            if !values.iter().all(|value| value.is_finite()) {
                return Err(format!(
                    "the moments of {name} are not finite: every step would be lost"
                ));
            }
            Ok(Tensor::from_data(TensorData::new(values, shape), &device))
        };
        Ok(Some(AdaptiveMomentumState::new(
            u64::from_le_bytes(time) as usize,
            moment(&views[1])?,
            moment(&views[2])?,
        )))
    }
}

impl<B: AutodiffBackend, O: Moments<B>> ModuleVisitor<B> for Restore<'_, B, O> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !(self.of_group)(param.id) || self.problem.is_some() {
            return;
        }
        match self.read(param) {
            Ok(None) => {}
            Ok(Some(momentum)) => {
                let record = AdaptorRecord::from_state(O::state(momentum));
                self.found.push((param.id, record));
            }
            Err(problem) => self.problem = Some(problem),
        }
    }
}
