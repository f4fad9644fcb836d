//! Layers of settings: defaults or a preset, then a document, then assignments.

use std::path::PathBuf;

use recall_data::DataSpec;
use toml::{Table, Value};

use super::keys::{KEYS, join, nearest};
use super::{BatchConfig, BatchSize, ConfigError, Preset, RunConfig, ranges};

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
    /// all of them `data` and `weights`, where they are given.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). A preset of a publication is refused unless data and weights are named
    /// in one of these ways; `model.weights=false` names random ones.
    pub fn for_training(
        preset: Option<Preset>,
        document: Option<(&str, &str)>,
        assignments: &[String],
        data: Option<DataSpec>,
        weights: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let base = preset.map_or_else(Self::default, Preset::config);
        let layers = Layers::read(base, document, assignments)?;
        let has_data = layers.has_data || data.is_some();
        let has_weights = layers.has_weights || weights.is_some();
        let mut config = layers.finish()?;
        if let Some(data) = data {
            config.data = data;
        }
        if weights.is_some() {
            config.model.weights = weights;
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
        config.check()?;
        Ok(config)
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

    fn lay(&mut self, mut changes: Table, origin: &str) -> Result<(), ConfigError> {
        let refuse = |problem| ConfigError::Document {
            origin: origin.to_owned(),
            problem,
        };
        retire(&mut changes).map_err(refuse)?;
        known(&changes, "").map_err(refuse)?;
        self.has_data |= changes.contains_key("data");
        let model = changes.get("model").and_then(Value::as_table);
        self.has_weights |= model.is_some_and(|model| model.contains_key("weights"));
        merge(&mut self.table, changes, "");
        match serde_path_to_error::deserialize(Value::Table(self.table.clone())) {
            Ok(config) => (self.config, self.incomplete) = (config, None),
            Err(error) => {
                let place = error.path().to_string();
                let fault = Fault::new(&place, error.inner().message());
                let refused = refuse(fault.sentence());
                match fault {
                    Fault::Missing(_) => self.incomplete = Some(refused),
                    Fault::Wrong(_) => return Err(refused),
                }
            }
        }
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

/// Whether all keys of `changes`, which lie in `section`, are keys of a configuration.
fn known(changes: &Table, section: &str) -> Result<(), String> {
    for (key, change) in changes {
        let name = join(section, key);
        if !KEYS.contains(&name) {
            return Err(unknown(&name, section));
        }
        if let Value::Table(inner) = change {
            known(inner, &name)?;
        }
    }
    Ok(())
}

/// The sentence about a key that does not exist.
fn unknown(name: &str, section: &str) -> String {
    let like = KEYS.like(name);
    let way_out = match (&like[..], KEYS.within(section)) {
        ([_, ..], _) => format!("did you mean {}?", like.join(" or ")),
        ([], Some(keys)) if section.is_empty() => format!("there are {}", keys.join(", ")),
        ([], Some(keys)) => format!("{section} has {}", keys.join(", ")),
        ([], None) => format!("{section} is one value"),
    };
    format!("unknown setting {name}; {way_out}")
}

/// Lays `changes` over `table`, which is `section`, key by key at every depth.
fn merge(table: &mut Table, changes: Table, section: &str) {
    for (key, change) in changes {
        let name = join(section, &key);
        match (table.get_mut(&key), change) {
            (_, Value::Boolean(false)) if KEYS.is_optional(&name) => {
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

/// What is wrong with a value, in a sentence.
enum Fault {
    /// A key is missing in a part that is on.
    Missing(String),
    /// Anything else.
    Wrong(String),
}

impl Fault {
    /// From the place of a value and what serde says of it.
    fn new(place: &str, message: &str) -> Self {
        let message = message.lines().collect::<Vec<_>>().join(" ");
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(key) = missing {
            let name = join(place, key);
            return Self::Missing(format!("{name} is missing; give it, too"));
        }
        if let Some(rest) = message.strip_prefix("unknown variant `")
            && let Some((given, expected)) = rest.split_once("`, expected ")
        {
            let words = quoted(expected);
            let list = words.join(", ");
            return Self::Wrong(match nearest(given, words) {
                Some(word) => format!("{place} cannot be {given}; did you mean {word}?"),
                None => format!("{place} cannot be {given}; it is one of {list}"),
            });
        }
        let wrong = ["invalid type: ", "invalid value: ", "invalid length "]
            .iter()
            .find_map(|start| message.strip_prefix(start))
            .and_then(|rest| rest.split_once(", expected "));
        Self::Wrong(match wrong {
            Some((given, expected)) => {
                let off = match KEYS.is_optional(place) {
                    true => ", or false, which turns it off",
                    false => "",
                };
                let given = given.replace('`', "");
                format!(
                    "{place} takes {}{off}, not {given}",
                    wanted(place, expected)
                )
            }
            None => match (message.strip_prefix("expected "), ranges::range_of(place)) {
                (Some(others), Some(range)) => format!("{place} takes a {range}, {others}"),
                _ => format!("{place}: {message}"),
            },
        })
    }

    fn sentence(&self) -> String {
        match self {
            Self::Missing(sentence) | Self::Wrong(sentence) => sentence.clone(),
        }
    }
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<String> {
    let words = text.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// What a setting takes, in words, from serde's words for it.
fn wanted(place: &str, expected: &str) -> String {
    if let Some(range) = ranges::range_of(place) {
        return format!("a {range}");
    }
    match expected {
        "u64" | "usize" => "a whole number".into(),
        "f64" | "f32" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "path string" => "a path".into(),
        _ if expected.starts_with("struct ") => match KEYS.within(place) {
            Some(keys) => format!("settings of its own ({})", keys.join(", ")),
            None => "settings of its own".into(),
        },
        _ => expected
            .replace("an array of length", "a list of length")
            .replace("a tuple of size", "a list of length"),
    }
}

fn parse_document(text: &str, origin: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        ConfigError::Document {
            origin: origin.to_owned(),
            problem: match error.span().and_then(|span| text.get(..span.start)) {
                Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
                None => message,
            },
        }
    })
}

/// One `key.path=value` as a document.
fn parse_assignment(assignment: &str, origin: &str) -> Result<Table, ConfigError> {
    let named = assignment
        .split_once('=')
        .filter(|(path, _)| !path.trim().is_empty());
    let Some((path, value)) = named else {
        return Err(ConfigError::Document {
            origin: origin.to_owned(),
            problem: "write key=value, for example optimiser.learning_rate=0.001".to_owned(),
        });
    };
    // A bare word is a string: `optimiser.kind=adam` should not need quotes within quotes.
    let value = format!("value = {value}")
        .parse::<Table>()
        .ok()
        .filter(|parsed| parsed.len() == 1)
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let (first, rest) = (keys[0], &keys[1..]);
    let nested = rest.iter().rev().fold(value, |inner, key| {
        Value::Table(Table::from_iter([((*key).to_owned(), inner)]))
    });
    Ok(Table::from_iter([(first.to_owned(), nested)]))
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
        assert_eq!(config.loss.ks, [1, 3]);
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
    fn faults_are_named_with_their_place() {
        for (document, message) in [
            ("epoch = 3", "unknown setting epoch; did you mean epochs?"),
            (
                "[optimiser]\nlearnin_rate = 1",
                "unknown setting optimiser.learnin_rate; did you mean optimiser.learning_rate?",
            ),
            (
                "learning_rate = 1",
                "unknown setting learning_rate; did you mean optimiser.learning_rate?",
            ),
            (
                "[checkpoint]\nnonsense = 1",
                "unknown setting checkpoint.nonsense; checkpoint has every_minutes, keep",
            ),
            (
                "optimiser = { kind = \"adamww\" }",
                "optimiser.kind cannot be adamww; did you mean adamw?",
            ),
            (
                "optimiser = { kind = \"sgd\" }",
                "optimiser.kind cannot be sgd; it is one of adam, adamw",
            ),
            (
                "image = { boxes = \"cropped\" }",
                "image.boxes cannot be cropped; did you mean crop?",
            ),
            (
                "epochs = \"many\"",
                "epochs takes a whole number from 1 to 1000000, not string \"many\"",
            ),
            (
                "epochs = -1",
                "epochs takes a whole number from 1 to 1000000, not integer -1",
            ),
            (
                "image = { train = { size = [1, \"x\"] } }",
                "image.train.size[1] takes a whole number from 1 to 16384, not string \"x\"",
            ),
            (
                "optimiser = { clip_norm = \"x\" }",
                "optimiser.clip_norm takes a number above 0, or false, which turns it off, not string \"x\"",
            ),
            (
                "checkpoint = 3",
                "checkpoint takes settings of its own (every_minutes, keep), not integer 3",
            ),
            ("epochs = = 1", "line 1: "),
            ("\n\n[loss", "line 3: "),
        ] {
            let refused = refusal(Some(("run.toml", document)), &[]);
            let start = format!("run.toml: {message}");
            assert!(refused.starts_with(&start), "{refused}\n{start}");
            assert!(!refused.contains('\n'), "{refused}");
        }
        let message = refusal(None, &["seed=1", "seed.x=0"]);
        assert_eq!(
            message,
            "--set seed.x=0: unknown setting seed.x; seed is one value"
        );
        assert!(refusal(None, &["epochs"]).contains("key=value"));
        assert!(refusal(None, &["epochs=0"]).starts_with("epochs: "));
        assert_eq!(
            refusal(None, &["loss.tau_rank=0"]),
            "loss.tau_rank: 0 is out of range; it takes a number above 0, at most 3.4e38 as single \
             precision"
        );
        let message = refusal(None, &["batch.chunk=-1"]);
        assert!(
            message.ends_with(
                "batch.chunk takes a whole number from 1, `auto`, or memory such as `8GB`"
            ),
            "{message}"
        );
        assert!(refusal(None, &["data=nosuch:x"]).contains("data: `nosuch:x` is no data set"));
        let message = refusal(None, &["evaluation.select=recal@1"]);
        assert!(
            message.contains("evaluation.select: unknown metric"),
            "{message}"
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
