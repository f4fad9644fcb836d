/// The longest text of a server in a message, in characters.
const LONGEST: usize = 160;

/// Text from elsewhere as a part of a sentence: one line of bounded length, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    let breaks =
        |char: char| char.is_control() || char.is_whitespace() || "\u{2028}\u{2029}".contains(char);
    let words = text.split(breaks).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Whether this is the full name of a commit, which is also safe as the name of a folder.
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What keeps a path from being one below the folder of a snapshot, on any system.
pub(crate) fn file_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("has an empty FILE");
    }
    if path.contains(|char: char| char.is_control() || matches!(char, '\\' | ':')) {
        return Some("has a backslash, a colon or a control character in FILE");
    }
    if path.len() > 1024 || path.split('/').any(|part| part.len() > 255) {
        return Some("has a FILE that is too long");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("has an empty part, `.` or `..` in FILE");
    }
    None
}

/// What keeps a revision from being a name of Git that is safe as a path.
pub(crate) fn revision_problem(revision: &str) -> Option<&'static str> {
    if revision.is_empty() {
        return Some("has an empty REVISION");
    }
    if revision.len() > 255 {
        return Some("has a REVISION that is too long");
    }
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.+/".contains(char);
    if !revision.chars().all(plain) {
        return Some(
            "has a character in REVISION that is none of a-z, A-Z, 0-9, `-`, `_`, `.`, `+`",
        );
    }
    if revision
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
    {
        return Some("has an empty part, `.` or `..` in REVISION");
    }
    None
}

/// What keeps the owner or the name of a repository from being one that the Hub gives.
///
/// `--` stands for `/` in the names of the cache, so two repositories would share a folder.
pub(crate) fn repository_problem(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        return Some("has an empty OWNER or NAME");
    }
    if part.len() > 96 {
        return Some("has an OWNER or NAME of more than 96 characters");
    }
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if !part.chars().all(plain) {
        return Some("has a character in OWNER/NAME that is none of a-z, A-Z, 0-9, `-`, `_`, `.`");
    }
    if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
        return Some("has an OWNER or NAME that begins or ends with `-` or `.`");
    }
    if part.contains("--") || part.contains("..") {
        return Some("has `--` or `..` in OWNER or NAME");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_server_stays_on_one_line() {
        assert_eq!(one_line("a\r\n\tb\u{1b}[31m \u{2028} c"), "a b [31m c");
        let long = one_line(&"\u{e9}".repeat(1000));
        assert_eq!(long.chars().count(), LONGEST + 3);
    }

    #[test]
    fn a_commit_is_lower_case_hex_of_full_length() {
        assert!(is_commit(&"0f".repeat(20)));
        for other in ["", "main", &"0F".repeat(20), &"0f".repeat(19), "../../x"] {
            assert!(!is_commit(other), "{other}");
        }
    }
}
