//! What makes no sense although every value has the right type.

use recall_data::{DataError, DataSpec, Sampling, SmallClasses};
use toml::Table;

use super::{BatchConfig, BatchSize, ConfigError, RunConfig, ranges};
use crate::{Backbone, Precision};

impl RunConfig {
    /// Checks what a type cannot say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let value = |key, problem: String| Err(ConfigError::Value { key, problem });
        let paths = [
            ("from", self.from.as_deref()),
            ("data", self.data.path()),
            ("model.weights", self.model.weights.as_deref()),
            ("features.folder", self.features.folder.as_deref()),
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
        if self.from.is_some() && self.model.weights.is_some() {
            let problem = "a run begins with one of from and model.weights; set the other to false";
            return value("from", problem.into());
        }
        ranges::check(&self.checked_table()?)?;
        self.batch.check()?;
        let refused = |key| {
            move |problem: DataError| ConfigError::Value {
                key,
                problem: problem.to_string(),
            }
        };
        let images = &self.image;
        images.train.validate().map_err(refused("image.train"))?;
        images.eval.validate().map_err(refused("image.eval"))?;
        self.check_judged()?;
        self.check_inputs()?;
        if !self.model.backbone.takes_features() {
            self.check_sizes()?;
        }
        if self.precision != Precision::F32 && self.model.backbone.takes_features() {
            let name = self.model.backbone;
            let problem = format!("{name} is a head, which computes in f32; leave it f32");
            return value("precision", problem);
        }
        if let Some((key, problem)) = self.model.problem() {
            return value(key, problem);
        }
        if self.evaluation.ks.is_empty() {
            return value("evaluation.ks", "give at least one k".into());
        }
        if self.evaluation.metrics.as_ref().is_some_and(Vec::is_empty) {
            let problem = "give at least one metric, or false for the usual ones";
            return value("evaluation.metrics", problem.into());
        }
        if self.evaluation.test_during_training && !self.evaluation.test {
            let problem = "a run without test images (evaluation.test=false) cannot judge them";
            return value("evaluation.test_during_training", problem.into());
        }
        let reported = self.evaluation.reported();
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
        self.loss.check()?;
        if self.batch.sampling == Sampling::Shuffled && !self.loss.kind.has_proxies() {
            let problem = format!(
                "{} compares images with each other, and a shuffled batch may hold no two of a class; give \
                 class-balanced",
                self.loss.kind
            );
            return value("batch.sampling", problem);
        }
        Ok(())
    }

    /// Whether the model takes images of the sizes that are trained on and evaluated.
    fn check_sizes(&self) -> Result<(), ConfigError> {
        let value = |key, problem: String| Err(ConfigError::Value { key, problem });
        let (name, train) = (self.model.backbone, self.image.train.size);
        // Of whole images the sides are made to suit the model.
        let whole = self.image.eval.longest_side.is_some();
        let crop = self.image.eval.crop;
        if let Some(patch) = name.patch() {
            if train.iter().any(|side| side % self.model.side_step() != 0) {
                let problem = format!(
                    "{name} takes images whose sides are multiples of {patch}; model.pad_patches pads others"
                );
                return value("image.train.size", problem);
            }
            if !whole && train != [crop; 2] {
                return value(
                    "image.eval.crop",
                    format!(
                        "{name} takes images of one size: give the side of image.train.size, which must \
                         be square"
                    ),
                );
            }
            return Ok(());
        }
        let smallest = self.model.smallest_side();
        let small = |side: &usize| *side < smallest;
        let key = match (train.iter().any(small), !whole && small(&crop)) {
            (true, true) => "image.train.size and image.eval.crop",
            (true, false) => "image.train.size",
            (false, true) => "image.eval.crop",
            (false, false) => return Ok(()),
        };
        let model = match name {
            Backbone::Convnet => format!("{name} with {} model.widths", self.model.widths.len()),
            _ => name.to_string(),
        };
        let [height, width] = train;
        value(
            key,
            format!(
                "{model} takes images of at least {smallest} × {smallest} pixels, not {height} × {width} to \
                 train on and {crop} × {crop} to evaluate"
            ),
        )
    }

