//! The memory of a small matrix, kept from one step to the next.

use std::sync::Mutex;

/// Most numbers that are kept: 16 MB.
const KEPT: usize = 4 << 20;

/// What was given back last. A system takes pages back and clears new ones, which for a small batch costs as much as the
/// product that fills them.
static SPARE: Mutex<Vec<f32>> = Mutex::new(Vec::new());

/// So many numbers of any value.
pub(super) fn take(count: usize) -> Vec<f32> {
    let mut values = match SPARE.lock() {
        Ok(mut spare) if count <= KEPT => std::mem::take(&mut *spare),
        _ => Vec::new(),
    };
    values.resize(count, 0.0);
    values
}

/// Gives back what was [taken](take).
pub(super) fn give_back(values: Vec<f32>) {
    if let Ok(mut spare) = SPARE.lock()
        && values.capacity() <= KEPT
        && values.capacity() > spare.capacity()
    {
        *spare = values;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_ones_are_not_kept_and_small_ones_have_their_length() {
        give_back(vec![1.0; KEPT + 1]);
        assert_eq!(take(KEPT + 2).len(), KEPT + 2);
        for count in [0, 5, 3, 100] {
            let values = take(count);
            assert_eq!(values.len(), count);
            give_back(values);
        }
    }
}
