//! How large an image may be.

/// Pixels of the largest image that is decoded: 2 ^ 27, 0.4 GB of RGB.
pub const MAX_PIXELS: u64 = 1 << 27;

/// Refuses a larger one, in words.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), String> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "it has {width} x {height} pixels, more than the {MAX_PIXELS} that are decoded: make it \
             smaller"
        ));
    }
    Ok(())
}
