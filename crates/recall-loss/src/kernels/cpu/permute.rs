//! Rows of a matrix put in another order where they lie.

/// Moves row `i` of a matrix, `[rows, dim]`, to row `to[i]`; `to` is a permutation.
pub(super) fn permute(values: &mut [f32], dim: usize, to: &[usize]) {
    let mut placed = vec![false; to.len()];
    for start in 0..to.len() {
        // Around a cycle: what lies at its start goes to its place, and what lay there comes to the start.
        let mut row = start;
        while !std::mem::replace(&mut placed[row], true) {
            let target = to[row];
            if target != start {
                let (head, tail) = values.split_at_mut(target * dim);
                head[start * dim..][..dim].swap_with_slice(&mut tail[..dim]);
            }
            row = target;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_arrives() {
        let to = [3, 0, 2, 5, 1, 4, 7, 6];
        let mut values: Vec<f32> = (0..16).map(|value| value as f32).collect();
        permute(&mut values, 2, &to);
        for (row, &target) in to.iter().enumerate() {
            let start = (2 * row) as f32;
            assert_eq!(values[2 * target..][..2], [start, start + 1.0]);
        }
    }
}
