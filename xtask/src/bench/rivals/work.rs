//! A step of each loss.

use burn::backend::Autodiff;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use recall_baselines::{
    AngularConfig, ArcFaceConfig, Batch, BlackboxApConfig, BlackboxRecallConfig, ContrastiveConfig,
    CosFaceConfig, CrossBatchMemoryConfig, FastApConfig, HardNegativeMixingConfig, HistogramConfig,
    InfoNceConfig, LiftedConfig, ListwiseApConfig, MarginConfig, Memory, MemoryPolicy, MetricLoss,
    MetrixConfig, Mixture, MultiSimilarityConfig, NPairConfig, NormSoftmaxConfig,
    ProxyAnchorConfig, ProxyNcaConfig, ProxyNcaPpConfig, ProxySynthesisConfig, SoftTripleConfig,
    SphereFaceConfig, SupConConfig, SymmetricalSynthesisConfig, TripletConfig,
};
use recall_loss::{RecallAtKLossConfig, SmoothApConfig};

use super::case::Case;
use super::inputs;
use super::kind::{CENTRES, HARDEST, Kind, LAMBDA, MIXTURES, QUERY_MIXTURES};

pub type Backend = Autodiff<Flex>;

type Rows = Tensor<Backend, 2>;

/// The loss of embeddings and of what is trained beside them.
pub type Step = Box<dyn Fn(Rows, Option<Rows>) -> anyhow::Result<Tensor<Backend, 1>>>;

