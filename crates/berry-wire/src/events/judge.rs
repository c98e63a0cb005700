//! What the events of one stream say, one after the other, and what they come to.

use std::sync::LazyLock;

use berry_vocab::Protocol;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::framing::Fields;
use super::grammar::{Closing, Form, Grammar, Says, Substance, row};
use super::{Ending, Event};
use crate::complaint::{Complaint, of_error_object};
use crate::protocol::spec;
use crate::route::Operation;

/// What is remembered of a stream's events.
pub(super) struct Judge {
    protocol: Protocol,
    grammar: &'static Grammar,
    has_content: bool,
    is_ended: bool,
    complaint: Option<Complaint>,
    /// The choices that have been seen. The first is in every answer, so that it counts from the start.
    choices: u128,
    finished: u128,
    next_number: u64,
    /// Whether events passed without a look: which choices there are is then not known for sure.
    has_skipped: bool,
}

/// Where events of all protocols may say that something went wrong. Types that are no text must not make one unreadable.
#[derive(Deserialize)]
struct Head<'d> {
    #[serde(borrow)]
    r#type: Option<&'d RawValue>,
    #[serde(borrow)]
    error: Option<&'d RawValue>,
}

static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));

/// What `error` may be where nothing went wrong.
const NO_ERROR: [&str; 5] = ["null", "false", "\"\"", "{}", "[]"];

// === impl Judge ===

impl Judge {
    pub(super) fn new(operation: Operation) -> Self {
        Judge {
            protocol: operation.protocol(),
            grammar: (spec(operation.protocol()).events)(operation),
            has_content: false,
            is_ended: false,
            complaint: None,
            choices: 1,
            finished: 0,
            next_number: 0,
            has_skipped: false,
        }
    }

    /// Judges an event. Before content, what cannot be read is no answer; after it, no reason to end one.
    pub(super) fn judge(&mut self, fields: &Fields<'_>) -> Event {
        let is_read_at_a_glance = self.has_content || self.grammar.has_text(&fields.data);
        let says = if is_read_at_a_glance { self.glance(fields) } else { None };
        match says.or_else(|| self.read(fields)) {
            Some(says) => self.take(says, fields),
            None if self.has_content => Event::Content,
            None => self.take(Says::Error, fields),
        }
    }

    /// Judges an event by its beginning, where it is too large to be held.
    pub(super) fn judge_beginning(&mut self, fields: &Fields<'_>) -> Event {
        match self.glance(fields) {
            None | Some(Says::Quiet) => self.take(Says::Content, fields),
            Some(says) => self.take(says, fields),
        }
    }

    /// Judges what the stream ends in without a blank line; whether it could be read.
    pub(super) fn judge_rest(&mut self, fields: &Fields<'_>) -> bool {
        match self.read(fields) {
            Some(says) => {
                self.take(says, fields);
                true
            }
            None => false,
        }
    }

    /// What the stream has come to, if its connection ends cleanly here.
    pub(super) fn ending(&self) -> Ending {
        let is_whole = match self.grammar.closing {
            Closing::Good => true,
            Closing::IfFinished if self.has_skipped => self.finished != 0,
            Closing::IfFinished => self.finished & self.choices == self.choices,
            Closing::Bad => false,
        };
        match self.complaint {
            Some(complaint) => Ending::Failed(complaint),
            None if self.is_ended || is_whole => Ending::Whole,
            None => Ending::Truncated,
        }
    }

    /// Whether an event is plainly the stream's own end.
    pub(super) fn is_end(&self, fields: &Fields<'_>) -> bool {
        matches!(self.glance(fields), Some(Says::End))
    }

    /// Notes that events passed without a look.
    pub(super) fn note_skipped(&mut self) {
        self.has_skipped = true;
    }

    pub(super) fn has_content(&self) -> bool {
        self.has_content
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// What an event says, as far as its framing tells or a glance.
    fn glance(&self, fields: &Fields<'_>) -> Option<Says> {
        self.framed(fields).or_else(|| self.grammar.glance(&fields.data))
    }

    /// What an event says without any JSON.
    fn framed(&self, fields: &Fields<'_>) -> Option<Says> {
        match (fields.name, &*fields.data) {
            (_, b"") => Some(Says::Quiet),
            (b"error", _) => Some(Says::Error),
            (_, b"[DONE]") => Some(if self.grammar.has_done { Says::End } else { Says::Quiet }),
            _ => None,
        }
    }

    /// What an event says, read closely. `None` where it is no JSON object.
    fn read(&mut self, fields: &Fields<'_>) -> Option<Says> {
        if let Some(says) = self.framed(fields) {
            return Some(says);
        }
        match &self.grammar.form {
            Form::Typed(rows) => {
                let (r#type, is_error) = head(&fields.data)?;
                match is_error {
                    true => Some(Says::Error),
                    false => Some(r#type.map_or(Says::IfAny, |r#type| row(rows, r#type.as_bytes()))),
                }
            }
            // A piece that has the word nowhere in quotes tells of no error: it is read once less.
            Form::Pieces { .. } if ERROR.find(&fields.data).is_some() && head(&fields.data)?.1 => Some(Says::Error),
            Form::Pieces { read, .. } => {
                let piece = read(&fields.data)?;
                self.choices |= piece.choices;
                self.finished |= piece.finished;
                Some(if piece.has_content { Says::Content } else { Says::Quiet })
            }
        }
    }

    /// Remembers what an event has said.
    fn take(&mut self, says: Says, fields: &Fields<'_>) -> Event {
        if let Some(number) = self.grammar.number_of(&fields.data) {
            self.next_number = number.saturating_add(1);
        }
        match says {
            Says::Quiet => Event::Quiet,
            Says::IfAny if !self.has_content && !has_substance(&fields.data) => Event::Quiet,
            Says::IfAny | Says::Content => {
                self.has_content = true;
                Event::Content
            }
            Says::Error => {
                let complaint = of_error_object(self.protocol, &fields.data);
                self.complaint = Some(complaint);
                Event::Error(complaint)
            }
            Says::Failed => {
                self.is_ended = true;
                Event::Error(of_error_object(self.protocol, &fields.data))
            }
            Says::End => {
                // Some answers are told of by nothing but their end: one that spent all its tokens on thoughts.
                self.has_content = self.has_content || has_substance(&fields.data);
                self.is_ended = true;
                Event::End
            }
        }
    }
}

/// The type of an event, and whether it says that something went wrong. `None`: it is no JSON object.
fn head(data: &[u8]) -> Option<(Option<&str>, bool)> {
    let head: Head<'_> = serde_json::from_slice(data).ok()?;
    let r#type = head.r#type.map(|r#type| r#type.get().trim_matches('"'));
    let is_error = r#type == Some("error") || head.error.is_some_and(|error| !NO_ERROR.contains(&error.get()));
    Some((r#type, is_error))
}

fn has_substance(data: &[u8]) -> bool {
    serde_json::from_slice(data).is_ok_and(|Substance(any)| any)
}