    /// Images are for backbones and rows of features for heads.
    fn check_inputs(&self) -> Result<(), ConfigError> {
        let name = self.model.backbone;
        let problem = match (&self.data, self.model.backbone.takes_features()) {
            _ if name == Backbone::Own => return Ok(()),
            (DataSpec::Embeddings { .. }, false) => format!(
                "{name} takes images, and {} has rows of features: give linear or residual, or --preset features",
                self.data
            ),
            (DataSpec::Own(_), _) | (DataSpec::Embeddings { .. }, true) | (_, false) => {
                return Ok(());
            }
            (_, true) => format!(
                "{name} takes rows of features, and {} has images: give --data embeddings:FILE, or another \
                 backbone",
                self.data
            ),
        };
        Err(ConfigError::Value {
            key: "model.backbone",
            problem,
        })
    }

    /// The configuration as a table that can be written down.
    fn checked_table(&self) -> Result<Table, ConfigError> {
        Table::try_from(self).map_err(|_| ConfigError::Document {
            origin: "the settings".to_owned(),
            problem: format!(
                "a whole number is above {}, which TOML cannot hold",
                i64::MAX
            ),
        })
    }
}

impl BatchConfig {
    /// What a sampler says of training images, in the words of a configuration.
    pub(super) fn refused(&self, error: DataError) -> ConfigError {
        let (key, problem) = match error {
            DataError::TooFewClasses { problem, largest } => {
                let way_out = match largest {
                    Some(largest) => {
                        let auto = match largest <= BatchSize::default().most() {
                            true => ", or batch.size=auto, which takes it",
                            false => "",
                        };
                        format!(
                            "the largest that works is {largest}: give batch.size={largest}{auto}"
                        )
                    }
                    None if self.samples_per_class > 2
                        && self.small_classes == SmallClasses::LeaveOut =>
                    {
                        "no batch works with fewer than two such classes; \
                         batch.small_classes=take-all takes those of two images or more, too"
                            .to_owned()
                    }
                    None => "no batch works with fewer than two such classes".to_owned(),
                };
                ("batch.size", format!("{problem}; {way_out}"))
            }
            DataError::Sampler { problem } => match self.super_classes {
                Some(_) => ("batch.super_classes", problem),
                None => ("batch", problem),
            },
            other => ("batch", other.to_string()),
        };
        ConfigError::Value { key, problem }
    }