/// The loss of a case, with the settings of [`Kind::peer`].
pub fn step(case: &Case) -> anyhow::Result<Step> {
    let folder = &case.folder;
    let labels = inputs::ints(folder, "labels.i64")?;
    let metric = |loss: Box<dyn MetricLoss<Backend>>| -> Step {
        let labels = labels.clone();
        Box::new(move |embeddings, parameters| {
            Ok(loss.evaluate(batch(embeddings, parameters, &labels))?)
        })
    };
    Ok(match case.kind {
        Kind::RecallAtK => metric(Box::new(RecallAtKLossConfig::new().init()?)),
        Kind::SmoothAp => {
            let loss = SmoothApConfig::new().init()?;
            let count = labels.len();
            let labels = TensorData::new(labels, [count]);
            let labels = Tensor::<Backend, 1, Int>::from_data(labels, &Default::default());
            Box::new(move |embeddings, _| Ok(loss.forward(embeddings, labels.clone())?))
        }
        Kind::ListwiseAp => metric(Box::new(ListwiseApConfig::new().init()?)),
        Kind::FastAp => metric(Box::new(FastApConfig::new().init()?)),
        Kind::BlackboxRecall => metric(Box::new(BlackboxRecallConfig::new().init()?)),
        Kind::BlackboxAp => metric(Box::new(BlackboxApConfig::new().init()?)),
        Kind::ContrastiveSquared => metric(Box::new(ContrastiveConfig::squared().init()?)),
        Kind::ContrastiveHinges => metric(Box::new(ContrastiveConfig::hinges().init()?)),
        Kind::ContrastiveCosine => metric(Box::new(cosine().init()?)),
        Kind::TripletSemihard => metric(Box::new(TripletConfig::facenet().init()?)),
        Kind::TripletSemihardWindow => metric(Box::new(TripletConfig::semihard_window().init()?)),
        Kind::TripletHardWindow => metric(Box::new(TripletConfig::hard_window().init()?)),
        Kind::TripletBatchHard => metric(Box::new(TripletConfig::batch_hard().init()?)),
        Kind::TripletAll => metric(Box::new(TripletConfig::all().init()?)),
        Kind::Margin => {
            let loss = MarginConfig::new().init()?;
            let triplets = inputs::rows(folder, "triplets.i64")?;
            Box::new(move |embeddings, parameters| {
                let batch = batch(embeddings, parameters, &labels);
                Ok(loss.evaluate_triplets(batch, &triplets)?)
            })
        }
        Kind::NPair => {
            let loss = NPairConfig::new().with_l2(0.0).init()?;
            let pairs = inputs::rows(folder, "pairs.i64")?;
            Box::new(move |embeddings, _| Ok(loss.evaluate_pairs(embeddings, &pairs)?))
        }
        Kind::Lifted => metric(Box::new(LiftedConfig::pairs().init()?)),
        Kind::LiftedGeneralised => metric(Box::new(LiftedConfig::generalised().init()?)),
        Kind::MultiSimilarity => metric(Box::new(MultiSimilarityConfig::new().init()?)),
        Kind::Histogram => metric(Box::new(HistogramConfig::new().init()?)),
        Kind::Angular => {
            let loss = AngularConfig::pairs().init()?;
            let pairs = inputs::rows(folder, "pairs.i64")?;
            Box::new(move |embeddings, _| Ok(loss.evaluate_pairs(embeddings, &pairs)?))
        }
        Kind::AngularAllPairs => metric(Box::new(AngularConfig::all_pairs().init()?)),
        Kind::SupCon => metric(Box::new(SupConConfig::new().init()?)),
        Kind::InfoNce => metric(Box::new(InfoNceConfig::new().init()?)),
        Kind::ProxyNca => metric(Box::new(ProxyNcaConfig::new().init()?)),
        Kind::ProxyNcaPp => metric(Box::new(ProxyNcaPpConfig::new().init()?)),
        Kind::ProxyAnchor => metric(Box::new(ProxyAnchorConfig::new().init()?)),
        Kind::SoftTriple => {
            let config = SoftTripleConfig::new().with_centres(CENTRES);
            metric(Box::new(config.init()?))
        }
        Kind::NormSoftmax => metric(Box::new(NormSoftmaxConfig::new().init()?)),
        Kind::SphereFace => metric(Box::new(SphereFaceConfig::new().init()?)),
        Kind::CosFace => metric(Box::new(CosFaceConfig::new().init()?)),
        Kind::ArcFace => metric(Box::new(ArcFaceConfig::new().init()?)),
        Kind::Xbm => {
            let known = inputs::ints(folder, "memory_labels.i64")?;
            let size = known.len();
            let loss = CrossBatchMemoryConfig::new()
                .with_size(size)
                .with_start(0)
                .init(cosine().init()?)?;
            let rows = TensorData::new(inputs::floats(folder, "memory.f32")?, [size, case.dim]);
            let rows = Tensor::from_data(rows, &Default::default());
            let memory = Memory::restore(size, MemoryPolicy::Ring, Some(rows), known, 0, 1)?;
            Box::new(move |embeddings, _| {
                // Every step is the same one.
                let batch = batch(embeddings, None, &labels);
                Ok(loss.evaluate(batch, &mut memory.clone())?)
            })
        }
        Kind::Metrix | Kind::MetrixMultiSimilarity => {
            let config = match case.kind {
                Kind::Metrix => MetrixConfig::contrastive(),
                _ => MetrixConfig::multi_similarity(),
            };
            let loss = config.init()?;
            let triplets = inputs::rows(folder, "triplets.i64")?;
            Box::new(move |embeddings, _| {
                let batch = batch(embeddings, None, &labels);
                Ok(loss.total(batch, &triplets, &[LAMBDA])?)
            })
        }
        Kind::Mixup => {
            let partners = inputs::ints(folder, "permutation.i64")?;
            let partners = partners.iter().map(|&row| row as usize).collect();
            let mixture = Mixture::new(LAMBDA, partners)?;
            let loss = NormSoftmaxConfig::new().init()?;
            Box::new(move |embeddings, parameters| {
                let mixed = unit(mixture.mix(embeddings)?);
                Ok(mixture.loss(&loss, batch(mixed, parameters, &labels))?)
            })
        }
        Kind::ProxySynthesis => {
            let inner = NormSoftmaxConfig::new().with_temperature(1.0 / 23.0);
            let loss = ProxySynthesisConfig::new().init(inner.init()?)?;
            Box::new(move |embeddings, parameters| {
                let batch = batch(embeddings, parameters, &labels);
                Ok(loss.evaluate_with(batch, LAMBDA)?)
            })
        }
        Kind::SymmetricalSynthesis => {
            let loss = SymmetricalSynthesisConfig::new().init()?;
            let pairs = inputs::rows(folder, "pairs.i64")?;
            Box::new(move |embeddings, _| Ok(loss.of_pairs(embeddings, &pairs)?))
        }
        Kind::HardNegativeMixing => {
            let loss = HardNegativeMixingConfig::new()
                .with_hardest(HARDEST)
                .with_mixtures(MIXTURES)
                .with_query_mixtures(QUERY_MIXTURES)
                .init()?;
            let queue = inputs::floats(folder, "queue.f32")?;
            let count = queue.len() / case.dim;
            let queue = TensorData::new(queue, [count, case.dim]);
            let queue = Rows::from_data(queue, &Default::default());
            Box::new(move |embeddings, keys| {
                let keys = keys.unwrap_or_else(|| embeddings.clone());
                Ok(loss.against(embeddings, keys, queue.clone(), inputs::SEED)?)
            })
        }
    })
}

/// The form that pytorch-metric-learning has, too.
fn cosine() -> ContrastiveConfig {
    ContrastiveConfig::cosine().with_subtract_margin(true)
}

fn batch(embeddings: Rows, parameters: Option<Rows>, labels: &[i64]) -> Batch<'_, Backend> {
    Batch {
        embeddings,
        labels,
        parameters,
        seed: inputs::SEED,
    }
}

fn unit(rows: Rows) -> Rows {
    let lengths = (rows.clone() * rows.clone()).sum_dim(1).sqrt();
    rows / lengths
}
