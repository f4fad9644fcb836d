//! Cross-batch memory (Wang, Zhang, Huang and Scott, "Cross-Batch Memory for Embedding Learning", CVPR 2020).

use burn::config::Config;
use burn::tensor::{Int, Tensor, backend::Backend};
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use crate::error::{not_negative, require};
use crate::loss::{check_finite, drawn_seed, on_host};
use crate::{Batch, LossError, PairLoss, Places};

/// Where a batch goes that does not fit before the end of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryPolicy {
    /// To its last slots and on to its first ones, so that the oldest rows are replaced.
    Ring,
    /// To the last slots, all of it, as in the released code. So a batch may replace rows of the one before it, and
    /// does so whenever the size is a multiple of the batch: a fault, kept for comparisons.
    Tail,
}

/// Settings of the cross-batch memory; [`init`](Self::init) checks them and takes the loss.
#[derive(Config, Debug, PartialEq)]
pub struct CrossBatchMemoryConfig {
    /// How many rows are remembered. Default 8,192, as in the released code; its authors took 55,000 for the 59,551
    /// images of SOP.
    #[config(default = 8192)]
    pub size: usize,
    /// Where a batch goes that does not fit before the end. Default [`MemoryPolicy::Ring`].
    #[config(default = "MemoryPolicy::Ring")]
    pub policy: MemoryPolicy,
    /// Weight of the comparisons with the memory. Default 1.
    #[config(default = 1.0)]
    pub weight: f64,
    /// How many steps pass before anything is remembered: at first, embeddings change too fast. Default 1,000.
    #[config(default = 1000)]
    pub start: usize,
}

impl CrossBatchMemoryConfig {
    /// Checks the settings and puts the memory around a loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init<L>(&self, loss: L) -> Result<CrossBatchMemory<L>, LossError> {
        let some = "a memory needs at least one row";
        require(self.size > 0, "size", self.size, some)?;
        not_negative("weight", self.weight)?;
        Ok(CrossBatchMemory {
            config: self.clone(),
            loss,
        })
    }
}

/// `loss(batch, batch) + w · loss(batch, memory)`, where the memory holds rows of past batches without gradient;
/// made by [`CrossBatchMemoryConfig::init`].
///
/// A batch enters the memory before it is compared with it. A row's own copy is no pair; copies from earlier steps
/// are pairs like others. What the rows of a batch have to be, and what becomes of lonely ones, is up to the loss,
/// which may be a `Box<dyn PairLoss<B>>`. In the paper it is [the cosine form of the contrastive
/// loss](crate::ContrastiveConfig::cosine).
///
/// What changes from step to step is apart, a [`Memory`].
///
/// ```
/// use burn::tensor::{Int, Tensor};
/// use recall_baselines::{ContrastiveConfig, CrossBatchMemoryConfig, Memory};
///
/// type Backend = burn::backend::Autodiff<burn_flex::Flex>;
///
/// # fn main() -> Result<(), recall_baselines::LossError> {
/// let device = Default::default();
/// let loss = CrossBatchMemoryConfig::new()
///     .with_size(6)
///     .with_start(0)
///     .init(ContrastiveConfig::cosine().init()?)?;
/// let mut memory: Memory<Backend> = loss.memory();
/// for step in 0..2 {
///     let embeddings = Tensor::<Backend, 2>::from_floats(
///         [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]],
///         &device,
///     )
///     .require_grad();
///     let labels = Tensor::<Backend, 1, Int>::from_ints([0, 0, 1 + step, 1 + step], &device);
///     let value = loss.forward(embeddings.clone(), labels, &mut memory)?;
///     assert_eq!(embeddings.grad(&value.backward()).unwrap().dims(), [4, 2]);
/// }
/// assert_eq!(memory.labels(), [2, 2, 1, 1, 0, 0]);
/// # Ok(())
/// # }
/// ```
///
/// Elsewhere: the released code takes a full memory for an empty one if the label in its last slot is 0 and the next
/// batch goes to its first slots. pytorch-metric-learning returns the second term only.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossBatchMemory<L> {
    config: CrossBatchMemoryConfig,
    loss: L,
}

