//! Numbers out of their range, which every type holds and no setting takes.

use toml::{Table, Value};

use super::ConfigError;
use super::schema::SETTINGS;
use super::setting::{Setting, Takes};

/// Refuses the first number in a configuration that its setting does not take.
pub(super) fn check(table: &Table) -> Result<(), ConfigError> {
    check_part(&SETTINGS, table)
}

fn check_part(settings: &'static [Setting], table: &Table) -> Result<(), ConfigError> {
    for setting in settings {
        match (table.get(&setting.key), setting.part()) {
            (Some(Value::Table(inner)), Some(settings)) => check_part(settings, inner)?,
            (Some(value), None) => check_value(setting, value)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_value(setting: &'static Setting, value: &Value) -> Result<(), ConfigError> {
    match setting.takes.out_of_range(value) {
        None => Ok(()),
        Some(wrong) => Err(ConfigError::Value {
            key: &setting.name,
            problem: format!(
                "{wrong} is out of range; it takes {}",
                setting.takes.in_full()
            ),
        }),
    }
}

impl Takes {
    /// The first number of `value` that is not taken. What is no number is for others to judge.
    fn out_of_range(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::List { of, .. }, Value::Array(values)) => {
                values.iter().find_map(|value| of.out_of_range(value))
            }
            (_, Value::Integer(number)) if !self.has_whole(*number) => Some(number.to_string()),
            // With its exponent: the zeros of 1e300 tell nobody anything.
            (_, Value::Float(number)) if !self.has(*number) => Some(format!("{number:?}")),
            _ => None,
        }
    }

    fn has_whole(&self, number: i64) -> bool {
        match self {
            Self::Number(numbers) => numbers.kind.has_whole(number),
            Self::Either(of) => of.iter().any(|takes| takes.has_whole(number)),
            _ => false,
        }
    }

    fn has(&self, number: f64) -> bool {
        match self {
            Self::Number(numbers) => numbers.kind.has(number),
            Self::Either(of) => of.iter().any(|takes| takes.has(number)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::super::{RunConfig, loss};
    use super::*;

    /// Parts that have to be there for what is in them.
    const PARTS: [&str; 2] = [
        "image.cache={folder=\"kept\", shorter_side=256}",
        "image.train.random_affine={degrees=0, scale=[1, 1]}",
    ];

    /// `number` in a value of the form that a setting takes, if that has numbers.
    fn with(number: &str, takes: &Takes) -> Option<String> {
        match takes {
            Takes::Number(_) => Some(number.to_owned()),
            Takes::Either(of) => of.iter().find_map(|takes| with(number, takes)),
            Takes::List { of, length } => {
                with(number, of)?;
                let ones = (1..length.unwrap_or(1)).map(|_| "1");
                let all: Vec<&str> = [number].into_iter().chain(ones).collect();
                Some(format!("[{}]", all.join(", ")))
            }
            _ => None,
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_their_key_with_the_range() {
        let mut tried = 0;
        for setting in schema::all() {
            for number in ["-1", "0", "nan", "inf", "1e300"] {
                let Some(value) = with(number, &setting.takes) else {
                    continue;
                };
                tried += 1;
                let mut set = PARTS.map(str::to_owned).to_vec();
                set.extend(loss::kind_with(&setting.name));
                set.push(format!("{}={value}", setting.name));
                let parsed: Table = format!("value = {value}").parse().unwrap();
                let taken = setting.takes.out_of_range(&parsed["value"]).is_none();
                match (taken, RunConfig::read(None, &set)) {
                    (true, Ok(config)) => {
                        let again = RunConfig::read(Some(("again", &config.to_toml())), &[]);
                        assert_eq!(again.unwrap(), config, "{set:?}");
                    }
                    (false, Err(refused)) => {
                        let message = refused.to_string();
                        assert!(message.contains(&setting.name), "{message}");
                        let element = match &setting.takes {
                            Takes::List { of, .. } => of.to_string(),
                            other => other.to_string(),
                        };
                        let listed = setting.takes.to_string();
                        assert!(
                            message.contains(&element) || message.contains(&listed),
                            "{message}: {listed}"
                        );
                    }
                    // In its range, but not beside what the loss has else.
                    (true, Err(refused)) if setting.name.starts_with("loss.") => {
                        let message = refused.to_string();
                        assert!(message.contains(&setting.key), "{message}");
                    }
                    (expected, read) => panic!("{set:?}: {expected:?}, {read:?}"),
                }
            }
        }
        assert!(tried > 200, "{tried}");
    }

    #[test]
    fn a_configuration_made_in_code_is_refused_as_well() {
        let refusal = |change: fn(&mut RunConfig)| {
            let mut config = RunConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        for (refused, message) in [
            (
                refusal(|config| config.optimiser.factor = -1.0),
                "optimiser.factor: -1.0 is out of range; it takes a number above 0 and up to 1",
            ),
            (
                refusal(|config| config.optimiser.weight_decay = f32::INFINITY),
                "optimiser.weight_decay: inf is out of range; it takes a number from 0, at most 3.4e38 as \
                 single precision",
            ),
            (
                refusal(|config| config.model.widths = vec![8, 0]),
                "model.widths: 0 is out of range; it takes a list of whole numbers from 1 to 4096",
            ),
            (
                refusal(|config| config.seed = u64::MAX),
                "the settings: a whole number is above 9223372036854775807, which TOML cannot hold",
            ),
        ] {
            assert_eq!(refused, message);
        }
    }

    #[test]
    fn every_setting_with_numbers_has_its_range() {
        let takes = |name: &str| schema::find(name).unwrap().takes.to_string();
        for (name, expected) in [
            ("seed", "a whole number from 0"),
            ("batch.super_classes", "a whole number from 1 to 1000000"),
            (
                "batch.size",
                "a whole number from 4 to 1000000, `auto`, or `all`",
            ),
            (
                "batch.chunk",
                "a whole number from 1, `auto`, or memory such as `8GB`",
            ),
            (
                "optimiser.warmup_steps",
                "a whole number from 0, or a share of the run from 0 and below 1",
            ),
            (
                "optimiser.milestones",
                "a list of whole numbers from 0, or shares of the run from 0 and below 1",
            ),
            ("loss.tau_k", "a list of numbers above 0"),
            (
                "image.train.size",
                "a list of two whole numbers from 1 to 16384",
            ),
            (
                "image.train.random_resized_crop.scale",
                "a list of two numbers above 0 and up to 1",
            ),
            (
                "image.train.random_affine.scale",
                "a list of two numbers above 0",
            ),
            (
                "image.train.random_affine.shear",
                "a number from 0 and below 90",
            ),
            ("image.standardise.mean", "a list of three numbers"),
            ("checkpoint.every_minutes", "a number above 0 or `inf`"),
        ] {
            assert_eq!(takes(name), expected, "{name}");
        }
    }
}
