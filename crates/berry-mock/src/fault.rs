//! The faults that the mock can play: one static table from which parsing, error texts, help and tests derive.
//!
//! The names are those of the benchmark's mock (`mock-500-p30`, `mock-reset`, …) and more; a fault says *what* goes
//! wrong, `answer` decides how that changes the answer, `http1` and `http2` play it.

use std::fmt::Write as _;
use std::time::Duration;

/// A fault and the share of requests that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Of a hundred requests, how many it hits: exactly that many of every hundred, in an order that the seed sets.
    pub percent: u8,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing: the recorded answer. As a model name, it overrules the fault of the options.
    Ok,
    /// This status with the dialect's error body, and a wait if one is given.
    Status(u16, Option<Wait>),
    /// Never answers.
    Hang,
    /// Resets the connection before any byte.
    Drop,
    /// Answers the first request of a connection, and resets at each further one.
    Stale,
    /// Resets the connection half way through the answer.
    Reset,
    /// Closes cleanly half way through the answer.
    Truncate,
    /// Ends the answer as HTTP demands, but half way through its events.
    NoEnd,
    /// Half of the answer, then silence.
    Stall,
    /// First byte after this time.
    Slow(Duration),
    /// The head at once, the first byte of the body after this time.
    Gap(Duration),
    /// 200 whose JSON is broken; in a stream, one event's.
    Malformed,
    /// 200 whose content is this many MiB.
    Huge(u64),
    /// A stream with one event of this many MiB.
    BigEvent(u64),
    /// The dialect's error event half way through a stream.
    ErrEvent,
    /// The dialect's error event as a stream's first.
    FirstErr,
    /// 200 with a JSON error object.
    Error200,
    /// 200 with an HTML page.
    Html,
    /// 200 with an empty body.
    Empty,
    /// 204 without a body.
    NoContent,
    /// 302 to another place.
    Redirect,
    /// A header of 1 MiB.
    BigHead,
    /// Garbage instead of a status line.
    BadHead,
    /// Each byte of the body its own write.
    Split,
    /// Answers before the body has been read, then closes.
    Early,
    /// Three 103 heads before the answer.
    EarlyHints,
    /// A body that ends with the connection.
    NoLen,
    /// Two different content-lengths.
    DupCl,
    /// Bytes after the end of the answer.
    Extra,
}

/// How an answer says when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// `retry-after` in seconds.
    Seconds(u64),
    /// `retry-after-ms`.
    Millis(u64),
    /// `retry-after` as a date, that many seconds from now.
    Date(u64),
    /// The vendor's own reset header, that many seconds from now.
    Reset(u64),
}

/// A row of the table of faults.
#[derive(Debug)]
pub struct Row {
    /// The name, as in `mock-NAME` or `--fault NAME`.
    pub name: &'static str,
    /// One line for help; `N` is the number that may follow the name.
    pub doc: &'static str,
    make: Make,
}

#[derive(Debug)]
enum Make {
    Plain(Kind),
    /// Takes a number, by default this one.
    Counted(u64, fn(u64) -> Kind),
}

/// All faults but the statuses, sorted by name. A status is written as its number, 400 to 599.
pub const FAULTS: &[Row] = &[
    plain("1xx", Kind::EarlyHints, "three 103 heads before the answer"),
    plain("204", Kind::NoContent, "204 without a body"),
    plain("302", Kind::Redirect, "302 to another place"),
    plain("badhead", Kind::BadHead, "garbage instead of a status line"),
    counted("bigevent", 2, Kind::BigEvent, "a stream with one event of N MiB"),
    plain("bighead", Kind::BigHead, "a header of 1 MiB"),
    plain("drop", Kind::Drop, "reset before any byte"),
    plain("dupcl", Kind::DupCl, "two different content-lengths"),
    plain("early", Kind::Early, "answers before the body has been read, then closes"),
    plain("empty", Kind::Empty, "200 with an empty body"),
    plain("errevent", Kind::ErrEvent, "the dialect's error event half way through a stream"),
    plain("error200", Kind::Error200, "200 with a JSON error object"),
    plain("extra", Kind::Extra, "bytes after the end of the answer"),
    plain("firsterr", Kind::FirstErr, "the dialect's error event as a stream's first"),
    counted("gap", 1000, |n| Kind::Gap(Duration::from_millis(n)), "the head at once, the body N ms later"),
    plain("hang", Kind::Hang, "never answers"),
    plain("html", Kind::Html, "200 with an HTML page"),
    counted("huge", 16, Kind::Huge, "200 whose content is N MiB"),
    plain("malformed", Kind::Malformed, "200 whose JSON is broken; in a stream, one event's"),
    plain("noend", Kind::NoEnd, "half of a stream's events, then a well-formed end of the HTTP answer"),
    plain("nolen", Kind::NoLen, "a body that ends with the connection"),
    plain("ok", Kind::Ok, "no fault"),
    plain("reset", Kind::Reset, "reset half way through the answer"),
    counted("slow", 1000, |n| Kind::Slow(Duration::from_millis(n)), "first byte after N ms"),
    plain("split", Kind::Split, "each byte of the body its own write"),
    plain("stale", Kind::Stale, "answers a connection's first request, resets at each further one"),
    plain("stall", Kind::Stall, "half of the answer, then silence"),
    plain("truncate", Kind::Truncate, "clean close half way through the answer"),
];

const fn plain(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row { name, doc, make: Make::Plain(kind) }
}

const fn counted(name: &'static str, default: u64, kind: fn(u64) -> Kind, doc: &'static str) -> Row {
    Row { name, doc, make: Make::Counted(default, kind) }
}

// === impl Fault ===

