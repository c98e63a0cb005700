//! What to hide on a line that cannot be parsed: there, nothing tells a secret from another value.

use std::ops::Range;

use crate::registry::{Rule, Table};
use crate::source::words;
use crate::table::ROOT;

/// The parts of the line around `offset` that may be secret: quoted text, what follows a key that holds a secret, long words
/// with letters and digits; inside a string of several lines, the whole line.
pub(crate) fn broken_line(text: &str, offset: usize) -> Vec<Range<usize>> {
    let offset = (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let line = &text[start..end];
    let inside_long_string = ["\"\"\"", "'''"].iter().any(|quotes| text[..start].matches(quotes).count() % 2 == 1);
    if inside_long_string {
        return std::iter::once(start..end).collect();
    }
    let mut masks = quoted(line);
    if let Some(at) = line.find('=').filter(|&at| words(&line[..at]).any(|(word, _)| is_secret(word))) {
        let value = line[at + 1..].trim_start();
        masks.push(line.len() - value.len()..line.len());
    }
    // A name in a table's header tells nothing that should be hidden.
    if !line.trim_start().starts_with('[') {
        let mixed = |word: &str| word.contains(char::is_numeric) && word.contains(char::is_alphabetic);
        masks.extend(words(line).filter(|(word, _)| word.len() >= 12 && mixed(word)).map(|(_, at)| at));
    }
    masks.into_iter().map(|mask| start + mask.start..start + mask.end).collect()
}

/// The parts of a comment that may be secret: a key that was put aside stands there as it stood in its line, or in a sentence.
pub(crate) fn comment(text: &str, at: Range<usize>) -> Vec<Range<usize>> {
    let line = &text[at.clone()];
    let mut masks = broken_line(line, 0);
    if let Some(end) = words(line).find(|(word, _)| is_secret(word)).map(|(_, word)| word.end) {
        if let Some(sign) = line[end..].find([':', '=']) {
            let value = line[end + sign + 1..].trim_start();
            masks.push(line.len() - value.len()..line.len());
        }
        // In a sentence, what is no plain word.
        let is_plain = |word: &str| word.chars().all(|c| c.is_alphabetic() || c == '-');
        masks.extend(words(line).filter(|(word, at)| at.start > end && !is_plain(word)).map(|(_, at)| at));
    }
    masks.into_iter().map(|mask| at.start + mask.start..at.start + mask.end).collect()
}

/// Text in quotes; what follows a quote that is not closed.
fn quoted(line: &str) -> Vec<Range<usize>> {
    let mut masks = Vec::new();
    let mut open: Option<(char, usize)> = None;
    for (at, c) in line.char_indices() {
        match open {
            Some((quote, from)) if c == quote => {
                masks.push(from..at);
                open = None;
            }
            None if c == '"' || c == '\'' => open = Some((c, at + 1)),
            _ => {}
        }
    }
    masks.extend(open.map(|(_, from)| from..line.len()));
    masks.retain(|mask| !mask.is_empty());
    masks
}

fn is_secret(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let named = ["key", "token", "secret", "password", "authorization"].iter().any(|part| lower.contains(part));
    named || holds_secret(&ROOT, word)
}

fn holds_secret(table: &Table, name: &str) -> bool {
    table.keys.iter().any(|key| match key.rule {
        Rule::Secret | Rule::Secrets | Rule::Headers => key.name == name,
        Rule::Table(table) | Rule::Map(table) | Rule::List(table) => holds_secret(table, name),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    fn shown(text: &str, offset: usize) -> String {
        Source::new(text, broken_line(text, offset)).excerpt(&(offset..offset)).text
    }

    #[test]
    fn nothing_that_may_be_secret_is_shown_of_a_broken_line() {
        for (line, expected) in [
            ("api_key = hunter2", "api_key = ***"),
            ("api_key = \"hunter2", "api_key = ***"),
            ("name = \"hunter2\" oops", "name = \"***\" oops"),
            ("  \"hunter2\", 'hunter3", "  \"***\", '***"),
            ("  abc123def456ghi789,", "  ***,"),
            ("[models.gpt-4o-mini-2024", "[models.gpt-4o-mini-2024"),
        ] {
            assert_eq!(shown(line, line.len()), expected);
        }
        assert_eq!(shown("token = \"\"\"\nhunter two\n", 14), "***");
    }
}