impl<L> CrossBatchMemory<L> {
    /// An empty memory of these settings.
    pub fn memory<B: Backend>(&self) -> Memory<B> {
        Memory::new(self.config.size, self.config.policy)
    }

    /// The loss of a batch, `[1]`, which goes into the memory if its loss can be computed.
    ///
    /// A step may come to nothing after that, by a gradient that is not finite, say: call it with a clone of the
    /// memory, and keep that once the step is made.
    ///
    /// # Errors
    ///
    /// [`LossError`] if the batch lacks what the loss needs, or does not fit together or to the memory.
    pub fn evaluate<B: RecallBackend>(
        &self,
        batch: Batch<'_, B>,
        memory: &mut Memory<B>,
    ) -> Result<Tensor<B, 1>, LossError>
    where
        L: PairLoss<B>,
    {
        batch.dims()?;
        if memory.steps < self.config.start as u64 {
            let loss = self.loss.evaluate(batch)?;
            memory.steps += 1;
            return Ok(loss);
        }
        let (embeddings, labels) = (batch.embeddings.clone(), batch.labels);
        let within = self.loss.evaluate(batch)?;
        let mut next = memory.clone();
        let own = next.enqueue(embeddings.clone(), labels)?;
        let places = Places::between(labels, next.labels(), &own).with_constant_references();
        let Some(references) = next.filled() else {
            return Ok(within);
        };
        let between = self.loss.between(embeddings, references, &places)?;
        *memory = next;
        Ok(within + between.mul_scalar(self.config.weight))
    }

    /// The loss of embeddings `[n, d]` with labels `[n]`, `[1]`; see [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    ///
    /// As `evaluate`, and [`LossError::NonFinite`].
    pub fn forward<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        memory: &mut Memory<B>,
    ) -> Result<Tensor<B, 1>, LossError>
    where
        L: PairLoss<B>,
    {
        let labels = on_host(labels);
        check_finite(&embeddings)?;
        let seed = drawn_seed::<B>(&embeddings.device());
        let batch = Batch {
            embeddings,
            labels: &labels,
            parameters: None,
            seed,
        };
        self.evaluate(batch, memory)
    }
}

/// Rows of past batches and their labels, in a fixed number of slots.
///
/// It is the whole state of a [`CrossBatchMemory`], and the queue of a
/// [`HardNegativeMixing`](crate::HardNegativeMixing). A clone shares the rows until either is written to.
/// [`restore`](Self::restore) makes it again, bit for bit, of what [`rows`](Self::rows), [`labels`](Self::labels),
/// [`position`](Self::position) and [`steps`](Self::steps) tell.
#[derive(Debug, Clone)]
pub struct Memory<B: Backend> {
    size: usize,
    policy: MemoryPolicy,
    /// `[size, d]`; zero where nothing was remembered yet.
    rows: Option<Tensor<B, 2>>,
    /// Of the slots that are filled, which are the first ones.
    labels: Vec<i64>,
    position: usize,
    steps: u64,
}

impl<B: Backend> Memory<B> {
    /// An empty memory of `size` slots. The first batch tells of how many numbers a row is, and of which type.
    pub fn new(size: usize, policy: MemoryPolicy) -> Self {
        Self {
            size,
            policy,
            rows: None,
            labels: Vec::new(),
            position: 0,
            steps: 0,
        }
    }

    /// A memory as it was: `rows` `[size, d]`, or none if there were none, the labels of the filled slots,
    /// the slot of the next row, and how many steps were seen.
    ///
    /// # Errors
    ///
    /// [`LossError::Mixture`] if they do not fit together.
    pub fn restore(
        size: usize,
        policy: MemoryPolicy,
        rows: Option<Tensor<B, 2>>,
        labels: Vec<i64>,
        position: usize,
        steps: u64,
    ) -> Result<Self, LossError> {
        let count = rows.as_ref().map_or(size, |rows| rows.dims()[0]);
        let problem = if count != size {
            format!("a memory of {size} slots cannot hold {count} rows")
        } else if labels.len() > size || (rows.is_none() && !labels.is_empty()) {
            format!(
                "there are {} labels for the rows of a memory of {size} slots",
                labels.len()
            )
        } else if position > size || (labels.len() < size && position != labels.len()) {
            let filled = labels.len();
            format!("with {filled} of {size} slots filled the next one cannot be {position}")
        } else {
            return Ok(Self {
                size,
                policy,
                rows: rows.map(Tensor::detach),
                labels,
                position,
                steps,
            });
        };
        Err(LossError::Mixture(problem))
    }

