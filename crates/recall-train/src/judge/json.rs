//! Judgements as programs read them.

use recall_eval::{Comparison, Evaluation, Interval, Metric};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Contrast, JudgedResult, Judgement};

impl Serialize for Judgement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.parts[..] {
            [only] if only.name.is_empty() => only.result.serialize(serializer),
            parts => serializer.collect_map(parts.iter().map(|part| (&part.name, &part.result))),
        }
    }
}

impl Serialize for JudgedResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (evaluation, intervals, by_class) = match self {
            Self::Draws(draws) => return draws.serialize(serializer),
            Self::Rankings {
                evaluation,
                intervals,
                by_class,
            } => (evaluation, intervals, by_class),
        };
        let Evaluation {
            values,
            queries,
            without_positives,
            tied,
        } = evaluation;
        let mut map = serializer.serialize_map(None)?;
        for (metric, value) in values {
            map.serialize_entry(metric, value)?;
        }
        map.serialize_entry("queries", queries)?;
        map.serialize_entry("without_positives", without_positives)?;
        map.serialize_entry("tied", tied)?;
        if let Some(intervals) = intervals {
            let ends = intervals.iter().map(|&Interval { low, high }| [low, high]);
            map.serialize_entry("intervals", &ByMetric(zip(values, ends)))?;
        }
        if let Some(by_class) = by_class {
            let means = by_class.values.iter().map(|(_, value)| *value);
            map.serialize_entry("by_class", &ByMetric(zip(values, means)))?;
        }
        map.end()
    }
}

impl Serialize for Contrast {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.parts[..] {
            [(name, only)] if name.is_empty() => comparisons(only).serialize(serializer),
            parts => {
                serializer.collect_map(parts.iter().map(|(name, part)| (name, comparisons(part))))
            }
        }
    }
}

fn comparisons(of: &[Comparison]) -> ByMetric<Sides> {
    ByMetric(of.iter().map(|of| (of.metric, Sides(*of))).collect())
}

struct Sides(Comparison);

impl Serialize for Sides {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Comparison {
            first,
            second,
            difference,
            interval: Interval { low, high },
            p_value,
            ..
        } = self.0;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("first", &first)?;
        map.serialize_entry("second", &second)?;
        map.serialize_entry("difference", &difference)?;
        map.serialize_entry("interval", &[low, high])?;
        map.serialize_entry("p_value", &p_value)?;
        map.end()
    }
}

/// An object whose keys are names of metrics, in their order.
struct ByMetric<V>(Vec<(Metric, V)>);

impl<V: Serialize> Serialize for ByMetric<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(metric, value)| (metric, value)))
    }
}

fn zip<V>(values: &[(Metric, f64)], others: impl Iterator<Item = V>) -> Vec<(Metric, V)> {
    values
        .iter()
        .map(|(metric, _)| *metric)
        .zip(others)
        .collect()
}
