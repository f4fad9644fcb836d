//! What a file of embeddings is made of: `NAME.json` beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use recall_data::DataSpec;
use recall_engine::Scales;
use recall_eval::refine::Whitening;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{RunError, TrainedModel};

/// Tells the file from any other JSON of that name.
const FORMAT: &str = "recall embeddings 1";

/// Which model embedded which images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Origin {
    format: String,
    /// The version of recall that wrote it.
    pub version: String,
    pub model: ModelOrigin,
    /// The hash of the whitening that was applied, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitening: Option<String>,
    /// How images are prepared: what of the settings shapes an embedding.
    pub image: Value,
    /// The sizes at which they were embedded, if not as they are alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scales: Option<ScalesOrigin>,
    /// The data set; its path is absolute.
    pub data: DataSpec,
    /// `train`, `test` or `all`.
    pub split: String,
    pub rows: usize,
    pub dim: usize,
    /// Whether all rows have length 1.
    pub unit_length: bool,
}

/// At which sizes images were embedded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ScalesOrigin {
    factors: Vec<f64>,
    power: f64,
}

/// A model, told from all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ModelOrigin {
    /// Of the file of its weights.
    pub sha256: String,
    pub settings: Value,
}

impl Origin {
    /// Of `rows` embeddings of `dim` numbers.
    ///
    /// # Errors
    ///
    /// A checkpoint that cannot be read.
    pub fn new(
        model: &TrainedModel,
        data: &DataSpec,
        split: String,
        [rows, dim]: [usize; 2],
        unit_length: bool,
    ) -> anyhow::Result<Self> {
        let checkpoint = model.checkpoint();
        let config = &checkpoint.config;
        Ok(Self {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: ModelOrigin {
                sha256: checkpoint.weights_hash()?,
                settings: without(serde_json::to_value(&config.model)?, &["weights"]),
            },
            whitening: model.whitening().map(hash),
            image: without(serde_json::to_value(&config.image)?, &["train", "cache"]),
            scales: scales(config.passes().scales),
            data: absolute(data),
            split,
            rows,
            dim,
            unit_length,
        })
    }

    /// Where it is for the embeddings at `path`.
    pub fn path_beside(embeddings: &Path) -> PathBuf {
        embeddings.with_extension("json")
    }

    /// As text.
    ///
    /// # Errors
    ///
    /// None that numbers and text could have.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What lies beside embeddings of this shape; `None` where there is nothing, or the JSON is of
    /// something else.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or that belongs to other embeddings.
    pub fn beside(embeddings: &Path, [rows, dim]: [usize; 2]) -> anyhow::Result<Option<Self>> {
        let path = Self::path_beside(embeddings);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).map_err(RunError::file("read", &path))?;
        let json: Option<Value> = serde_json::from_slice(&bytes).ok();
        let Some(json) = json.filter(|json| json["format"] == FORMAT) else {
            return Ok(None);
        };
        let (shown, of) = (path.display(), embeddings.display());
        let origin = Self::deserialize(json)
            .map_err(|error| anyhow!("{shown} does not say what {of} is made of: {error}"))?;
        ensure!(
            (origin.rows, origin.dim) == (rows, dim),
            "{shown} is of {} embeddings of {} numbers, and {of} has {rows} of {dim}: they do not belong \
             together; embed again, or remove {shown}",
            origin.rows,
            origin.dim,
        );
        Ok(Some(origin))
    }

    /// Why a model is not the one that embedded these images, if it is not.
    ///
    /// # Errors
    ///
    /// A checkpoint that cannot be read.
    pub fn differs_from(&self, model: &TrainedModel) -> anyhow::Result<Option<String>> {
        let other = Self::new(model, &self.data, String::new(), [0, 0], false)?;
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        if self.model.sha256 != other.model.sha256 {
            return Ok(Some(format!(
                "the weights have the hash {} there and {} here",
                short(&self.model.sha256),
                short(&other.model.sha256)
            )));
        }
        let whitened = match (&self.whitening, &other.whitening) {
            (there, here) if there == here => None,
            (Some(_), None) => Some("rows were whitened there and are not here"),
            (None, _) => Some("rows are whitened here and were not there"),
            (Some(_), Some(_)) => Some("the whitening is another one"),
        };
        if let Some(whitened) = whitened {
            return Ok(Some(whitened.to_owned()));
        }
        if self.scales != other.scales {
            return Ok(Some("the setting evaluation.scales differs".to_owned()));
        }
        // It is written down only where it is set.
        if self.image["eval"]["longest_side"] != other.image["eval"]["longest_side"] {
            return Ok(Some(
                "the setting image.eval.longest_side differs".to_owned(),
            ));
        }
        let parts = [
            ("model", &self.model.settings, &other.model.settings),
            ("image", &self.image, &other.image),
        ];
        Ok(parts.into_iter().find_map(|(part, there, here)| {
            let key = first_difference(there, here)?;
            Some(format!("the setting {part}.{key} differs"))
        }))
    }
}

