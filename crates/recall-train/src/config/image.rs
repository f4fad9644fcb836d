//! How images are read, and what happens to them.

use recall_data::{
    CacheConfig, ColourJitter, CorruptPolicy, DataError, DataSpec, Dataset, EvalTransform,
    RandomResizedCrop, TrainTransform, TransformConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Standardisation;

/// Augmentation, sizes and standardisation of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// Whether images are cut to their boxes.
    pub boxes: Boxes,
    /// Whether images are turned as their metadata (EXIF) say: as published, images of your own are, and
    /// benchmarks are read as they are stored.
    pub orientation: Orientation,
    /// Keeps large images resized on disk: only the first epoch decodes them.
    ///
    /// See `recall_data::ImageCache`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheConfig>,
    /// Whether images that are trained on keep their ratio: each takes the one of eleven sizes, between 1:2 and 2:1, that is
    /// nearest to its ratio, all of the area of `image.train.size`.
    ///
    /// Default: false, all have the size `image.train.size`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_ratio: bool,
    /// What happens to images that are trained on.
    pub train: TrainTransform,
    /// What happens to images that are evaluated.
    pub eval: EvalTransform,
    /// Mean and deviation that the model expects.
    pub standardise: Standardisation,
}

/// What happens to the boxes of a data set that has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Boxes {
    /// What publications do with the benchmark; images of your own are cut to them.
    #[default]
    AsPublished,
    /// Images are cut to them.
    Crop,
    /// Images stay whole.
    Ignore,
}

/// What happens to an orientation in the metadata of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// Images of your own are turned upright; a benchmark is read as it is stored, as publications do.
    #[default]
    AsPublished,
    /// Images are turned upright.
    Apply,
    /// Images are read as they are stored.
    Ignore,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            boxes: Boxes::AsPublished,
            orientation: Orientation::AsPublished,
            cache: None,
            keep_ratio: false,
            train: TrainTransform {
                size: [32, 32],
                random_resized_crop: Some(RandomResizedCrop {
                    scale: (0.7, 1.0),
                    ratio: (0.9, 1.11),
                }),
                // A mirrored arrow is another emoji.
                horizontal_flip: 0.0,
                colour_jitter: Some(ColourJitter {
                    brightness: 0.4,
                    contrast: 0.4,
                    saturation: 0.5,
                    ..ColourJitter::default()
                }),
                ..TrainTransform::default()
            },
            eval: EvalTransform {
                resize: 32,
                crop: 32,
                longest_side: None,
            },
            standardise: Standardisation {
                mean: [0.5; 3],
                std: [0.5; 3],
            },
        }
    }
}

impl ImageConfig {
    /// Opens a data set, to be read as these settings say; images that are not there are an error unless
    /// `corrupt` skips them.
    ///
    /// # Errors
    ///
    /// Those of [`DataSpec::open_for`].
    pub fn open(&self, data: &DataSpec, corrupt: CorruptPolicy) -> Result<Dataset, DataError> {
        Ok(self.read_so(data.open_for(corrupt)?))
    }

    /// The data set, to be read as these settings say.
    pub(crate) fn read_so(&self, dataset: Dataset) -> Dataset {
        self.orientation.of(self.boxes.of(dataset))
    }
}

impl Orientation {
    /// The data set, whose images are turned upright or not as this says.
    pub(crate) fn of(self, dataset: Dataset) -> Dataset {
        match self {
            Self::AsPublished => dataset,
            Self::Apply => dataset.with_turns_upright(true),
            Self::Ignore => dataset.with_turns_upright(false),
        }
    }
}

impl Boxes {
    /// The data set, whose images are cut or stay whole as this says.
    pub(crate) fn of(self, dataset: Dataset) -> Dataset {
        match self {
            Self::AsPublished => dataset,
            Self::Crop => dataset.with_crops_to_boxes(true),
            Self::Ignore => dataset.with_crops_to_boxes(false),
        }
    }
}

/// The transforms of a run in the form the data crate takes.
impl From<&ImageConfig> for TransformConfig {
    fn from(image: &ImageConfig) -> Self {
        Self {
            train: image.train.clone(),
            eval: image.eval,
        }
    }
}
