use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::print::quoted;
use crate::{Preset, RunError};

/// Where settings come from.
#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// A recipe by name, instead of the default settings; `recall-train presets` lists them.
    #[arg(long, value_name = "NAME")]
    pub preset: Option<Preset>,
    /// A TOML file with settings to change, after --preset; `config.toml` of a run repeats it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one setting, after --config; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The file of `--config`: where it is, and its text.
pub(super) struct Document {
    origin: String,
    text: String,
}

impl Document {
    pub fn parts(&self) -> (&str, &str) {
        (&self.origin, &self.text)
    }
}

impl SettingsArgs {
    /// The options that change settings, as they were typed; none if there are none.
    pub fn changes(&self) -> Option<String> {
        let file = self
            .config
            .iter()
            .map(|path| ("--config", path.display().to_string()));
        let set = self.set.iter().map(|set| ("--set", set.clone()));
        let options = file
            .chain(set)
            .map(|(name, value)| format!("{name} {}", quoted(&value)));
        let options: Vec<String> = options.collect();
        (!options.is_empty()).then(|| options.join(" "))
    }

    /// Reads the file of `--config`, if one is named.
    pub fn document(&self) -> Result<Option<Document>, RunError> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let text = fs::read_to_string(path).map_err(RunError::file("read", path))?;
        Ok(Some(Document {
            origin: path.display().to_string(),
            text,
        }))
    }
}
