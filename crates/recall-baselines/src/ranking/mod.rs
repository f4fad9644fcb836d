//! Losses over rankings: approximations of recall and of average precision.

mod binned;
mod blackbox;
mod blocks;
mod fast_ap;
mod listwise_ap;
mod soft_ranks;

pub use binned::AveragePrecisions;
pub use blackbox::{
    BlackboxAp, BlackboxApConfig, BlackboxRecall, BlackboxRecallConfig, BlackboxWeight,
    RankedScores,
};
pub use fast_ap::{FastAp, FastApConfig};
pub use listwise_ap::{ListwiseAp, ListwiseApConfig};
pub use recall_loss::{RecallAtKLoss, RecallAtKLossConfig, SmoothAp, SmoothApConfig};
