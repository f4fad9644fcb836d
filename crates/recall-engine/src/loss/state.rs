//! What a loss keeps from step to step: the parameters that it trains, and its memory.
//!
//! On disk it is a safetensors file. Of parameters it has `parameters` and, once they were updated,
//! `parameters.time`, `parameters.moment_1` and `parameters.moment_2`; of a memory `memory.labels`,
//! `memory.position`, `memory.steps` and, once it holds something, `memory.rows`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData, TensorPrimitive};
use recall_baselines::{Memory, Parameters};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::optimiser::{Moments, Treatment, adam_step};
use crate::weights::unwritten;
use crate::{EngineBackend, EngineError, OptimiserConfig};

/// What a loss trains and remembers.
pub(crate) struct LossState<B: EngineBackend> {
    parameters: Option<Trained<B::InnerBackend>>,
    memory: Option<Memory<B>>,
}

struct Trained<B: Backend> {
    values: Tensor<B, 2>,
    /// None before the first update.
    moments: Option<Moments<B>>,
}

impl<B: EngineBackend> LossState<B> {
    /// The state before the first step, of parameters drawn from `seed` and an empty memory.
    pub fn new(
        parameters: Option<Parameters>,
        memory: Option<Memory<B>>,
        seed: u64,
        device: &B::Device,
    ) -> Self {
        Self {
            parameters: parameters.map(|parameters| {
                B::seed(device, seed);
                Trained {
                    values: parameters.draw(device),
                    moments: None,
                }
            }),
            memory,
        }
    }

    /// The state before the first step, of parameters `[classes · each, dim]` that are the rows of `means`.
    /// Where there are several of a class, each is a little off, so that they can part.
    pub fn start(shape: [usize; 2], means: &[f32], seed: u64, device: &B::Device) -> Self {
        let [rows, dim] = shape;
        let each = rows / (means.len() / dim).max(1);
        let means = means.chunks_exact(dim);
        let values = means.flat_map(|mean| std::iter::repeat_n(mean, each));
        let values: Vec<f32> = values.flatten().copied().collect();
        let values = Tensor::from_data(TensorData::new(values, shape), device);
        B::seed(device, seed);
        let values = match each > 1 {
            true => {
                let apart = Distribution::Normal(0.0, APART / (dim as f64).sqrt());
                values + Tensor::random(shape, apart, device)
            }
            false => values,
        };
        Self {
            parameters: Some(Trained {
                values,
                moments: None,
            }),
            memory: None,
        }
    }

    /// What the loss trains, if it trains anything.
    pub fn parameters(&self) -> Option<Tensor<B::InnerBackend, 2>> {
        self.parameters.as_ref().map(|of| of.values.clone())
    }

    /// What the loss remembers, if it remembers anything.
    pub fn memory(&self) -> Option<&Memory<B>> {
        self.memory.as_ref()
    }

    /// Replaces what the loss remembers.
    pub fn remember(&mut self, memory: Memory<B>) {
        self.memory = Some(memory);
    }

    /// Updates the parameters.
    pub fn step(
        &mut self,
        gradient: Tensor<B::InnerBackend, 2>,
        config: &OptimiserConfig,
        learning_rate: f64,
        rate: f64,
    ) {
        self.parameters = self.parameters.take().map(|Trained { values, moments }| {
            let treatment = Treatment { rate, decays: true };
            let (values, gradient) = (primitive(values), primitive(gradient));
            let (values, moments) =
                adam_step(config, treatment, learning_rate, values, gradient, moments);
            Trained {
                values: Tensor::from_primitive(TensorPrimitive::Float(values)),
                moments: Some(moments),
            }
        });
    }

    /// Writes what there is.
    pub fn save(&self, path: &Path) -> Result<(), EngineError> {
        let mut file = Written::default();
        if let Some(Trained { values, moments }) = &self.parameters {
            file.floats(PARAMETERS, values.clone());
            if let Some(moments) = moments {
                for (name, moment) in MOMENTS.into_iter().zip([&moments.first, &moments.second]) {
                    let moment = TensorPrimitive::Float(moment.clone());
                    file.floats::<B::InnerBackend>(name, Tensor::from_primitive(moment));
                }
                file.numbers(TIME, &[moments.time as i64]);
            }
        }
        if let Some(memory) = &self.memory {
            file.numbers(LABELS, memory.labels());
            file.numbers(POSITION, &[memory.position() as i64]);
            file.numbers(STEPS, &[memory.steps() as i64]);
            if let Some(rows) = memory.rows() {
                file.floats(ROWS, rows.clone().inner());
            }
        }
        match file.0.is_empty() {
            true => Ok(()),
            false => file.write(path),
        }
    }

    /// Reads what [`save`](Self::save) wrote; none where nothing was written. `empty` is the memory of the loss
    /// before its first step, if it has one.
    pub fn load(
        path: &Path,
        empty: Option<Memory<B>>,
        device: &B::Device,
    ) -> Result<Option<Self>, EngineError> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(path).map_err(EngineError::file("read", path))?;
        let file = Read {
            stored: SafeTensors::deserialize(&bytes)
                .map_err(|error| refuse(path, error.to_string()))?,
            path,
        };
        let parameters = match file.has(PARAMETERS) {
            true => Some(file.trained::<B::InnerBackend>(device)?),
            false => None,
        };
        let memory = match empty {
            Some(empty) if file.has(LABELS) => Some(file.memory(&empty, device)?),
            other => other,
        };
        Ok(Some(Self { parameters, memory }))
    }
}

