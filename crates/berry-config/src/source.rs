//! The text of the file as problems show it: positions in characters, and lines with their secrets masked, their control
//! characters made visible and their length bounded.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

/// Columns of a line that are shown at most.
const WINDOW: usize = 100;
/// Of these, how many stand before the place that is pointed at.
const LEAD: usize = 40;
const TAB: usize = 4;
/// Bytes before and after a place beyond which nothing of its line is looked at.
const NEAR: usize = 2048;
const MASK: &str = "***";

/// One line as it may be shown, and where the carets go under it, in terminal columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) text: String,
    pub(crate) indent: usize,
    pub(crate) width: usize,
}

/// The text, and the parts of it that must not be seen.
pub(crate) struct Source<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// In order, none touching another.
    masks: Vec<Range<usize>>,
}

/// A character of a line made ready to be shown.
struct Cell {
    shown: Shown,
    at: Range<usize>,
}

enum Shown {
    Char(char),
    Spaces,
    Mask,
}

impl Cell {
    fn width(&self) -> usize {
        match self.shown {
            Shown::Char(c) => c.width().unwrap_or(1),
            Shown::Spaces => TAB,
            Shown::Mask => MASK.len(),
        }
    }
}

// === impl Source ===

impl<'t> Source<'t> {
    /// The text with the byte ranges to mask, in any order.
    pub(crate) fn new(text: &'t str, masks: Vec<Range<usize>>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines, masks: merged(masks) }
    }

    /// The text itself, unmasked.
    pub(crate) fn text(&self) -> &str {
        self.text
    }

    /// Line and column, both from 1, of a byte offset.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let end = self.boundary(offset);
        let line = self.lines.partition_point(|&start| start <= end);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (line, self.text[start..end].chars().count() + 1)
    }

    /// The line in which `span` begins, with carets under as much of the span as stands on it.
    pub(crate) fn excerpt(&self, span: &Range<usize>) -> Excerpt {
        let line = self.line(span.start);
        let cells = self.cells(&line);
        let first = cells.iter().position(|cell| cell.at.end > span.start).unwrap_or(cells.len());
        let last = cells.iter().rposition(|cell| cell.at.start < span.end).map_or(first, |last| last + 1).max(first);
        window(&cells, first, last)
    }

    /// Every line as it may be shown, however long it is.
    pub(crate) fn shown_lines(&self) -> Vec<String> {
        let end = |line: usize| self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let line = |(line, start): (usize, &usize)| {
            let text = self.text[*start..end(line)].trim_end_matches('\r');
            shown(&self.cells(&(*start..start + text.len())))
        };
        // What stands after the last line break is a line only if it holds something.
        let count = self.lines.len() - usize::from(self.text.is_empty() || self.text.ends_with('\n'));
        self.lines.iter().take(count).enumerate().map(line).collect()
    }

    /// The nearest character boundary at or before an offset.
    fn boundary(&self, offset: usize) -> usize {
        (0..=offset.min(self.text.len())).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0)
    }

    /// The line around an offset; of a very long one, the part near it.
    fn line(&self, offset: usize) -> Range<usize> {
        let at = self.boundary(offset);
        let line = self.lines.partition_point(|&start| start <= at);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        let near = self.boundary(at.saturating_sub(NEAR)).max(start)..self.boundary(at + NEAR).min(end);
        let text = self.text[near.clone()].trim_end_matches('\r');
        near.start..near.start + text.len()
    }

    fn cells(&self, line: &Range<usize>) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        let first = self.masks.partition_point(|mask| mask.end <= line.start);
        let overlapping = self.masks[first..].iter().take_while(|mask| mask.start < line.end);
        let mut masks: Vec<Range<usize>> = overlapping.cloned().collect();
        masks.extend(key_like_words(&self.text[line.clone()]).map(|w| line.start + w.start..line.start + w.end));
        for (offset, c) in self.text[line.clone()].char_indices() {
            let at = line.start + offset..line.start + offset + c.len_utf8();
            if masks.iter().any(|mask| mask.start < at.end && at.start < mask.end) {
                match cells.last_mut() {
                    Some(Cell { shown: Shown::Mask, at: masked }) => masked.end = at.end,
                    _ => cells.push(Cell { shown: Shown::Mask, at }),
                }
            } else {
                cells.push(Cell { shown: visible(c), at });
            }
        }
        cells
    }
}

/// The same bytes in order, without overlaps.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn visible(c: char) -> Shown {
    match c {
        '\t' => Shown::Spaces,
        // Control characters drive terminals, and the bidirectional ones reorder what is read.
        _ if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            Shown::Char('\u{fffd}')
        }
        _ => Shown::Char(c),
    }
}

