//! A comparison as programs read it.

use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{GroupResult, RunComparison, RunGroup};

/// `{"groups": [{"label", "runs", "metrics": {"recall@1": {"mean", "deviation", "difference",
/// "interval", "p_value"}}}], "queries", "notes"}`, `null` for what there is not.
impl Serialize for RunComparison {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let groups: Vec<_> = self.groups.iter().map(|group| Group(self, group)).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("groups", &groups)?;
        map.serialize_entry("queries", &self.queries)?;
        map.serialize_entry("notes", &self.notes)?;
        map.end()
    }
}

struct Group<'a>(&'a RunComparison, &'a RunGroup);

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(of, group) = self;
        let runs: Vec<String> = group.runs.iter().map(|run: &_| display(run)).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("label", &group.label)?;
        map.serialize_entry("runs", &runs)?;
        map.serialize_entry("metrics", &Metrics(of, group))?;
        map.end()
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

struct Metrics<'a>(&'a RunComparison, &'a RunGroup);

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let results = self.1.results.iter().map(Figures);
        serializer.collect_map(self.0.metrics.iter().zip(results))
    }
}

struct Figures<'a>(&'a GroupResult);

impl Serialize for Figures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let paired = self.0.paired;
        let interval = paired.map(|test| [test.interval.low, test.interval.high]);
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("mean", &self.0.mean)?;
        map.serialize_entry("deviation", &self.0.deviation)?;
        map.serialize_entry("difference", &self.0.difference)?;
        map.serialize_entry("interval", &interval)?;
        map.serialize_entry("p_value", &paired.map(|test| test.p_value))?;
        map.end()
    }
}
