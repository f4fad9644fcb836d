//! Symmetrical Synthesis (Gu and Ko, "Symmetrical Synthesis for Deep Metric Learning", AAAI 2020).

use std::collections::BTreeMap;

use burn::config::Config;
use burn::tensor::{Bool, Tensor, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_loss::{RecallBackend, plain::products};

use crate::dense::{only, ordered, unit};
use crate::error::not_negative;
use crate::proxies::log_sums;
use crate::{Batch, LossError, MetricLoss};

/// Settings of Symmetrical Synthesis; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct SymmetricalSynthesisConfig {
    /// Weight of the squared lengths of rows; a quarter of it is what they are multiplied by. Default 0.002.
    #[config(default = 0.002)]
    pub l2: f64,
}

impl SymmetricalSynthesisConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<SymmetricalSynthesis, LossError> {
        not_negative("l2", self.l2)?;
        Ok(SymmetricalSynthesis(self.clone()))
    }
}

/// N-pair loss on the hardest of real and mirrored items; made by [`SymmetricalSynthesisConfig::init`].
///
/// Of a pair `(a, p)` of a class, `p` is mirrored at the line through `a`, `a' = 2 (p · â) â − p`, and `a` at that
/// through `p`, `p' = 2 (a · p̂) p̂ − a`. The similarity of class `c` with class `k` is the largest of `a_c · p_k`,
/// `a_c · a'_k`, `a_c · p'_k`, `p_c · a'_k`, `p_c · p'_k` and `a'_c · p'_k`; the loss is
/// `mean_c CE(softmax_k S_ck, c) + λ/4 (mean |a|² + mean |p|²)`.
///
/// Rows are as long as the model makes them. One pair of each class with two items is drawn from the seed of the
/// batch, [`pairs`](Self::pairs), or given, [`of_pairs`](Self::of_pairs). Lonely items have no part in the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct SymmetricalSynthesis(SymmetricalSynthesisConfig);

impl SymmetricalSynthesis {
    /// One pair of rows, an anchor and a positive, of each class with two items, drawn by a seed; in the order of
    /// labels.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] unless two classes have two items.
    pub fn pairs(&self, labels: &[i64], seed: u64) -> Result<Vec<[usize; 2]>, LossError> {
        let mut classes = BTreeMap::<i64, Vec<usize>>::new();
        for (row, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(row);
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let pairs: Vec<[usize; 2]> = (classes.values())
            .filter(|rows| rows.len() > 1)
            .map(|rows| {
                let anchor = random.random_range(0..rows.len());
                let step = random.random_range(1..rows.len());
                [rows[anchor], rows[(anchor + step) % rows.len()]]
            })
            .collect();
        match pairs.len() > 1 {
            true => Ok(pairs),
            false => Err(lacking(labels.len())),
        }
    }

    /// The mirror images `(a', p')` of anchors and positives `[n, d]`: of each positive at the line through its
    /// anchor, and of each anchor at the line through its positive.
    pub fn mirrored<B: Backend>(
        &self,
        anchors: Tensor<B, 2>,
        positives: Tensor<B, 2>,
    ) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let image = |of: Tensor<B, 2>, line: Tensor<B, 2>| {
            let line = unit(line);
            let along = (of.clone() * line.clone()).sum_dim(1);
            (line * along).mul_scalar(2.0) - of
        };
        (
            image(positives.clone(), anchors.clone()),
            image(anchors, positives),
        )
    }

    /// The loss of embeddings `[n, d]` with given pairs of rows, an anchor and a positive of each class, `[1]`.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] of fewer than two pairs, [`LossError::Mixture`] if one is not of the batch.
    pub fn of_pairs<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        pairs: &[[usize; 2]],
    ) -> Result<Tensor<B, 1>, LossError> {
        let [items, _] = embeddings.dims();
        if pairs.len() < 2 {
            return Err(lacking(items));
        }
        if let Some(row) = pairs.iter().flatten().find(|&&row| row >= items) {
            return Err(LossError::Mixture(format!(
                "row {row} is in a pair, and the batch has {items}"
            )));
        }
        let [anchors, positives] = [0, 1].map(|side| {
            let rows: Vec<usize> = pairs.iter().map(|pair| pair[side]).collect();
            ordered(embeddings.clone(), &rows)
        });
        let (near, far) = self.mirrored(anchors.clone(), positives.clone());
        let products =
            |rows: &Tensor<B, 2>, columns: &Tensor<B, 2>| products(rows.clone(), columns.clone());
        let mut similarities = products(&anchors, &positives);
        for (rows, columns) in [
            (&anchors, &near),
            (&anchors, &far),
            (&positives, &near),
            (&positives, &far),
            (&near, &far),
        ] {
            similarities = similarities.max_pair(products(rows, columns));
        }
        let shape = [pairs.len(), pairs.len()];
        let own = Tensor::<B, 2, Bool>::diag_mask(shape, 0, &embeddings.device()).bool_not();
        let same = only(similarities.clone(), &own).sum_dim(1);
        let loss = (log_sums(similarities) - same).mean();
        if self.0.l2 == 0.0 {
            return Ok(loss);
        }
        let squares = |rows: Tensor<B, 2>| (rows.clone() * rows).sum();
        let lengths = squares(anchors) + squares(positives);
        Ok(loss + lengths.mul_scalar(0.25 * self.0.l2 / pairs.len() as f64))
    }
}

fn lacking(items: usize) -> LossError {
    LossError::Lacking {
        loss: "Symmetrical Synthesis",
        needs: "two classes with two items each",
        items,
        remedy: "sample at least two items of each class",
    }
}

impl<B: RecallBackend> MetricLoss<B> for SymmetricalSynthesis {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let pairs = self.pairs(batch.labels, batch.seed)?;
        self.of_pairs(batch.embeddings, &pairs)
    }
}
