//! Layers of settings: defaults or a preset, then a document, then assignments.

use std::path::{Path, PathBuf};

use recall_data::DataSpec;
use toml::{Table, Value};

use super::faults::{self, Fault};
use super::parse::{one_line, parse_assignment, parse_document};
use super::schema::join;
use super::{BatchConfig, BatchSize, ConfigError, Preset, RunConfig, keys, loss, ranges};
use crate::Backbone;

impl RunConfig {
    /// Reads a document with the keys it wants to change, and then `key.path=value` assignments, in
    /// order. What neither names keeps its default; `false` turns a part off that can be off, such as
    /// `image.train.colour_jitter`.
    ///
    /// `document` is where it comes from, for messages, and its text.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the first key or value that makes no sense.
    pub fn read(
        document: Option<(&str, &str)>,
        assignments: &[String],
    ) -> Result<Self, ConfigError> {
        Self::layered(None, document, assignments)
    }

    /// The same, with a preset instead of the defaults.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn layered(
        preset: Option<Preset>,
        document: Option<(&str, &str)>,
        assignments: &[String],
    ) -> Result<Self, ConfigError> {
        let base = preset.map_or_else(Self::default, Preset::config);
        let config = Layers::read(base, document, assignments)?.finish()?;
        config.check()?;
        Ok(config)
    }

    /// The same, and over all of it `data`, where they are given. Without a preset, rows of features are
    /// trained on as [`Preset::FEATURES`] says.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn for_data(
        preset: Option<Preset>,
        document: Option<(&str, &str)>,
        assignments: &[String],
        data: Option<DataSpec>,
    ) -> Result<Self, ConfigError> {
        let mut config = Layers::of(preset, document, assignments, data.as_ref())?.finish()?;
        if let Some(data) = data {
            config.data = data;
        }
        config.check()?;
        Ok(config)
    }

    /// The configuration of a run that begins with what another one, of these settings, had learned at
    /// the checkpoint `from`: with the same settings but for the document and the assignments, and `data`
    /// over all of them where it is given.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn beginning_with(
        self,
        from: PathBuf,
        document: Option<(&str, &str)>,
        assignments: &[String],
        data: Option<DataSpec>,
    ) -> Result<Self, ConfigError> {
        let mut base = self;
        base.from = Some(from);
        base.model.weights = None;
        let mut config = Layers::read(base, document, assignments)?.finish()?;
        if let Some(data) = data {
            config.data = data;
        }
        config.check()?;
        Ok(config)
    }

    /// The configuration of a run: a preset or the defaults, the document, the assignments, and over
    /// all of them `data` and `weights`, where they are given. Where neither a preset nor a setting names the
    /// backbone, it is that of the weights.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and if the weights may belong to several backbones and none is named. A preset of a publication is refused unless data and weights are named
    /// in one of these ways; `model.weights=false` names random ones.
    pub fn for_training(
        preset: Option<Preset>,
        document: Option<(&str, &str)>,
        assignments: &[String],
        data: Option<DataSpec>,
        weights: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::of(preset, document, assignments, data.as_ref())?;
        let has_data = layers.has_data || data.is_some();
        let has_weights = layers.has_weights || weights.is_some();
        let has_backbone = layers.has_backbone || preset.is_some();
        let mut config = layers.finish()?;
        if let Some(data) = data {
            config.data = data;
        }
        if weights.is_some() {
            config.model.weights = weights;
        }
        if preset == Some(Preset::FEATURES) && !has_data {
            return Err(ConfigError::Value {
                key: "data",
                problem: "the preset features trains on rows of yours: give --data embeddings:FILE"
                    .into(),
            });
        }
        if let Some(preset) = preset
            && let Some(benchmark) = preset.benchmark()
        {
            let name = preset.name();
            if !has_data {
                let title = preset.title();
                return Err(ConfigError::PresetData {
                    name,
                    title,
                    benchmark,
                });
            }
            if !has_weights {
                return Err(ConfigError::PresetWeights { name });
            }
        }
        if !has_backbone && let Some(weights) = &config.model.weights {
            config.model.backbone = backbone_of(weights, config.model.backbone)?;
        }
        config.check()?;
        Ok(config)
    }
}

