use burn::tensor::DType;
use recall_baselines::{LossError, RecallAtKLossConfig, SmoothApConfig};

use crate::check::{Case, OnFlex, agrees, evaluated, ignores_rotations, ignores_the_order};
use crate::reference::Reference;

#[test]
fn smooth_ap_agrees_with_its_authors_through_the_trait_of_all_losses() {
    let reference = Reference::open("smooth_ap");
    for (variant, settings) in reference.variants() {
        let mut case = reference.case(None);
        if settings["input"] == "balanced_embeddings" {
            case.embeddings = reference.matrix("balanced_embeddings");
            case.labels = reference.integers("balanced_labels");
        }
        let config = SmoothApConfig::new()
            .with_tau(settings["tau"].as_f64().unwrap())
            .with_query_included(settings["query_included"].as_bool().unwrap())
            .with_count_lonely(settings["lonely"].is_string());
        let expected = reference.expected(&variant, None);
        agrees(&config.init().unwrap(), &case, &expected, &variant);
    }
}

#[test]
fn recall_at_k_is_one_of_the_losses() {
    let loss = RecallAtKLossConfig::new()
        .with_tau_rank(0.1)
        .init()
        .unwrap();
    let case = Case::random(4, 20, 6, 4);
    ignores_the_order(&loss, &case);
    ignores_rotations(&loss, &case);
    let alone = Case {
        labels: (0..20).collect(),
        ..case
    };
    let error = evaluated::<OnFlex>(&loss, &alone, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Ranking(_)), "{error}");
}
