//! Burn's own Adam and AdamW, and the files of runs that were trained by them.

use std::path::Path;

use burn::module::ParamId;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    Adam, AdamConfig, AdamW, AdamWConfig, AdaptiveMomentumState, Optimizer, SimpleOptimizer,
};
use safetensors::tensor::{Dtype, TensorView};

use super::*;

const RATE: f64 = 0.01;
const EPSILON: f32 = 1e-8;

type Burn<O> = OptimizerAdaptor<O, Network<B>, B>;

/// What an optimiser of Burn keeps of a parameter of rank `D`.
trait Momentum: SimpleOptimizer<Flex> {
    fn momentum<const D: usize>(state: Self::State<D>) -> AdaptiveMomentumState<Flex, D>;
}

impl Momentum for Adam {
    fn momentum<const D: usize>(state: Self::State<D>) -> AdaptiveMomentumState<Flex, D> {
        state.momentum
    }
}

impl Momentum for AdamW {
    fn momentum<const D: usize>(state: Self::State<D>) -> AdaptiveMomentumState<Flex, D> {
        state.momentum
    }
}

/// The contents of a file of the format that [`state`](super::super::state) documents.
struct Contents<O: SimpleOptimizer<Flex>> {
    records: HashMap<ParamId, AdaptorRecord<O, B>>,
    path: Vec<String>,
    parts: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl<O: Momentum> ModuleVisitor<B> for Contents<O> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(record) = self.records.remove(&param.id) else {
            return;
        };
        let momentum = O::momentum(record.into_state::<D>());
        let name = self.path.join(".");
        let time = (momentum.time as u64).to_le_bytes().to_vec();
        let time = (Dtype::U64, vec![1], time);
        self.parts.insert(format!("{name}.time"), time);
        for (part, moment) in [
            ("moment_1", momentum.moment_1),
            ("moment_2", momentum.moment_2),
        ] {
            let values = moment.to_data();
            let bytes = values.iter::<f32>().flat_map(f32::to_le_bytes).collect();
            let moment = (Dtype::F32, moment.dims().to_vec(), bytes);
            self.parts.insert(format!("{name}.{part}"), moment);
        }
    }
}

/// Writes what Burn's optimiser keeps.
fn write<O: Momentum>(optimiser: &Burn<O>, model: &Network<B>, path: &Path) {
    let mut contents = Contents::<O> {
        records: optimiser.to_record().into_iter().collect(),
        path: Vec::new(),
        parts: BTreeMap::new(),
    };
    model.visit(&mut contents);
    let views = contents.parts.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Five steps of Burn's optimiser, of ours, and of ours from the file that Burn's wrote after two.
fn agree<O: Momentum>(config: &OptimiserConfig, mut burn: Burn<O>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("optimiser.safetensors");
    let (mut ours, mut optimiser, _) = prepared(config);
    let mut theirs = ours.clone();
    let mut resumed = None;
    for step in 0..5 {
        if step == 2 {
            write(&burn, &theirs, &path);
            let (model, mut optimiser) = config.init(theirs.clone());
            optimiser.load(&model, &path).unwrap();
            resumed = Some((model, optimiser));
        }
        let gradients = slopes(&theirs);
        theirs = burn.step(RATE, theirs, gradients);
        let gradients = slopes(&ours);
        ours = stepped(&mut optimiser, ours, gradients);
        resumed = resumed.map(|(model, mut optimiser)| {
            let gradients = slopes(&model);
            (stepped(&mut optimiser, model, gradients), optimiser)
        });
    }
    assert_eq!(values(&ours, None), values(&theirs, None));
    let (resumed, _) = resumed.unwrap();
    assert_eq!(values(&resumed, None), values(&theirs, None));
}

#[test]
fn adam_is_that_of_burn_bit_for_bit() {
    let config = OptimiserConfig {
        kind: OptimiserKind::Adam,
        weight_decay: 0.03,
        ..OptimiserConfig::default()
    };
    let decay = Some(WeightDecayConfig::new(config.weight_decay));
    let adam = AdamConfig::new().with_epsilon(EPSILON);
    agree(&config, adam.with_weight_decay(decay).init());
}

#[test]
fn adamw_is_that_of_burn_bit_for_bit() {
    let config = OptimiserConfig {
        kind: OptimiserKind::AdamW,
        weight_decay: 0.03,
        ..OptimiserConfig::default()
    };
    let adamw = AdamWConfig::new().with_epsilon(EPSILON);
    let adamw = adamw.with_weight_decay(config.weight_decay);
    agree(&config, adamw.init());
}
