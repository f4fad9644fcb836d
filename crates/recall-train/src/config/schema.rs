//! All settings there are, as the structs say it: their fields, attributes and comments.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::RunConfig;
use super::numbers::{Bound, Kind, Numbers, Real};
use super::setting::{Setting, Takes};

/// The settings of a run.
pub(super) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| settings(&json_schema(), ""));

/// All settings, parts before what they hold.
pub(super) fn all() -> Vec<&'static Setting> {
    fn collect<'a>(settings: &'a [Setting], into: &mut Vec<&'a Setting>) {
        for setting in settings {
            into.push(setting);
            collect(setting.part().unwrap_or_default(), into);
        }
    }
    let mut all = Vec::new();
    collect(&SETTINGS, &mut all);
    all
}

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    all().into_iter().find(|setting| setting.name == name)
}

/// A key's full name.
pub(super) fn join(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        _ => format!("{section}.{key}"),
    }
}

/// The JSON schema of a configuration, each part in its place.
fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|of| of.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<RunConfig>()
        .to_value()
}

/// The settings of a part: the properties of an object.
fn settings(object: &Value, section: &str) -> Vec<Setting> {
    let required = |key: &str| {
        let mut keys = array(object, "required").iter();
        keys.any(|required| required == key)
    };
    let properties = object.get("properties").and_then(Value::as_object);
    let settings = properties.into_iter().flatten().map(|(key, schema)| {
        let name = join(section, key);
        Setting {
            takes: takes(schema, &name),
            optional: may_be_null(schema) && schema.get("x-by-kind").is_none(),
            required: required(key),
            key: key.clone(),
            name,
            #[cfg(test)]
            comment: text(schema, "description").unwrap_or_default().to_owned(),
            #[cfg(test)]
            default: schema.get("default").cloned(),
        }
    });
    settings.collect()
}

/// What a schema takes, beside null.
fn takes(schema: &Value, name: &str) -> Takes {
    let noun = text(schema, "title");
    if let Some(words) = words(schema) {
        return Takes::Words(words);
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        let mut of = choices.iter().map(|choice| takes(choice, name));
        return match (of.len(), of.next()) {
            (1, Some(only)) => only,
            (_, first) => Takes::Either(first.into_iter().chain(of).collect()),
        };
    }
    match types(schema).into_iter().find(|kind| *kind != "null") {
        Some("object") if schema.get("properties").is_some() => Takes::Part(settings(schema, name)),
        Some("boolean") => Takes::Switch,
        Some("string") => Takes::Text(noun.unwrap_or("a text").to_owned()),
        Some("integer") => Takes::Number(Numbers {
            noun: noun.unwrap_or("a whole number").to_owned(),
            kind: whole(schema),
        }),
        Some("number") => Takes::Number(Numbers {
            noun: noun.unwrap_or("a number").to_owned(),
            kind: real(schema),
        }),
        Some("array") => list(schema, name),
        _ => Takes::Other,
    }
}

/// A list, or a tuple whose elements are alike. Bounds at the list are those of its elements: the
/// attributes of a field have no other place for them.
fn list(schema: &Value, name: &str) -> Takes {
    let element = array(schema, "prefixItems")
        .first()
        .or_else(|| schema.get("items"));
    let Some(mut element) = element.cloned() else {
        return Takes::Other;
    };
    if let Some(element) = element.as_object_mut() {
        for bound in BOUNDS {
            if let Some(value) = schema.get(bound) {
                element.insert(bound.to_owned(), value.clone());
            }
        }
    }
    let (least, most) = (count(schema, "minItems"), count(schema, "maxItems"));
    Takes::List {
        of: Box::new(takes(&element, name)),
        length: most.filter(|_| least == most),
    }
}

/// What JSON Schema has for the bounds of a number, and what it lacks: whether infinity is one.
const BOUNDS: [&str; 5] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "x-infinite",
];

