use super::header::Colours;
use super::upsample::Row;

/// Bits behind the point of a constant.
const BITS: u32 = 16;

const fn fixed(value: f64) -> i32 {
    (value * (1 << BITS) as f64 + 0.5) as i32
}

/// A row of pixels, as the library and Pillow's `convert("RGB")` give it.
#[inline(always)]
pub(super) fn convert(colours: Colours, parts: &[Row<'_>], out: &mut [u8]) {
    match (colours, parts) {
        (Colours::Rgb, [r, g, b, ..]) => {
            for (((out, &r), &g), &b) in out.chunks_exact_mut(3).zip(*r).zip(*g).zip(*b) {
                out.copy_from_slice(&[r, g, b]);
            }
        }
        (Colours::YCbCr, [y, cb, cr, ..]) => {
            for (((out, &y), &cb), &cr) in out.chunks_exact_mut(3).zip(*y).zip(*cb).zip(*cr) {
                out.copy_from_slice(&rgb(y, cb, cr));
            }
        }
        (Colours::Cmyk, [c, m, y, k]) => {
            for ((((out, &c), &m), &y), &k) in
                out.chunks_exact_mut(3).zip(*c).zip(*m).zip(*y).zip(*k)
            {
                out.copy_from_slice(&[inked(c, k), inked(m, k), inked(y, k)]);
            }
        }
        (Colours::Ycck, [y, cb, cr, k]) => {
            for ((((out, &y), &cb), &cr), &k) in
                out.chunks_exact_mut(3).zip(*y).zip(*cb).zip(*cr).zip(*k)
            {
                let [r, g, b] = rgb(y, cb, cr);
                out.copy_from_slice(&[inked(255 - r, k), inked(255 - g, k), inked(255 - b, k)]);
            }
        }
        (_, parts) => {
            if let Some(grey) = parts.first() {
                for (out, &value) in out.chunks_exact_mut(3).zip(*grey) {
                    out.fill(value);
                }
            }
        }
    }
}

#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << (BITS - 1);
    let red = y + ((fixed(1.402) * cr + half) >> BITS);
    let green = y + ((half - fixed(0.344_14) * cb - fixed(0.714_14) * cr) >> BITS);
    let blue = y + ((fixed(1.772) * cb + half) >> BITS);
    [byte(red), byte(green), byte(blue)]
}

#[inline(always)]
fn byte(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// What an ink and the black leave of a colour. Files hold both inverted, as Adobe's programs write
/// them; Pillow takes all files for such.
#[inline(always)]
fn inked(stored: u8, black: u8) -> u8 {
    let product = (255 - u32::from(stored)) * u32::from(black) + 128;
    // Division by 255, rounded.
    black - ((product + (product >> 8)) >> 8) as u8
}
