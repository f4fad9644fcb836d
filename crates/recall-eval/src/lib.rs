//! Exact retrieval evaluation on embeddings from anywhere.
//!
//! One primitive: the exact ranks of every query's positives ([`Retrieval::ranks`]), computed block
//! by block, so that no matrix of all similarities is ever stored. Every metric is a small function
//! of these ranks ([`Metric`], [`metrics`]): recall@k, r-precision, map@r, average precision in two
//! conventions, mp@k, reciprocal rank.
//!
//! ```
//! use recall_eval::{EmptyQueries, Embeddings, Metric, Retrieval, evaluate};
//!
//! // Two classes of two, and an item that is alone in its class.
//! let embeddings = Embeddings::new(vec![0.0, 1.0, 0.1, 1.0, 1.0, 0.0, 1.0, 0.1, 1.0, 0.2], 2)?;
//! let labels = [0, 0, 1, 1, 2];
//!
//! let embeddings = embeddings.normalised()?;
//! let ranks = Retrieval::each_against_rest(&embeddings, &labels)?.ranks()?;
//! let metrics = [Metric::RecallAt(1), Metric::RecallAt(2), Metric::MapAtR];
//! let evaluation = evaluate(&ranks, &metrics, EmptyQueries::Skip)?;
//!
//! assert_eq!(evaluation.to_string(), "recall@1  0.7500\nrecall@2  1.0000\nmap@r     0.7500");
//! assert_eq!((evaluation.queries, evaluation.without_positives), (5, 1));
//! # Ok::<(), recall_eval::EvalError>(())
//! ```
//!
//! What makes two evaluations of the same embeddings differ is decided here once:
//!
//! - the query is taken out of its own ranking by identity, not by dropping the first place, which
//!   a duplicate may hold;
//! - equal similarities are ordered by id, and the similarity of a pair has the same bits wherever
//!   it lies in a block, so that no result depends on block sizes or on the number of threads;
//! - queries without positives are left out of means and counted, unless told otherwise
//!   ([`EmptyQueries`]).
//!
//! [`Embeddings::open`] reads `.npy` and `.safetensors` files of any framework, [`EmbeddingsFile`] some of their rows, and
//! [`FileRetrieval`] ranks over a gallery that memory does not hold. [`nearest`] gives rankings to look at,
//! [`revisited`] the protocol of the revisited Oxford and Paris benchmarks, and [`refine`] what is done to embeddings and
//! rankings once the network has spoken: whitening, query expansion, re-ranking.

pub mod confidence;
#[cfg(feature = "burn")]
pub mod device;
mod embeddings;
mod error;
mod evaluate;
pub mod files;
mod kernel;
pub mod metrics;
mod neighbours;
pub mod protocol;
mod random;
pub mod random_gallery;
pub mod ranks;
pub mod refine;
pub mod report;
pub mod revisited;
mod scores;
mod sweep;

pub use confidence::{Bootstrap, Comparison, Interval, Units};
pub use embeddings::Embeddings;
pub use error::EvalError;
pub use evaluate::evaluate;
pub use files::{
    EmbeddingsFile, EmbeddingsWriter, FileTruth, GroundTruth, Precision, read_ground_truth,
    read_labels, save_labels,
};
pub use metrics::Metric;
pub use neighbours::{Neighbour, nearest};
pub use protocol::{FileRetrieval, GalleryFile, IgnoreGroup, Retrieval};
pub use random_gallery::{Draws, RandomGallery};
pub use ranks::{PositiveRanks, Ties};
pub use report::Evaluation;
pub use scores::{EmptyQueries, Policy, Scores};
