use std::mem::MaybeUninit;

use pulp::Arch;
use rayon::prelude::*;

/// Numbers that one task reads, about.
const TASK: usize = 16 * 1024;

/// Partial sums that a processor adds to at once.
const LANES: usize = 16;

/// The gradient where `output`, a ReLU's, is positive, and zero elsewhere, or none without an
/// output; and its sum over each channel.
///
/// # Shapes
///
/// - grad and output: `[n, channels, plane]`
/// - sums: `[channels]`
///
/// # Panics
///
/// If the lengths do not fit together.
pub fn relu_grad(
    grad: &[f32],
    output: Option<&[f32]>,
    channels: usize,
    plane: usize,
) -> (Option<Vec<f32>>, Vec<f32>) {
    assert!(output.is_none_or(|output| output.len() == grad.len()));
    if grad.is_empty() {
        return (output.map(|_| Vec::new()), vec![0.0; channels]);
    }
    assert!(channels * plane > 0 && grad.len().is_multiple_of(channels * plane));
    let arch = Arch::new();
    let task = plane * (TASK / plane).max(1);
    let mut sums = vec![0.0; grad.len() / plane];
    let tasks = sums.par_chunks_mut(task / plane).zip(grad.par_chunks(task));
    let mut masked = Vec::new();
    match output {
        None => tasks.for_each(|(sums, grad)| {
            arch.dispatch(
                #[inline(always)]
                || {
                    for (total, grad) in sums.iter_mut().zip(grad.chunks_exact(plane)) {
                        *total = sum(grad);
                    }
                },
            );
        }),
        Some(output) => {
            masked.reserve_exact(grad.len());
            let memory = &mut masked.spare_capacity_mut()[..grad.len()];
            tasks
                .zip(output.par_chunks(task).zip(memory.par_chunks_mut(task)))
                .for_each(|((sums, grad), (output, memory))| {
                    arch.dispatch(
                        #[inline(always)]
                        || {
                            let planes = grad.chunks_exact(plane).zip(output.chunks_exact(plane));
                            let planes = planes.zip(memory.chunks_exact_mut(plane));
                            for (total, ((grad, output), memory)) in sums.iter_mut().zip(planes) {
                                *total = mask(grad, output, memory);
                            }
                        },
                    );
                });
            #[expect(unsafe_code, reason = "the gradient is not filled with zeros first")]
            // SAFETY: the chunks of all four are as many, those of the memory as long as those of
            // the gradient and the output, and `mask` writes whole chunks.
            unsafe {
                masked.set_len(grad.len());
            }
        }
    }
    let mut totals = vec![0.0; channels];
    for image in sums.chunks_exact(channels) {
        for (total, sum) in totals.iter_mut().zip(image) {
            *total += sum;
        }
    }
    (output.map(|_| masked), totals)
}

#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value;
    }
    sums.iter().sum()
}

/// Writes the gradient where the output is positive, and zero elsewhere, to all of `memory`, which
/// is as long as they are, and returns its sum.
#[inline(always)]
fn mask(grad: &[f32], output: &[f32], memory: &mut [MaybeUninit<f32>]) -> f32 {
    #[inline(always)]
    fn add(sums: &mut [f32; LANES], grad: &[f32], output: &[f32], memory: &mut [MaybeUninit<f32>]) {
        for (((sum, &grad), &output), memory) in sums.iter_mut().zip(grad).zip(output).zip(memory) {
            let value = if output > 0.0 { grad } else { 0.0 };
            *sum += value;
            memory.write(value);
        }
    }
    let mut sums = [0.0; LANES];
    let (grad, grad_rest) = grad.as_chunks::<LANES>();
    let (output, output_rest) = output.as_chunks::<LANES>();
    let (memory, memory_rest) = memory.as_chunks_mut::<LANES>();
    for ((grad, output), memory) in grad.iter().zip(output).zip(memory) {
        add(&mut sums, grad, output, memory);
    }
    add(&mut sums, grad_rest, output_rest, memory_rest);
    sums.iter().sum()
}
