//! Which settings of the loss a configuration has: those of its kind.

use recall_engine::{LossConfig, LossForm, LossKind, Mining};
use toml::{Table, Value};

use super::setting::listed;

/// The section of the loss, and the key in it that says which one.
const SECTION: &str = "loss";
const KIND: &str = "kind";

/// Where `changes` name another kind of loss, or another form or mining of it, gives `table` all settings of that
/// one, instead of those before.
pub(super) fn follow_kind(table: &mut Table, changes: &Table) {
    let before = chosen(table);
    let after = (
        kind_of(changes).or(before.0),
        word(changes, "form"),
        word(changes, "mining"),
    );
    let same_kind = after.0 == before.0;
    let form: Option<LossForm> = after.1.or(before.1.filter(|_| same_kind));
    let mining: Option<Mining> = after.2.or(before.2.filter(|_| same_kind));
    if (after.0, form, mining) == before {
        return;
    }
    let Some(kind) = after.0 else {
        return;
    };
    let settings = Value::try_from(LossConfig::of_form(kind, form, mining));
    table.insert(
        SECTION.to_owned(),
        settings.expect("numbers, words and lists have a TOML form"),
    );
}

/// The kind, form and mining that a table has.
fn chosen(table: &Table) -> (Option<LossKind>, Option<LossForm>, Option<Mining>) {
    (kind_of(table), word(table, "form"), word(table, "mining"))
}

/// The word that a setting of the loss is, if it is one of its words.
fn word<T: serde::de::DeserializeOwned>(table: &Table, key: &str) -> Option<T> {
    table.get(SECTION)?.get(key)?.clone().try_into().ok()
}

/// The sentence about the first of `changes` that is a setting of another kind of loss than that of
/// `table`.
pub(super) fn of_another_kind(table: &Table, changes: &Table) -> Option<String> {
    let kind = kind_of(table).unwrap_or_default();
    let own = keys(kind);
    let changes = changes.get(SECTION)?.as_table()?;
    let foreign = changes
        .keys()
        .find(|key| *key != KIND && !own.contains(key))?;
    let has = match own.is_empty() {
        true => "no settings".to_owned(),
        false => listed(&own),
    };
    let owners = LossKind::ALL
        .into_iter()
        .filter(|kind| keys(*kind).contains(foreign));
    let owners: Vec<String> = owners.map(|kind| kind.to_string()).collect();
    Some(format!(
        "loss.{foreign} is no setting of {kind}, which has {has}; it is one of {}: set loss.kind first",
        listed(&owners)
    ))
}

/// Takes away from `table` what its kind of loss has not.
pub(super) fn only_own(table: &mut Table) {
    let own = keys(kind_of(table).unwrap_or_default());
    if let Some(settings) = table.get_mut(SECTION).and_then(Value::as_table_mut) {
        settings.retain(|key, _| key == KIND || own.iter().any(|of| of == key));
    }
}

/// The settings that a kind has.
pub(super) fn keys(kind: LossKind) -> Vec<String> {
    let of_kind = Table::try_from(LossConfig::of(kind));
    let keys = of_kind.into_iter().flatten().map(|(key, _)| key);
    let optional = kind.optional_settings().iter().map(|&key| key.to_owned());
    let mut keys: Vec<String> = keys.filter(|key| key != KIND).collect();
    for key in optional {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// The kind of loss that a table names.
fn kind_of(table: &Table) -> Option<LossKind> {
    let name = table.get(SECTION)?.get(KIND)?.as_str()?;
    LossKind::ALL.into_iter().find(|kind| kind.name() == name)
}

/// What makes a setting one of the loss of the run: the assignment of a kind that has it.
#[cfg(test)]
pub(super) fn kind_with(setting: &str) -> Option<String> {
    let key = setting.strip_prefix("loss.")?.split('.').next()?;
    let has = |kind: &LossKind| keys(*kind).iter().any(|of| of == key);
    let kind = LossKind::ALL.into_iter().find(has)?;
    Some(format!("loss.kind={kind}"))
}

#[cfg(test)]
mod tests {
    use super::super::RunConfig;
    use super::*;

    fn read(assignments: &[&str]) -> Result<RunConfig, String> {
        let assignments: Vec<String> = assignments.iter().map(|&of| of.to_owned()).collect();
        RunConfig::read(None, &assignments).map_err(|error| error.to_string())
    }

    #[test]
    fn another_kind_takes_its_own_defaults_along() {
        for kind in LossKind::ALL {
            let config = read(&["loss.ks=[1,2]", &format!("loss.kind={kind}")]).unwrap();
            let expected = match kind {
                LossKind::RecallAtK => continue,
                _ => LossConfig::of(kind),
            };
            assert_eq!(config.loss, expected);
            // Written down and read again it is the same.
            let written = RunConfig::read(Some(("file", &config.to_toml())), &[]).unwrap();
            assert_eq!(written, config, "{kind}");
        }
    }

    #[test]
    fn a_form_takes_its_own_defaults_along() {
        let config = read(&["loss.kind=contrastive", "loss.form=hinges"]).unwrap();
        assert_eq!(
            (config.loss.margin, config.loss.form),
            (Some(1.0), Some(LossForm::Hinges))
        );
        let config = read(&["loss={kind=\"contrastive\",form=\"hinges\",margin=0.7}"]).unwrap();
        assert_eq!(config.loss.margin, Some(0.7));
        let config = read(&["loss.kind=triplet", "loss.mining=semihard-window"]).unwrap();
        assert_eq!(
            (config.loss.squared, config.loss.non_zero),
            (Some(false), Some(true))
        );
        // The form that is there already changes nothing.
        let config = read(&[
            "loss.kind=contrastive",
            "loss.margin=0.3",
            "loss.form=cosine",
        ]);
        assert_eq!(config.unwrap().loss.margin, Some(0.3));
    }

    #[test]
    fn naming_the_same_kind_again_changes_nothing() {
        let config = read(&["loss.ks=[1,2]", "loss.kind=recall-at-k"]).unwrap();
        assert_eq!(config.loss.ks, Some(vec![1, 2]));
    }

    #[test]
    fn a_setting_of_another_kind_is_refused_by_name() {
        let message = read(&["loss.kind=norm-softmax", "loss.ks=[1]"]).unwrap_err();
        for part in [
            "loss.ks is no setting of norm-softmax",
            "`temperature`",
            "`recall-at-k`",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let message = read(&["loss.temperature=1"]).unwrap_err();
        assert!(message.contains("no setting of recall-at-k"), "{message}");
    }

    #[test]
    fn a_wrong_name_lists_all() {
        let message = read(&["loss.kind=nonsense-of-mine"]).unwrap_err();
        for kind in LossKind::ALL {
            assert!(message.contains(kind.name()), "{message}");
        }
    }
}
