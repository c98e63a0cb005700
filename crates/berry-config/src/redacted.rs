//! A whole configuration as others may see it: the text itself, line by line, with every secret as `***`, and the difference of
//! two of them. Lines are compared as they are and shown redacted, so that a changed secret is seen to have changed, and is
//! not seen.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use crate::key_file::Keys;
use crate::mask;
use crate::raw::{self, RawNode, RawTable, RawValue};
use crate::reader::Reader;
use crate::source::Source;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;

/// What is searched longer than this is told in larger pieces than need be.
const SEARCH: Duration = Duration::from_millis(500);

/// Of a longer text that is no TOML nothing is shown: each of its lines is looked at together with all before it.
const LONGEST_BROKEN: usize = 256 << 10;

/// The text without its secrets, and without what might be one in a comment or an unknown key. It has the lines of the text.
pub fn redacted(text: &str, origin: &Path) -> String {
    lines(text, origin).into_iter().map(|line| line + "\n").collect()
}

/// What changed from one text to another, in the unified form without its two first lines; empty if no line did.
pub fn redacted_diff(old: &str, new: &str, origin: &Path) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let deadline = Instant::now().checked_add(SEARCH);
    let changes = capture_diff_slices_deadline(Algorithm::Myers, &before, &after, deadline);
    let hunks = group_diff_ops(changes, CONTEXT);
    if hunks.is_empty() {
        return String::new();
    }
    let (before, after) = (lines(old, origin), lines(new, origin));
    hunks
        .iter()
        .map(|hunk| head(hunk) + &hunk.iter().map(|change| body(change, &before, &after)).collect::<String>())
        .collect()
}

/// `@@ -1,7 +1,8 @@`
fn head(hunk: &[DiffOp]) -> String {
    let range = |of: fn(&DiffOp) -> Range<usize>| {
        let start = hunk.first().map_or(0, |change| of(change).start);
        let length = hunk.last().map_or(0, |change| of(change).end) - start;
        // Of no lines, the one before them is named.
        format!("{},{length}", if length == 0 { start } else { start + 1 })
    };
    format!("@@ -{} +{} @@\n", range(DiffOp::old_range), range(DiffOp::new_range))
}

fn body(change: &DiffOp, before: &[String], after: &[String]) -> String {
    let marked = |mark: char, lines: &[String], range: Range<usize>| -> String {
        lines.get(range).unwrap_or_default().iter().map(|line| format!("{mark}{line}\n")).collect()
    };
    match change.tag() {
        DiffTag::Equal => marked(' ', after, change.new_range()),
        _ => marked('-', before, change.old_range()) + &marked('+', after, change.new_range()),
    }
}

/// The lines as they may be shown.
fn lines(text: &str, origin: &Path) -> Vec<String> {
    let (raw, faults) = raw::parse(text);
    let base = origin.parent().unwrap_or(Path::new(""));
    let mut reader = Reader::new(base, Keys::new(&raw, base));
    let _ = reader.root(&raw);
    let mut masks = reader.masks;
    if faults.is_empty() {
        comments(text, &raw).for_each(|comment| masks.extend(mask::comment(text, comment)));
    } else {
        masks.extend(all_broken(text));
    }
    Source::new(text, masks).shown_lines()
}

/// What may be secret where nothing tells where anything begins or ends: every line is taken for a broken one.
fn all_broken(text: &str) -> Vec<Range<usize>> {
    if text.len() > LONGEST_BROKEN {
        return std::iter::once(0..text.len()).collect();
    }
    let ends = text.match_indices('\n').map(|(at, _)| at).chain(std::iter::once(text.len()));
    let mut start = 0;
    let lines = ends.map(|end| std::mem::replace(&mut start, end + 1)..end);
    lines.flat_map(|line| [mask::broken_line(text, line.start), mask::comment(text, line)].concat()).collect()
}

/// The comments of a text that is TOML. What stands behind a `#` in a key's quotes is taken for one too.
fn comments<'t>(text: &'t str, raw: &RawTable) -> impl Iterator<Item = Range<usize>> + use<'t> {
    let mut strings = Vec::new();
    raw.entries.iter().for_each(|entry| gather_strings(&entry.node, &mut strings));
    strings.sort_by_key(|string| string.start);
    let mut end = 0;
    text.match_indices('#').map(|(at, _)| at).filter_map(move |at| {
        let inside = strings.partition_point(|string| string.start <= at);
        let is_string = inside.checked_sub(1).and_then(|last| strings.get(last)).is_some_and(|string| at < string.end);
        if at < end || is_string {
            return None;
        }
        end = text[at..].find('\n').map_or(text.len(), |length| at + length);
        Some(at..end)
    })
}

fn gather_strings(node: &RawNode, strings: &mut Vec<Range<usize>>) {
    match &node.value {
        RawValue::Text(_) => strings.push(node.span.clone()),
        RawValue::List(list) => list.iter().for_each(|node| gather_strings(node, strings)),
        RawValue::Table(table) => table.entries.iter().for_each(|entry| gather_strings(&entry.node, strings)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# The old api_key: hunter2 hunter3
# and the password of the proxy was hunter11, see the wiki
[providers.a] # \"quoted\"
base_url = \"http://127.0.0.1:1/v1\" # token=hunter4
api_key = \"hunter5 # hunter6\"
headers = { x-a = \"hunter7\" }
api_kye = '''
hunter8
hunter9'''
name = \"a # b\" # plain words
[users.u]
token = \"sealed:v1:hunter10:x\"
";

    #[test]
    fn a_redacted_text_has_the_same_lines_and_no_secret() {
        let shown = redacted(TEXT, Path::new("config.toml"));
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!(shown.lines().count(), TEXT.lines().count());
        for kept in [
            "base_url = \"http://127.0.0.1:1/v1\"",
            "name = \"a # b\" # plain words",
            "[users.u]",
            "# and the password of the proxy was ***, see the wiki",
        ] {
            assert!(shown.lines().any(|line| line.starts_with(kept)), "{kept}: {shown}");
        }
        let broken = redacted(&TEXT.replace("[users.u]", "[users.u"), Path::new("config.toml"));
        assert!(!broken.contains("hunter"), "{broken}");
    }

    #[test]
    fn a_changed_secret_is_a_changed_line_that_shows_none() {
        let new = TEXT.replace("hunter5", "hunter55").replace("plain words", "other words");
        let diff = redacted_diff(TEXT, &new, Path::new("config.toml"));
        assert!(!diff.contains("hunter"), "{diff}");
        assert!(diff.contains("\n-api_key = ***\n+api_key = ***\n"), "{diff}");
        assert!(
            diff.starts_with("@@ -2,11 +2,11 @@\n") && diff.contains("+name = \"a # b\" # other words\n"),
            "{diff}"
        );
        assert_eq!(redacted_diff(TEXT, TEXT, Path::new("config.toml")), "");
    }

    #[test]
    fn what_is_added_to_nothing_is_named_by_the_line_before_it() {
        assert_eq!(redacted_diff("", "a = 1\n", Path::new("c")), "@@ -0,0 +1,1 @@\n+a = 1\n");
        let long: String = (0..20).map(|n| format!("a{n} = {n}\n")).collect();
        let diff = redacted_diff(&long, &long.replace("a10 = 10\n", ""), Path::new("c"));
        assert!(diff.starts_with("@@ -8,7 +8,6 @@\n a7 = 7\n") && diff.contains("\n-a10 = 10\n"), "{diff}");
    }
}
