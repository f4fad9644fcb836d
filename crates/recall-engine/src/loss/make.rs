//! From settings to losses.

use recall_baselines::*;
use recall_loss::{Objective, SmoothApConfig};

use super::config::{Boundary, LossConfig, LossForm, MemoryConfig, Mining};
use super::kind::LossKind;
use super::longer::Longer;
use super::objective::Gradient;
use super::ranked::Ranked;
use crate::EngineBackend;

/// Losses whose settings make sense, whatever the backend.
macro_rules! losses {
    ($($kind:ident),*) => {
        enum Loss {
            $($kind($kind)),*
        }

        impl Loss {
            fn on<B: EngineBackend>(self) -> Box<dyn MetricLoss<B>> {
                match self {
                    $(Self::$kind(loss) => Box::new(loss)),*
                }
            }
        }
    };
}

losses!(
    ListwiseAp,
    FastAp,
    BlackboxAp,
    BlackboxRecall,
    Contrastive,
    Triplet,
    Margin,
    NPair,
    Lifted,
    MultiSimilarity,
    Histogram,
    Angular,
    SupCon,
    InfoNce,
    ProxyNca,
    ProxyNcaPp,
    ProxyAnchor,
    SoftTriple,
    NormSoftmax,
    SphereFace,
    CosFace,
    ArcFace,
    Metrix,
    HardNegativeMixing,
    SymmetricalSynthesis
);

/// A loss, by who works out its gradient.
enum Made {
    /// The loss does.
    Ranked(Ranked),
    /// Burn does.
    Loss(Loss),
}

impl Loss {
    /// The loss as one that compares a batch with other items, if it can.
    fn of_pairs<B: EngineBackend>(self) -> Option<Box<dyn PairLoss<B>>> {
        Some(match self {
            Self::Contrastive(loss) => Box::new(loss),
            Self::Triplet(loss) => Box::new(loss),
            Self::MultiSimilarity(loss) => Box::new(loss),
            Self::SupCon(loss) => Box::new(loss),
            Self::InfoNce(loss) => Box::new(loss),
            Self::ListwiseAp(loss) => Box::new(loss),
            Self::FastAp(loss) => Box::new(loss),
            Self::BlackboxAp(loss) => Box::new(loss),
            Self::BlackboxRecall(loss) => Box::new(loss),
            Self::Histogram(loss) => Box::new(loss),
            _ => return None,
        })
    }
}

impl LossConfig {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    ///
    /// [`LossError`], which names the setting.
    pub fn check(&self) -> Result<(), LossError> {
        if let Some(memory) = &self.memory {
            memory.around(())?;
        }
        if let Some(synthesis) = &self.synthesis {
            ProxySynthesisConfig::new()
                .with_alpha(synthesis.alpha)
                .with_mu(synthesis.mu)
                .init(())?;
        }
        if let Some(alpha) = self.input_mixup {
            InputMixupConfig::new().with_alpha(alpha).init()?;
        }
        if self.memory.is_some() && self.mixup == Some(true) {
            return Err(LossError::Setting {
                name: "mixup",
                value: "true".to_owned(),
                problem: "virtual items are not remembered; set either memory or mixup to false",
            });
        }
        if self.mixup == Some(true)
            && self.kind == LossKind::Contrastive
            && self.form != Some(LossForm::Cosine)
        {
            return Err(LossError::Setting {
                name: "mixup",
                value: "true".to_owned(),
                problem: "similarities are mixed, and this form compares distances; set form to cosine",
            });
        }
        self.made().map(drop)
    }

    /// The loss on the backend `B`.
    pub(super) fn make<B: EngineBackend>(&self) -> Result<Gradient<B>, LossError> {
        self.check()?;
        let loss = match self.made()? {
            Made::Ranked(ranked) => return Ok(Gradient::Own(Box::new(ranked))),
            Made::Loss(loss) => loss,
        };
        if let Some(memory) = &self.memory
            && let Some(loss) = self.loss()?.of_pairs::<B>()
        {
            return Ok(Gradient::WithMemory(memory.around(loss)?));
        }
        let loss = loss.on::<B>();
        Ok(Gradient::ByBurn(if let Some(synthesis) = &self.synthesis {
            let config = ProxySynthesisConfig::new()
                .with_alpha(synthesis.alpha)
                .with_mu(synthesis.mu);
            Box::new(config.init(loss)?)
        } else if self.mixup == Some(true) {
            Box::new(SimilarityMixup::new(loss))
        } else if let Some(length) = self.length.filter(|_| self.takes_long_rows()) {
            Box::new(Longer { loss, length })
        } else {
            loss
        }))
    }

