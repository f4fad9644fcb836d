use std::collections::HashMap;

use burn::backend::Autodiff;
use burn::module::{Module, ParamId};
use burn_flex::Flex;

use super::*;

type Train = Autodiff<Flex>;

/// Where the numbers of each parameter are.
#[derive(Default)]
struct Addresses(HashMap<ParamId, usize>);

impl ModuleVisitor<Train> for Addresses {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Train, D>>) {
        let tensor = param.val().inner().into_primitive().tensor();
        self.0.insert(param.id, tensor.bytes().as_ptr() as usize);
    }
}

fn addresses(engine: &OnDevice<Train, Network<Train>>) -> HashMap<ParamId, usize> {
    let mut addresses = Addresses::default();
    engine.model.visit(&mut addresses);
    addresses.0
}

#[test]
fn steps_and_trials_update_the_weights_where_they_are() {
    let mut config = EngineConfig::default();
    (config.model.widths, config.model.grid, config.image) = (vec![3, 4], 2, [8, 8]);
    config.loss.ks = Some(vec![1]);
    let device = Default::default();
    let mut engine = OnDevice::<Train, Network<Train>>::of_config(&config, &device).unwrap();
    let shape = [6, 3, config.image[0], config.image[1]];
    let bytes = (0..shape.iter().product()).map(|at: usize| (at * 29 % 251) as u8);
    let bytes: Vec<u8> = bytes.collect();
    let pixels = Pixels {
        bytes: &bytes,
        shape,
    };
    let before = addresses(&engine);
    engine.try_step(pixels.into(), 2).unwrap();
    engine.forget_trials();
    for seed in 0..2 {
        let request = StepRequest {
            inputs: pixels.into(),
            labels: &[0, 0, 1, 1, 2, 2],
            chunk: 2,
            first_chunk: 0,
            learning_rate: 0.01,
            model_seed: seed,
            loss_seed: seed,
        };
        let result = engine.step(&request, &mut |_, _| ()).unwrap();
        assert!(result.broken.is_none());
        assert!(result.gradient_norm.unwrap() > 0.0);
    }
    assert_eq!(addresses(&engine), before);
}
