//! What makes no sense although every value has the right type.

use recall_data::DataError;

use super::{ChunkSize, ConfigError, RunConfig};
use crate::judge::metrics;

impl RunConfig {
    /// Checks what a type cannot say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let value = |key, problem: String| Err(ConfigError::Value { key, problem });
        if self.epochs == 0 {
            return value("epochs", "0 epochs train nothing; give at least 1".into());
        }
        if self.batch.chunk == ChunkSize::Images(0) {
            return value("batch.chunk", "a chunk needs at least 1 image".into());
        }
        let refused = |key| {
            move |problem: DataError| ConfigError::Value {
                key,
                problem: problem.to_string(),
            }
        };
        self.sampler().validate().map_err(refused("batch"))?;
        let images = &self.image;
        images.train.validate().map_err(refused("image.train"))?;
        images.eval.validate().map_err(refused("image.eval"))?;
        let std = images.standardise.std;
        if let Some(&none) = std.iter().find(|&&std| !(std.is_finite() && std > 0.0)) {
            return value(
                "image.standardise.std",
                format!("{none} divides no brightness; give positive numbers"),
            );
        }
        let paths = [
            ("data", self.data.path()),
            ("model.weights", self.model.weights.as_deref()),
            (
                "image.cache.folder",
                (self.image.cache.as_ref()).map(|cache| cache.folder.as_path()),
            ),
        ];
        for (key, path) in paths {
            // It has to be written down.
            if let Some(path) = path.filter(|path| path.to_str().is_none()) {
                let problem = format!("the path {} is no text; rename it", path.display());
                return value(key, problem);
            }
        }
        if let Some((key, problem)) = self.model.problem(self.image.train.size) {
            return value(key, problem);
        }
        if self.model.backbone.patch().is_some()
            && self.image.train.size != [self.image.eval.crop; 2]
        {
            return value(
                "image.eval.crop",
                format!(
                    "{} takes images of one size: give the side of image.train.size, which must be \
                     square",
                    self.model.backbone
                ),
            );
        }
        if let Some((key, problem)) = self.optimiser.problem() {
            return value(key, problem.into());
        }
        if self.evaluation.every == 0 {
            return value("evaluation.every", "must be at least 1 epoch".into());
        }
        if self.evaluation.chunk == 0 {
            return value("evaluation.chunk", "a chunk needs at least 1 image".into());
        }
        if self.evaluation.ks.is_empty() || self.evaluation.ks.contains(&0) {
            return value(
                "evaluation.ks",
                "give at least one k, each at least 1".into(),
            );
        }
        if !(0.0..1.0).contains(&self.evaluation.validation) {
            return value(
                "evaluation.validation",
                "must be a share of the training classes, at least 0 and less than 1".into(),
            );
        }
        let reported = metrics(&self.evaluation.ks);
        if let Some(select) = self.evaluation.select
            && !reported.contains(&select)
        {
            let reported: Vec<String> = reported.iter().map(ToString::to_string).collect();
            return value(
                "evaluation.select",
                format!(
                    "{select} is not among the metrics of this run, {}",
                    reported.join(", ")
                ),
            );
        }
        if self.checkpoint.keep == 0 {
            return value("checkpoint.keep", "at least 1 checkpoint is kept".into());
        }
        if self.checkpoint.every_minutes.is_nan() || self.checkpoint.every_minutes <= 0.0 {
            return value(
                "checkpoint.every_minutes",
                "must be a positive number of minutes; inf leaves only those at evaluations".into(),
            );
        }
        self.loss.surrogate().init()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of them would otherwise be met in the midst of a plan, which opens no data.
    #[test]
    fn what_cannot_be_computed_is_refused_by_its_key() {
        for (setting, message) in [
            ("batch.size=66", "batch: "),
            ("batch.samples_per_class=1", "batch: "),
            ("batch.size=0", "batch: "),
            ("image.train.size=[0,32]", "image.train: "),
            ("image.train.horizontal_flip=2", "image.train: "),
            ("image.eval.crop=33", "image.eval: "),
            ("image.standardise.std=[1,0,1]", "image.standardise.std: 0 "),
            ("batch.chunk=0", "batch.chunk: "),
        ] {
            let refused = RunConfig::read(None, &[setting.to_owned()]).unwrap_err();
            assert!(refused.to_string().starts_with(message), "{refused}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_cannot_be_written_down_is_refused() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let weights = Some(OsStr::from_bytes(b"\xff.pth").into());
        let refused = RunConfig::for_training(None, None, &[], None, weights);
        let message = refused.unwrap_err().to_string();
        assert!(message.starts_with("model.weights: the path"), "{message}");
    }
}
