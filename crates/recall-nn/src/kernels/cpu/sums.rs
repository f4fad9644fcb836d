//! Sums in a fixed order that a processor can take many terms at a time of.

/// How many sums run side by side: no instruction set has longer vectors of f32.
const LANES: usize = 16;

/// Several sums over slices of one length: `terms` makes of the numbers at one index what is added to
/// each.
#[inline(always)]
pub(super) fn sums<const INPUTS: usize, const SUMS: usize>(
    inputs: [&[f32]; INPUTS],
    terms: impl Fn([f32; INPUTS]) -> [f32; SUMS],
) -> [f32; SUMS] {
    let mut lanes = [[0.0f32; LANES]; SUMS];
    let chunks = inputs.map(|input| input.as_chunks::<LANES>().0);
    let rests = inputs.map(|input| input.as_chunks::<LANES>().1);
    for index in 0..chunks[0].len() {
        let chunk = chunks.map(|chunks| &chunks[index]);
        for lane in 0..LANES {
            let terms = terms(chunk.map(|chunk| chunk[lane]));
            for (sum, term) in lanes.iter_mut().zip(terms) {
                sum[lane] += term;
            }
        }
    }
    for index in 0..rests[0].len() {
        let terms = terms(rests.map(|rest| rest[index]));
        for (sum, term) in lanes.iter_mut().zip(terms) {
            sum[index] += term;
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// The largest number, NaN left aside; −∞ if there is none.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let all = lanes.iter().chain(rest);
    all.fold(f32::NEG_INFINITY, |largest, &value| largest.max(value))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::random;
    use super::*;

    #[test]
    fn every_index_counts_once() {
        for len in [0, 1, 15, 16, 17, 50, 768] {
            let ones = vec![1.0; len];
            let indices: Vec<f32> = (0..len).map(|index| index as f32).collect();
            let [count, sum] = sums([&ones, &indices], |[one, index]| [one, one * index]);
            assert_eq!(count, len as f32);
            assert_eq!(sum, (0..len).sum::<usize>() as f32);
        }
    }

    #[test]
    fn the_largest_is_found_anywhere() {
        for len in [1, 15, 16, 17, 50] {
            for at in 0..len {
                let mut values = random(7, len);
                values[at] = 100.0;
                values[(at + 1) % len] = if len > 1 { f32::NAN } else { 100.0 };
                assert_eq!(largest(&values), 100.0);
            }
        }
        assert_eq!(largest(&[]), f32::NEG_INFINITY);
    }
}