    /// What the sampler would refuse, by the keys of a configuration.
    fn check(&self) -> Result<(), ConfigError> {
        let value = |key, problem: String| Err(ConfigError::Value { key, problem });
        let each = self.samples_per_class;
        let places = match self.size {
            BatchSize::Auto { .. } => return Ok(()),
            BatchSize::All if self.super_classes.is_some() => {
                let problem = "a batch of all images has all super-classes; set it to false";
                return value("batch.super_classes", problem.into());
            }
            BatchSize::All => return Ok(()),
            BatchSize::Images(_)
                if self.sampling == Sampling::Shuffled && self.super_classes.is_some() =>
            {
                let problem = "shuffled batches go by no super-classes; set it to false";
                return value("batch.super_classes", problem.into());
            }
            BatchSize::Images(_) if self.sampling == Sampling::Shuffled => return Ok(()),
            BatchSize::Images(size) if size < each.saturating_mul(2) => {
                return value(
                    "batch.size",
                    format!(
                        "{size} images have no room for two classes of {each} \
                         (batch.samples_per_class); give at least {}",
                        each.saturating_mul(2)
                    ),
                );
            }
            BatchSize::Images(size) if !size.is_multiple_of(each) => {
                return value(
                    "batch.size",
                    format!(
                        "{size} is not a multiple of batch.samples_per_class, {each}; {} is",
                        size / each * each
                    ),
                );
            }
            BatchSize::Images(size) => size / each,
        };
        match self.super_classes {
            Some(count) if !places.is_multiple_of(count) => value(
                "batch.super_classes",
                format!(
                    "the {places} classes of a batch are not the same number from each of {count} \
                     super-classes"
                ),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of them would otherwise be met in the midst of a plan, which opens no data.
    #[test]
    fn what_cannot_be_computed_is_refused_by_its_key() {
        for (setting, message) in [
            (
                "batch.size=66",
                "batch.size: 66 is not a multiple of batch.samples_per_class, 4; 64 is",
            ),
            ("batch.size=4", "batch.size: 4 images have no room for two "),
            ("batch.super_classes=3", "batch.super_classes: the 64 "),
            ("batch.samples_per_class=1", "batch.samples_per_class: 1 "),
            ("batch.size=0", "batch.size: 0 "),
            ("image.train.size=[0,32]", "image.train.size: 0 "),
            (
                "image.train.horizontal_flip=2",
                "image.train.horizontal_flip: 2 ",
            ),
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

    /// What the check says of the sizes of images, and what a forward and a backward pass say.
    mod sizes {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        use recall_engine::{Inputs, Pixels, StepRequest};

        use super::super::*;
        use crate::ModelConfig;

        fn with_sides(model: &ModelConfig, [height, width]: [usize; 2], crop: usize) -> RunConfig {
            let mut config = RunConfig {
                model: model.clone(),
                ..RunConfig::default()
            };
            config.loss.ks = Some(vec![1]);
            config.image.train.size = [height, width];
            config.image.eval = recall_data::EvalTransform {
                resize: crop,
                crop,
                longest_side: None,
            };
            config
        }

        /// Whether the model takes a step on images of its size, and all that comes of it is finite.
        fn works(config: &RunConfig) -> bool {
            let [height, width] = config.image.train.size;
            let pixels = (0..2 * 3 * height * width).map(|at| (at * 29 % 251) as u8);
            let bytes: Vec<u8> = pixels.collect();
            let step = || {
                let device = (recall_flex::BACKEND.open)(0);
                let mut engine = device.engine(&config.engine()).unwrap();
                let request = StepRequest {
                    inputs: Inputs::Pixels(Pixels {
                        bytes: &bytes,
                        shape: [2, 3, height, width],
                    }),
                    labels: &[0, 0],
                    chunk: 2,
                    first_chunk: 0,
                    learning_rate: 0.0,
                    model_seed: 0,
                    loss_seed: 0,
                };
                let result = engine.step(&request, &mut |_, _| ()).unwrap();
                result.broken.is_none()
            };
            catch_unwind(AssertUnwindSafe(step)).unwrap_or(false)
        }

        fn agree(model: &ModelConfig, sizes: &[[usize; 2]]) {
            for &size in sizes {
                let config = with_sides(model, size, 64);
                let checked = config.check();
                assert_eq!(
                    checked.is_ok(),
                    works(&config),
                    "{model:?} {size:?} {checked:?}"
                );
            }
        }

        #[test]
        fn the_convnet_takes_what_the_check_takes() {
            for depth in 1..=5 {
                for grid in [1, 2, 3, 5, 8] {
                    let model = ModelConfig {
                        widths: vec![2; depth],
                        grid,
                        dim: 4,
                        ..ModelConfig::default()
                    };
                    let smallest = model.smallest_side();
                    let mut sizes: Vec<[usize; 2]> = (1..=9).map(|side| [side; 2]).collect();
                    sizes.extend([
                        [smallest - 1, smallest],
                        [smallest, smallest - 1],
                        [smallest; 2],
                        [smallest + 1, smallest],
                        [smallest + 3, 2 * smallest + 1],
                    ]);
                    sizes.retain(|size| !size.contains(&0));
                    agree(&model, &sizes);
                }
            }
        }

        #[test]
        fn resnet_and_transformers_take_what_the_check_takes() {
            let resnet = ModelConfig {
                backbone: Backbone::Resnet50,
                ..ModelConfig::default()
            };
            agree(&resnet, &[[1, 1], [2, 1], [7, 5], [31, 33]]);
            let vit = ModelConfig {
                backbone: Backbone::VitS16,
                ..ModelConfig::default()
            };
            for (size, crop, key) in [
                ([16, 16], 16, None),
                ([15, 16], 16, Some("image.train.size: ")),
                ([16, 32], 16, Some("image.eval.crop: ")),
                ([32, 32], 16, Some("image.eval.crop: ")),
            ] {
                let config = with_sides(&vit, size, crop);
                let checked = config.check();
                match key {
                    None => {
                        checked.unwrap();
                        assert!(works(&config));
                    }
                    Some(key) => {
                        let message = checked.unwrap_err().to_string();
                        assert!(message.starts_with(key), "{message}");
                    }
                }
            }
        }

        #[test]
        fn the_smallest_image_is_said_by_key() {
            let model = ModelConfig::default();
            let message = |size, crop| {
                with_sides(&model, size, crop)
                    .check()
                    .unwrap_err()
                    .to_string()
            };
            assert_eq!(
                message([7, 32], 32),
                "image.train.size: convnet with 3 model.widths takes images of at least 8 × 8 pixels, not \
                 7 × 32 to train on and 32 × 32 to evaluate"
            );
            assert!(message([32, 32], 7).starts_with("image.eval.crop: convnet"));
            let both = message([4, 4], 7);
            assert!(
                both.starts_with("image.train.size and image.eval.crop: convnet"),
                "{both}"
            );
        }
    }
}
