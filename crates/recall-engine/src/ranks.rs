//! What ranks tell each other of a step.

use recall_step::{Collective, CollectiveError};

/// The bytes of some numbers.
pub(crate) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

/// The numbers of some bytes.
pub(crate) fn floats_of(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| f32::from_ne_bytes(*word))
}

/// The labels of all ranks, one behind the other, as the embeddings are.
pub(crate) fn all_labels(ranks: &dyn Collective, own: &[i64]) -> Result<Vec<i64>, CollectiveError> {
    let own: Vec<u8> = own.iter().flat_map(|label| label.to_ne_bytes()).collect();
    let all = ranks.all_gather(&own)?;
    let labels = all.iter().flat_map(|bytes| bytes.as_chunks().0);
    Ok(labels.map(|label| i64::from_ne_bytes(*label)).collect())
}

/// What all ranks take these numbers to be: rank 0's, but those that are not finite on any rank are not for
/// any. Devices may add up in an order that changes from rank to rank, and what is decided by a number has to
/// be decided alike.
pub(crate) fn agreed<const N: usize>(
    ranks: &dyn Collective,
    own: [f64; N],
) -> Result<[f64; N], CollectiveError> {
    if ranks.size() == 1 {
        return Ok(own);
    }
    let bytes: Vec<u8> = own.iter().flat_map(|x| x.to_ne_bytes()).collect();
    let mut agreed = own;
    for (rank, theirs) in ranks.all_gather(&bytes)?.into_iter().enumerate() {
        let (theirs, _) = theirs.as_chunks();
        for (agreed, theirs) in agreed.iter_mut().zip(theirs) {
            let theirs = f64::from_ne_bytes(*theirs);
            if rank == 0 || !theirs.is_finite() {
                *agreed = theirs;
            }
        }
    }
    Ok(agreed)
}
