//! What the curve of a loss is of.

use crate::LossKind;

/// The title of a chart of losses: what they are of, where all are of one kind.
pub(crate) fn loss_title(kinds: impl IntoIterator<Item = LossKind>) -> String {
    let mut kinds = kinds.into_iter();
    let first = kinds.next();
    match first.filter(|first| kinds.all(|kind| kind == *first)) {
        Some(LossKind::RecallAtK) => "Loss (1 − soft recall of the batch)".to_owned(),
        Some(LossKind::SmoothAp) => "Loss (1 − soft average precision of the batch)".to_owned(),
        Some(kind) => format!("Loss ({kind})"),
        None => "Loss".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_says_what_its_losses_are_of() {
        let recall = LossKind::RecallAtK;
        assert!(loss_title([recall, recall]).contains("soft recall"));
        assert_eq!(loss_title([LossKind::CosFace]), "Loss (cos-face)");
        assert_eq!(loss_title([recall, LossKind::CosFace]), "Loss");
    }
}
