//! Models, losses and data sets that a program brings itself.

use std::path::Path;

use burn::backend::Autodiff;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use recall_data::{Dataset, ImageSource, Item, Split};
use recall_step::l2_normalise;
use recall_train::{
    Checkpoint, Embedder, Engine, EngineConfig, EngineError, EvaluationRecord, NamedBackend,
    OnDevice, Pixels, Place, Progress, RunConfig, StepRecord, TrainedModel, TrainingRun,
};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{command, metrics, refuse};

type Train = Autodiff<Flex>;

/// Two layers, of which the first is a stage that can be frozen.
#[derive(Module, Debug)]
struct Mine<B: Backend> {
    first: Linear<B>,
    second: Linear<B>,
}

impl<B: Backend> Embedder<B> for Mine<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let features = burn::tensor::activation::relu(self.first.forward(images.flatten(1, 3)));
        l2_normalise(self.second.forward(features))
    }

    fn stage(&self, path: &[&str]) -> Option<usize> {
        (path.first() == Some(&"first")).then_some(0)
    }
}

fn mine(config: &EngineConfig) -> Result<Box<dyn Engine>, EngineError> {
    let engine = OnDevice::<Train, _>::new(config, &FlexDevice, |device| Mine {
        first: LinearConfig::new(3 * 8 * 8, 12).init(device),
        second: LinearConfig::new(12, 6).init(device),
    });
    Ok(Box::new(engine?))
}

/// Classes are colours; each image of one has some noise of its own.
fn colours() -> Dataset {
    let items = (0..20_u32).flat_map(|class| {
        (0..4_u32).map(move |image| {
            let split = match class < 12 {
                true => Split::Train,
                false => Split::Test,
            };
            let pixels = image::RgbImage::from_fn(8, 8, |x, y| {
                let noise = (x * 7 + y * 13 + image * 29) % 40;
                image::Rgb(
                    [class * 12, class * 31 % 256, 128].map(|of| (of + noise).min(255) as u8),
                )
            });
            let mut file = std::io::Cursor::new(Vec::new());
            pixels.write_to(&mut file, image::ImageFormat::Png).unwrap();
            let source = ImageSource::Embedded(file.into_inner().leak());
            Item::new(format!("{class}/{image}"), source, class, split)
        })
    });
    let classes = (0..20).map(|class| format!("colour {class}")).collect();
    Dataset::from_items("colours", items.collect(), classes).unwrap()
}

fn config() -> RunConfig {
    let settings = [
        "model.backbone=own",
        "model.dim=6",
        "epochs=3",
        "batch.size=16",
        "batch.samples_per_class=4",
        "batch.chunk=8",
        "image.train.size=[8,8]",
        "image.eval={resize=8,crop=8}",
        "optimiser.backbone_rate=0.5",
        "optimiser.average=0.9",
        "evaluation.every=1",
        "evaluation.metrics=[\"r_precision\",\"recall@1\"]",
    ];
    RunConfig::read(None, &settings.map(str::to_owned)).unwrap()
}

fn run(place: Place) -> TrainingRun {
    TrainingRun {
        place,
        ..TrainingRun::new(config())
    }
}

/// Asks for an end after so many steps.
struct StopAfter(u32);

impl Progress for StopAfter {
    fn begin(&mut self, _: u64, _: u64, _: u64) {}
    fn step(&mut self, _: &StepRecord) {
        self.0 = self.0.saturating_sub(1);
    }
    fn evaluated(&mut self, _: &EvaluationRecord) {}
    fn note(&mut self, _: &str) {}
    fn end(&mut self) {}
    fn interrupted(&self) -> bool {
        self.0 == 0
    }
}

/// The records of a run without what depends on the clock.
fn records(run: &Path) -> Vec<Value> {
    let mut records = metrics(run);
    for record in &mut records {
        record.as_object_mut().unwrap().remove("seconds");
    }
    records
}