impl Fault {
    /// A fault that hits every request.
    pub const fn always(kind: Kind) -> Self {
        Fault { kind, percent: 100 }
    }

    /// Reads `NAME[-N][-pPERCENT]` or `STATUS[-rSECONDS|-rmMILLIS|-rdSECONDS|-rrSECONDS][-pPERCENT]`.
    pub fn parse(text: &str) -> Result<Fault, String> {
        let mut words = text.split('-');
        let name = words.next().unwrap_or_default();
        let mut tail = Tail::default();
        for word in words {
            tail.read(word).ok_or_else(|| unknown(text, &format!("cannot read `{word}`")))?;
        }
        let kind = kind(name, &tail).ok_or_else(|| unknown(text, &format!("there is no fault `{name}`")))?;
        Ok(Fault { kind, percent: tail.percent.unwrap_or(100) })
    }

    /// Does it hit the request with this number? The seed only shifts the order.
    pub(crate) fn hits(self, number: u64, seed: u64) -> bool {
        // 37 has no factor in common with 100, so that a hundred requests in a row meet each percent once.
        (number.wrapping_mul(37).wrapping_add(seed)) % 100 < u64::from(self.percent)
    }
}

/// What may follow a fault's name.
#[derive(Default)]
struct Tail {
    number: Option<u64>,
    percent: Option<u8>,
    wait: Option<Wait>,
}

impl Tail {
    fn read(&mut self, word: &str) -> Option<()> {
        let number = |prefix: &str| word.strip_prefix(prefix)?.parse::<u64>().ok();
        if let Some(n) = number("p") {
            self.percent = Some(u8::try_from(n).ok().filter(|p| *p <= 100)?);
        } else if let Some(n) = number("rm") {
            self.wait = Some(Wait::Millis(n));
        } else if let Some(n) = number("rd") {
            self.wait = Some(Wait::Date(n));
        } else if let Some(n) = number("rr") {
            self.wait = Some(Wait::Reset(n));
        } else if let Some(n) = number("r") {
            self.wait = Some(Wait::Seconds(n));
        } else {
            self.number = Some(word.parse().ok()?);
        }
        Some(())
    }
}

/// The kind of that name. A status that vendors send with a wait has one of a second unless `-r0` takes it away.
fn kind(name: &str, tail: &Tail) -> Option<Kind> {
    if let Some(row) = FAULTS.iter().find(|row| row.name == name) {
        return Some(match row.make {
            Make::Plain(kind) => kind,
            Make::Counted(default, kind) => kind(tail.number.unwrap_or(default)),
        });
    }
    let status: u16 = name.parse().ok().filter(|status| (400..600).contains(status))?;
    let usual = matches!(status, 429 | 503).then_some(Wait::Seconds(1));
    Some(Kind::Status(status, tail.wait.or(usual).filter(|wait| *wait != Wait::Seconds(0))))
}

fn unknown(text: &str, why: &str) -> String {
    let mut message = format!(
        "unknown fault `{text}`: {why}; a fault is a status (400 to 599, with -rSECONDS for retry-after) or one of"
    );
    for row in FAULTS {
        let number = if matches!(row.make, Make::Counted(..)) { "-N" } else { "" };
        let _ = write!(message, " {}{number}", row.name);
    }
    message + ", each also with -pPERCENT"
}

/// The table as help text: a line for each fault.
pub fn help() -> String {
    let mut text = String::from(
        "STATUS      this status (400 to 599) with the dialect's error body; -rSECONDS sets retry-after\n",
    );
    for row in FAULTS {
        let number = if matches!(row.make, Make::Counted(..)) { "-N" } else { "" };
        let _ = writeln!(text, "{:<12}{}", format!("{}{number}", row.name), row.doc);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_benchmark_mock_are_understood() {
        let read = |text| Fault::parse(text).unwrap();
        assert_eq!(read("500"), Fault::always(Kind::Status(500, None)));
        assert_eq!(read("500-p30"), Fault { kind: Kind::Status(500, None), percent: 30 });
        assert_eq!(read("429-r5"), Fault::always(Kind::Status(429, Some(Wait::Seconds(5)))));
        assert_eq!(read("429-r0"), Fault::always(Kind::Status(429, None)));
        assert_eq!(read("429-rm250"), Fault::always(Kind::Status(429, Some(Wait::Millis(250)))));
        assert_eq!(read("slow-2000"), Fault::always(Kind::Slow(Duration::from_secs(2))));
        assert_eq!(read("huge-16"), Fault::always(Kind::Huge(16)));
        for name in ["401", "503", "hang", "drop", "reset", "truncate", "malformed", "errevent"] {
            read(name);
        }
    }

    #[test]
    fn every_row_is_read_by_its_name_and_the_table_is_sorted() {
        for row in FAULTS {
            Fault::parse(row.name).unwrap();
        }
        assert!(FAULTS.is_sorted_by_key(|row| row.name));
    }

    #[test]
    fn an_unknown_fault_is_answered_with_all_names() {
        let text = Fault::parse("sleepy").unwrap_err();
        assert!(FAULTS.iter().all(|row| text.contains(row.name)), "{text}");
        assert!(Fault::parse("500-p101").is_err());
        assert!(Fault::parse("200").is_err());
    }

    #[test]
    fn a_percentage_hits_exactly_that_many_of_each_hundred() {
        for (percent, seed) in [(0, 0), (1, 3), (30, 0), (30, 77), (99, 5), (100, 12)] {
            let fault = Fault { kind: Kind::Drop, percent };
            for start in [0, 41, 1000] {
                let hits = (start..start + 100).filter(|n| fault.hits(*n, seed)).count();
                assert_eq!(hits, usize::from(percent));
            }
        }
    }
}