    /// Puts a batch into the next slots, and tells the slot of each row. Of a batch larger than the memory the last
    /// rows stay; the others have no slot.
    ///
    /// # Errors
    ///
    /// [`LossError::LabelCount`], and [`LossError::Mixture`] if rows are of another length than those before.
    pub fn enqueue(
        &mut self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<Vec<Option<usize>>, LossError> {
        let [count, dim] = embeddings.dims();
        if labels.len() != count {
            return Err(LossError::LabelCount {
                labels: labels.len(),
                embeddings: count,
            });
        }
        let width = self.rows.as_ref().map_or(dim, |rows| rows.dims()[1]);
        if width != dim {
            return Err(LossError::Mixture(format!(
                "the memory holds embeddings of {width} numbers, and these have {dim}"
            )));
        }
        self.steps += 1;
        let kept = count.min(self.size);
        let gone = count - kept;
        if kept == 0 {
            return Ok(vec![None; count]);
        }
        let start = match self.policy {
            MemoryPolicy::Ring => (self.position + gone) % self.size,
            MemoryPolicy::Tail if self.position + kept > self.size => self.size - kept,
            MemoryPolicy::Tail => self.position,
        };
        self.position = match self.policy {
            MemoryPolicy::Ring => (start + kept) % self.size,
            MemoryPolicy::Tail if self.position + kept > self.size => 0,
            MemoryPolicy::Tail => start + kept,
        };

        let embeddings = embeddings.detach();
        let mut rows = self.rows.take().unwrap_or_else(|| {
            let options = (&embeddings.device(), embeddings.dtype());
            Tensor::zeros([self.size, dim], options)
        });
        let embeddings = embeddings.cast(rows.dtype());
        let first = kept.min(self.size - start);
        for (from, to, length) in [(gone, start, first), (gone + first, 0, kept - first)] {
            if length > 0 {
                let part = embeddings.clone().slice([from..from + length, 0..dim]);
                rows = rows.slice_assign([to..to + length, 0..dim], part);
            }
        }
        self.rows = Some(rows.detach());

        let slots = (0..count).map(|row| {
            let kept = row.checked_sub(gone)?;
            Some((start + kept) % self.size)
        });
        let slots: Vec<Option<usize>> = slots.collect();
        let end = slots.iter().flatten().max().map_or(0, |last| last + 1);
        let filled = self.labels.len().max(end);
        self.labels.resize(filled, 0);
        for (slot, &label) in slots.iter().zip(labels) {
            if let Some(slot) = *slot {
                self.labels[slot] = label;
            }
        }
        Ok(slots)
    }

    /// The rows of the filled slots, `[filled, d]`; none if there are none.
    pub fn filled(&self) -> Option<Tensor<B, 2>> {
        let rows = self.rows.as_ref()?;
        let [_, dim] = rows.dims();
        match self.labels.len() {
            0 => None,
            filled if filled == self.size => Some(rows.clone()),
            filled => Some(rows.clone().slice([0..filled, 0..dim])),
        }
    }

    /// The rows of all slots, `[size, d]`, zero where a slot is empty; none before the first batch.
    pub fn rows(&self) -> Option<&Tensor<B, 2>> {
        self.rows.as_ref()
    }

    /// The labels of the filled slots, which are the first ones.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// The slot of the next row. Where a batch is put to the tail, it may be the number of slots.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many steps it has seen, those before its start included.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Number of slots.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where a batch goes that does not fit before the end.
    pub fn policy(&self) -> MemoryPolicy {
        self.policy
    }
}