    /// Whether rows are not normalised. Of the angular loss, only those of its N-pair part are long.
    fn takes_long_rows(&self) -> bool {
        let unit = [Some(LossForm::Pairs), Some(LossForm::AllPairs)];
        self.kind != LossKind::Angular || !unit.contains(&self.form)
    }

    fn made(&self) -> Result<Made, LossError> {
        let loss = match self.kind {
            LossKind::RecallAtK => Objective::from(&self.surrogate().init()?),
            LossKind::SmoothAp => Objective::from(&self.smooth_ap().init()?),
            _ => return Ok(Made::Loss(self.loss()?)),
        };
        let mixup = self.mixup == Some(true);
        Ok(Made::Ranked(Ranked { loss, mixup }))
    }

    /// The settings of the Recall@k surrogate.
    pub fn surrogate(&self) -> recall_loss::RecallAtKLossConfig {
        let mut of = recall_loss::RecallAtKLossConfig::new();
        set(&mut of.ks, self.ks.clone());
        set(&mut of.tau_k, self.tau_k.clone());
        set(&mut of.tau_rank, self.tau_rank);
        set(&mut of.query_in_rank, self.query_in_rank);
        set(&mut of.cap_at_k, self.cap_at_k);
        set(&mut of.block_size, self.block_size);
        of
    }

    fn smooth_ap(&self) -> SmoothApConfig {
        let mut of = SmoothApConfig::new();
        set(&mut of.tau, self.tau);
        set(&mut of.query_included, self.query_included);
        set(&mut of.count_lonely, self.count_lonely);
        set(&mut of.block_size, self.block_size);
        of
    }

    /// Every loss but those over soft ranks.
    fn loss(&self) -> Result<Loss, LossError> {
        Ok(match self.kind {
            LossKind::ListwiseAp => {
                let mut of = ListwiseApConfig::new();
                set(&mut of.bins, self.bins);
                set(&mut of.low, self.low);
                set(&mut of.high, self.high);
                set(&mut of.query_included, self.query_included);
                Loss::ListwiseAp(of.init()?)
            }
            LossKind::FastAp => {
                let mut of = FastApConfig::new();
                set(&mut of.bins, self.bins);
                Loss::FastAp(of.init()?)
            }
            LossKind::BlackboxAp => {
                let mut of = BlackboxApConfig::new();
                set(&mut of.lambda, self.lambda);
                set(&mut of.margin, self.margin);
                set(&mut of.noise, self.noise);
                Loss::BlackboxAp(of.init()?)
            }
            LossKind::BlackboxRecall => {
                let mut of = BlackboxRecallConfig::new();
                set(&mut of.lambda, self.lambda);
                set(&mut of.margin, self.margin);
                of.weight = match self.form {
                    None | Some(LossForm::LogLog) => BlackboxWeight::LogLog,
                    Some(LossForm::Log) => BlackboxWeight::Log,
                    Some(other) => return Err(no_form(other, "it is log or log-log")),
                };
                Loss::BlackboxRecall(of.init()?)
            }
            _ => self.loss_of_pairs()?,
        })
    }

