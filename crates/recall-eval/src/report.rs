//! Means over queries.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Metric;

/// The means of some metrics over queries.
///
/// `Display` writes a metric a line, values aligned, with 4 decimals (`recall@1  0.6432`).
/// `Serialize` writes, and `Deserialize` reads, one object whose keys are the names of the metrics, and after them `queries`,
/// `without_positives` and `tied`.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Each metric and its mean, in `0..=1`, in the order asked for.
    pub values: Vec<(Metric, f64)>,
    /// Number of all queries, those without positives included.
    pub queries: usize,
    /// Number of queries without positives: left out of the means under
    /// [`EmptyQueries::Skip`](crate::EmptyQueries::Skip).
    pub without_positives: usize,
    /// Number of queries for which one of the metrics depends on the order of items of equal
    /// similarity.
    pub tied: usize,
}

impl Evaluation {
    /// The mean of `metric`, if it was asked for.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.values
            .iter()
            .find(|(name, _)| *name == metric)
            .map(|(_, value)| *value)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .values
            .iter()
            .map(|(metric, _)| metric.to_string())
            .collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for (line, (name, (_, value))) in names.iter().zip(&self.values).enumerate() {
            let end_of_last = if line == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{name:width$}  {value:.4}")?;
        }
        Ok(())
    }
}

impl Serialize for Evaluation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len() + 3))?;
        for (metric, value) in &self.values {
            map.serialize_entry(metric, value)?;
        }
        map.serialize_entry("queries", &self.queries)?;
        map.serialize_entry("without_positives", &self.without_positives)?;
        map.serialize_entry("tied", &self.tied)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Evaluation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Written)
    }
}

/// Reads what `Serialize` writes.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Evaluation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metrics and their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Evaluation, A::Error> {
        let mut evaluation = Evaluation {
            values: Vec::new(),
            queries: 0,
            without_positives: 0,
            tied: 0,
        };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "queries" => evaluation.queries = map.next_value()?,
                "without_positives" => evaluation.without_positives = map.next_value()?,
                "tied" => evaluation.tied = map.next_value()?,
                name => {
                    let metric: Metric = name.parse().map_err(A::Error::custom)?;
                    evaluation.values.push((metric, map.next_value()?));
                }
            }
        }
        Ok(evaluation)
    }
}