/// How far the centres of a class are from their mean at the beginning, which is of unit length.
const APART: f64 = 0.1;

const PARAMETERS: &str = "parameters";
const TIME: &str = "parameters.time";
const MOMENTS: [&str; 2] = ["parameters.moment_1", "parameters.moment_2"];
const ROWS: &str = "memory.rows";
const LABELS: &str = "memory.labels";
const POSITION: &str = "memory.position";
const STEPS: &str = "memory.steps";

/// Tensors that are about to be written.
#[derive(Default)]
struct Written(BTreeMap<&'static str, (Dtype, Vec<usize>, Vec<u8>)>);

impl Written {
    fn floats<B: Backend>(&mut self, name: &'static str, values: Tensor<B, 2>) {
        let shape = values.dims().to_vec();
        let values = values.into_data().convert::<f32>();
        let bytes = values.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        self.0.insert(name, (Dtype::F32, shape, bytes));
    }

    fn numbers(&mut self, name: &'static str, values: &[i64]) {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.0.insert(name, (Dtype::I64, vec![values.len()], bytes));
    }

    fn write(&self, path: &Path) -> Result<(), EngineError> {
        let views: Result<BTreeMap<&str, TensorView<'_>>, _> = (self.0.iter())
            .map(|(&name, (dtype, shape, bytes))| {
                Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
            })
            .collect();
        views
            .and_then(|views| safetensors::serialize_to_file(views, None, path))
            .map_err(|error| unwritten(path, error))
    }
}

/// Tensors of a file.
struct Read<'a> {
    stored: SafeTensors<'a>,
    path: &'a Path,
}

impl Read<'_> {
    fn has(&self, name: &str) -> bool {
        self.stored.tensor(name).is_ok()
    }

    fn floats<B: Backend>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> Result<Tensor<B, 2>, EngineError> {
        let refuse = |problem| refuse(self.path, problem);
        let view = self.stored.tensor(name);
        let view = view.map_err(|error| refuse(error.to_string()))?;
        let (&[rows, dim], Dtype::F32) = (view.shape(), view.dtype()) else {
            return Err(refuse(format!("{name} is no matrix of single precision")));
        };
        let (values, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = values
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(Tensor::from_data(
                TensorData::new(values, [rows, dim]),
                device,
            )),
            false => Err(refuse(format!(
                "{name} is not finite: every step would be lost"
            ))),
        }
    }

    fn numbers(&self, name: &str) -> Result<Vec<i64>, EngineError> {
        let view = self.stored.tensor(name);
        let view = view.map_err(|error| refuse(self.path, error.to_string()))?;
        if view.dtype() != Dtype::I64 {
            return Err(refuse(self.path, format!("{name} has no whole numbers")));
        }
        let (values, _) = view.data().as_chunks::<8>();
        Ok(values
            .iter()
            .map(|&bytes| i64::from_le_bytes(bytes))
            .collect())
    }

    fn number(&self, name: &str) -> Result<u64, EngineError> {
        match self.numbers(name)?[..] {
            [number] if number >= 0 => Ok(number as u64),
            _ => Err(refuse(self.path, format!("{name} is no single number"))),
        }
    }

    fn trained<B: Backend>(&self, device: &B::Device) -> Result<Trained<B>, EngineError> {
        let values = self.floats(PARAMETERS, device)?;
        let moments = match self.has(TIME) {
            false => None,
            true => {
                let first = self.floats::<B>(MOMENTS[0], device)?;
                let second = self.floats::<B>(MOMENTS[1], device)?;
                if [first.dims(), second.dims()] != [values.dims(); 2] {
                    let problem = "its moments are of other parameters";
                    return Err(refuse(self.path, problem.to_owned()));
                }
                Some(Moments {
                    time: self.number(TIME)? as usize,
                    first: primitive(first),
                    second: primitive(second),
                })
            }
        };
        Ok(Trained { values, moments })
    }

    fn memory<B: EngineBackend>(
        &self,
        empty: &Memory<B>,
        device: &B::Device,
    ) -> Result<Memory<B>, EngineError> {
        let rows = match self.has(ROWS) {
            true => Some(self.floats::<B>(ROWS, device)?),
            false => None,
        };
        Memory::restore(
            empty.size(),
            empty.policy(),
            rows,
            self.numbers(LABELS)?,
            self.number(POSITION)? as usize,
            self.number(STEPS)?,
        )
        .map_err(|error| refuse(self.path, error.to_string()))
    }
}

fn refuse(path: &Path, problem: String) -> EngineError {
    EngineError::Weights {
        path: path.to_owned(),
        problem,
    }
}

fn primitive<B: Backend>(tensor: Tensor<B, 2>) -> B::FloatTensorPrimitive {
    tensor.into_primitive().tensor()
}
