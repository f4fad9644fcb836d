//! A configuration as a document.

use toml::{Table, Value};

use super::{RunConfig, keys, loss};

impl RunConfig {
    /// The whole configuration as a document that [`read`](Self::read) reads back, over whatever
    /// other settings: a part that is off is written as `false`.
    pub fn to_toml(&self) -> String {
        let exact = self.to_table();
        let mut table = exact.clone();
        table.iter_mut().for_each(|(_, value)| shorten(value));
        let same: Result<Self, _> = Value::Table(table.clone()).try_into();
        if same.as_ref() != Ok(self) {
            table = exact;
        }
        keys::mark_absent(&mut table);
        loss::only_own(&mut table);
        table.to_string()
    }

    /// Without what is off.
    pub(super) fn to_table(&self) -> Table {
        Table::try_from(self).expect("numbers, strings and lists have a TOML form")
    }
}

/// Numbers of single precision with the digits that they need: `0.7` and not `0.699999988079071`.
fn shorten(value: &mut Value) {
    match value {
        Value::Float(number) if f64::from(*number as f32) == *number => {
            if let Ok(short) = (*number as f32).to_string().parse() {
                *number = short;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| shorten(value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(config: &RunConfig) -> RunConfig {
        RunConfig::read(Some(("file", &config.to_toml())), &[]).unwrap()
    }

    #[test]
    fn a_written_configuration_reads_back() {
        let config = RunConfig::default();
        assert_eq!(read_back(&config), config);
    }

    #[test]
    fn numbers_are_written_as_they_were_given() {
        let mut config = RunConfig::default();
        config.image.train.horizontal_flip = 0.1;
        config.optimiser.learning_rate = 1.0 / 3.0;
        let text = config.to_toml();
        assert!(text.contains("horizontal_flip = 0.1\n"), "{text}");
        assert!(text.contains("weight_decay = 0.0004\n"), "{text}");
        assert_eq!(read_back(&config), config);
        // A number of double precision that happens to have a short form in single precision.
        config.optimiser.learning_rate = f64::from(0.1_f32);
        assert_eq!(read_back(&config), config);
    }

    #[test]
    fn what_is_off_is_written_as_off() {
        let mut config = RunConfig::default();
        config.image.train.colour_jitter = None;
        let text = config.to_toml();
        for line in [
            "colour_jitter = false",
            "clip_norm = false",
            "cache = false",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(read_back(&config), config);
    }
}
