//! What stands in for features where there are none: small pictures, number by number.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use image::imageops::FilterType;
use recall_data::{DataSpec, Split};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Pixels a side.
const SIDE: u32 = 8;

/// Writes the pixels of the embedded emoji as rows of features.
pub fn features(path: &Path) -> Result<()> {
    let emoji = DataSpec::Emoji.open()?;
    let (mut rows, mut labels, mut train) = (Vec::new(), Vec::new(), Vec::new());
    for (id, item) in emoji.items().iter().enumerate() {
        let picture = image::load_from_memory(&emoji.read(id)?)
            .with_context(|| format!("cannot decode {}", item.name))?
            .resize_exact(SIDE, SIDE, FilterType::Triangle)
            .to_rgb8();
        let numbers = picture.as_raw().iter();
        rows.extend(numbers.flat_map(|&byte| (f32::from(byte) / 255.0).to_le_bytes()));
        labels.extend(i64::from(item.class).to_le_bytes());
        train.push(u8::from(item.split == Split::Train));
    }
    let count = train.len();
    let dim = (3 * SIDE * SIDE) as usize;
    let tensors = HashMap::from([
        (
            "features",
            TensorView::new(Dtype::F32, vec![count, dim], &rows)?,
        ),
        ("labels", TensorView::new(Dtype::I64, vec![count], &labels)?),
        ("train", TensorView::new(Dtype::U8, vec![count], &train)?),
    ]);
    safetensors::serialize_to_file(tensors, None, path)
        .with_context(|| format!("cannot write {}", path.display()))
}
