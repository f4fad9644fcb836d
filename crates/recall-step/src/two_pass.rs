//! One optimisation step over a batch too large for one graph (section 3.3 of the paper).
//!
//! A loss over a batch needs every embedding at once, but a graph for every image does not fit. The
//! chain rule allows two passes:
//!
//! 1. Embed the batch chunk by chunk without a graph, keeping the `n × d` embeddings only.
//! 2. Compute the loss and its gradient `g` with respect to the embeddings.
//! 3. Embed each chunk again with a graph and back-propagate `Σ e · g` into the parameters.
//!
//! The sum over chunks is the gradient of the whole batch, exactly, as long as both passes compute
//! the same function. Two things could break that. Random layers would draw anew: so the generator
//! is seeded for each chunk, in both passes alike. Batch normalisation would mix the images of a
//! chunk: so a model with unfrozen statistics is refused.
//!
//! Over several ranks each embeds some of the chunks. Between the passes all gather the embeddings, and each
//! goes back through its own rows; then the gradients of the parameters are added up. What is sent is the
//! embeddings and one set of gradients, however large the batch.

use std::convert::Infallible;
use std::ops::Range;

use burn::module::{AutodiffModule, Module, ModuleVisitor};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use thiserror::Error;

use crate::collective::floats;
use crate::gradients::sum_over;
use crate::{Collective, CollectiveError, Share, Solo, value_and_grad};

/// Why a step could not be taken; `E` is how the objective fails.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum StepError<E> {
    /// The objective refused the embeddings.
    #[error("{0}")]
    Objective(E),
    /// The model holds a batch normalisation whose statistics follow the batch.
    #[error(
        "the model's batch normalisation `{path}` takes its statistics from each chunk, so chunks \
         would not add up to the batch; replace it by FrozenBatchNorm or another normalisation"
    )]
    BatchNorm {
        /// Where it is in the model.
        path: String,
    },
    /// A chunk of no rows, or a batch of none.
    #[error("a batch of {rows} rows cannot be taken in chunks of {chunk}; both must be at least 1")]
    Empty {
        /// Rows of the batch.
        rows: usize,
        /// Rows of a chunk.
        chunk: usize,
    },
    /// The closure that embeds returned another number of rows than it was asked for.
    #[error("asked for the embeddings of rows {asked:?}, got {got} rows")]
    Rows {
        /// The rows that were asked for.
        asked: Range<usize>,
        /// How many came.
        got: usize,
    },
    /// The gradient that the objective returned is not one of the embeddings.
    #[error(
        "the objective returned a gradient of shape {got:?} for embeddings of shape {embeddings:?}"
    )]
    Gradient {
        /// `[n, d]` of the embeddings.
        embeddings: [usize; 2],
        /// The shape that came.
        got: [usize; 2],
    },
    /// The ranks cannot go on together.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
}

/// The two-pass step: how large its chunks are and what its random layers draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwoPass {
    /// Rows that are embedded with a graph at once. Memory grows with the chunk, not with the batch.
    /// A chunk of the batch's size or more makes this the ordinary step, with one forward pass.
    pub chunk: usize,
    /// What dropout and other random layers draw depends on this alone; give each step its own.
    pub seed: u64,
}

/// What a step computes; `T` is what the objective returns beside its gradient.
#[derive(Debug)]
pub struct StepOutput<B: AutodiffBackend, T> {
    /// What the objective returned beside its gradient: a loss, or whatever else there is to know.
    pub objective: T,
    /// `[n, d]`: the embeddings of the batch.
    pub embeddings: Tensor<B::InnerBackend, 2>,
    /// The gradients of the parameters, ready for [`Optimizer::step`](burn::optim::Optimizer::step).
    pub gradients: GradientsParams,
}