#[test]
fn an_own_model_on_own_images_is_resumed_to_the_same_bits() {
    let dir = tempdir().unwrap();
    let [straight, stopped] = ["straight", "stopped"].map(|name| dir.path().join(name));
    let whole = run(Place::New(Some(straight.clone())));
    let finished = whole.train_with(mine, Some(colours()), &mut ()).unwrap();
    let result = finished.result.unwrap();
    assert_eq!(
        result.evaluation.values[0].0.to_string(),
        "r_precision",
        "named in evaluation.metrics"
    );
    assert!(
        std::fs::read_to_string(&finished.report)
            .unwrap()
            .contains("r_precision")
    );

    let part = run(Place::New(Some(stopped.clone())));
    let interrupted = part.train_with(mine, Some(colours()), &mut StopAfter(4));
    let sentence = interrupted.unwrap_err().to_string();
    assert!(sentence.contains("stopped after step 4"), "{sentence}");
    let rest = TrainingRun::resumed(&stopped, Default::default(), String::new()).unwrap();
    rest.train_with(mine, Some(colours()), &mut ()).unwrap();
    assert_eq!(records(&stopped), records(&straight));
    let weights = |run: &Path| {
        let checkpoint = Checkpoint::open_last(run).unwrap();
        std::fs::read(checkpoint.path().join("model.safetensors")).unwrap()
    };
    assert_eq!(weights(&stopped), weights(&straight));

    // The trained model embeds, in the program that has it and nowhere else.
    let checkpoint = Checkpoint::open(&straight).unwrap();
    let model = TrainedModel::with_engine(mine, checkpoint).unwrap();
    let bytes = [7; 2 * 3 * 8 * 8];
    let shape = [2, 3, 8, 8];
    let rows = model
        .embed(Pixels {
            bytes: &bytes,
            shape,
        })
        .unwrap();
    assert_eq!((rows.rows(), rows.dim()), (2, 6));
    let run = straight.to_str().unwrap();
    let own_data = refuse(&mut command(dir.path(), &["eval", "--checkpoint", run]));
    assert!(
        own_data.contains("only that program can open it"),
        "{own_data}"
    );
    let own_model = ["eval", "--checkpoint", run, "--data", "emoji"];
    let own_model = refuse(&mut command(dir.path(), &own_model));
    assert!(
        own_model.contains("only the program which trains it can create"),
        "{own_model}"
    );
}

#[test]
fn other_images_of_a_program_are_not_those_that_the_run_began_with() {
    let dir = tempdir().unwrap();
    let place = dir.path().join("run");
    let begun = run(Place::New(Some(place.clone())));
    let stopped = begun.train_with(mine, Some(colours()), &mut StopAfter(1));
    stopped.unwrap_err();
    let rest = TrainingRun::resumed(&place, Default::default(), String::new()).unwrap();
    let fewer = Dataset::from_items(
        "colours",
        colours().items()[..70].to_vec(),
        colours().class_names().to_vec(),
    );
    let refused = rest.train_with(mine, Some(fewer.unwrap()), &mut ());
    let sentence = refused.unwrap_err().to_string();
    assert!(
        sentence.contains("are not those that the run began with"),
        "{sentence}"
    );
}

#[test]
fn an_own_loss_is_what_is_trained_on() {
    let dir = tempdir().unwrap();
    let mut run = run(Place::New(Some(dir.path().join("run"))));
    run.config.model = Default::default();
    run.config.model.widths = vec![4, 8];
    run.config.model.grid = 2;
    // Its value is known: with rows of unit length every row is at a distance of 1 from zero.
    let finished = run.train_with(
        |config| {
            let engine = OnDevice::<Train, _>::of_config(config, &FlexDevice)?;
            let engine = engine.with_autodiff_loss(|embeddings, labels| {
                assert_eq!(embeddings.dims()[0], labels.len());
                embeddings.powf_scalar(2.0).sum_dim(1).mean() + 41.0
            });
            Ok(Box::new(engine))
        },
        Some(colours()),
        &mut (),
    );
    let run = finished.unwrap().report.parent().unwrap().to_owned();
    let steps = metrics(&run)
        .into_iter()
        .filter(|record| record["kind"] == "step");
    for step in steps {
        assert!(
            (step["loss"].as_f64().unwrap() - 42.0).abs() < 1e-4,
            "{step}"
        );
        assert!(step["recall"].is_null(), "{step}");
    }
}

#[test]
fn a_model_that_is_own_has_to_be_brought() {
    let device = NamedBackend::FLEX.open().unwrap();
    let refused = device.engine(&config().engine()).err().unwrap().to_string();
    assert!(refused.contains("model.backbone is `own`"), "{refused}");
    let mut standard = config();
    standard.model = Default::default();
    let refused = mine(&standard.engine()).err().unwrap().to_string();
    assert!(refused.contains("set model.backbone to `own`"), "{refused}");
}
