//! Text to tables: documents, and assignments of the command line.

use toml::{Table, Value};

use super::ConfigError;

/// The document `text`, which comes from `origin`.
pub(super) fn parse_document(text: &str, origin: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let message = one_line(&error);
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
pub(super) fn parse_assignment(assignment: &str, origin: &str) -> Result<Table, ConfigError> {
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

/// What TOML says of a document, without its lines.
pub(super) fn one_line(error: &toml::de::Error) -> String {
    error.message().lines().collect::<Vec<_>>().join(" ")
}
