use pulp::Arch;

use super::finish::Finish;
use super::plan::{Grid, Plan};
use super::product::product;
use super::shape::Conv2dShape;
use super::target::Target;

/// `finish(scale · (images ∗ weight))`, of the output's shape; `scale` is `[cout]`.
///
/// # Panics
///
/// If a length is not what `shape` says, or the kernel does not fit into the padded image.
pub fn forward(
    shape: &Conv2dShape,
    images: &[f32],
    weight: &[f32],
    scale: Option<&[f32]>,
    finish: Finish<'_>,
) -> Vec<f32> {
    forward_on(Arch::new(), shape, images, weight, scale, finish)
}

pub(super) fn forward_on(
    arch: Arch,
    shape: &Conv2dShape,
    images: &[f32],
    weight: &[f32],
    scale: Option<&[f32]>,
    finish: Finish<'_>,
) -> Vec<f32> {
    shape.check();
    assert_eq!(images.len(), shape.input_len());
    assert_eq!(weight.len(), shape.weight_len());
    assert!(scale.is_none_or(|scale| scale.len() == shape.cout));
    assert!(finish.shift.is_none_or(|shift| shift.len() == shape.cout));
    assert!(
        finish
            .residual
            .is_none_or(|residual| residual.len() == shape.output_len())
    );

    let (kernel, taps, depth) = (shape.kernel, shape.taps(), shape.depth());
    let seen = shape.flattened();
    let (rows, columns) = (seen.out_height(), seen.out_width());
    let from_corner = |place: usize| place as isize - shape.padding as isize;
    let plan = Plan {
        input: images,
        from: Grid {
            channels: shape.cin,
            height: seen.height,
            width: seen.width,
        },
        taps: (0..taps)
            .map(|tap| (from_corner(tap / kernel), from_corner(tap % kernel)))
            .collect(),
        step: shape.stride,
        images: shape.n,
        rows,
        columns,
        to: Grid {
            channels: shape.cout,
            height: rows,
            width: columns,
        },
        spread: 1,
        top: 0,
        left: 0,
    };
    let scaled = |output: usize, tap: usize, input: usize| {
        weight[output * depth + input * taps + tap] * scale.map_or(1.0, |scale| scale[output])
    };

    let len = shape.output_len();
    let mut output = Vec::with_capacity(len);
    let target = Target::new(&mut output.spare_capacity_mut()[..len]);
    #[expect(unsafe_code, reason = "the output is not filled with zeros first")]
    // SAFETY: the target is the vector's own memory, of the length of the plan's output: images ×
    // channels × rows × columns. With a spread of 1 the plan's outputs are all of it, so that each
    // number is stored.
    unsafe {
        product(arch, &plan, scaled, target, finish);
        output.set_len(len);
    }
    output
}
