//! Keys that do not exist, values of another kind than their settings take, and keys that are missing.

use toml::{Table, Value};

use super::keys;
use super::schema::{self, SETTINGS, join};
use super::setting::{Setting, Takes};

/// What is wrong with settings, in a sentence.
pub(super) enum Fault {
    /// A key is missing in a part that is on.
    Missing(String),
    /// Anything else.
    Wrong(String),
}

/// The sentence about the first key of `changes` that is no setting.
pub(super) fn unknown_key(changes: &Table) -> Option<String> {
    unknown_in(changes, "")
}

fn unknown_in(changes: &Table, section: &str) -> Option<String> {
    changes.iter().find_map(|(key, change)| {
        let name = join(section, key);
        match change {
            _ if schema::find(&name).is_none() => Some(unknown(&name, section)),
            Value::Table(inner) => unknown_in(inner, &name),
            _ => None,
        }
    })
}

fn unknown(name: &str, section: &str) -> String {
    let like = keys::like(name);
    let way_out = match (&like[..], keys::within(section)) {
        ([_, ..], _) => format!("did you mean {}?", like.join(" or ")),
        ([], Some(keys)) if section.is_empty() => format!("there are {}", keys.join(", ")),
        ([], Some(keys)) => format!("{section} has {}", keys.join(", ")),
        ([], None) => format!("{section} is one value"),
    };
    format!("unknown setting {name}; {way_out}")
}

/// The first value of a configuration whose kind its setting does not take, or else the first key that is
/// missing.
pub(super) fn find(table: &Table) -> Option<Fault> {
    let wrong = wrong_in(&SETTINGS, table).map(Fault::Wrong);
    wrong.or_else(|| missing_in(&SETTINGS, table).map(Fault::Missing))
}

fn missing_in(settings: &[Setting], table: &Table) -> Option<String> {
    settings
        .iter()
        .find_map(|setting| match (table.get(&setting.key), setting.part()) {
            (None, _) if setting.required => {
                Some(format!("{} is missing; give it, too", setting.name))
            }
            (Some(Value::Table(inner)), Some(settings)) => missing_in(settings, inner),
            _ => None,
        })
}

fn wrong_in(settings: &[Setting], table: &Table) -> Option<String> {
    settings.iter().find_map(|setting| {
        let value = table.get(&setting.key)?;
        wrong(setting, &setting.takes, value, &setting.name)
    })
}

/// What is wrong with a value at `place`, which is the setting or a part of its list.
fn wrong(setting: &Setting, takes: &Takes, value: &Value, place: &str) -> Option<String> {
    let taken = match (takes, value) {
        (Takes::Part(settings), Value::Table(inner)) => return wrong_in(settings, inner),
        (Takes::List { of, length }, Value::Array(values))
            if length.is_none_or(|length| length == values.len() as u64) =>
        {
            return values
                .iter()
                .enumerate()
                .find_map(|(at, value)| wrong(setting, of, value, &format!("{place}[{at}]")));
        }
        (Takes::Words(words), Value::String(given)) => {
            return (!words.contains(given)).then(|| no_word(place, given, words));
        }
        (Takes::Either(of), value) => of
            .iter()
            .any(|takes| wrong(setting, takes, value, place).is_none()),
        (Takes::Switch, Value::Boolean(_)) => true,
        // A file may go by a date, and `--set` needs no quotes.
        (Takes::Text(_), Value::String(_) | Value::Datetime(_)) => true,
        (Takes::Number(numbers), Value::Integer(number)) => numbers.kind.holds(*number),
        (Takes::Number(numbers), Value::Float(_)) => numbers.kind.has_fractions(),
        (Takes::Other, _) => true,
        _ => false,
    };
    let off = match setting.optional && place == setting.name {
        true => ", or false, which turns it off",
        false => "",
    };
    (!taken).then(|| format!("{place} takes {takes}{off}, not {}", given(takes, value)))
}

fn no_word(place: &str, given: &str, words: &[String]) -> String {
    match keys::nearest(given, words.to_vec()) {
        Some(word) => format!("{place} cannot be {given}; did you mean {word}?"),
        None => format!(
            "{place} cannot be {given}; it is one of {}",
            words.join(", ")
        ),
    }
}

/// A value in words, where `takes` does not take it.
fn given(takes: &Takes, value: &Value) -> String {
    match value {
        Value::String(text) => format!("string {text:?}"),
        Value::Integer(number) => format!("integer {number}"),
        Value::Float(number) => format!("number {number:?}"),
        Value::Boolean(switch) => format!("boolean {switch}"),
        Value::Datetime(date) => format!("date {date}"),
        Value::Array(values) => match takes {
            Takes::List { .. } => format!("{} of them", values.len()),
            _ => "a list".to_owned(),
        },
        Value::Table(_) => "a part".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::RunConfig;

    fn refusal(document: Option<(&str, &str)>, assignments: &[&str]) -> String {
        let set: Vec<String> = assignments.iter().map(|&set| set.to_owned()).collect();
        let refused = RunConfig::read(document, &set);
        refused.unwrap_err().to_string()
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
            (
                "batch = { chunk = -1 }",
                "batch.chunk takes a whole number from 1, `auto`, or memory such as `8GB`, not integer -1",
            ),
            (
                "batch = { size = \"most\" }",
                "batch.size takes a whole number from 4 to 1000000, `auto`, or `all`, not string \"most\"",
            ),
            (
                "batch = { super_classes = 1.5 }",
                "batch.super_classes takes a whole number from 1 to 1000000, or false, which turns it off, \
                 not number 1.5",
            ),
            (
                "optimiser = { kind = 3 }",
                "optimiser.kind takes one of `adam`, `adamw`, not integer 3",
            ),
            (
                "loss = { mixup = 1 }",
                "loss.mixup takes true or false, not integer 1",
            ),
            (
                "image = { train = { size = [1] } }",
                "image.train.size takes a list of two whole numbers from 1 to 16384, not 1 of them",
            ),
            (
                "image = { train = { size = 32 } }",
                "image.train.size takes a list of two whole numbers from 1 to 16384, not integer 32",
            ),
            (
                "model = { weights = true }",
                "model.weights takes a path, or false, which turns it off, not boolean true",
            ),
            ("seed = [1]", "seed takes a whole number from 0, not a list"),
            (
                "seed = 2020-02-02",
                "seed takes a whole number from 0, not date 2020-02-02",
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
        assert!(refusal(None, &["data=nosuch:x"]).contains("data: `nosuch:x` is no data set"));
        let message = refusal(None, &["evaluation.select=recal@1"]);
        assert!(
            message.contains("evaluation.select: unknown metric"),
            "{message}"
        );
    }
}
