//! The state of an optimiser as a file: what a resumed run goes on with.
//!
//! A safetensors file with three tensors for each parameter that was updated: `NAME.time`, the
//! number of updates, and `NAME.moment_1` and `NAME.moment_2`, in Burn's layout. `NAME` is where the
//! parameter is in the model. Of a run in `f16` there are three numbers more: the scale of the loss, how many steps
//! it has been as it is, and how many steps overflowed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorData, TensorPrimitive};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, View};

use super::{Moments, Optimiser};
use crate::EngineError;
use crate::loss_scale::LossScale;
use crate::weights::unwritten;

impl<B: AutodiffBackend> Optimiser<B> {
    /// Writes the state.
    ///
    /// # Errors
    ///
    /// [`EngineError::File`] if the file cannot be written.
    pub(crate) fn save<M>(
        &self,
        model: &M,
        scale: Option<&LossScale>,
        path: &Path,
    ) -> Result<(), EngineError>
    where
        M: AutodiffModule<B>,
    {
        let mut collect = Collect::<B::InnerBackend> {
            path: Vec::new(),
            moments: &self.moments,
            tensors: Tensors::new(),
        };
        model.visit(&mut collect);
        if let Some(scale) = scale {
            let [factor, good, overflows] = SCALE.map(str::to_owned);
            let values = [
                (factor, Dtype::F32, scale.factor.to_le_bytes().to_vec()),
                (good, Dtype::U64, scale.good.to_le_bytes().to_vec()),
                (
                    overflows,
                    Dtype::U64,
                    scale.overflows.to_le_bytes().to_vec(),
                ),
            ];
            let values = values.map(|(name, dtype, bytes)| (name, one(dtype, bytes)));
            collect.tensors.extend(values);
        }
        safetensors::serialize_to_file(&collect.tensors, None, path)
            .map_err(|error| unwritten(path, error))
    }

    /// Takes over the state that [`save`](Self::save) wrote for the same model, and returns the scale of the loss
    /// that was written with it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Weights`] if the file cannot be read or belongs to another model.
    pub(crate) fn load<M>(
        &mut self,
        model: &M,
        path: &Path,
    ) -> Result<Option<LossScale>, EngineError>
    where
        M: AutodiffModule<B>,
    {
        let bytes = fs::read(path).map_err(EngineError::file("read", path))?;
        let stored =
            SafeTensors::deserialize(&bytes).map_err(|error| refuse(path, error.to_string()))?;
        let mut restore = Restore::<B::InnerBackend> {
            path: Vec::new(),
            stored: &stored,
            found: Vec::new(),
            problem: None,
        };
        model.visit(&mut restore);
        if let Some(problem) = restore.problem {
            return Err(refuse(path, problem));
        }
        let scale = scale_of(&stored).map_err(|problem| refuse(path, problem))?;
        let others = scale.as_ref().map_or(0, |_| SCALE.len());
        if PARTS.len() * restore.found.len() + others != stored.len() {
            let problem = "it holds the state of parameters that the model does not have";
            return Err(refuse(path, problem.to_owned()));
        }
        self.moments.extend(restore.found);
        Ok(scale)
    }
}

/// The scale of the loss, if there is one.
fn scale_of(stored: &SafeTensors<'_>) -> Result<Option<LossScale>, String> {
    let [factor, good, overflows] = SCALE;
    if stored.tensor(factor).is_err() {
        return Ok(None);
    }
    let factor = f32::from_le_bytes(number(stored, factor)?);
    if !factor.is_finite() || factor < 1.0 {
        return Err(format!(
            "the scale of the loss is {factor}: it is 1 or more"
        ));
    }
    Ok(Some(LossScale {
        factor,
        good: u64::from_le_bytes(number(stored, good)?),
        overflows: u64::from_le_bytes(number(stored, overflows)?),
    }))
}

/// The bytes of a single number.
fn number<const N: usize>(stored: &SafeTensors<'_>, name: &str) -> Result<[u8; N], String> {
    let view = stored
        .tensor(name)
        .map_err(|_| format!("{name} is missing"))?;
    view.data()
        .try_into()
        .map_err(|_| format!("{name} is no single number"))
}

/// A single number.
fn one(dtype: Dtype, bytes: Vec<u8>) -> Written {
    Written {
        dtype,
        shape: vec![1],
        read: Box::new(move || bytes.clone()),
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

/// The scale of the loss: itself, steps since it was changed, and steps that overflowed.
const SCALE: [&str; 3] = [
    "loss_scale.factor",
    "loss_scale.good",
    "loss_scale.overflows",
];

struct Collect<'a, B: Backend> {
    path: Vec<String>,
    moments: &'a HashMap<ParamId, Moments<B>>,
    tensors: Tensors,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_, B::InnerBackend> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(moments) = self.moments.get(&param.id) else {
            return;
        };
        let name = self.path.join(".");
        let [time, first, second] = PARTS.map(|part| format!("{name}.{part}"));
        let count = (moments.time as u64).to_le_bytes();
        let count = one(Dtype::U64, count.to_vec());
        self.tensors.insert(time, count);
        for (name, moment) in [(first, &moments.first), (second, &moments.second)] {
            let moment = TensorPrimitive::Float(moment.clone());
            let moment = Tensor::<B::InnerBackend, D>::from_primitive(moment);
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

struct Restore<'a, B: Backend> {
    path: Vec<String>,
    stored: &'a SafeTensors<'a>,
    found: Vec<(ParamId, Moments<B>)>,
    problem: Option<String>,
}

impl<B: Backend> Restore<'_, B> {
    fn read<const D: usize>(
        &self,
        shape: [usize; D],
        device: &B::Device,
    ) -> Result<Option<Moments<B>>, String> {
        let name = self.path.join(".");
        let mut views = Vec::with_capacity(PARTS.len());
        for part in PARTS {
            match self.stored.tensor(&format!("{name}.{part}")) {
                Ok(view) => views.push(view),
                // Of a parameter that is not trained there is nothing.
                Err(_) if part == "time" => return Ok(None),
                Err(_) => return Err(format!("{name}.{part} is missing")),
            }
        }
        let time = number(self.stored, &format!("{name}.time"))?;
        let moment = |view: &TensorView<'_>| -> Result<FloatTensor<B>, String> {
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
            let moment = Tensor::<B, D>::from_data(TensorData::new(values, shape), device);
            Ok(moment.into_primitive().tensor())
        };
        Ok(Some(Moments {
            time: u64::from_le_bytes(time) as usize,
            first: moment(&views[1])?,
            second: moment(&views[2])?,
        }))
    }
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Restore<'_, B::InnerBackend> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.problem.is_some() {
            return;
        }
        let value = param.val();
        match self.read(value.dims(), &value.device()) {
            Ok(None) => {}
            Ok(Some(moments)) => self.found.push((param.id, moments)),
            Err(problem) => self.problem = Some(problem),
        }
    }
}
