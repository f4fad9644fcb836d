//! Numbers as a reader wants them.

const MINUS: char = '\u{2212}';
const NARROW_SPACE: char = '\u{202f}';

/// `0.6423` as `64.2 %`; a dash for what is not a number.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    format!("{}{NARROW_SPACE}%", fixed(share * 100.0, 1))
}

/// Two shares as a stretch: `62.0–66.2 %`.
pub(super) fn percents(low: f64, high: f64) -> String {
    let [low, high] = [low, high].map(|share| fixed(share * 100.0, 1));
    format!("{low}–{high}{NARROW_SPACE}%")
}

/// A difference of shares in percentage points: `+19.1`.
pub(super) fn points(difference: f64) -> String {
    if !difference.is_finite() {
        return "–".to_owned();
    }
    let text = fixed(difference * 100.0, 1);
    if difference > 0.0 && text != "0.0" {
        format!("+{text}")
    } else {
        text
    }
}

/// With so many decimals, thousands apart, a real minus sign, and no negative zero.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::with_capacity(text.len() + 4);
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push(MINUS);
    }
    for (at, digit) in whole.chars().enumerate() {
        // 1234 reads well without help.
        if at > 0 && whole.len() > 4 && (whole.len() - at) % 3 == 0 {
            out.push(NARROW_SPACE);
        }
        out.push(digit);
    }
    out + fraction
}

/// With `digits` significant digits at most: `0.0412`, `12 500`, `3·10⁻⁵`.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 {
            "0".to_owned()
        } else {
            "–".to_owned()
        };
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-4..=6).contains(&exponent) {
        return scientific(value, digits);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    without_trailing_zeros(fixed(value, decimals))
}

/// A power of ten written out: `2·10⁻⁴`.
pub(super) fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{:.*e}", digits.saturating_sub(1), value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = without_trailing_zeros(mantissa.to_owned());
    let sign = if value < 0.0 {
        MINUS.to_string()
    } else {
        String::new()
    };
    let exponent: String = exponent.chars().map(superscript).collect();
    if mantissa == "1" {
        format!("{sign}10{exponent}")
    } else {
        format!("{sign}{mantissa}·10{exponent}")
    }
}

fn superscript(digit: char) -> char {
    match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4'..='9' | '0' => {
            let offset = u32::from(digit) - u32::from('0');
            char::from_u32(0x2070 + offset).unwrap_or(digit)
        }
        other => other,
    }
}

fn without_trailing_zeros(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(percent(0.6423), "64.2\u{202f}%");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(percents(0.6204, 0.6618), "62.0–66.2\u{202f}%");
        assert_eq!(points(0.191), "+19.1");
        assert_eq!(points(-0.02), "−2.0");
        assert_eq!(points(-0.000_01), "0.0");
        assert_eq!(points(0.000_01), "0.0");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(fixed(1234.0, 0), "1234");
        assert_eq!(fixed(-12_345.5, 1), "−12\u{202f}345.5");
        assert_eq!(fixed(1_234_567.0, 0), "1\u{202f}234\u{202f}567");
        assert_eq!(fixed(-0.0, 2), "0.00");
    }

    #[test]
    fn as_many_digits_as_say_something() {
        assert_eq!(significant(0.041_234, 3), "0.0412");
        assert_eq!(significant(12.0, 4), "12");
        assert_eq!(significant(0.5, 4), "0.5");
        assert_eq!(significant(3e-5, 3), "3·10⁻⁵");
        assert_eq!(significant(-1e9, 3), "−10⁹");
        assert_eq!(significant(0.0, 3), "0");
        assert_eq!(significant(f64::INFINITY, 3), "–");
        assert_eq!(scientific(2.5e-4, 2), "2.5·10⁻⁴");
        assert_eq!(scientific(4e17, 1), "4·10¹⁷");
    }
}
