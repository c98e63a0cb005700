//! The wire protocols that clients and providers speak. A vendor is not a protocol: many vendors speak OpenAI's.

use std::fmt;

/// A wire protocol, which is also the dialect of the errors that its clients understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// OpenAI's HTTP API: chat completions, responses, embeddings, images, audio and the rest.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API (generateContent).
    Gemini,
}

impl Protocol {
    /// All protocols, in the order in which documents name them.
    pub const ALL: [Protocol; 3] = [Protocol::OpenAi, Protocol::Anthropic, Protocol::Gemini];

    /// The protocol's name in messages to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::OpenAi => "OpenAI",
            Protocol::Anthropic => "Anthropic",
            Protocol::Gemini => "Gemini",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