impl TwoPass {
    /// Computes the gradients of `objective` over a batch of `rows` rows.
    ///
    /// `embed` gives the embeddings `[range.len(), d]` of some rows of the batch by the model it is
    /// handed. It is called once or twice for each chunk and must feed the same input both times:
    /// augment before the step, not within it. `objective` is called once, with all embeddings
    /// `[rows, d]`. It returns its gradient with respect to them, `[rows, d]`, and whatever else is to
    /// be known of the step.
    ///
    /// The backend's random generator is left seeded by this step.
    ///
    /// # Errors
    ///
    /// [`StepError`]; the model is untouched in every case.
    pub fn run<B, M, T, E>(
        &self,
        model: &M,
        rows: usize,
        embed: impl Fn(&M, Range<usize>) -> Tensor<B, 2>,
        objective: impl FnOnce(Tensor<B::InnerBackend, 2>) -> Result<(Tensor<B::InnerBackend, 2>, T), E>,
    ) -> Result<StepOutput<B, T>, StepError<E>>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        let objective = |embeddings, _| objective(embeddings);
        self.run_over(&Solo, Share::whole(rows), model, embed, objective)
    }

    /// The same over several ranks, each of which has a [`share`](crate::share) of the batch and comes to the
    /// same gradients, bit for bit. All call this with the same model, chunk and seed.
    ///
    /// `embed` is asked for rows of this rank's share, numbered from 0. `objective` gets the embeddings of the
    /// whole batch `[n, d]`, those of the ranks one behind the other, and says which of them are this rank's.
    /// It returns the gradient with respect to all of them, `[n, d]`, of which this rank's rows are used, and
    /// has to be the same function everywhere. One that computes a part of the gradient on each rank adds
    /// them up by itself ([`Collective::all_reduce`]).
    ///
    /// A rank whose share came out smaller than planned, since an image could not be read, hands in the rows
    /// that it has: the batch is smaller by so many. Embeddings and gradients pass from rank to rank as `f32`.
    /// What is random is drawn as by one process, chunk by chunk.
    ///
    /// ```
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::{Distribution, Tensor};
    /// use recall_step::{Share, TwoPass, in_turns, share, value_and_grad};
    ///
    /// type Backend = burn::backend::Autodiff<burn_flex::Flex>;
    ///
    /// let device = Default::default();
    /// let items = Tensor::<Backend, 2>::random([90, 8], Distribution::Default, &device);
    /// let model: Linear<Backend> = LinearConfig::new(8, 4).init(&device);
    /// let two_pass = TwoPass { chunk: 16, seed: 0 };
    /// let losses = in_turns(2, |ranks| {
    ///     let own = share(&*ranks, 90, 16);
    ///     let step = two_pass.run_over(
    ///         &*ranks,
    ///         Share { first_chunk: own.start / 16, rows: own.len() },
    ///         &model,
    ///         |model, rows| {
    ///             let rows = own.start + rows.start..own.start + rows.end;
    ///             model.forward(items.clone().slice([rows]))
    ///         },
    ///         |embeddings, _| {
    ///             let spread = |all: Tensor<Backend, 2>| all.var(0).mean();
    ///             let (loss, gradient) = value_and_grad::<Backend>(embeddings, spread);
    ///             Ok::<_, std::convert::Infallible>((gradient, loss.into_scalar()))
    ///         },
    ///     );
    ///     step.map(|step| step.objective)
    /// });
    /// assert_eq!(losses[0], losses[1]);
    /// ```
    ///
    /// # Errors
    ///
    /// [`StepError`]; the model is untouched in every case. What one rank alone refuses leaves the others
    /// waiting for it: whoever runs the ranks ends them.
    pub fn run_over<B, M, T, E>(
        &self,
        ranks: &dyn Collective,
        share: Share,
        model: &M,
        embed: impl Fn(&M, Range<usize>) -> Tensor<B, 2>,
        objective: impl FnOnce(
            Tensor<B::InnerBackend, 2>,
            Range<usize>,
        ) -> Result<(Tensor<B::InnerBackend, 2>, T), E>,
    ) -> Result<StepOutput<B, T>, StepError<E>>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        let Share { first_chunk, rows } = share;
        let empty = StepError::Empty {
            rows,
            chunk: self.chunk,
        };
        let alone = ranks.size() == 1;
        if (rows == 0 && alone) || self.chunk == 0 {
            return Err(empty);
        }
        refuse_batch_norm(model)?;
        let device = model.devices().into_iter().next().unwrap_or_default();
        let embed = |model: &M, index: usize| {
            let range = index * self.chunk..rows.min((index + 1) * self.chunk);
            B::seed(&device, self.chunk_seed(first_chunk + index));
            let embeddings = embed(model, range.clone());
            match embeddings.dims()[0] {
                got if got == range.len() => Ok(embeddings),
                got => Err(StepError::Rows { asked: range, got }),
            }
        };

        // Without gradients nothing is recorded, yet the model is the one that trains: `valid()`
        // would switch dropout off, and the passes would see two functions. The last chunk is
        // embedded with its graph at once, which saves its second forward pass.
        let chunks = rows.div_ceil(self.chunk);
        let last = chunks.checked_sub(1);
        let frozen = model.clone().no_grad();
        let mut embeddings = Vec::with_capacity(chunks);
        for index in 0..last.unwrap_or(0) {
            embeddings.push(embed(&frozen, index)?.inner());
        }
        let last = match last {
            Some(index) => {
                let with_graph = embed(model, index)?;
                embeddings.push(with_graph.clone().inner());
                Some((index, with_graph))
            }
            None => None,
        };
        let (embeddings, own) = match alone {
            true => (Tensor::cat(embeddings, 0), 0..rows),
            false => gather(ranks, embeddings, &device)?.ok_or(empty)?,
        };

        let (grad, objective) =
            objective(embeddings.clone(), own.clone()).map_err(StepError::Objective)?;
        if grad.dims() != embeddings.dims() {
            return Err(StepError::Gradient {
                embeddings: embeddings.dims(),
                got: grad.dims(),
            });
        }

        // The accumulator moves each running sum out, adds to it and moves it back, and the gradient of the
        // chunk goes as it is added. So on Flex the sum stays where it is, and there are two sets of gradients
        // at most: the sum, and what a backward pass has found. Only a gradient that is a view with its axes
        // swapped, as Burn's own convolutions leave them, makes Flex write that one sum anew.
        let mut accumulator = GradientsAccumulator::new();
        let mut back_propagate = |index: usize, embeddings: Tensor<B, 2>| {
            let [count, dim] = embeddings.dims();
            let start = own.start + index * self.chunk;
            let slope = grad.clone().slice([start..start + count, 0..dim]);
            let gradients = (embeddings * Tensor::from_inner(slope)).sum().backward();
            accumulator.accumulate(model, GradientsParams::from_grads(gradients, model));
        };
        if let Some((last, with_graph)) = last {
            back_propagate(last, with_graph);
            for index in 0..last {
                back_propagate(index, embed(model, index)?);
            }
        }
        let gradients = match alone {
            true => accumulator.grads(),
            false => sum_over::<B, M>(ranks, model, accumulator.grads())?,
        };
        Ok(StepOutput {
            objective,
            embeddings,
            gradients,
        })
    }

    /// The same for a loss that Burn differentiates: `loss` gets all embeddings `[rows, d]` as the leaf
    /// of a graph of its own and returns `[1]`. The value comes back in
    /// [`objective`](StepOutput::objective). A loss that does not depend on the embeddings has a
    /// gradient of zero, as one that has nothing left to improve.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_autodiff<B, M>(
        &self,
        model: &M,
        rows: usize,
        embed: impl Fn(&M, Range<usize>) -> Tensor<B, 2>,
        loss: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 1>,
    ) -> Result<StepOutput<B, Tensor<B::InnerBackend, 1>>, StepError<Infallible>>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        self.run(model, rows, embed, |embeddings| {
            let (value, gradient) = value_and_grad::<B>(embeddings, loss);
            Ok((gradient, value))
        })
    }

    /// What the generator is seeded with before chunk `index` is embedded, in both passes.
    ///
    /// Another one for every chunk of every step: the finaliser of SplitMix64.
    pub fn chunk_seed(&self, index: usize) -> u64 {
        let mut z = self.seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The embeddings of all ranks `[n, d]`, and which rows are this rank's; none if no rank has any.
type Gathered<B> = Option<(Tensor<B, 2>, Range<usize>)>;

/// Puts the chunks of all ranks one behind the other.
fn gather<B: Backend>(
    ranks: &dyn Collective,
    chunks: Vec<Tensor<B, 2>>,
    device: &B::Device,
) -> Result<Gathered<B>, CollectiveError> {
    const LENGTH: usize = size_of::<u64>();
    let dtype = chunks.first().map(Tensor::dtype);
    let dim = chunks.first().map_or(0, |rows| rows.dims()[1]);
    // The length of a row, then the rows.
    let mut own = (dim as u64).to_ne_bytes().to_vec();
    for rows in chunks {
        let values = rows.into_data();
        own.extend(values.iter::<f32>().flat_map(f32::to_ne_bytes));
    }
    let all = ranks.all_gather(&own)?;
    let dim_of = |bytes: &[u8]| -> Option<usize> {
        let length = bytes.first_chunk::<LENGTH>()?;
        usize::try_from(u64::from_ne_bytes(*length)).ok()
    };
    let Some(dim) = all.iter().filter_map(|bytes| dim_of(bytes)).max() else {
        return Ok(None);
    };
    let (mut values, mut own_rows) = (Vec::new(), 0..0);
    for (rank, bytes) in all.iter().enumerate() {
        let rows = bytes.get(LENGTH..).unwrap_or_default();
        let fits = rows.is_empty() || dim_of(bytes) == Some(dim);
        if !fits || (dim > 0 && !rows.len().is_multiple_of(4 * dim)) {
            return Err(CollectiveError::Differs {
                rank,
                problem: format!("has embeddings of another length than {dim} numbers"),
            });
        }
        let start = values.len().checked_div(dim).unwrap_or(0);
        values.extend(floats(rows));
        if rank == ranks.rank() {
            own_rows = start..values.len().checked_div(dim).unwrap_or(0);
        }
    }
    if values.is_empty() {
        return Ok(None);
    }
    let shape = [values.len() / dim, dim];
    let data = TensorData::new(values, shape);
    let embeddings = match dtype {
        Some(dtype) => Tensor::from_data(data, (device, dtype)),
        None => Tensor::from_data(data, device),
    };
    Ok(Some((embeddings, own_rows)))
}

fn refuse_batch_norm<B: AutodiffBackend, M: Module<B>, E>(model: &M) -> Result<(), StepError<E>> {
    let mut search = BatchNormSearch::default();
    model.visit(&mut search);
    match search.found {
        Some(path) => Err(StepError::BatchNorm { path }),
        None => Ok(()),
    }
}

/// Finds the path of the first of Burn's own batch normalisations, which has no frozen form.
#[derive(Default)]
struct BatchNormSearch {
    path: Vec<String>,
    found: Option<String>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for BatchNormSearch {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        // `name` is a field and `container_type` the struct that has it, whose path we are at.
        if self.found.is_none() && container_type == "Struct:BatchNorm" {
            self.found = Some(self.path.join("."));
        }
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}
