//! Images that a program supplies itself, instead of a folder or a list:
//! `cargo run --release -p recall-examples --example own_data`

use recall_data::{Dataset, ImageSource, Item, Split};
use recall_train::{NamedBackend, RunConfig, TrainingRun};

/// Bitmaps of 32 × 32 in one colour each: eight images of each of 40 classes.
fn bitmap(class: u32, image: u32) -> &'static [u8] {
    let mut file =
        b"BM\x36\x0c\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x20\0\0\0\x20\0\0\0\x01\0\x18\0".to_vec();
    file.resize(54, 0);
    let colour = [class * 6, 255 - class * 6, class * 53 % 256].map(|c| (c + 3 * image) as u8);
    file.extend(colour.repeat(32 * 32));
    file.leak()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let items = (0..40).flat_map(|class| {
        (0..8).map(move |image| {
            let split = if class < 30 {
                Split::Train
            } else {
                Split::Test
            };
            let source = ImageSource::Embedded(bitmap(class, image));
            Item::new(format!("{class}/{image}"), source, class, split)
        })
    });
    let classes = (0..40).map(|class| format!("colour {class}")).collect();
    let dataset = Dataset::from_items("colours", items.collect(), classes)?;
    let settings = ["epochs=2", "batch.size=64", "batch.chunk=64"].map(str::to_owned);
    let run = TrainingRun::new(RunConfig::read(None, &settings)?);
    let device = NamedBackend::FLEX.open()?;
    let finished = run.train_with(|config| device.engine(config), Some(dataset), &mut ())?;
    println!("report: {}", finished.report.display());
    Ok(())
}