    fn loss_of_pairs(&self) -> Result<Loss, LossError> {
        Ok(match self.kind {
            LossKind::Contrastive => {
                let mut of = match self.form {
                    None | Some(LossForm::Cosine) => ContrastiveConfig::cosine(),
                    Some(LossForm::Squared) => ContrastiveConfig::squared(),
                    Some(LossForm::Hinges) => ContrastiveConfig::hinges(),
                    Some(other) => return Err(no_form(other, "it is cosine, squared or hinges")),
                };
                set(&mut of.margin, self.margin);
                set(&mut of.positive_margin, self.positive_margin);
                set(&mut of.subtract_margin, self.subtract_margin);
                Loss::Contrastive(of.init()?)
            }
            LossKind::Triplet => {
                let mut of = TripletConfig::new(match self.mining {
                    None | Some(Mining::SemihardNearest) => TripletMining::SemihardNearest,
                    Some(Mining::All) => TripletMining::All,
                    Some(Mining::SemihardWindow) => TripletMining::SemihardWindow,
                    Some(Mining::HardWindow) => TripletMining::HardWindow,
                    Some(Mining::BatchHard) => TripletMining::BatchHard,
                });
                set(&mut of.squared, self.squared);
                set(&mut of.margin, self.margin);
                set(&mut of.soft, self.soft);
                of.reduction = match self.non_zero {
                    Some(true) => TripletReduction::NonZero,
                    _ => TripletReduction::Mean,
                };
                Loss::Triplet(of.init()?)
            }
            LossKind::Margin => {
                let mut of = MarginConfig::new();
                set(&mut of.alpha, self.alpha);
                set(&mut of.beta, self.beta);
                set(&mut of.nu, self.nu);
                set(&mut of.cutoff, self.cutoff);
                of.far = self.far;
                of.boundary = match self.boundary {
                    None | Some(Boundary::PerClass) => MarginBoundary::PerClass,
                    Some(Boundary::Shared) => MarginBoundary::Shared,
                    Some(Boundary::Fixed) => MarginBoundary::Fixed,
                };
                Loss::Margin(of.init()?)
            }
            LossKind::NPair => {
                let mut of = NPairConfig::new();
                set(&mut of.l2, self.l2);
                Loss::NPair(of.init()?)
            }
            LossKind::Lifted => {
                let mut of = match self.form {
                    None | Some(LossForm::Pairs) => LiftedConfig::pairs(),
                    Some(LossForm::Generalised) => LiftedConfig::generalised(),
                    Some(other) => return Err(no_form(other, "it is pairs or generalised")),
                };
                set(&mut of.margin, self.margin);
                Loss::Lifted(of.init()?)
            }
            LossKind::MultiSimilarity => {
                let mut of = MultiSimilarityConfig::new();
                set(&mut of.alpha, self.alpha);
                set(&mut of.beta, self.beta);
                set(&mut of.base, self.base);
                of.epsilon = self.epsilon;
                Loss::MultiSimilarity(of.init()?)
            }
            LossKind::Histogram => {
                let mut of = HistogramConfig::new();
                set(&mut of.step, self.step);
                Loss::Histogram(of.init()?)
            }
            LossKind::Angular => {
                let mut of = match self.form {
                    None | Some(LossForm::WithNPair) => AngularConfig::n_pair(),
                    Some(LossForm::Pairs) => AngularConfig::pairs(),
                    Some(LossForm::AllPairs) => AngularConfig::all_pairs(),
                    Some(other) => {
                        return Err(no_form(other, "it is pairs, all-pairs or with-n-pair"));
                    }
                };
                set(&mut of.degrees, self.degrees);
                set(&mut of.angular_weight, self.angular_weight);
                set(&mut of.l2, self.l2);
                Loss::Angular(of.init()?)
            }
            LossKind::SupCon => {
                let mut of = match self.released_scale {
                    Some(true) => SupConConfig::released_code(),
                    _ => SupConConfig::new(),
                };
                set(&mut of.temperature, self.temperature);
                Loss::SupCon(of.init()?)
            }
            LossKind::InfoNce => {
                let mut of = InfoNceConfig::new();
                set(&mut of.temperature, self.temperature);
                Loss::InfoNce(of.init()?)
            }
            _ => self.loss_with_proxies()?,
        })
    }