/// Words that look like a vendor's key wherever they stand, as when a key was pasted into the wrong field.
fn key_like_words(line: &str) -> impl Iterator<Item = Range<usize>> {
    const PREFIXES: &[&str] = &["sk-", "sk_", "gsk_", "xai-", "pplx-", "AIza", "hf_", "ghp_", "nvapi-", "berry-"];
    words(line).filter(|(word, _)| word.len() >= 20 && PREFIXES.iter().any(|p| word.starts_with(p))).map(|(_, at)| at)
}

/// Runs of letters, digits, `-` and `_`, with their places.
pub(crate) fn words(line: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).filter(|word| !word.is_empty()).map(|word| {
        let start = word.as_ptr() as usize - line.as_ptr() as usize;
        (word, start..start + word.len())
    })
}

/// As much of the cells as fits, around those from `first` to `last`.
fn window(cells: &[Cell], first: usize, last: usize) -> Excerpt {
    let mut start = 0;
    if total(cells) > WINDOW {
        let mut lead = total(&cells[..first.min(cells.len())]);
        while lead > LEAD {
            lead -= cells[start].width();
            start += 1;
        }
    }
    let mut text = if start > 0 { String::from("…") } else { String::new() };
    let mut used = usize::from(start > 0);
    let (mut indent, mut width) = (None, 0);
    for (index, cell) in cells.iter().enumerate().skip(start) {
        if used + cell.width() > WINDOW {
            text.push('…');
            break;
        }
        if (first..last).contains(&index) {
            indent.get_or_insert(used);
            width += cell.width();
        }
        match cell.shown {
            Shown::Char(c) => text.push(c),
            Shown::Spaces => text.push_str(&" ".repeat(TAB)),
            Shown::Mask => text.push_str(MASK),
        }
        used += cell.width();
    }
    text.truncate(text.trim_end().len());
    Excerpt { text, indent: indent.unwrap_or(used), width: width.max(1) }
}

fn shown(cells: &[Cell]) -> String {
    let mut text = String::new();
    for cell in cells {
        match cell.shown {
            Shown::Char(c) => text.push(c),
            Shown::Spaces => text.push_str(&" ".repeat(TAB)),
            Shown::Mask => text.push_str(MASK),
        }
    }
    text
}

fn total(cells: &[Cell]) -> usize {
    cells.iter().map(Cell::width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, part: &str) -> Excerpt {
        let start = text.find(part).unwrap();
        Source::new(text, Vec::new()).excerpt(&(start..start + part.len()))
    }

    #[test]
    fn carets_stand_under_wide_characters_and_after_tabs() {
        let found = excerpt("a\n\tname = \"模型\" # x\n", "\"模型\"");
        assert_eq!((found.text.as_str(), found.indent, found.width), ("    name = \"模型\" # x", 11, 6));
    }

    #[test]
    fn positions_count_characters_and_not_bytes() {
        let text = "x = 1\n模型 = 2\n";
        assert_eq!(Source::new(text, Vec::new()).position(text.find('2').unwrap()), (2, 6));
        assert_eq!(Source::new(text, Vec::new()).position(9999), (3, 1));
        assert_eq!(Source::new("", Vec::new()).position(0), (1, 1));
    }

    #[test]
    fn a_very_long_line_is_shown_around_the_caret_only() {
        let text = format!("{} HERE {}", "a".repeat(50_000), "b".repeat(50_000));
        let found = excerpt(&text, "HERE");
        assert!(found.text.chars().count() <= WINDOW + 2, "{}", found.text);
        let under: String = found.text.chars().skip(found.indent).take(found.width).collect();
        assert_eq!(under, "HERE");
    }

    #[test]
    fn masked_parts_are_stars_and_the_caret_follows() {
        let text = "token = \"hunter2hunter2\", rest = 1";
        let masks = std::iter::once(9..23).collect();
        let found = Source::new(text, masks).excerpt(&(33..34));
        assert_eq!((found.text.as_str(), found.indent, found.width), ("token = \"***\", rest = 1", 22, 1));
    }

    #[test]
    fn a_key_in_the_wrong_field_is_masked_by_its_form() {
        let found = excerpt("base_url = \"sk-abcdefghijklmnopqrstuvwx\"", "base_url");
        assert_eq!(found.text, "base_url = \"***\"");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(excerpt("a = \"\u{1b}[31m\u{202e}\"", "a").text, "a = \"\u{fffd}[31m\u{fffd}\"");
    }
}
