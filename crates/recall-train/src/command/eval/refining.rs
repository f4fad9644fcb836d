//! What is done between the network and the figures.

use std::str::FromStr;

use anyhow::ensure;
use clap::Args;
use recall_eval::refine::{
    DatabaseAugmentation, Diffusion, KReciprocal, QueryExpansion, Reranking,
};

use super::super::whitening::WhiteningArgs;
use crate::judge::Refinement;

/// Steps after the network, applied in this order.
#[derive(Debug, Args)]
pub(super) struct RefineArgs {
    #[command(flatten)]
    pub whitening: WhiteningArgs,
    /// Average each item of the gallery with its N nearest, weighted by similarity to the power of ALPHA (3; with 0 all weigh the
    /// same).
    #[arg(long, value_name = "N[:ALPHA]", conflicts_with = "no_normalise")]
    database_augmentation: Option<Averaged>,
    /// Average each query with the N items that it finds first, weighted in the same way, and search again.
    #[arg(long, value_name = "N[:ALPHA]", conflicts_with = "no_normalise")]
    query_expansion: Option<Averaged>,
    /// Rank by something else than the similarity: k-reciprocal or diffusion, with settings if wanted, as in
    /// k-reciprocal:k1=20,k2=6,lambda=0.3 or diffusion:k=50,kq=10,gamma=3,alpha=0.99,shortlist=1000,iterations=20.
    #[arg(long, value_name = "METHOD", conflicts_with = "no_normalise")]
    rerank: Option<Rerank>,
}

impl RefineArgs {
    pub fn refinement(&self) -> Refinement {
        Refinement {
            augmentation: (self.database_augmentation).map(|averaged| DatabaseAugmentation {
                neighbours: averaged.neighbours,
                alpha: averaged.alpha,
            }),
            expansion: self.query_expansion.map(|averaged| QueryExpansion {
                neighbours: averaged.neighbours,
                alpha: averaged.alpha,
            }),
            reranking: self.rerank.map(|rerank| rerank.0),
        }
    }

    /// Refuses what does not go together, before anything is computed.
    ///
    /// # Errors
    ///
    /// Re-ranking on a device, or any step with galleries that are drawn.
    pub fn check(&self, on_device: bool, drawn: bool) -> anyhow::Result<()> {
        let refinement = self.refinement();
        ensure!(
            !(on_device && refinement.reranking.is_some()),
            "--rerank ranks on the CPU: leave --rank-on device out"
        );
        ensure!(
            !(drawn && refinement.is_some()),
            "a random gallery has one item of each class, so there are no neighbours to learn from: leave \
             --query-expansion, --database-augmentation and --rerank out"
        );
        Ok(())
    }
}

/// `N` or `N:ALPHA`.
#[derive(Debug, Clone, Copy)]
struct Averaged {
    neighbours: usize,
    alpha: f64,
}

impl FromStr for Averaged {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (neighbours, alpha) = match text.split_once(':') {
            None => (text, "3"),
            Some(parts) => parts,
        };
        let neighbours = neighbours.parse().ok().filter(|&neighbours| neighbours > 0);
        let alpha = alpha.parse().ok();
        let alpha = alpha.filter(|alpha: &f64| *alpha >= 0.0 && alpha.is_finite());
        match (neighbours, alpha) {
            (Some(neighbours), Some(alpha)) => Ok(Self { neighbours, alpha }),
            _ => Err("it takes how many neighbours, 1 or more, and if wanted the exponent of their weights, 0 or \
                      more, as in 10 or 10:3"
                .to_owned()),
        }
    }
}

/// A method and its settings.
#[derive(Debug, Clone, Copy)]
struct Rerank(Reranking);

impl FromStr for Rerank {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let settings = settings.split(',').filter(|setting| !setting.is_empty());
        let settings = settings.map(|setting| {
            (setting.split_once('='))
                .ok_or_else(|| format!("`{setting}` is no setting: write name=value"))
        });
        match name {
            "k-reciprocal" => {
                let mut how = KReciprocal::default();
                for setting in settings {
                    match setting? {
                        ("k1", value) => how.k1 = number("k1", value)?,
                        ("k2", value) => how.k2 = number("k2", value)?,
                        ("lambda", value) => how.lambda = number("lambda", value)?,
                        (other, _) => return Err(unknown(other, "k1, k2 and lambda")),
                    }
                }
                Ok(Self(Reranking::KReciprocal(how)))
            }
            "diffusion" => {
                let mut how = Diffusion::default();
                for setting in settings {
                    match setting? {
                        ("k", value) => how.neighbours = number("k", value)?,
                        ("kq", value) => how.query_neighbours = number("kq", value)?,
                        ("gamma", value) => how.gamma = number("gamma", value)?,
                        ("alpha", value) => how.alpha = number("alpha", value)?,
                        ("shortlist", value) => how.shortlist = number("shortlist", value)?,
                        ("iterations", value) => how.iterations = number("iterations", value)?,
                        (other, _) => {
                            let all = "k, kq, gamma, alpha, shortlist and iterations";
                            return Err(unknown(other, all));
                        }
                    }
                }
                Ok(Self(Reranking::Diffusion(how)))
            }
            _ => Err("the methods are k-reciprocal and diffusion".to_owned()),
        }
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name} takes a number, and `{value}` is none that fits"))
}

fn unknown(name: &str, all: &str) -> String {
    format!("it has no setting `{name}`: they are {all}")
}
