//! The files of a data set, each read once: for its bytes, its pixels and its box.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use recall_eval::EmbeddingsFile;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::counts::found;
use super::finding::{Case, Finding, FindingKind, Severity};
use super::words::{counted, number};
use crate::decode::{dimensions, is_turned};
use crate::{DataError, Dataset, Item, ItemId, decode_rgb, decode_upright, row_problem};

/// What became of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FilesRead {
    /// Images that were read.
    pub read: usize,
    /// Images that were decoded; `None` if that was not asked for.
    pub decoded: Option<usize>,
    /// Bytes of all that were read.
    pub bytes: u64,
}

/// The SHA-256 of a file.
pub(super) type ContentHash = [u8; 32];

/// What is kept of an image when its bytes and pixels are gone again.
#[derive(Debug, Default)]
pub(super) struct Looked {
    bytes: u64,
    /// Of what could be read and is not empty.
    pub(super) hash: Option<ContentHash>,
    fault: Option<Fault>,
    /// Whether it is to be shown otherwise than it is stored.
    turned: bool,
}

#[derive(Debug)]
enum Fault {
    Missing,
    Unreadable(String),
    Empty,
    Corrupt(String),
    BoxOutside(String),
    BoxBeyond(String),
    /// A row of features.
    Useless(String),
}

/// Looks at every image, on the threads of the pool it is called in. A thread holds one image at a time.
pub(super) fn look_at_all(
    dataset: &Dataset,
    decode: bool,
    progress: impl FnMut(usize) + Send,
) -> Vec<Looked> {
    if let Some(features) = dataset.features() {
        return look_at_rows(features, progress);
    }
    let missing: Vec<ItemId> = dataset
        .missing_files()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let progress = Mutex::new((0, progress));
    dataset
        .items()
        .par_iter()
        .enumerate()
        .map(|(id, item)| {
            let looked = match missing.binary_search(&id) {
                Ok(_) => Looked {
                    fault: Some(Fault::Missing),
                    ..Looked::default()
                },
                Err(_) => look_at(item, decode, dataset.turns_upright()),
            };
            // Counting goes on whatever happened to another thread.
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            let (done, report) = &mut *progress;
            *done += 1;
            report(*done);
            looked
        })
        .collect()
}

/// Rows of features that are read at once.
const ROWS: usize = 1024;

/// Looks at every row of features. Those that are equal have equal hashes, whatever type the file keeps them in.
fn look_at_rows(features: &EmbeddingsFile, mut progress: impl FnMut(usize)) -> Vec<Looked> {
    let (rows, dim) = (features.rows(), features.dim());
    let mut values = vec![0.0; ROWS.min(rows) * dim];
    let mut all = Vec::with_capacity(rows);
    for start in (0..rows).step_by(ROWS) {
        let end = rows.min(start + ROWS);
        let values = &mut values[..(end - start) * dim];
        match features.read(start..end, values) {
            Ok(()) => all.par_extend(values.par_chunks_exact(dim).map(look_at_row)),
            Err(error) => {
                let why = error.to_string();
                all.extend((start..end).map(|_| Looked {
                    fault: Some(Fault::Unreadable(why.clone())),
                    ..Looked::default()
                }));
            }
        }
        progress(end);
    }
    all
}

fn look_at_row(row: &[f32]) -> Looked {
    let mut hash = Sha256::new();
    row.iter()
        .for_each(|value| hash.update(value.to_le_bytes()));
    Looked {
        bytes: 4 * row.len() as u64,
        hash: Some(hash.finalize().into()),
        fault: row_problem(row).map(Fault::Useless),
        turned: false,
    }
}

fn look_at(item: &Item, decode: bool, upright: bool) -> Looked {
    let mut looked = Looked::default();
    let bytes = match item.encoded_bytes() {
        Ok(bytes) => bytes,
        Err(error) => {
            looked.fault = Some(Fault::Unreadable(match error {
                // The file is named beside it.
                DataError::Io { source, .. } => source.to_string(),
                other => other.to_string(),
            }));
            return looked;
        }
    };
    looked.bytes = bytes.len() as u64;
    if bytes.is_empty() {
        looked.fault = Some(Fault::Empty);
        return looked;
    }
    looked.hash = Some(Sha256::digest(&bytes).into());
    looked.turned = is_turned(&bytes);
    let decoded = |upright| match upright {
        true => decode_upright(&bytes, &item.name),
        false => decode_rgb(&bytes, &item.name),
    };
    let dimensions = match decode {
        true => match decoded(upright) {
            Ok(image) => Some(image.dimensions()),
            Err(error) => {
                looked.fault = Some(Fault::Corrupt(match error {
                    DataError::Decode { problem, .. } => problem,
                    other => other.to_string(),
                }));
                None
            }
        },
        false => item.bbox.and_then(|_| dimensions(&bytes, upright)),
    };
    if let Some(dimensions) = dimensions {
        looked.fault = box_fault(item, dimensions);
    }
    looked
}

