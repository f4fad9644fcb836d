//! The records of a run: what is known of its steps and evaluations, each a line of `metrics.jsonl`.
//!
//! A run writes them, and goes on from them when it is resumed; a comparison reads those of others. Lines of
//! earlier versions lack some fields, and those of later ones may have more: what is not there takes its
//! default, what is not known is left aside.

mod file;

use std::fmt;

use recall_eval::Evaluation;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use file::{METRICS, RecordFile, has_step, read};

/// What is known of a training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step of the run, from 0.
    pub step: u64,
    /// The loss before the step; none if it is not finite.
    pub loss: Option<f64>,
    /// The mean soft recall of the real images of the batch, over all k of the loss: what the loss
    /// makes great, without virtual items.
    pub recall: Option<f64>,
    /// The length of the gradient, all parameters together, before it is cut.
    pub gradient_norm: Option<f64>,
    /// The mean similarity of any two images of the batch, each with itself included: 1 if the model
    /// tells none from another.
    pub similarity: Option<f64>,
    /// The learning rate of the step; 0 if it was left out because something was not finite.
    #[serde(default)]
    pub learning_rate: f64,
    /// What gradients were multiplied by on their way back through a backbone in f16. Where one of them came out
    /// too large with it, the step was left out, and the learning rate is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// How many steps of the run were left out because of that so far, with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflows: Option<u64>,
    /// Images in the batch; 0 if the step was left out because too few of them could be read.
    #[serde(default)]
    pub images: usize,
    /// Images of the batch that could not be read and were skipped.
    #[serde(default)]
    pub skipped: usize,
    /// The files of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// Wall-clock time since the step before, waiting for images included.
    #[serde(default)]
    pub seconds: f64,
    /// How much of it was waiting for images: if it is a good part, more threads or a cache are faster.
    #[serde(default)]
    pub waited_seconds: f64,
    /// How much of it this process spent in exchanges with the other ranks, waiting for the slowest
    /// included; none in a run of one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_seconds: Option<f64>,
}

/// What is known of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// What was judged.
    #[serde(default)]
    pub split: Judged,
    /// Epochs trained until then.
    pub epoch: u64,
    /// Steps taken until then.
    #[serde(default)]
    pub step: u64,
    /// The metrics.
    #[serde(flatten, deserialize_with = "known_metrics")]
    pub evaluation: Evaluation,
    /// The files of the images that could not be read and were skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// Wall-clock time of the evaluation.
    #[serde(default)]
    pub seconds: f64,
}

/// What the model that training starts with makes of the test images: what training adds is judged by
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineRecord {
    /// The metrics.
    #[serde(flatten, deserialize_with = "known_metrics")]
    pub evaluation: Evaluation,
    /// Wall-clock time of the evaluation.
    #[serde(default)]
    pub seconds: f64,
}

/// The images that an evaluation judges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// The data set's own validation images, or those of the classes held out of training.
    Validation,
    /// The test split; what a record means that does not say.
    #[default]
    Test,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Record {
    Step(StepRecord),
    Evaluation(EvaluationRecord),
    Baseline(BaselineRecord),
    /// What this version does not know. It is never written.
    #[serde(other, skip_serializing)]
    Other,
}

/// The metrics that this version knows, in their order. One that was not finite is written as null, and is
/// not there when it is read.
fn known_metrics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Evaluation, D::Error> {
    deserializer.deserialize_map(KnownMetrics)
}

struct KnownMetrics;

impl<'de> Visitor<'de> for KnownMetrics {
    type Value = Evaluation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metrics and their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Evaluation, A::Error> {
        let mut evaluation = Evaluation {
            values: Vec::new(),
            queries: 0,
            without_positives: 0,
            tied: 0,
        };
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            let count = || value.as_u64().unwrap_or_default() as usize;
            match key.as_str() {
                "queries" => evaluation.queries = count(),
                "without_positives" => evaluation.without_positives = count(),
                "tied" => evaluation.tied = count(),
                name => {
                    let metric = name.parse().ok().zip(value.as_f64());
                    evaluation.values.extend(metric);
                }
            }
        }
        Ok(evaluation)
    }
}