/// Tells a whitening from all others.
fn hash(whitening: &Whitening) -> String {
    let values = whitening.mean().iter();
    let values = values.chain(whitening.projection().as_slice());
    let mut hash = Sha256::new();
    values.for_each(|value| hash.update(value.to_le_bytes()));
    format!("{:x}", hash.finalize())
}

fn scales(scales: Scales) -> Option<ScalesOrigin> {
    (!scales.are_plain()).then_some(ScalesOrigin {
        factors: scales.factors,
        power: scales.power,
    })
}

/// The first key that both have, with other values. One that only one side knows came with a later
/// version.
fn first_difference(there: &Value, here: &Value) -> Option<String> {
    let (there, here) = (there.as_object()?, here.as_object()?);
    there
        .iter()
        .find(|(key, value)| here.get(*key).is_some_and(|other| other != *value))
        .map(|(key, _)| key.clone())
}

fn without(mut settings: Value, keys: &[&str]) -> Value {
    if let Some(settings) = settings.as_object_mut() {
        settings.retain(|key, _| !keys.contains(&key.as_str()));
    }
    settings
}

/// The same data set, from whatever folder it is named.
fn absolute(data: &DataSpec) -> DataSpec {
    let place = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match data {
        DataSpec::Folder(path) => DataSpec::Folder(place(path)),
        DataSpec::Csv(path) => DataSpec::Csv(place(path)),
        DataSpec::Benchmark(benchmark, path) => DataSpec::Benchmark(*benchmark, place(path)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            format: FORMAT.to_owned(),
            version: "0.1.0".to_owned(),
            model: ModelOrigin {
                sha256: "ab".repeat(32),
                settings: serde_json::json!({"dim": 2}),
            },
            whitening: None,
            scales: None,
            image: serde_json::json!({"eval": {"resize": 16}}),
            data: DataSpec::Csv("/data/photos.csv".into()),
            split: "test".to_owned(),
            rows: 3,
            dim: 2,
            unit_length: true,
        }
    }

    #[test]
    fn what_was_written_is_read_and_other_json_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let embeddings = dir.path().join("i.npy");
        let write = |text: &str| fs::write(dir.path().join("i.json"), text).unwrap();
        assert_eq!(Origin::beside(&embeddings, [3, 2]).unwrap(), None);
        write(&origin().to_json().unwrap());
        let read = Origin::beside(&embeddings, [3, 2]).unwrap();
        assert_eq!(read, Some(origin()));
        let message = Origin::beside(&embeddings, [4, 2]).unwrap_err().to_string();
        assert!(message.contains("do not belong together"), "{message}");
        for other in ["", "{}", "[1, 2]", "{\"format\": \"mine\"}"] {
            write(other);
            assert_eq!(
                Origin::beside(&embeddings, [3, 2]).unwrap(),
                None,
                "{other}"
            );
        }
        write(&format!("{{\"format\": \"{FORMAT}\"}}"));
        let message = Origin::beside(&embeddings, [3, 2]).unwrap_err().to_string();
        assert!(message.contains("i.json does not say"), "{message}");
    }

    #[test]
    fn settings_that_one_side_does_not_know_are_no_difference() {
        let json = |text: &str| serde_json::from_str(text).unwrap();
        let there = json(r#"{"boxes": "crop", "eval": {"resize": 16}}"#);
        let differs = |here: &str| first_difference(&there, &json(here));
        assert_eq!(
            differs(r#"{"eval": {"resize": 16}, "orientation": true}"#),
            None
        );
        assert_eq!(
            differs(r#"{"eval": {"resize": 17}}"#).as_deref(),
            Some("eval")
        );
    }

    #[test]
    fn data_is_found_from_anywhere() {
        let spec = absolute(&DataSpec::Folder("photos".into()));
        assert!(matches!(spec, DataSpec::Folder(path) if path.is_absolute()));
        assert_eq!(absolute(&DataSpec::Emoji), DataSpec::Emoji);
    }
}
