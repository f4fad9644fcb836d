use burn::tensor::{DType, Int, Tensor, TensorData};
use recall_baselines::{Batch, ContrastiveConfig, LossError, MetricLoss, SimilarityMixup};
use recall_loss::{Mixup, RecallAtKLoss, RecallAtKLossConfig, RecallBackend};

use crate::check::{
    Case, Expected, InDouble, Loss, Matrix, OnFlex, OnNdArray, Random, evaluated,
    has_the_gradient_of_its_value, ignores_rotations, in_double, on_flex, on_ndarray,
    rows_are_tensor_operations, same,
};
use crate::reference::Reference;

/// Given mixtures, and not those of a seed.
struct Given {
    loss: SimilarityMixup<RecallAtKLoss>,
    mixup: Mixup,
}

impl<B: RecallBackend> MetricLoss<B> for Given {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        self.loss.mixed(batch, &self.mixup)
    }
}

#[test]
fn around_recall_it_agrees_with_its_authors() {
    for name in ["simix_spc3", "simix_spc4", "simix_spc6"] {
        let reference = Reference::open(&format!("../../../recall-loss/tests/reference/{name}"));
        let rows = |name: &str| reference.tuples::<1>(name).into_iter().map(|[row]| row);
        let parsed = |name: &str| serde_json::from_str(&reference.setting(name)).unwrap();
        let ks: Vec<usize> = serde_json::from_str(&reference.setting("ks")).unwrap();
        // The authors cap k at the number of real rows.
        let rows_count = reference.shape("embeddings")[0];
        let ks = ks.into_iter().map(|k| k.min(rows_count)).collect();
        let tau_k: Vec<f64> = serde_json::from_str(&reference.setting("tau_k")).unwrap();
        let loss = RecallAtKLossConfig::released_code()
            .with_ks(ks)
            .with_tau_k(tau_k)
            .with_tau_rank(parsed("tau_rank"))
            .init()
            .unwrap();
        let case = reference.case(None);
        let expected = Expected {
            loss: reference.floats("loss")[0],
            grad: reference.floats("grad"),
            grad_parameters: None,
        };
        let order = Random::new(7).order(case.labels.len());
        let inverse = |row: usize| order.iter().position(|&old| old == row).unwrap();
        let alpha = reference.floats("mix_alpha");
        let given = Given {
            loss: SimilarityMixup::new(loss.clone()),
            mixup: Mixup::new(
                rows("mix_first").collect(),
                rows("mix_second").collect(),
                alpha.clone(),
            )
            .unwrap(),
        };
        let shuffled = Given {
            loss: SimilarityMixup::new(loss),
            mixup: Mixup::new(
                rows("mix_first").map(inverse).collect(),
                rows("mix_second").map(inverse).collect(),
                alpha,
            )
            .unwrap(),
        };
        let grad = Matrix {
            values: expected.grad.clone(),
            dim: case.embeddings.dim,
        };
        let expected_shuffled = Expected {
            grad: grad.reordered(&order).values,
            ..expected.clone()
        };
        for (loss, case, expected) in [
            (&given, case.clone(), &expected),
            (&shuffled, case.reordered(&order), &expected_shuffled),
        ] {
            same(&in_double(loss, &case), expected, 1e-9, 1e-8, name);
            same(&on_flex(loss, &case), expected, 1e-5, 1e-4, name);
            same(&on_ndarray(loss, &case), expected, 1e-5, 1e-4, name);
        }
    }
}

#[test]
fn around_recall_it_is_the_recall_of_similarities_mixed() {
    let case = Case::random(4, 30, 8, 5);
    let loss = RecallAtKLossConfig::new().init().unwrap();
    let mixup = Mixup::all_pairs(&case.labels, case.seed);
    assert!(mixup.len() > 5);
    let found = evaluated::<InDouble>(&SimilarityMixup::new(loss.clone()), &case, DType::F64);
    let embeddings = case
        .embeddings
        .tensor::<InDouble>(DType::F64)
        .require_grad();
    let labels = TensorData::new(case.labels.clone(), [case.labels.len()]);
    let labels = Tensor::<InDouble, 1, Int>::from_data(labels, &Default::default());
    let value = loss
        .forward_mixed(embeddings.clone(), labels, &mixup)
        .unwrap();
    let grad = embeddings.grad(&value.backward()).unwrap();
    let expected = Expected {
        loss: value.into_data().iter::<f64>().sum(),
        grad: grad.into_data().iter::<f64>().collect(),
        grad_parameters: None,
    };
    same(&found.unwrap(), &expected, 1e-11, 1e-10, "mixed");
    let alone = evaluated::<InDouble>(&loss, &case, DType::F64).unwrap();
    assert!((alone.loss - expected.loss).abs() > 1e-4);
}

#[test]
fn holds_up_around_contrastive() {
    let contrastive = ContrastiveConfig::cosine().with_margin(0.1).init().unwrap();
    let loss: &dyn Fn() -> SimilarityMixup<_> = &|| SimilarityMixup::new(contrastive.clone());
    let holds = |loss: &SimilarityMixup<_>, case: &Case| {
        fn check(loss: &impl Loss, case: &Case) {
            has_the_gradient_of_its_value(loss, case);
            ignores_rotations(loss, case);
            rows_are_tensor_operations(loss, case);
        }
        check(loss, case);
    };
    for seed in 0..4 {
        holds(&loss(), &Case::random(seed, 20, 8, 4));
    }
    // Without a pair nothing is mixed, and what is wrong is for the loss to say.
    let mut lonely = Case::random(3, 5, 4, 1);
    lonely.labels = (0..5).collect();
    let error = evaluated::<OnFlex>(&loss(), &lonely, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Lacking { items: 5, .. }));
}

#[test]
fn a_seed_makes_the_mixtures() {
    let loss = SimilarityMixup::new(ContrastiveConfig::cosine().init().unwrap());
    let case = Case::random(1, 20, 8, 4);
    let with = |seed| {
        let case = Case {
            seed,
            ..case.clone()
        };
        evaluated::<OnNdArray>(&loss, &case, DType::F32)
            .unwrap()
            .loss
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let case = Case::random(1, 20, 8, 4);
    for config in [ContrastiveConfig::hinges(), ContrastiveConfig::squared()] {
        let distances = SimilarityMixup::new(config.init().unwrap());
        let error = evaluated::<OnFlex>(&distances, &case, DType::F32).unwrap_err();
        assert!(error.to_string().starts_with("similarity_mixup"), "{error}");
    }
    let refused = |first, second| {
        let loss = Given {
            loss: SimilarityMixup::new(RecallAtKLossConfig::new().init().unwrap()),
            mixup: Mixup::new(vec![first], vec![second], vec![0.5]).unwrap(),
        };
        match evaluated::<OnFlex>(&loss, &case, DType::F32) {
            Err(LossError::Ranking(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let outside = refused(0, 20);
    assert!(matches!(
        outside,
        recall_loss::LossError::MixupRow { row: 20, .. }
    ));
    let other = (1..20)
        .find(|&row| case.labels[row] != case.labels[0])
        .unwrap();
    let classes = refused(0, other);
    assert!(matches!(
        classes,
        recall_loss::LossError::MixupClasses { .. }
    ));
}