fn box_fault(item: &Item, (width, height): (u32, u32)) -> Option<Fault> {
    let bbox = item.bbox?;
    let told = format!(
        "({}, {}) to ({}, {}) in {width} x {height} pixels",
        bbox.left(),
        bbox.top(),
        bbox.right(),
        bbox.bottom()
    );
    if bbox.left() >= width || bbox.top() >= height {
        Some(Fault::BoxOutside(told))
    } else if bbox.right() > width || bbox.bottom() > height {
        Some(Fault::BoxBeyond(told))
    } else {
        None
    }
}

pub(super) fn summary(looked: &[Looked], decode: bool) -> FilesRead {
    let whole = |looked: &&Looked| {
        let broken = matches!(looked.fault, Some(Fault::Corrupt(_) | Fault::Useless(_)));
        looked.hash.is_some() && !broken
    };
    FilesRead {
        read: looked
            .iter()
            .filter(|looked| !matches!(looked.fault, Some(Fault::Missing | Fault::Unreadable(_))))
            .count(),
        decoded: decode.then(|| looked.iter().filter(whole).count()),
        bytes: looked.iter().map(|looked| looked.bytes).sum(),
    }
}

/// What is wrong with the images, one finding for each kind of fault.
pub(super) fn faults(dataset: &Dataset, looked: &[Looked]) -> Vec<Finding> {
    use FindingKind as Kind;
    let mut by_kind: [Vec<Case>; 7] = Default::default();
    for (item, looked) in dataset.items().iter().zip(looked) {
        let name = item.location();
        let (place, case) = match &looked.fault {
            None => continue,
            Some(Fault::Missing) => (0, Case::new(name)),
            Some(Fault::Unreadable(why)) => (1, Case::detailed(name, why)),
            Some(Fault::Empty) => (2, Case::new(name)),
            Some(Fault::Corrupt(why)) => (3, Case::detailed(name, why)),
            Some(Fault::BoxOutside(told)) => (4, Case::detailed(name, told)),
            Some(Fault::BoxBeyond(told)) => (5, Case::detailed(name, told)),
            Some(Fault::Useless(why)) => (6, Case::detailed(name, why)),
        };
        by_kind[place].push(case);
    }
    let [
        missing,
        unreadable,
        empty,
        corrupt,
        outside,
        beyond,
        useless,
    ] = by_kind;
    let finding = |severity, kind, cases: Vec<Case>, one: &str, many: &str, way_out: &str| {
        let what = counted(cases.len(), one, many);
        found(severity, kind, what, cases, way_out)
    };
    let all_missing = missing.len() == dataset.items().len();
    let missing = match all_missing && missing.len() > 1 {
        true => found(
            Severity::Error,
            Kind::MissingFiles,
            format!("none of the {} images is there", number(missing.len())),
            missing,
            "unpack them to where the lists say",
        ),
        false => finding(
            Severity::Error,
            Kind::MissingFiles,
            missing,
            "image is not there",
            "images are not there",
            "fetch what is missing again",
        ),
    };
    let turned: Vec<Case> = (dataset.items().iter().zip(looked))
        .filter(|(_, looked)| looked.turned)
        .map(|(item, _)| Case::new(item.location()))
        .collect();
    let others = [
        finding(
            Severity::Note,
            Kind::TurnedImages,
            turned,
            "image has an orientation other than upright (EXIF)",
            "images have an orientation other than upright (EXIF)",
            match dataset.turns_upright() {
                true => {
                    "they are turned upright, and image.orientation = \"ignore\" takes them as stored"
                }
                false => {
                    "they are taken as stored, and image.orientation = \"apply\" turns them upright"
                }
            },
        ),
        finding(
            Severity::Error,
            Kind::UnreadableFiles,
            unreadable,
            "file cannot be read",
            "files cannot be read",
            "give yourself the right to read, or look at the disk",
        ),
        finding(
            Severity::Error,
            Kind::EmptyFiles,
            empty,
            "file is empty",
            "files are empty",
            "fetch what is empty again",
        ),
        finding(
            Severity::Error,
            Kind::CorruptFiles,
            corrupt,
            "image cannot be decoded",
            "images cannot be decoded",
            "fetch what is broken again, or train with --skip-corrupt",
        ),
        finding(
            Severity::Error,
            Kind::UselessRows,
            useless,
            "row cannot be used",
            "rows cannot be used",
            "mend the file, or train with --skip-corrupt",
        ),
        finding(
            Severity::Error,
            Kind::BoxesOutside,
            outside,
            "box lies outside of its image",
            "boxes lie outside of their images",
            "a box counts whole pixels from the upper left corner",
        ),
        finding(
            Severity::Note,
            Kind::BoxesBeyond,
            beyond,
            "box reaches beyond its image",
            "boxes reach beyond their images",
            "what lies outside is cut off",
        ),
    ];
    missing
        .into_iter()
        .chain(others.into_iter().flatten())
        .collect()
}
