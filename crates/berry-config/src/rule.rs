//! Rules at work: whether a single value fits, and the words for what would.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use berry_vocab::{parse_bytes, parse_duration};

use crate::checked::Got;
use crate::instant;
use crate::listen::parse_listen;
use crate::raw::RawValue;
use crate::registry::{ANY_WHOLE, Rule, Words, nearest};

/// Why a value does not fit. Said after the key's name: "`weight` is out of range".
pub(crate) struct Misfit {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Misfit {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// Checks a value that holds no table, no list and no secret.
pub(crate) fn plain(rule: &Rule, value: &RawValue) -> Result<Got, Misfit> {
    let fitting = match (rule, value) {
        (Rule::Flag, RawValue::Flag(flag)) => Some(Got::Flag(*flag)),
        (Rule::Whole(min, max), RawValue::Whole(number)) => {
            return within(*number, *min..=*max, rule).map(Got::Whole);
        }
        (Rule::WholeOr(min, max, _), RawValue::Whole(number)) => {
            return within(*number, *min..=*max, rule).map(Got::Whole);
        }
        (Rule::WholeOr(_, _, word), RawValue::Text(text)) if text == word => Some(Got::Text(text.clone())),
        (Rule::WholeOr(..), RawValue::Text(_)) => {
            return Err(Misfit::new("is none of the known words", format!("write {}", expects(rule))));
        }
        (Rule::Number(..) | Rule::Above(..), RawValue::Whole(_) | RawValue::Number(_)) => return number(rule, value),
        (Rule::Seconds(..), _) => return seconds(rule, value),
        (Rule::Bytes(..), _) => return bytes(rule, value),
        (Rule::Text | Rule::Path, RawValue::Text(text)) => return name(text),
        (Rule::Word(words), RawValue::Text(text)) => return word(words, text),
        (Rule::Listen, RawValue::Text(text)) => return listen(text),
        (Rule::Listen, RawValue::Whole(port)) => return listen(&port.to_string()),
        (Rule::Instant, RawValue::Instant(moment)) => return instant::unix(moment).map(Got::Instant),
        (Rule::Instant, RawValue::Text(text)) => return instant::parse(text).map(Got::Instant),
        (Rule::Texts | Rule::HeaderNames | Rule::Nets, RawValue::List(list)) if list.is_empty() => {
            Some(Got::Texts(Vec::new()))
        }
        (Rule::Secrets, RawValue::List(list)) if list.is_empty() => Some(Got::Secrets(Vec::new())),
        (Rule::Headers, RawValue::Table(table)) if table.entries.is_empty() => Some(Got::Headers(Vec::new())),
        (Rule::Secret, RawValue::Text(text)) if text.is_empty() => {
            Some(Got::Secret(berry_vocab::Secret::new(String::new())))
        }
        _ => None,
    };
    fitting.ok_or_else(|| wrong_type(rule, value))
}

pub(crate) fn wrong_type(rule: &Rule, value: &RawValue) -> Misfit {
    let mut remedy = format!("write {}", expects(rule));
    if let (Rule::Whole(..) | Rule::Number(..) | Rule::Above(..) | Rule::Flag, RawValue::Text(_)) = (rule, value) {
        remedy.push_str(", without quotes");
    }
    Misfit::new(format!("cannot be {}", value.kind()), remedy)
}

/// What a rule asks for, to be said after "write".
pub(crate) fn expects(rule: &Rule) -> String {
    match rule {
        Rule::Flag => "`true` or `false`".to_owned(),
        Rule::Whole(min, ANY_WHOLE) => format!("an integer, at least {min}"),
        Rule::Whole(min, max) => format!("an integer from {min} to {max}"),
        Rule::WholeOr(min, max, word) => format!("an integer from {min} to {max}, or \"{word}\""),
        Rule::Number(min, max) if *max >= f64::MAX => format!("a number, at least {min}"),
        Rule::Number(min, max) => format!("a number from {min} to {max}"),
        Rule::Above(min, max) => format!("a number above {min} and at most {max}"),
        Rule::Seconds(min, max) => {
            format!("a number of seconds from {min} to {max}, or a string like \"30s\" or \"5m\"")
        }
        Rule::Bytes(min, max) => {
            format!("a number of bytes from {min} to {max}, or a string like \"64MiB\"")
        }
        Rule::Text => "a string that is not empty".to_owned(),
        Rule::Word(words) => format!("one of {}", listed((words.now)().iter())),
        Rule::Texts => "an array of strings, like [\"a\", \"b\"]".to_owned(),
        Rule::Secret => "a string, { file = \"…\" } or { env = \"…\" }".to_owned(),
        Rule::Secrets => "an array of strings, { file = \"…\" } or { env = \"…\" }".to_owned(),
        Rule::Path => "a path, relative to the configuration file".to_owned(),
        Rule::Listen => "an address and port, like \"127.0.0.1:3000\"".to_owned(),
        Rule::Headers => "a table of header names and values, like { x-team = \"blue\" }".to_owned(),
        Rule::HeaderNames => "an array of header names, like [\"x-team\"]".to_owned(),
        Rule::Nets => "an array of addresses and networks, like [\"10.0.0.0/8\", \"::1\"]".to_owned(),
        Rule::Instant => "a date with time and offset, like 2030-01-31T00:00:00Z".to_owned(),
        Rule::Table(_) => "a table".to_owned(),
        Rule::Map(_) => "tables by id".to_owned(),
        Rule::List(_) => "an array of tables".to_owned(),
    }
}

/// Words in backticks, with commas.
pub(crate) fn listed(words: impl Iterator<Item = impl Display>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// "did you mean …?", or else the words that there are.
pub(crate) fn suggestion<'w>(wrong: &str, known: impl Iterator<Item = &'w str> + Clone) -> String {
    match nearest(wrong, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => known_words(known),
    }
}

/// At most a dozen of the words that there are, each once.
fn known_words<'w>(known: impl Iterator<Item = &'w str>) -> String {
    let mut seen = HashSet::new();
    let known: Vec<&str> = known.filter(|word| seen.insert(*word)).collect();
    match known.len() {
        0 => String::new(),
        1..=12 => format!("known: {}", listed(known.iter())),
        count => format!("known: {} and {} more", listed(known.iter().take(12)), count - 12),
    }
}

/// A string that may stand as a name: not empty, no control characters.
pub(crate) fn name(text: &str) -> Result<Got, Misfit> {
    if text.trim().is_empty() {
        return Err(Misfit::new("is empty", "write a string that is not empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(Misfit::new("holds a control character", "write it on one line, without control characters"));
    }
    Ok(Got::Text(text.to_owned()))
}

fn within<T: PartialOrd>(value: T, range: std::ops::RangeInclusive<T>, rule: &Rule) -> Result<T, Misfit> {
    // Not a number lies in no range.
    if range.contains(&value) { Ok(value) } else { Err(out_of_range(rule)) }
}

fn out_of_range(rule: &Rule) -> Misfit {
    Misfit::new("is out of range", format!("write {}", expects(rule)))
}

fn number(rule: &Rule, value: &RawValue) -> Result<Got, Misfit> {
    let number = match value {
        RawValue::Whole(number) => *number as f64,
        RawValue::Number(number) => *number,
        _ => return Err(wrong_type(rule, value)),
    };
    match *rule {
        Rule::Above(min, _) if number <= min => Err(out_of_range(rule)),
        Rule::Number(min, max) | Rule::Above(min, max) => within(number, min..=max, rule).map(Got::Number),
        _ => Err(wrong_type(rule, value)),
    }
}

fn seconds(rule: &Rule, value: &RawValue) -> Result<Got, Misfit> {
    let Rule::Seconds(min, max) = *rule else {
        return Err(wrong_type(rule, value));
    };
    let seconds = match value {
        RawValue::Whole(number) => *number as f64,
        RawValue::Number(number) => *number,
        RawValue::Text(text) => match parse_duration(text) {
            Ok(duration) => duration.as_secs_f64(),
            Err(error) => {
                return Err(Misfit::new(format!("is no duration: {error}"), format!("write {}", expects(rule))));
            }
        },
        _ => return Err(wrong_type(rule, value)),
    };
    let seconds = within(seconds, min..=max, rule)?;
    // Whole microseconds, so that 0.1 is 100 ms and not a neighbour of it.
    Ok(Got::Duration(Duration::from_micros((seconds * 1e6).round() as u64)))
}

fn bytes(rule: &Rule, value: &RawValue) -> Result<Got, Misfit> {
    let Rule::Bytes(min, max) = *rule else {
        return Err(wrong_type(rule, value));
    };
    let bytes = match value {
        RawValue::Whole(number) => u64::try_from(*number).map_err(|_| out_of_range(rule))?,
        RawValue::Text(text) => match parse_bytes(text) {
            Ok(bytes) => bytes,
            Err(error) => {
                return Err(Misfit::new(format!("is no size: {error}"), format!("write {}", expects(rule))));
            }
        },
        _ => return Err(wrong_type(rule, value)),
    };
    within(bytes, min..=max, rule).map(Got::Bytes)
}

fn word(words: &Words, text: &str) -> Result<Got, Misfit> {
    let now = (words.now)();
    if now.contains(&text) {
        return Ok(Got::Text(text.to_owned()));
    }
    if words.later.contains(&text) {
        let remedy = format!("a later version brings it; {}", known_words(now.iter().copied()));
        return Err(Misfit::new(format!("= \"{text}\" is not supported yet in this version"), remedy));
    }
    let near = nearest(text, now.iter().copied()).map(|near| format!("did you mean `{near}`? "));
    let remedy = near.unwrap_or_default() + &known_words(now.iter().copied());
    Err(Misfit::new("is none of the known words", remedy))
}

fn listen(text: &str) -> Result<Got, Misfit> {
    parse_listen(text).map(Got::Listen).map_err(|error| Misfit::new(error.to_string(), error.remedy()))
}
