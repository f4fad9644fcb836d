//! Weights of models as files, under the names that torchvision and timm give them.
//!
//! A file that this module writes is a state dict in safetensors format: convolutions and linear
//! layers are laid out as PyTorch lays them out, and the head of the paper goes by `embedding.*`,
//! the exponent of GeM pooling by `gem.p`. Every tensor of a file that is read is accounted for.

mod file;
mod foreign;
mod names;
mod originals;
pub(crate) mod position;
mod pytorch;
mod safe;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{TensorData, backend::Backend};
use burn_store::{ModuleSnapshot, TensorSnapshot};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};

use crate::EngineError;
use position::Regrid;
use stored::Stored;

/// What came of reading a file of weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedWeights {
    /// How many tensors the model took.
    pub taken: usize,
    /// Tensors of the file that no embedding model needs, such as the classifier's, by name.
    pub ignored: Vec<String>,
    /// Tensors of the head that the file lacks as a whole, so that they keep their values, by name.
    pub fresh: Vec<String>,
    /// The grids of patches from which and to which position embeddings were interpolated.
    pub interpolated: Option<[[usize; 2]; 2]>,
    /// What was taken, in words, where the file has other names than torchvision and timm.
    pub original: Option<&'static str>,
}

impl LoadedWeights {
    /// In words, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("{} tensors loaded", self.taken)];
        if let Some(original) = self.original {
            notes[0] += &format!(" ({original})");
        }
        if !self.fresh.is_empty() {
            notes[0] += ", the head starts from random values";
        }
        if !self.ignored.is_empty() {
            notes.push(format!("not needed: {}", listed(&self.ignored)));
        }
        if let Some([from, to]) = self.interpolated {
            notes.push(format!(
                "position embeddings interpolated from {} × {} to {} × {} patches",
                from[0], from[1], to[0], to[1]
            ));
        }
        notes
    }
}

