//! The form in which a protocol tells how its streams are to be read. The rows themselves stand with the protocols.

use std::fmt;

use memchr::memmem::Finder;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How the stream of one operation is read.
pub(crate) struct Grammar {
    /// How its events are told apart.
    pub(crate) form: Form,
    /// Whether `[DONE]` ends it.
    pub(crate) has_done: bool,
    /// What the end of the connection means, where no event has ended the stream before.
    pub(crate) closing: Closing,
    /// The member that numbers the events, if they are numbered.
    pub(crate) number: Option<Finder<'static>>,
}

/// How the events of a stream are told apart.
#[expect(clippy::large_enum_variant, reason = "there is one of each grammar, and it stays where it is")]
pub(crate) enum Form {
    /// Each says its type, which says the rest. A type that has no row is content: what a backend says that Berry does not know
    /// yet must not be held back.
    Typed(&'static [(&'static str, Says)]),
    /// Each is a piece of the whole answer.
    Pieces {
        /// What an event must have for it to be read closely, once content has come.
        marks: Vec<Mark>,
        /// How a member begins whose text a client waits for, up to the text's first byte.
        text: Finder<'static>,
        /// Reads one closely; `None` where it is no JSON object.
        read: fn(&[u8]) -> Option<Piece>,
    },
}

/// What an event says.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    /// Nothing that a client waits for.
    Quiet,
    /// Something, if anything stands in it.
    IfAny,
    /// Something that a client waits for.
    Content,
    /// What went wrong.
    Error,
    /// What went wrong, in an event that ends the stream as the protocol has it.
    Failed,
    /// That the stream is at its end.
    End,
}

/// What the end of a connection means.
pub(crate) enum Closing {
    /// The end of the stream.
    Good,
    /// The end of the stream, if each choice has been finished.
    IfFinished,
    /// That the stream was cut.
    Bad,
}

/// A member that is not to be missed in an event.
pub(crate) struct Mark {
    /// Its name in quotes. Quotes inside text are escaped, so that no text can look like it.
    name: Finder<'static>,
    /// How values begin that say nothing.
    harmless: &'static [&'static str],
}

/// What was read in a piece of an answer.
#[derive(Default)]
pub(crate) struct Piece {
    /// Whether it holds anything that a client waits for.
    pub(crate) has_content: bool,
    /// The choices that are in it, one bit each.
    pub(crate) choices: u128,
    /// Those of them that are finished by it.
    pub(crate) finished: u128,
}

/// Whether a value says anything: a text stands in it somewhere that is not empty, and is more than a label.
#[derive(Clone, Copy, Default)]
pub(crate) struct Substance(pub(crate) bool);

/// Members whose text only says which thing this is, or of what kind. `obfuscation` is padding of random length.
const LABELS: [&str; 7] = ["id", "item_id", "obfuscation", "phase", "role", "status", "type"];

// === impl Grammar ===

impl Grammar {
    /// What an event says, as far as can be told without parsing it.
    pub(super) fn glance(&self, data: &[u8]) -> Option<Says> {
        match &self.form {
            Form::Typed(rows) => Some(row(rows, leading_type(data)?)),
            Form::Pieces { marks, .. } => (!marks.iter().any(|mark| mark.is_in(data))).then_some(Says::Content),
        }
    }

    /// Whether an event plainly holds text that a client waits for, so that it need not be read closely for that.
    pub(super) fn has_text(&self, data: &[u8]) -> bool {
        let Form::Pieces { text, .. } = &self.form else { return false };
        let first = text.find(data).and_then(|at| data.get(at + text.needle().len()));
        first.is_some_and(|byte| *byte != b'"') && data.starts_with(b"{") && data.ends_with(b"}")
    }

    /// The number that an event says it has.
    pub(super) fn number_of(&self, data: &[u8]) -> Option<u64> {
        let name = self.number.as_ref()?;
        let value = value_after(data, name.find(data)? + name.needle().len())?;
        let digits = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
        std::str::from_utf8(value.get(..digits)?).ok()?.parse().ok()
    }
}

/// What an event of this type says.
pub(super) fn row(rows: &[(&str, Says)], r#type: &[u8]) -> Says {
    rows.iter().find(|(name, _)| name.as_bytes() == r#type).map_or(Says::Content, |(_, says)| *says)
}

/// The type of an event whose first member it is, as all vendors write it.
fn leading_type(data: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"\"type\"";
    let members = data.strip_prefix(b"{")?.trim_ascii_start();
    let value = value_after(members.strip_prefix(NAME)?, 0)?.strip_prefix(b"\"")?;
    value.get(..memchr::memchr(b'"', value)?)
}

/// What follows the name of a member that ends at `at`, from its value on.
fn value_after(data: &[u8], at: usize) -> Option<&[u8]> {
    Some(data.get(at..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

// === impl Mark ===

impl Mark {
    /// The mark of a member, its name in quotes.
    pub(crate) fn new(name: &'static str, harmless: &'static [&'static str]) -> Self {
        Mark { name: Finder::new(name), harmless }
    }

    fn is_in(&self, data: &[u8]) -> bool {
        let mut rest = data;
        while let Some(at) = self.name.find(rest) {
            rest = rest.get(at + self.name.needle().len()..).unwrap_or_default();
            let value = value_after(rest, 0);
            if value.is_some_and(|value| !self.harmless.iter().any(|harmless| value.starts_with(harmless.as_bytes()))) {
                return true;
            }
        }
        false
    }
}

// === impl Piece ===

impl Piece {
    /// Adds one choice of the answer.
    pub(crate) fn add(&mut self, index: u32, content: bool, is_finished: bool) {
        let choice = 1_u128.checked_shl(index).unwrap_or(0);
        self.has_content |= content || is_finished;
        self.choices |= choice;
        self.finished |= if is_finished { choice } else { 0 };
    }
}

// === impl Substance ===

impl<'de> Deserialize<'de> for Substance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SubstanceVisitor).map(Substance)
    }
}

struct SubstanceVisitor;

/// Flags and numbers say how something is, or where: they are no substance.
impl<'de> Visitor<'de> for SubstanceVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(!text.is_empty())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let mut any = false;
        while let Some(Substance(item)) = items.next_element()? {
            any |= item;
        }
        Ok(any)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let mut any = false;
        while let Some(name) = members.next_key::<String>()? {
            if LABELS.contains(&name.as_str()) {
                members.next_value::<IgnoredAny>()?;
            } else {
                any |= members.next_value::<Substance>()?.0;
            }
        }
        Ok(any)
    }
}
