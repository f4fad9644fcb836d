//! The benchmarks of the field, by name.

use std::fmt;

/// A benchmark of the field, read from the files in which it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Benchmark {
    /// Stanford Online Products: `Ebay_train.txt` and `Ebay_test.txt`.
    Sop,
    /// CUB-200-2011: `images.txt` and `image_class_labels.txt`; the first 100 classes train.
    Cub,
    /// Cars196: `cars_annos.mat`; the first 98 classes train.
    Cars196,
    /// iNaturalist 2018 by the split lists of Smooth-AP.
    Inat2018,
    /// DeepFashion In-shop: `list_eval_partition.txt`; queries against a gallery.
    InShop,
    /// PKU VehicleID: the lists of `train_test_split`.
    VehicleId,
    /// Revisited Oxford: `gnd_roxford5k.pkl` or `.mat`.
    Roxford5k,
    /// Revisited Paris: `gnd_rparis6k.pkl` or `.mat`.
    Rparis6k,
    /// The million distractors of revisited Oxford and Paris: `revisitop1m.txt`.
    Revisitop1m,
    /// Google Landmarks v1, to train on: `train.csv`.
    Gldv1,
    /// Google Landmarks v2, to train on: `train_clean.csv` or `train.csv`, or the list that is named instead of its
    /// folder.
    Gldv2,
    /// The retrieval task of Google Landmarks v2: `index.csv` and `retrieval_solution_v2.1.csv`.
    Gldv2Retrieval,
    /// Retrieval-SfM-120k: `retrieval-SfM-120k.pkl`, or the list of pairs that is named instead of its folder.
    Sfm120k,
    /// The core of ILIAS: a folder for each object, with its queries and positives.
    Ilias,
}

impl Benchmark {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Sop,
        Self::Cub,
        Self::Cars196,
        Self::Inat2018,
        Self::InShop,
        Self::VehicleId,
        Self::Roxford5k,
        Self::Rparis6k,
        Self::Revisitop1m,
        Self::Gldv1,
        Self::Gldv2,
        Self::Gldv2Retrieval,
        Self::Sfm120k,
        Self::Ilias,
    ];

    /// What is written before the colon of a [`DataSpec`](crate::DataSpec).
    pub fn name(self) -> &'static str {
        match self {
            Self::Sop => "sop",
            Self::Cub => "cub",
            Self::Cars196 => "cars196",
            Self::Inat2018 => "inat2018",
            Self::InShop => "inshop",
            Self::VehicleId => "vehicle-id",
            Self::Roxford5k => "roxford5k",
            Self::Rparis6k => "rparis6k",
            Self::Revisitop1m => "revisitop1m",
            Self::Gldv1 => "gldv1",
            Self::Gldv2 => "gldv2",
            Self::Gldv2Retrieval => "gldv2-retrieval",
            Self::Sfm120k => "sfm120k",
            Self::Ilias => "ilias",
        }
    }

    /// The k of the recall@k that publications report; none where they report other metrics.
    pub fn ks(self) -> &'static [usize] {
        match self {
            Self::Sop => &[1, 10, 100, 1000],
            Self::Cub | Self::Cars196 => &[1, 2, 4, 8],
            Self::Inat2018 => &[1, 4, 16, 32],
            Self::InShop => &[1, 10, 20, 30],
            Self::VehicleId => &[1, 5],
            // Their publications report average precision.
            Self::Roxford5k
            | Self::Rparis6k
            | Self::Revisitop1m
            | Self::Gldv1
            | Self::Gldv2
            | Self::Gldv2Retrieval
            | Self::Sfm120k
            | Self::Ilias => &[],
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|benchmark| benchmark.name() == name)
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
