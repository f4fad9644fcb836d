use pulp::Arch;

use super::finish::Finish;
use super::plan::{Grid, Plan};
use super::product::product;
use super::shape::Conv2dShape;
use super::target::Target;

/// The gradient of the images, from that of `scale · (images ∗ weight)`, which is of the output's
/// shape.
///
/// # Panics
///
/// If a length is not what `shape` says, or the kernel does not fit into the padded image.
pub fn input_grad(
    shape: &Conv2dShape,
    grad: &[f32],
    weight: &[f32],
    scale: Option<&[f32]>,
) -> Vec<f32> {
    input_grad_on(Arch::new(), shape, grad, weight, scale)
}

pub(super) fn input_grad_on(
    arch: Arch,
    shape: &Conv2dShape,
    grad: &[f32],
    weight: &[f32],
    scale: Option<&[f32]>,
) -> Vec<f32> {
    shape.check();
    assert_eq!(grad.len(), shape.output_len());
    assert_eq!(weight.len(), shape.weight_len());
    assert!(scale.is_none_or(|scale| scale.len() == shape.cout));

    let len = shape.input_len();
    // Between kernels that are further apart than they are long, and without output channels,
    // nothing is stored.
    let gaps = shape.stride > shape.kernel || shape.cout == 0;
    let mut output = match gaps {
        true => vec![0.0; len],
        false => Vec::with_capacity(len),
    };
    output.clear();
    let target = Target::new(&mut output.spare_capacity_mut()[..len]);

    let (taps, depth, stride) = (shape.taps(), shape.depth(), shape.stride);
    let seen = shape.flattened();
    // Pixels `stride` apart see the same taps: for each such phase it is a convolution of the
    // gradient.
    for top in 0..stride.min(seen.height) {
        for left in 0..stride.min(seen.width) {
            let kept = taps_of(shape, top, left);
            if kept.is_empty() || shape.cout == 0 {
                continue;
            }
            let plan = Plan {
                input: grad,
                from: Grid {
                    channels: shape.cout,
                    height: seen.out_height(),
                    width: seen.out_width(),
                },
                taps: kept.iter().map(|&(_, steps)| steps).collect(),
                step: 1,
                images: shape.n,
                rows: (seen.height - top).div_ceil(stride),
                columns: (seen.width - left).div_ceil(stride),
                to: Grid {
                    channels: shape.cin,
                    height: seen.height,
                    width: seen.width,
                },
                spread: stride,
                top,
                left,
            };
            let scaled = |input: usize, tap: usize, output: usize| {
                weight[output * depth + input * taps + kept[tap].0]
                    * scale.map_or(1.0, |scale| scale[output])
            };
            #[expect(unsafe_code, reason = "the gradient is not filled with zeros first")]
            // SAFETY: the target is the vector's own memory, of the length of the plan's output:
            // images × channels × height × width.
            unsafe {
                product(arch, &plan, scaled, target, Finish::default());
            }
        }
    }
    #[expect(unsafe_code, reason = "the gradient is not filled with zeros first")]
    // SAFETY: each number was stored: if there are gaps, as zero before the vector was cleared, and
    // else by the plan of its phase. Then each phase has taps: among `stride` or more places in a
    // row of the kernel there is one for each remainder.
    unsafe {
        output.set_len(len);
    }
    output
}

/// The taps through which an output reaches the pixels of a phase, and from a pixel's row and
/// column of its phase how many outputs down and to the right that is.
fn taps_of(shape: &Conv2dShape, top: usize, left: usize) -> Vec<(usize, (isize, isize))> {
    let steps = |phase: usize, place: usize| {
        let distance = phase as isize + shape.padding as isize - place as isize;
        let stride = shape.stride as isize;
        (distance.rem_euclid(stride) == 0).then(|| distance.div_euclid(stride))
    };
    let kernel = shape.kernel;
    (0..shape.taps())
        .filter_map(|tap| Some((tap, (steps(top, tap / kernel)?, steps(left, tap % kernel)?))))
        .collect()
}