    fn loss_with_proxies(&self) -> Result<Loss, LossError> {
        Ok(match self.kind {
            LossKind::ProxyNca => {
                let mut of = ProxyNcaConfig::new();
                set(&mut of.embedding_length, self.embedding_length);
                set(&mut of.proxy_length, self.proxy_length);
                set(&mut of.positive_in_sum, self.positive_in_sum);
                set(&mut of.smoothing, self.smoothing);
                Loss::ProxyNca(of.init()?)
            }
            LossKind::ProxyNcaPp => {
                let mut of = ProxyNcaPpConfig::new();
                set(&mut of.temperature, self.temperature);
                Loss::ProxyNcaPp(of.init()?)
            }
            LossKind::ProxyAnchor => {
                let mut of = ProxyAnchorConfig::new();
                set(&mut of.alpha, self.alpha);
                set(&mut of.delta, self.delta);
                Loss::ProxyAnchor(of.init()?)
            }
            LossKind::SoftTriple => {
                let mut of = SoftTripleConfig::new();
                set(&mut of.scale, self.scale);
                set(&mut of.gamma, self.gamma);
                set(&mut of.delta, self.delta);
                set(&mut of.tau, self.tau);
                set(&mut of.centres, self.centres);
                Loss::SoftTriple(of.init()?)
            }
            LossKind::SphereFace => {
                let mut of = SphereFaceConfig::new();
                set(&mut of.multiplier, self.multiplier);
                set(&mut of.lambda, self.lambda);
                Loss::SphereFace(of.init()?)
            }
            LossKind::CosFace => {
                let mut of = CosFaceConfig::new();
                set(&mut of.scale, self.scale);
                set(&mut of.margin, self.margin);
                Loss::CosFace(of.init()?)
            }
            LossKind::ArcFace => {
                let mut of = ArcFaceConfig::new();
                set(&mut of.scale, self.scale);
                set(&mut of.margin, self.margin);
                set(&mut of.fallback, self.fallback);
                set(&mut of.straight_through, self.straight_through);
                Loss::ArcFace(of.init()?)
            }
            LossKind::Metrix => {
                let mut of = match self.form {
                    None | Some(LossForm::Contrastive) => MetrixConfig::contrastive(),
                    Some(LossForm::MultiSimilarity) => MetrixConfig::multi_similarity(),
                    Some(other) => {
                        return Err(no_form(other, "it is contrastive or multi-similarity"));
                    }
                };
                set(&mut of.weight, self.weight);
                set(&mut of.concentration, self.concentration);
                set(&mut of.one_lambda, self.one_lambda);
                set(&mut of.margin, self.margin);
                set(&mut of.alpha, self.alpha);
                set(&mut of.beta, self.beta);
                set(&mut of.base, self.base);
                Loss::Metrix(of.init()?)
            }
            LossKind::HardNegativeMixing => {
                let mut of = HardNegativeMixingConfig::new();
                set(&mut of.hardest, self.hardest);
                set(&mut of.mixtures, self.mixtures);
                set(&mut of.query_mixtures, self.query_mixtures);
                set(&mut of.temperature, self.temperature);
                Loss::HardNegativeMixing(of.init()?)
            }
            LossKind::SymmetricalSynthesis => {
                let mut of = SymmetricalSynthesisConfig::new();
                set(&mut of.l2, self.l2);
                Loss::SymmetricalSynthesis(of.init()?)
            }
            _ => {
                let mut of = NormSoftmaxConfig::new();
                set(&mut of.temperature, self.temperature);
                Loss::NormSoftmax(of.init()?)
            }
        })
    }
}

impl MemoryConfig {
    /// A memory around a loss.
    fn around<L>(&self, loss: L) -> Result<CrossBatchMemory<L>, LossError> {
        let policy = match self.replace_tail {
            true => MemoryPolicy::Tail,
            false => MemoryPolicy::Ring,
        };
        CrossBatchMemoryConfig::new()
            .with_size(self.size)
            .with_weight(self.weight)
            .with_start(self.start)
            .with_policy(policy)
            .init(loss)
    }
}

/// Changes a setting that is given.
fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

/// Says that a loss has no such form.
fn no_form(form: LossForm, problem: &'static str) -> LossError {
    LossError::Setting {
        name: "form",
        value: form.name().to_owned(),
        problem,
    }
}
