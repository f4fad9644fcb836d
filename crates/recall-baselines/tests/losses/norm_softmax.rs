use recall_baselines::NormSoftmaxConfig;

use crate::check::{Case, agrees, holds_up};
use crate::reference::Reference;

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("norm_softmax");
    let case = reference.case(Some("proxies"));
    for (variant, settings) in reference.variants() {
        let config =
            NormSoftmaxConfig::new().with_temperature(settings["temperature"].as_f64().unwrap());
        let expected = reference.expected(&variant, Some("proxies"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
    }
}

#[test]
fn holds_up_on_random_batches() {
    let loss = NormSoftmaxConfig::new().init().unwrap();
    holds_up(&loss, |case: Case| {
        let shape = [case.classes() + 1, case.embeddings.dim];
        case.with_parameters(shape, 0.0, 1.0)
    });
}
