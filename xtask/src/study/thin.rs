//! Features in which many classes have fewer rows than they could have.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::declared::Thin;

impl Thin {
    /// Writes `all` without the rows that are dropped, unless another run of the study reads such a file already.
    pub fn write(&self, all: &Path, to: &Path) -> Result<()> {
        let bytes = fs::read(all).with_context(|| format!("cannot read {}", all.display()))?;
        let thinned =
            (self.of(&bytes)).with_context(|| format!("cannot thin {}", all.display()))?;
        if fs::read(to).is_ok_and(|there| there == thinned) {
            return Ok(());
        }
        fs::write(to, thinned).with_context(|| format!("cannot write {}", to.display()))
    }

    /// The file without the rows that are dropped.
    fn of(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let file = SafeTensors::deserialize(bytes)?;
        let labels: Vec<i64> = (file.tensor("labels")?.data().chunks_exact(8))
            .map(|bytes| {
                bytes
                    .iter()
                    .rfold(0, |value, &byte| value << 8 | i64::from(byte))
            })
            .collect();
        let train: Vec<bool> = file
            .tensor("train")?
            .data()
            .iter()
            .map(|&of| of != 0)
            .collect();
        let kept = self.kept(&labels, &train);
        let mut tensors = HashMap::new();
        for (name, tensor) in file.tensors() {
            let mut shape = tensor.shape().to_vec();
            let row = tensor.data().len() / labels.len();
            let rows = kept
                .iter()
                .flat_map(|&at| &tensor.data()[at * row..][..row]);
            shape[0] = kept.len();
            tensors.insert(
                name,
                (tensor.dtype(), shape, rows.copied().collect::<Vec<u8>>()),
            );
        }
        let views = (tensors.iter())
            .map(|(name, (dtype, shape, rows))| {
                Ok((name, TensorView::new(*dtype, shape.clone(), rows)?))
            })
            .collect::<Result<HashMap<_, _>>>()?;
        Ok(safetensors::serialize(views, None)?)
    }

    /// The rows that stay, in order.
    fn kept(&self, labels: &[i64], train: &[bool]) -> Vec<usize> {
        let mut classes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (row, label) in labels.iter().enumerate().filter(|(row, _)| train[*row]) {
            classes.entry(*label).or_default().push(row);
        }
        let mut classes: Vec<Vec<usize>> = classes.into_values().collect();
        // Whatever is kept of them, the same classes lose rows.
        classes.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let count = (self.share * classes.len() as f64).round() as usize;
        let mut stays = vec![true; labels.len()];
        for class in classes.iter().take(count) {
            class
                .iter()
                .skip(self.keep)
                .for_each(|&row| stays[row] = false);
        }
        (0..labels.len()).filter(|&row| stays[row]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_classes_lose_rows_and_the_test_loses_none() {
        let labels: Vec<i64> = (0..40).map(|row| row / 5).collect();
        let train: Vec<bool> = labels.iter().map(|label| *label < 4).collect();
        let one = Thin {
            share: 0.75,
            keep: 1,
        };
        let none = Thin { keep: 0, ..one };
        let (with, without) = (one.kept(&labels, &train), none.kept(&labels, &train));
        assert_eq!((with.len(), without.len()), (3 + 5 + 20, 5 + 20));
        assert!(without.iter().all(|row| with.contains(row)));

        let features: Vec<u8> = (0..40).flat_map(|row| [row, 100 + row]).collect();
        let bytes: Vec<u8> = labels
            .iter()
            .flat_map(|label| label.to_le_bytes())
            .collect();
        let flags: Vec<u8> = train.iter().map(|&of| u8::from(of)).collect();
        let view = |dtype, shape, data| TensorView::new(dtype, shape, data).unwrap();
        let file = HashMap::from([
            (
                "features",
                view(safetensors::Dtype::U8, vec![40, 2], &features),
            ),
            ("labels", view(safetensors::Dtype::I64, vec![40], &bytes)),
            ("train", view(safetensors::Dtype::U8, vec![40], &flags)),
        ]);
        let thinned = one
            .of(&safetensors::serialize(file, None).unwrap())
            .unwrap();
        let thinned = SafeTensors::deserialize(&thinned).unwrap();
        let rows = thinned.tensor("features").unwrap();
        let expected: Vec<u8> = (with.iter())
            .flat_map(|&row| [row as u8, 100 + row as u8])
            .collect();
        assert_eq!((rows.shape(), rows.data()), (&[28, 2][..], &expected[..]));
        assert_eq!(
            thinned.tensor("train").unwrap().data().iter().sum::<u8>(),
            8
        );
    }
}