/// The backbone of a file of weights, or the one that is meant otherwise: what cannot be read is said when it is loaded.
fn backbone_of(weights: &Path, otherwise: Backbone) -> Result<Backbone, ConfigError> {
    let found = Backbone::of_weights(weights).unwrap_or_default();
    match found[..] {
        [] => Ok(otherwise),
        [backbone] => Ok(backbone),
        _ => {
            let names: Vec<&str> = found.iter().map(|backbone| backbone.name()).collect();
            Err(ConfigError::Value {
                key: "model.backbone",
                problem: format!(
                    "the weights {} may be those of {}, which differ in no tensor; name one",
                    weights.display(),
                    names.join(" or ")
                ),
            })
        }
    }
}

/// What has been read so far.
struct Layers {
    table: Table,
    config: RunConfig,
    /// The batch of the preset or of the defaults.
    base: BatchSize,
    /// Of a part that is on, a key is missing that a later layer may bring.
    incomplete: Option<ConfigError>,
    /// Whether a layer names the data.
    has_data: bool,
    /// Whether a layer names the weights, or says that there are none.
    has_weights: bool,
    /// Whether a layer names the backbone.
    has_backbone: bool,
}

impl Layers {
    fn read(
        config: RunConfig,
        document: Option<(&str, &str)>,
        assignments: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Self {
            table: config.to_table(),
            base: config.batch.size,
            config,
            incomplete: None,
            has_data: false,
            has_weights: false,
            has_backbone: false,
        };
        // Each layer is checked by itself, so that a message can say which one is at fault.
        if let Some((origin, text)) = document {
            layers.lay(parse_document(text, origin)?, origin)?;
        }
        for assignment in assignments {
            let origin = format!("--set {assignment}");
            layers.lay(parse_assignment(assignment, &origin)?, &origin)?;
        }
        Ok(layers)
    }

    /// Over a preset, or what suits the data where there is none.
    fn of(
        preset: Option<Preset>,
        document: Option<(&str, &str)>,
        assignments: &[String],
        data: Option<&DataSpec>,
    ) -> Result<Self, ConfigError> {
        let base = preset.map_or_else(RunConfig::default, Preset::config);
        let layers = Self::read(base, document, assignments)?;
        let data = data.unwrap_or(&layers.config.data);
        match (preset, data) {
            (None, DataSpec::Embeddings { .. }) => {
                Self::read(Preset::FEATURES.config(), document, assignments)
            }
            _ => Ok(layers),
        }
    }

    fn lay(&mut self, mut changes: Table, origin: &str) -> Result<(), ConfigError> {
        let refuse = |problem| ConfigError::Document {
            origin: origin.to_owned(),
            problem,
        };
        retire(&mut changes).map_err(refuse)?;
        if let Some(problem) = faults::unknown_key(&changes) {
            return Err(refuse(problem));
        }
        self.has_data |= changes.contains_key("data");
        let model = changes.get("model").and_then(Value::as_table);
        self.has_weights |= model.is_some_and(|model| model.contains_key("weights"));
        self.has_backbone |= model.is_some_and(|model| model.contains_key("backbone"));
        loss::follow_kind(&mut self.table, &changes);
        if let Some(problem) = loss::of_another_kind(&self.table, &changes) {
            return Err(refuse(problem));
        }
        merge(&mut self.table, changes, "");
        match faults::find(&self.table) {
            Some(Fault::Wrong(problem)) => return Err(refuse(problem)),
            Some(Fault::Missing(problem)) => {
                self.incomplete = Some(refuse(problem));
                return Ok(());
            }
            None => self.incomplete = None,
        }
        // Every value is of its kind; what is left to refuse is text that its type does not take.
        self.config = serde_path_to_error::deserialize(Value::Table(self.table.clone()))
            .map_err(|error| refuse(format!("{}: {}", error.path(), one_line(error.inner()))))?;
        Ok(())
    }