fn whole(schema: &Value) -> Kind {
    let held = match text(schema, "format") {
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some(unsigned) if unsigned.starts_with('u') => (0, i64::MAX),
        _ => (i64::MIN, i64::MAX),
    };
    let bound = |key| schema.get(key).and_then(Value::as_i64);
    let first = bound("minimum").unwrap_or(held.0);
    let last = bound("maximum").unwrap_or(held.1);
    Kind::Whole {
        range: (first, last),
        held,
    }
}

fn real(schema: &Value) -> Kind {
    let number = |key| schema.get(key).and_then(Value::as_f64);
    let bound = |including, excluding| {
        let excluding = number(excluding).map(Bound::Excluding);
        excluding.or_else(|| number(including).map(Bound::Including))
    };
    Kind::Real(Real {
        low: bound("minimum", "exclusiveMinimum"),
        high: bound("maximum", "exclusiveMaximum"),
        infinite: schema.get("x-infinite") == Some(&Value::Bool(true)),
    })
}

/// The words of an enum: a list of them, or one schema for each that has a comment of its own.
fn words(schema: &Value) -> Option<Vec<String>> {
    if let Some(Value::String(word)) = schema.get("const") {
        return Some(vec![word.clone()]);
    }
    let given = array(schema, "enum");
    if !given.is_empty() {
        let given = given.iter().filter(|word| !word.is_null());
        return given.map(|word| word.as_str().map(str::to_owned)).collect();
    }
    let choices = choices(schema).into_iter();
    let all: Vec<Vec<String>> = choices.map(words).collect::<Option<_>>()?;
    (!all.is_empty()).then(|| all.concat())
}

/// The schemas of which one holds, without that of null.
fn choices(schema: &Value) -> Vec<&Value> {
    let all = array(schema, "oneOf").iter().chain(array(schema, "anyOf"));
    all.filter(|choice| types(choice) != ["null"]).collect()
}

fn may_be_null(schema: &Value) -> bool {
    types(schema).contains(&"null") || array(schema, "anyOf").iter().any(may_be_null)
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

fn count(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

fn array<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    let array = schema.get(key).and_then(Value::as_array);
    array.map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::super::loss;
    use super::*;

    #[test]
    fn each_setting_takes_something_there_are_words_for() {
        fn has_words(takes: &Takes) -> bool {
            match takes {
                Takes::Other => false,
                Takes::List { of, .. } => has_words(of),
                Takes::Either(of) => of.iter().all(has_words),
                _ => true,
            }
        }
        for setting in all() {
            assert!(has_words(&setting.takes), "{setting:?}");
        }
    }

    #[test]
    fn what_can_be_off_takes_false_and_nothing_else_does() {
        let parts = [
            "image.cache={folder=\"kept\", shorter_side=256}",
            "image.train.random_affine={degrees=0}",
        ];
        for setting in all() {
            let mut set = parts.map(str::to_owned).to_vec();
            set.extend(loss::kind_with(&setting.name));
            set.push(format!("{}=false", setting.name));
            let read = RunConfig::read(None, &set);
            let takes_false = setting.optional || setting.takes == Takes::Switch;
            assert_eq!(read.is_ok(), takes_false, "{}: {read:?}", setting.name);
        }
        for (name, optional) in [
            ("from", true),
            ("batch.size", false),
            ("image.cache", true),
            ("image.train.random_affine.scale", true),
        ] {
            assert_eq!(find(name).map(|of| of.optional), Some(optional), "{name}");
        }
    }

    #[test]
    fn the_words_of_an_enum_are_in_its_order_whether_they_have_comments_or_not() {
        for schema in [
            serde_json::json!({ "oneOf": [{ "const": "b" }, { "enum": ["a", "c"] }] }),
            serde_json::json!({ "anyOf": [{ "enum": ["b", "a", "c"] }, { "type": "null" }] }),
        ] {
            let expected = ["b", "a", "c"].map(str::to_owned).to_vec();
            assert_eq!(takes(&schema, ""), Takes::Words(expected), "{schema}");
        }
    }
}
