//! Reads image files from standard input, each behind its length (four bytes, the last one first),
//! and writes a line for each: `ok WIDTH HEIGHT SUM`, where the sum is that of all its values, or
//! `no` and why. `xtask/peers/image_mutations.py` compares them with Pillow's.

use std::io::{self, BufRead, Read, Write};

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while !input.fill_buf()?.is_empty() {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let mut file = vec![0; u32::from_le_bytes(length) as usize];
        input.read_exact(&mut file)?;
        match recall_data::decode_rgb(&file, "it") {
            Ok(image) => {
                let sum: u64 = image.as_raw().iter().map(|&value| u64::from(value)).sum();
                writeln!(output, "ok {} {} {sum}", image.width(), image.height())?;
            }
            Err(error) => {
                let message = error.to_string();
                writeln!(output, "no {}", message.replace(['\n', '\r'], " "))?;
            }
        }
        output.flush()?;
    }
    Ok(())
}
