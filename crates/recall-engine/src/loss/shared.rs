//! A loss over several ranks.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use recall_step::Collective;

use super::embedding_loss::{EmbeddingLoss, LossFault, LossValue};
use crate::ranks::{bytes_of, floats_of};

/// The loss of the embeddings of a whole batch, which all ranks have. One that can be taken apart is computed
/// by queries, as many on each rank, and added up; any other one by each rank as a whole.
pub(super) fn value_and_grad<B: Backend>(
    ranks: &dyn Collective,
    loss: &dyn EmbeddingLoss<B>,
    embeddings: Tensor<B, 2>,
    labels: &[i64],
    seed: u64,
) -> Result<LossValue<B>, LossFault> {
    let (rank, size) = (ranks.rank(), ranks.size());
    if size == 1 {
        return loss.value_and_grad(embeddings, labels, seed);
    }
    let begins = |rank: usize| rank * labels.len() / size;
    let queries = begins(rank)..begins(rank + 1);
    let Some(part) = loss.value_and_grad_of(queries, embeddings.clone(), labels, seed) else {
        return loss.value_and_grad(embeddings, labels, seed);
    };
    let LossValue { loss, grad, recall } = unless_refused(ranks, part)?;
    // In one sum: the gradient, and the value behind it.
    let mut values: Vec<f32> = grad.into_data().iter::<f32>().collect();
    values.extend(loss.into_data().iter::<f32>());
    ranks.all_reduce(&mut values)?;
    let value = values.split_off(embeddings.shape().num_elements());
    let (device, dtype) = (embeddings.device(), embeddings.dtype());
    let options = (&device, dtype);
    let recall = match recall {
        None => None,
        Some(part) => {
            let part: Vec<f32> = part.into_data().iter::<f32>().collect();
            let all = ranks.all_gather(&bytes_of(&part))?;
            let all: Vec<f32> = all.iter().flat_map(|bytes| floats_of(bytes)).collect();
            let count = all.len();
            Some(Tensor::from_data(TensorData::new(all, [count]), options))
        }
    };
    Ok(LossValue {
        loss: Tensor::from_data(TensorData::new(value, [1]), options),
        grad: Tensor::from_data(TensorData::new(values, embeddings.shape()), options),
        recall,
    })
}

const FINE: u8 = 0;
const NON_FINITE: u8 = 1;
const REFUSED: u8 = 2;

/// The part of this rank, unless any rank has none: then all have the same fault.
fn unless_refused<B: Backend>(
    ranks: &dyn Collective,
    part: Result<LossValue<B>, LossFault>,
) -> Result<LossValue<B>, LossFault> {
    let said = match &part {
        Ok(_) => vec![FINE],
        Err(LossFault::NonFinite) => vec![NON_FINITE],
        Err(LossFault::Refused(why)) => [&[REFUSED][..], why.to_string().as_bytes()].concat(),
        Err(LossFault::Ranks(_)) => return part,
    };
    for said in ranks.all_gather(&said)? {
        match said.split_first() {
            Some((&FINE, _)) => {}
            Some((&REFUSED, why)) => {
                return Err(LossFault::Refused(String::from_utf8_lossy(why).into()));
            }
            _ => return Err(LossFault::NonFinite),
        }
    }
    part
}