/// Loads a model's weights from a file in safetensors format or from a state dict that PyTorch saved,
/// in any format since 0.1.10; nothing in it is run. What is in the file decides, not its name.
///
/// Names are those of torchvision and timm, or of [`save_weights`]; also those of open_clip, whose image tower is
/// taken, of DINOv2's authors, and of cirtorch's ResNets with their GeM and projection. Half precision becomes single.
/// What the file may hold beyond the model is the classifier (`fc.*`, `head.*`), batch
/// normalisation's `num_batches_tracked`, `pre_logits.*` and `mask_token`. What it may lack is the
/// head of the embedding, as a whole or all but GeM's exponent. `grid` is the model's grid of patches if it has one: position
/// embeddings of another square grid are interpolated to it.
///
/// # Errors
///
/// [`EngineError::Weights`], which lists by name the tensors that are missing, left over, of another
/// shape, unreadable or not finite. The check is done before any number is taken.
pub fn load_weights<B: Backend, M: Module<B>>(
    mut model: M,
    path: &Path,
    grid: Option<[usize; 2]>,
) -> Result<(M, LoadedWeights), EngineError> {
    let refuse = |problem: String| EngineError::Weights {
        path: path.to_owned(),
        problem,
    };
    let file::Opened {
        tensors: stored,
        others,
        mut source,
        format,
    } = file::read(path).map_err(refuse)?;
    let (mut stored, original) = originals::renamed(stored);
    let tensors = tensors_of(&model);
    let mut loaded = LoadedWeights {
        original,
        ..LoadedWeights::default()
    };
    let mut regrid = None;

    // cirtorch's first networks have no projection behind their GeM.
    let headless = !stored.keys().any(|name| name.starts_with("embedding."));
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for tensor in &tensors {
        match stored.get(&tensor.name) {
            None if headless && is_head(&tensor.name) => loaded.fresh.push(tensor.name.clone()),
            None => match others.get(&tensor.name) {
                Some(what) => return Err(refuse(format!("{} {what}", tensor.name))),
                None => missing.push(tensor.name.clone()),
            },
            Some(found) if found.shape == tensor.shape => {}
            Some(found) => match positions(tensor, found, grid) {
                Some(way) => regrid = Some(way),
                None => misshapen.push(format!(
                    "{} is {:?} and should be {:?}",
                    tensor.name, found.shape, tensor.shape
                )),
            },
        }
    }
    let known: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let (ignored, unused): (Vec<_>, Vec<_>) = stored
        .keys()
        .filter(|name| !known.contains(name.as_str()))
        .cloned()
        .partition(|name| is_ignorable(name));
    loaded.ignored = ignored;
    if missing.len() * 2 > tensors.len() {
        let wanted: Vec<&str> = missing.iter().map(String::as_str).collect();
        if let Some(word) = names::before_names(&wanted, &stored, path, format) {
            return Err(refuse(word));
        }
    }
    let faults = [
        ("missing", missing),
        ("of another shape", misshapen),
        ("unknown to the model", unused),
    ];
    let mut faults: Vec<String> = faults
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", listed(names)))
        .collect();
    if !faults.is_empty() {
        if original == Some(originals::CIRTORCH) {
            let theirs = "networks of cirtorch with a projection are model.pooling=gem, model.head=whitening and a \
                          model.dim of the backbone's features";
            faults.push(theirs.into());
        }
        return Err(refuse(faults.join("; ")));
    }

    loaded.interpolated = regrid.as_ref().and_then(Regrid::interpolated);
    let class_position = match (&regrid, stored.get("pos_embed")) {
        (Some(regrid), Some(positions)) if regrid.adds_class_position() => {
            let unread = |problem| refuse(format!("the tensor pos_embed {problem}"));
            Some(source.read(positions).map_err(unread)?)
        }
        _ => None,
    };

    let mut snapshots = Vec::with_capacity(tensors.len());
    let mut not_finite = Vec::new();
    for tensor in tensors {
        let Some(found) = stored.remove(&tensor.name) else {
            continue;
        };
        let mut values = source
            .read(&found)
            .map_err(|problem| refuse(format!("the tensor {} {problem}", tensor.name)))?;
        let count = values.iter().filter(|value| !value.is_finite()).count();
        if count > 0 {
            not_finite.push(format!("{} ({count} of {})", tensor.name, values.len()));
            continue;
        }
        match (&regrid, &class_position) {
            (Some(regrid), _) if tensor.name == "pos_embed" => values = regrid.apply(&values),
            (_, Some(position)) if tensor.name == "cls_token" => {
                let pairs = values.iter_mut().zip(position);
                pairs.for_each(|(value, position)| *value += position);
            }
            _ => {}
        }
        let data = TensorData::new(values, tensor.shape.clone());
        loaded.taken += 1;
        snapshots.push(tensor.snapshot(data));
    }
    if !not_finite.is_empty() {
        return Err(refuse(format!(
            "numbers that are NaN, infinite or beyond single precision: {}; take weights from \
             before they became so",
            listed(&not_finite)
        )));
    }
    let result = model.apply(snapshots, None, None, true);
    match result.errors.first() {
        Some(error) => Err(refuse(one_line(error))),
        None => Ok((model, loaded)),
    }
}

/// The shapes of a file's tensors, by the names that [`load_weights`] knows them by; no number is read.
///
/// # Errors
///
/// [`EngineError::Weights`] if it is no file of weights.
pub(crate) fn shapes_of(path: &Path) -> Result<BTreeMap<String, Vec<usize>>, EngineError> {
    let opened = file::read(path).map_err(|problem| EngineError::Weights {
        path: path.to_owned(),
        problem,
    })?;
    let (tensors, _) = originals::renamed(opened.tensors);
    let named = tensors.into_iter();
    Ok(named.map(|(name, stored)| (name, stored.shape)).collect())
}

/// Writes a model's weights as a state dict in safetensors format.
///
/// # Errors
///
/// [`EngineError::File`] if the file cannot be written.
pub fn save_weights<B: Backend, M: Module<B>>(model: &M, path: &Path) -> Result<(), EngineError> {
    let refuse = |problem: String| EngineError::Weights {
        path: path.to_owned(),
        problem,
    };
    let mut written = BTreeMap::new();
    for tensor in tensors_of(model) {
        let data = tensor
            .origin
            .to_data()
            .map_err(|error| refuse(format!("{}: {error}", tensor.name)))?
            .convert::<f32>();
        let data = tensor.laid_out(data);
        let bytes: Vec<u8> = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        written.insert(tensor.name, (tensor.shape, bytes));
    }
    let views = written
        .iter()
        .map(|(name, (shape, bytes))| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse(error.to_string()))?;
    safetensors::serialize_to_file(views, None, path).map_err(|error| unwritten(path, error))
}

