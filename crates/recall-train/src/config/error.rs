use recall_baselines::LossError;
use recall_data::Benchmark;
use thiserror::Error;

/// Why a configuration is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The document is no TOML, or a key or value in it is not known.
    #[error("{origin}: {problem}")]
    Document {
        /// The file or option it came from.
        origin: String,
        /// What is wrong, on one line.
        problem: String,
    },
    /// A setting that parses but makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key, with dots.
        key: &'static str,
        /// What is wrong and what is possible.
        problem: String,
    },
    /// A setting of the loss makes no sense.
    #[error("loss: {0}")]
    Loss(#[from] LossError),
    /// No preset has this name.
    #[error("there is no preset {name}; {}`recall-train presets` lists them", meant(.nearest))]
    UnknownPreset {
        /// The name given.
        name: String,
        /// The one that may be meant.
        nearest: Option<String>,
    },
    /// A preset whose data nobody named.
    #[error("the preset {name} is for {title}: give --data {benchmark}:DIR")]
    PresetData {
        /// The preset.
        name: String,
        /// What it is for.
        title: &'static str,
        /// The same as `--data` names it.
        benchmark: Benchmark,
    },
    /// A preset that starts from weights, and nobody named them.
    #[error(
        "the preset {name} starts from pretrained weights: give --weights FILE (docs/models.md says \
         where they come from), or --set model.weights=false to start from random ones"
    )]
    PresetWeights {
        /// The preset.
        name: String,
    },
}

fn meant(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!("did you mean {name}? "))
}
