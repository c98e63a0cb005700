//! The one failure type. What went wrong is a [`Code`]; status, the words of each dialect and whose fault it is are data
//! derived from it, so that nobody reads error text to decide anything. Rendering into a dialect is `berry-wire`'s.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $openai:literal, $anthropic:literal, $gemini:literal; )*) => {
        /// Stable error codes, as the contract lists them. Users match on them: none is ever renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $( $(#[$doc])* $name, )* }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code as clients and logs see it.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status of an answer with this code.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            /// The `error.type` of OpenAI's dialect.
            pub fn openai_type(self) -> &'static str {
                match self { $(Code::$name => $openai,)* }
            }

            /// The `error.type` of Anthropic's dialect.
            pub fn anthropic_type(self) -> &'static str {
                match self { $(Code::$name => $anthropic,)* }
            }

            /// The `error.status` of Gemini's dialect.
            pub fn gemini_status(self) -> &'static str {
                match self { $(Code::$name => $gemini,)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON object in UTF-8.
    InvalidJson = "invalid_json", 400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
    /// The body nests deeper than 128.
    JsonDepth = "json_depth", 400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
    /// The request cannot be served as asked.
    InvalidRequest = "invalid_request", 400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
    /// The body is larger than `max_body_bytes`.
    BodyTooLarge = "body_too_large", 413, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT";
    /// The head is larger than its limit.
    HeaderTooLarge = "header_too_large", 431, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
    /// The body's type or encoding is not one that the route takes.
    UnsupportedMedia = "unsupported_media", 415, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
    /// No token, or one that is not (or no longer) good.
    AuthMissingOrInvalid = "auth_missing_or_invalid", 401, "authentication_error", "authentication_error", "UNAUTHENTICATED";
    /// The client's address may not use Berry.
    IpForbidden = "ip_forbidden", 403, "permission_error", "permission_error", "PERMISSION_DENIED";
    /// No such model, for this user.
    ModelNotFound = "model_not_found", 404, "invalid_request_error", "not_found_error", "NOT_FOUND";
    /// The user may not use the model.
    ModelForbidden = "model_forbidden", 403, "permission_error", "permission_error", "PERMISSION_DENIED";
    /// The user may not name a backend.
    BackendForbidden = "backend_forbidden", 403, "permission_error", "permission_error", "PERMISSION_DENIED";
    /// A rate limit of Berry's is used up.
    RateLimited = "rate_limited", 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED";
    /// A budget is used up.
    BudgetExceeded = "budget_exceeded", 429, "insufficient_quota", "billing_error", "RESOURCE_EXHAUSTED";
    /// Too many requests of this user at once.
    ConcurrencyLimited = "concurrency_limited", 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED";
    /// No backend is eligible.
    NoBackend = "no_backend", 503, "server_error", "overloaded_error", "UNAVAILABLE";
    /// No connection to a backend.
    UpstreamConnect = "upstream_connect", 502, "server_error", "api_error", "INTERNAL";
    /// A backend did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, "server_error", "timeout_error", "DEADLINE_EXCEEDED";
    /// A backend answered with an error.
    UpstreamError = "upstream_error", 502, "server_error", "api_error", "INTERNAL";
    /// A backend refused Berry's own credentials.
    UpstreamAuth = "upstream_auth", 502, "server_error", "api_error", "INTERNAL";
    /// A backend's rate limit; where it was overload and no limit, see [`Failure::overload`].
    UpstreamOverloaded = "upstream_overloaded", 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED";
    /// A backend's connection broke.
    UpstreamDisconnected = "upstream_disconnected", 502, "server_error", "api_error", "INTERNAL";
    /// A backend's answer ended before its end.
    UpstreamTruncated = "upstream_truncated", 502, "server_error", "api_error", "INTERNAL";
    /// A backend's answer was none that the protocol knows.
    UpstreamBadResponse = "upstream_bad_response", 502, "server_error", "api_error", "INTERNAL";
    /// Berry sheds load.
    Overloaded = "overloaded", 503, "server_error", "overloaded_error", "UNAVAILABLE";
    /// Berry is stopping.
    Shutdown = "shutdown", 503, "server_error", "overloaded_error", "UNAVAILABLE";
    /// The token was revoked while it was in use.
    KeyRevoked = "key_revoked", 401, "authentication_error", "authentication_error", "UNAUTHENTICATED";
    /// What must be counted cannot be.
    AccountingUnavailable = "accounting_unavailable", 503, "server_error", "overloaded_error", "UNAVAILABLE";
    /// A fault of Berry's own.
    Internal = "internal", 500, "server_error", "api_error", "INTERNAL";
    /// No such path.
    RouteNotFound = "route_not_found", 404, "invalid_request_error", "not_found_error", "NOT_FOUND";
    /// The path is known, the method is not.
    MethodNotAllowed = "method_not_allowed", 405, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
    /// An expectation other than `100-continue`.
    ExpectationFailed = "expectation_failed", 417, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT";
}

/// What a client is told when its request fails, before it is put into the client's dialect.
///
/// The message is Berry's own text: it names the thing and the remedy, and never holds an upstream's host, a key, or a library's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    message: Cow<'static, str>,
    param: Option<&'static str>,
    retry_after: Option<Duration>,
    overload: bool,
}

impl Failure {
    /// A failure with its code and message.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), param: None, retry_after: None, overload: false }
    }

    /// Names the request field at fault (OpenAI's `param`).
    pub fn param(mut self, name: &'static str) -> Self {
        self.param = Some(name);
        self
    }

    /// Says after what time another try makes sense.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says that an `upstream_overloaded` was overload and no rate limit: 503 (Anthropic 529) instead of 429.
    pub fn overload(mut self) -> Self {
        self.overload = true;
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The request field at fault, if one is.
    pub fn at_param(&self) -> Option<&'static str> {
        self.param
    }

    /// After what time another try makes sense, if that is known.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether it was overload and no rate limit.
    pub fn is_overload(&self) -> bool {
        self.overload && self.code == Code::UpstreamOverloaded
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_written_once_and_has_an_error_status() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
            assert!((400..600).contains(&code.status()), "{}", code.as_str());
        }
    }
}