/// Why a file of tensors could not be written.
pub(crate) fn unwritten(path: &Path, error: SafeTensorError) -> EngineError {
    match error {
        SafeTensorError::IoError(source) => EngineError::file("write", path)(source),
        other => EngineError::Weights {
            path: path.to_owned(),
            problem: other.to_string(),
        },
    }
}

/// A tensor of a model as PyTorch has it.
struct ModelTensor {
    name: String,
    shape: Vec<usize>,
    /// Whether Burn holds the transpose.
    transposed: bool,
    origin: TensorSnapshot,
}

fn tensors_of<B: Backend, M: Module<B>>(model: &M) -> Vec<ModelTensor> {
    let snapshots = model.collect(None, None, true).into_iter();
    snapshots.map(ModelTensor::new).collect()
}

impl ModelTensor {
    fn new(origin: TensorSnapshot) -> Self {
        let container = origin.container_type();
        let mut path = origin.path_stack.clone().unwrap_or_default();
        let mut downsample = false;
        for part in &mut path {
            // torchvision's is a sequence of two, numbered and not named.
            let numbered = match part.as_str() {
                "conv" if downsample => Some("0"),
                "bn" if downsample => Some("1"),
                _ => None,
            };
            downsample = part == "downsample";
            if let Some(number) = numbered {
                *part = number.to_owned();
            }
        }
        if let (Some(last), "Struct:LayerNorm") = (path.last_mut(), container.as_str()) {
            match last.as_str() {
                "gamma" => *last = "weight".to_owned(),
                "beta" => *last = "bias".to_owned(),
                _ => {}
            }
        }
        let mut shape = origin.shape.to_vec();
        let transposed = container == "Struct:Linear" && shape.len() == 2;
        if transposed {
            shape.reverse();
        }
        Self {
            name: path.join("."),
            shape,
            transposed,
            origin,
        }
    }

    /// From Burn's layout to PyTorch's, or back: the same exchange of two axes.
    fn laid_out(&self, data: TensorData) -> TensorData {
        match data.shape.to_vec()[..] {
            [rows, columns] if self.transposed => {
                let values: Vec<f32> = data.iter::<f32>().collect();
                let turned: Vec<f32> = (0..columns)
                    .flat_map(|column| values[column..].iter().step_by(columns).copied())
                    .collect();
                TensorData::new(turned, [columns, rows])
            }
            _ => data,
        }
    }

    fn snapshot(&self, data: TensorData) -> TensorSnapshot {
        TensorSnapshot::from_data(
            self.laid_out(data),
            self.origin.path_stack.clone().unwrap_or_default(),
            self.origin.container_stack.clone().unwrap_or_default(),
            self.origin.tensor_id.unwrap_or_default(),
        )
    }
}

/// Whether a tensor belongs to what this project puts behind a backbone.
fn is_head(name: &str) -> bool {
    name.starts_with("embedding.") || name == "gem.p"
}

/// Whether a file may hold this although the model has no use for it.
fn is_ignorable(name: &str) -> bool {
    let classifier = ["fc.", "head.", "head_dist.", "pre_logits."];
    classifier.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with("num_batches_tracked")
        || name == "mask_token"
}

/// How the file's position embeddings become the model's, if these are what differs.
fn positions(tensor: &ModelTensor, found: &Stored, grid: Option<[usize; 2]>) -> Option<Regrid> {
    let ([1, theirs, width], [1, ours, expected]) = (&found.shape[..], &tensor.shape[..]) else {
        return None;
    };
    let fits = tensor.name == "pos_embed" && width == expected;
    fits.then(|| Regrid::between(*theirs, *ours, *width, grid?))?
}

fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names with commas between them; of very many the first.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
