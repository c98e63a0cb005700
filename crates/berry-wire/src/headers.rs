//! Which headers cross Berry, and where keys stand in them. Everything not listed here stays where it came from.

use berry_vocab::Protocol;

use crate::protocol::spec;

/// The headers in which a client may send its token, lower case.
pub const CREDENTIAL_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

static TO_BACKEND: Names = Names::by_length(&[
    "accept",
    "x-title",
    "originator",
    "session_id",
    "tracestate",
    "user-agent",
    "openai-beta",
    "traceparent",
    "content-type",
    "http-referer",
    "anthropic-beta",
    "conversation_id",
    "idempotency-key",
    "anthropic-version",
    "x-goog-api-client",
]);

static TO_CLIENT: Names = Names::by_length(&[
    "retry-after",
    "content-type",
    "openai-model",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
]);

/// The prefix under which OpenAI's and Anthropic's SDKs describe themselves.
const SDK_PREFIX: &[u8] = b"x-stainless-";

/// The header that carries a provider's key: its name, lower case, and its value.
pub fn credential(protocol: Protocol, key: &str) -> (&'static str, String) {
    let (name, scheme) = spec(protocol).credential;
    (name, [scheme, key].concat())
}

/// Headers that a backend of this protocol needs where the client sent none of that name.
pub fn default_headers(protocol: Protocol) -> &'static [(&'static str, &'static str)] {
    spec(protocol).default_headers
}

/// Whether a client's header goes to the backend. Names compare without regard to case.
pub fn crosses_to_backend(name: impl AsRef<[u8]>) -> bool {
    let name = name.as_ref();
    TO_BACKEND.contain(name) || name.get(..SDK_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(SDK_PREFIX))
}

/// Whether a backend's header goes to the client. Names compare without regard to case.
pub fn crosses_to_client(name: impl AsRef<[u8]>) -> bool {
    TO_CLIENT.contain(name.as_ref())
}

/// Lower-case names, found by their length first: most names that come are told apart without looking at a byte of theirs.
struct Names {
    /// Shorter ones first.
    names: &'static [&'static str],
    /// How many of them are shorter than each length.
    shorter: [u8; Names::LONGEST + 2],
}

impl Names {
    const LONGEST: usize = 24;

    /// Does not compile with names that are not sorted by length, or too long.
    const fn by_length(names: &'static [&'static str]) -> Self {
        let mut shorter = [0; Self::LONGEST + 2];
        let mut length = 0;
        let mut count = 0;
        while length < shorter.len() {
            while count < names.len() && names[count].len() < length {
                count += 1;
                assert!(count == names.len() || names[count - 1].len() <= names[count].len());
            }
            shorter[length] = count as u8;
            length += 1;
        }
        assert!(count == names.len());
        Self { names, shorter }
    }

    fn contain(&self, name: &[u8]) -> bool {
        let (Some(&from), Some(&to)) = (self.shorter.get(name.len()), self.shorter.get(name.len() + 1)) else {
            return false;
        };
        self.names[usize::from(from)..usize::from(to)].iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_by_length_and_lower_case() {
        for list in [&TO_BACKEND, &TO_CLIENT] {
            assert!(list.names.is_sorted_by_key(|name| name.len()));
            assert!(list.names.iter().all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase())));
        }
    }

    #[test]
    fn only_the_headers_of_the_contract_cross_to_the_backend() {
        for name in TO_BACKEND.names {
            assert!(crosses_to_backend(name) && crosses_to_backend(name.to_uppercase().as_bytes()), "{name}");
        }
        assert!(crosses_to_backend("x-stainless-retry-count") && crosses_to_backend(b"X-Stainless-OS"));
        for name in CREDENTIAL_HEADERS {
            assert!(!crosses_to_backend(name), "{name}");
        }
        for name in
            ["", "cookie", "host", "x-forwarded-for", "accept-encoding", "berry-backend", "x-stainless", "x-titl3"]
        {
            assert!(!crosses_to_backend(name), "{name}");
        }
    }

    #[test]
    fn only_the_headers_of_the_contract_cross_to_the_client() {
        for name in TO_CLIENT.names {
            assert!(crosses_to_client(name) && crosses_to_client(name.to_uppercase()), "{name}");
        }
        for name in ["", "set-cookie", "server", "x-request-id", "content-length", "x-ratelimit-limit-requests"] {
            assert!(!crosses_to_client(name), "{name}");
        }
    }

    #[test]
    fn each_protocol_has_its_key_in_its_header() {
        assert_eq!(credential(Protocol::OpenAi, "k"), ("authorization", "Bearer k".to_owned()));
        assert_eq!(credential(Protocol::Anthropic, "k"), ("x-api-key", "k".to_owned()));
        assert_eq!(credential(Protocol::Gemini, "k"), ("x-goog-api-key", "k".to_owned()));
        assert_eq!(default_headers(Protocol::Anthropic), [("anthropic-version", "2023-06-01")]);
        assert!(default_headers(Protocol::OpenAi).is_empty());
    }
}
