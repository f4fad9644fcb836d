//! The results of the authors' released code, as they lie beside the tests of recall-loss; inside
//! the program, so that it can be taken to any machine.

use std::collections::HashMap;

use anyhow::Context;
use recall_loss::{Mixup, RecallAtKLossConfig};
use safetensors::{Dtype, SafeTensors};

use super::case::{Case, Outcome};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../crates/recall-loss/tests/reference/",
                $name,
                ".safetensors"
            ))
            .as_slice(),
        )),*]
    };
}

const FILES: [(&str, &[u8]); 8] = files![
    "surrogate_single_k",
    "surrogate_spc3",
    "surrogate_spc4",
    "surrogate_spc4_n200",
    "surrogate_spc6_temps",
    "simix_spc3",
    "simix_spc4",
    "simix_spc6",
];

/// A case for each file, with the bounds that recall-loss promises for f32.
pub fn cases() -> anyhow::Result<Vec<Case>> {
    FILES
        .iter()
        .map(|(name, bytes)| case(name, bytes).with_context(|| format!("reference file {name}")))
        .collect()
}

fn case(name: &str, bytes: &[u8]) -> anyhow::Result<Case> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let settings = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes)?;
    let mixup = (setting(&settings, "mixup")? == "true")
        .then(|| {
            anyhow::Ok(Mixup::new(
                rows(&file, "mix_first")?,
                rows(&file, "mix_second")?,
                floats(&file, "mix_alpha")?,
            )?)
        })
        .transpose()?;
    let loss = RecallAtKLossConfig::released_code()
        .with_ks(serde_json::from_str(setting(&settings, "ks")?)?)
        .with_tau_k(serde_json::from_str(setting(&settings, "tau_k")?)?)
        .with_tau_rank(setting(&settings, "tau_rank")?.parse()?)
        .with_query_in_rank(setting(&settings, "query_in_rank")? == "true")
        .init()?;
    // Files with mixup list the queries class by class; their mean is checked all the same.
    let recall = match &mixup {
        Some(_) => None,
        None => Some(
            floats(&file, "query_loss")?
                .iter()
                .map(|l| 1.0 - l)
                .collect(),
        ),
    };
    Ok(Case {
        name: name.to_owned(),
        embeddings: floats(&file, "embeddings")?,
        labels: integers(&file, "labels")?,
        mixup,
        loss,
        expected: Outcome {
            loss: floats(&file, "loss")?.iter().sum(),
            grad: floats(&file, "grad")?,
            recall,
        },
        bounds: (1e-5, 1e-4),
    })
}

fn setting<'a>(settings: &'a HashMap<String, String>, key: &str) -> anyhow::Result<&'a str> {
    settings
        .get(key)
        .map(String::as_str)
        .with_context(|| format!("no setting {key}"))
}

fn floats(file: &SafeTensors<'_>, name: &str) -> anyhow::Result<Vec<f64>> {
    let tensor = file.tensor(name)?;
    match tensor.dtype() {
        Dtype::F32 => {
            let (numbers, _) = tensor.data().as_chunks::<4>();
            Ok(numbers
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes).into())
                .collect())
        }
        Dtype::F64 => {
            let (numbers, _) = tensor.data().as_chunks::<8>();
            Ok(numbers.iter().map(|&b| f64::from_le_bytes(b)).collect())
        }
        other => anyhow::bail!("{name} is {other:?}"),
    }
}

fn integers(file: &SafeTensors<'_>, name: &str) -> anyhow::Result<Vec<i64>> {
    let tensor = file.tensor(name)?;
    let (numbers, _) = tensor.data().as_chunks::<8>();
    Ok(numbers.iter().map(|&b| i64::from_le_bytes(b)).collect())
}

fn rows(file: &SafeTensors<'_>, name: &str) -> anyhow::Result<Vec<usize>> {
    let rows = integers(file, name)?;
    Ok(rows.into_iter().map(|row| row as usize).collect())
}
