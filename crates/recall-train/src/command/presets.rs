//! The recipes there are.

use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::print::print;
use crate::{Extent, OptimiserKind, Preset, RunConfig};

/// Options of the list of presets.
#[derive(Debug, Args)]
pub(super) struct PresetsArgs {
    /// Print all settings of this one, as a file for --config. Without it: a table of all presets.
    #[arg(value_name = "NAME")]
    preset: Option<Preset>,
}

impl PresetsArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let text = match self.preset {
            Some(preset) => preset.to_toml(),
            None => table().trim_fmt(),
        };
        print(text.trim_end())?;
        Ok(())
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "preset",
        "data",
        "backbone",
        "batch",
        "chunk",
        "epochs",
        "milestones",
        "optimiser",
        "loss",
    ]);
    for preset in Preset::all() {
        let RunConfig {
            epochs,
            batch,
            model,
            loss,
            optimiser,
            ..
        } = preset.config();
        let milestones: Vec<String> = optimiser.milestones.iter().map(Extent::to_string).collect();
        let kind = match optimiser.kind {
            OptimiserKind::Adam => "Adam",
            OptimiserKind::AdamW => "AdamW",
        };
        table.add_row([
            preset.name(),
            preset.title().to_owned(),
            model.backbone.to_string(),
            batch.size.to_string(),
            batch.chunk.to_string(),
            epochs.to_string(),
            milestones.join(", "),
            format!("{kind} {:e}", optimiser.learning_rate),
            match loss.mixup {
                Some(true) => format!("{}, SiMix", loss.kind),
                _ => loss.kind.to_string(),
            },
        ]);
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        if (3..=5).contains(&number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
