//! Problems as people read them, in the manner of compilers: what, where, the line itself with carets, and what to do.

use std::fmt::Write as _;
use std::path::Path;

use crate::problem::{Problem, Severity};

/// Whether the text is for a terminal that shows colours. Who prints decides; nothing is detected here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI escapes.
    Always,
}

/// All problems, a blank line after each, and a line that counts them.
pub fn render(problems: &[Problem], origin: &Path, colour: Colour) -> String {
    let mut out = String::new();
    for problem in problems {
        out.push_str(&problem.render(origin, colour));
        out.push('\n');
    }
    out.push_str(&summary(problems));
    out
}

/// All problems for programs: `{"problems":[{severity,line,column,path,message,remedy}]}`.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    serde_json::json!({ "problems": problems })
}

impl Problem {
    /// The problem with the line that it is about; ends with a line break.
    pub fn render(&self, origin: &Path, colour: Colour) -> String {
        let paint = Paint(colour);
        let tone = if self.severity == Severity::Error { "31" } else { "33" };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let bar = paint.bold("34", "|");
        let mut out =
            format!("{}: {}\n", paint.bold(tone, self.severity.as_str()), paint.bold("39", &plain(&self.message)));
        let arrow = paint.bold("34", "-->");
        let _ = writeln!(out, "{gutter}{arrow} {}:{}:{}", plain(&origin.display().to_string()), self.line, self.column);
        if !self.excerpt.text.is_empty() {
            let carets = paint.bold(tone, &"^".repeat(self.excerpt.width));
            let _ = writeln!(out, "{gutter} {bar}");
            let _ = writeln!(out, "{} {bar} {}", paint.bold("34", &number), self.excerpt.text);
            let _ = writeln!(out, "{gutter} {bar} {}{carets}", " ".repeat(self.excerpt.indent));
        }
        if !self.remedy.is_empty() {
            let _ = writeln!(
                out,
                "{gutter} {} {} {}",
                paint.bold("34", "="),
                paint.bold("39", "help:"),
                plain(&self.remedy)
            );
        }
        out
    }
}

fn summary(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    format!("{}, {}\n", count(errors, "error"), count(problems.len() - errors, "warning"))
}

/// Names from the file stand in messages; their control characters must not reach the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

struct Paint(Colour);

impl Paint {
    fn bold(&self, tone: &str, text: &str) -> String {
        match self.0 {
            Colour::Never => text.to_owned(),
            Colour::Always => format!("\u{1b}[1;{tone}m{text}\u{1b}[0m"),
        }
    }
}
