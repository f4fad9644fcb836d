//! Names cut to a length without what tells them apart: of paths the end stays, of other names both ends.

/// Stands for what is left out.
const CUT: char = '…';

/// What stands between the parts of a path, here or elsewhere.
const SEPARATORS: [char; 2] = ['/', '\\'];

/// `name` in at most `most` characters. Of a path whole folders go first, from the left; of what is too
/// long even so the middle goes.
pub(super) fn shorten(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let name = name.trim_end_matches(SEPARATORS);
    let cuts = name.match_indices(SEPARATORS);
    let mut ends = cuts.map(|(at, _)| &name[at..]);
    if let Some(end) = ends.find(|end| end.chars().count() < most) {
        return format!("{CUT}{end}");
    }
    let last = name.rsplit(SEPARATORS).next().unwrap_or(name);
    if last.chars().count() <= most {
        return last.to_owned();
    }
    let letters: Vec<char> = last.chars().collect();
    let kept = most.saturating_sub(1);
    let (front, back) = (kept / 2, kept - kept / 2);
    let front: String = letters[..front].iter().collect();
    let back: String = letters[letters.len() - back..].iter().collect();
    format!("{front}{CUT}{back}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_names_apart_stays() {
        assert_eq!(shorten("class-05/2.png", 20), "class-05/2.png");
        let path = "/home/someone/pictures/of/cats/class-05/2.png";
        assert_eq!(shorten(path, 20), "…/class-05/2.png");
        assert_eq!(shorten(path, 10), "…/2.png");
        assert_eq!(shorten("a/photograph-0001.png", 19), "photograph-0001.png");
        assert_eq!(
            shorten("DSC-of-the-holidays-000123.jpg", 13),
            "DSC-of…23.jpg"
        );
        assert_eq!(
            shorten("x/DSC-of-the-holidays-000123.jpg", 13),
            "DSC-of…23.jpg"
        );
        assert_eq!(shorten("a/folder/named/", 8), "…/named");
        assert_eq!(shorten("日本語日本語日本語", 5), "日本…本語");
    }
}