    fn finish(self) -> Result<RunConfig, ConfigError> {
        if let Some(incomplete) = self.incomplete {
            return Err(incomplete);
        }
        // As they were given: in single precision 1e300 is infinite.
        ranges::check(&self.table)?;
        let batch = BatchConfig {
            size: self.config.batch.size.bounded_by(self.base),
            ..self.config.batch
        };
        Ok(RunConfig {
            batch,
            ..self.config
        })
    }
}

/// Drops `image.reduced_jpeg`, which earlier versions wrote into each run: `false` is what every run
/// does now.
fn retire(changes: &mut Table) -> Result<(), String> {
    let image = changes.get_mut("image").and_then(Value::as_table_mut);
    match image.and_then(|image| image.remove("reduced_jpeg")) {
        None | Some(Value::Boolean(false)) => Ok(()),
        Some(_) => Err(
            "image.reduced_jpeg is gone, as every JPEG is now decoded whole; leave it out, and \
             image.cache keeps large images resized"
                .to_owned(),
        ),
    }
}

/// Lays `changes` over `table`, which is `section`, key by key at every depth.
fn merge(table: &mut Table, changes: Table, section: &str) {
    for (key, change) in changes {
        let name = join(section, &key);
        match (table.get_mut(&key), change) {
            (_, Value::Boolean(false)) if keys::is_optional(&name) => {
                table.remove(&key);
            }
            (Some(Value::Table(inner)), Value::Table(changes)) => merge(inner, changes, &name),
            (_, Value::Table(changes)) => {
                let mut inner = Table::new();
                merge(&mut inner, changes, &name);
                table.insert(key, Value::Table(inner));
            }
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Extent, OptimiserKind};

    fn set(assignments: &[&str]) -> Vec<String> {
        assignments.iter().map(|&a| a.to_owned()).collect()
    }

    fn refusal(document: Option<(&str, &str)>, assignments: &[&str]) -> String {
        RunConfig::read(document, &set(assignments))
            .unwrap_err()
            .to_string()
    }

    fn preset(name: &str) -> Option<Preset> {
        Some(name.parse().unwrap())
    }

    #[test]
    fn what_is_not_named_keeps_its_default_at_every_depth() {
        let set = set(&["image.train.size=[64, 48]", "image.eval.crop=16"]);
        let config = RunConfig::read(None, &set).unwrap();
        let default = RunConfig::default();
        assert_eq!(config.image.train.size, [64, 48]);
        assert_eq!(
            config.image.train.colour_jitter,
            default.image.train.colour_jitter
        );
        assert_eq!(config.image.eval.resize, default.image.eval.resize);
    }

    #[test]
    fn a_path_may_look_like_a_date() {
        let config = RunConfig::read(None, &set(&["model.weights=2020-01-01"])).unwrap();
        assert_eq!(config.model.weights, Some("2020-01-01".into()));
    }

    #[test]
    fn reduced_decoding_is_gone_and_configurations_that_never_used_it_are_read() {
        let old = Some(("old.toml", "image = { reduced_jpeg = false }"));
        assert_eq!(RunConfig::read(old, &[]).unwrap(), RunConfig::default());
        let message = refusal(Some(("old.toml", "image = { reduced_jpeg = true }")), &[]);
        assert!(
            message.contains("old.toml: image.reduced_jpeg is gone"),
            "{message}"
        );
    }

    #[test]
    fn a_later_layer_wins() {
        let document = Some((
            "file",
            "epochs = 3\nseed = 9\n[optimiser]\nkind = \"adamw\"\nmilestones = [1]",
        ));
        let set = set(&[
            "epochs=7",
            "optimiser.kind=adam",
            "loss.ks=[1, 3]",
            "epochs=8",
        ]);
        let config = RunConfig::layered(preset("sop-resnet50"), document, &set).unwrap();
        assert_eq!(
            (config.epochs, config.seed, config.batch.size.most()),
            (8, 9, 4000)
        );
        assert_eq!(config.optimiser.kind, OptimiserKind::Adam);
        assert_eq!(config.optimiser.milestones, [Extent::Whole(1)]);
        assert_eq!(config.optimiser.learning_rate, 2e-4);
        assert_eq!(config.loss.ks, Some(vec![1, 3]));
    }

    #[test]
    fn false_turns_off_whatever_can_be_off() {
        let on = [
            "image.train.random_affine={degrees=5, scale=[0.5, 2]}",
            "image.cache={folder=\"kept\", shorter_side=64}",
            "model.weights=file.pth",
            "batch.super_classes=2",
            "optimiser.clip_norm=1",
            "optimiser.average=0.9",
            "evaluation.select=recall@1",
        ];
        let config = RunConfig::read(None, &set(&on)).unwrap();
        assert_eq!(config.model.weights, Some("file.pth".into()));
        let off = [
            "image.train.random_affine.scale=false",
            "image.cache=false",
            "model.weights=false",
            "batch.super_classes=false",
            "optimiser.clip_norm=false",
            "optimiser.average=false",
            "evaluation.select=false",
            "image.train.random_resized_crop=false",
            "image.train.colour_jitter=false",
        ];
        let both = set(&[on.as_slice(), off.as_slice()].concat());
        let config = RunConfig::read(None, &both).unwrap();
        assert_eq!(config.image.train.random_affine.unwrap().scale, None);
        assert_eq!(config.image.train.colour_jitter, None);
        assert_eq!(config.image.train.random_resized_crop, None);
        let mut rest = config.clone();
        rest.image.train = RunConfig::default().image.train;
        assert_eq!(rest, RunConfig::default());
        // What is off already stays off.
        assert_eq!(
            RunConfig::read(Some(("f", &config.to_toml())), &set(&off)).unwrap(),
            config
        );
        assert!(refusal(None, &["batch.size=false"]).contains("batch.size takes a whole number"));
    }

    #[test]
    fn a_part_may_come_in_pieces() {
        let pieces = ["image.cache.folder=kept", "image.cache.shorter_side=64"];
        let config = RunConfig::read(None, &set(&pieces)).unwrap();
        assert_eq!(config.image.cache.unwrap().shorter_side, 64);
        assert_eq!(
            refusal(None, &pieces[..1]),
            "--set image.cache.folder=kept: image.cache.shorter_side is missing; give it, too"
        );
    }

    #[test]
    fn a_published_recipe_asks_for_data_and_weights() {
        let sop: DataSpec = "sop:here".parse().unwrap();
        let train =
            |document, assignments: &[&str], data: Option<&DataSpec>, weights: Option<&str>| {
                RunConfig::for_training(
                    preset("sop-resnet50"),
                    document,
                    &set(assignments),
                    data.cloned(),
                    weights.map(PathBuf::from),
                )
            };
        assert_eq!(
            train(None, &[], None, Some("w")).unwrap_err().to_string(),
            "the preset sop-resnet50 is for Stanford Online Products: give --data sop:DIR"
        );
        let message = train(None, &[], Some(&sop), None).unwrap_err().to_string();
        for part in [
            "sop-resnet50",
            "--weights FILE",
            "--set model.weights=false",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let config = train(None, &[], Some(&sop), Some("w")).unwrap();
        assert_eq!(config.data, sop);
        assert_eq!(config.model.weights, Some("w".into()));
        // Each may come from any layer, and the options win.
        let document = Some(("f", "data = \"folder:own\"\n[model]\nweights = \"v\""));
        let config = train(document, &[], None, None).unwrap();
        assert_eq!(config.data, DataSpec::Folder("own".into()));
        assert_eq!(config.model.weights, Some("v".into()));
        let config = train(document, &["model.weights=false"], Some(&sop), None).unwrap();
        assert_eq!((config.data, config.model.weights), (sop.clone(), None));
        let config = train(document, &["model.weights=u"], None, Some("w")).unwrap();
        assert_eq!(config.model.weights, Some("w".into()));
        // Neither is asked for without such a preset.
        for preset in [None, Some(Preset::EMOJI)] {
            let config = RunConfig::for_training(preset, None, &[], None, None).unwrap();
            assert_eq!(config, RunConfig::default());
        }
    }
}
