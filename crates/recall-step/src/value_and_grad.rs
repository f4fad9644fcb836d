use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// The value of a loss of embeddings `[n, d]`, `[1]`, and its gradient with respect to them, by Burn's
/// autodiff in a graph of their own. A loss that does not depend on the embeddings has a gradient of
/// zero, as one that has nothing left to improve.
pub fn value_and_grad<B: AutodiffBackend>(
    embeddings: Tensor<B::InnerBackend, 2>,
    loss: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 1>,
) -> (Tensor<B::InnerBackend, 1>, Tensor<B::InnerBackend, 2>) {
    let leaf = Tensor::<B, 2>::from_inner(embeddings.clone()).require_grad();
    let value = loss(leaf.clone());
    // Burn's backward pass panics for a tensor that is in no graph. This one is in it, and is 0
    // whatever the embeddings are.
    let first = leaf.clone().slice([0..1, 0..1]);
    let all = first
        .clone()
        .equal(first.clone())
        .bool_or(first.clone().is_nan());
    let tie = first.mask_fill(all, 0.0).reshape([1]);
    let mut gradients = (value.clone() + tie).backward();
    let gradient = leaf.grad_remove(&mut gradients);
    let gradient = gradient.unwrap_or_else(|| embeddings.zeros_like());
    (value.inner(), gradient)
}
