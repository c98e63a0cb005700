//! The one table of what can come of an attempt that brings no answer, and what it means: for this request (may the same backend
//! be asked again), for the backend (breaker, confidence, cooldown, the key) and for the client (code). Faults are made from
//! values and types; no text of Berry's or its libraries' is read anywhere to tell one from another.

use std::time::Duration;

use berry_policy::{Cooling, FailureKind, OutcomeClass};
use berry_vocab::Code;
use berry_wire::{Complaint, Operation, PlainFault};

use crate::upstream::SendFault;

/// How long a backend is left alone after a rate limit that names no time.
const UNNAMED_COOLDOWN: Duration = Duration::from_secs(1);

/// What came of an attempt that brought no answer. The letters are the failure model's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// No connection: refused, unreachable, DNS, TLS, not in time (U1).
    Unreachable,
    /// The same, of a connection that another request was opening for this one too: that one counts it (U1).
    NoShare,
    /// The connection ended before a head had come (U3, on a fresh one).
    Broken,
    /// What came is none of the protocol's answers: no HTTP, a page, nothing, 204, a redirect (U14, U16, U17).
    Garbled,
    /// The connection ended, or broke, within an answer that nobody has seen yet (U12).
    Cut,
    /// Nothing meaningful came in time, or it stopped coming (U2, U13).
    Silent,
    /// The request's own time was over first: that says nothing about the backend.
    OutOfTime,
    /// A 503 that says when to come again: a failure, and a wait (U4).
    Busy,
    /// The backend refused a request that refers to what another account may hold (R7): another may take it.
    Elsewhere,
    /// No stream, where the client has been promised one already: another backend may have one.
    NoStream,
    /// The backend said what is wrong (U4 to U9).
    Told(Complaint),
}

/// What a fault means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// For the metrics and the confidence; `None`: the attempt counts as given up.
    pub(crate) class: Option<OutcomeClass>,
    /// For the breaker.
    pub(crate) failure: Option<FailureKind>,
    /// For the key that it was asked with.
    pub(crate) key: KeyEffect,
    /// How the same backend may do better for this request.
    pub(crate) again: Again,
    /// What the client is told when nothing better comes.
    pub(crate) code: Code,
    /// Whether that is overload and no rate limit.
    pub(crate) overload: bool,
    pub(crate) message: &'static str,
}

/// How a backend that failed may do better for the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Not,
    /// A moment later.
    Later,
    /// With another key, at once: it was this one's account that failed.
    WithAnotherKey,
    /// With another key at once, or with the same one later.
    Either,
}

/// What a fault does to the key that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyEffect {
    Nothing,
    /// The key and model are left alone for a time.
    CoolsDown,
    /// The key is put aside for all models; where it is the last one, the backend has failed hard.
    IsPutAside,
}

impl Meaning {
    /// After what and for how long the key cools down, if it does; `wait` is what the backend asked for.
    pub(crate) fn cooldown(&self, wait: Option<Duration>) -> Option<(Cooling, Duration)> {
        let why = if self.overload { Cooling::Overload } else { Cooling::RateLimit };
        (self.key == KeyEffect::CoolsDown).then(|| (why, wait.unwrap_or(UNNAMED_COOLDOWN)))
    }
}

impl Again {
    /// Whether another key of the same backend is as good as another backend.
    pub(crate) fn helps_another_key(self) -> bool {
        matches!(self, Again::WithAnotherKey | Again::Either)
    }
}

impl From<SendFault> for Fault {
    fn from(fault: SendFault) -> Self {
        match fault {
            SendFault::Connect(_) => Fault::Unreachable,
            SendFault::NoShare => Fault::NoShare,
            SendFault::Refused => Fault::Busy,
            SendFault::Disconnected => Fault::Broken,
            SendFault::Malformed => Fault::Garbled,
        }
    }
}

impl Fault {
    /// The table.
    #[rustfmt::skip]
    pub(crate) fn meaning(self) -> Meaning {
        use Again::{Either, Later, Not, WithAnotherKey};
        use Complaint::{Auth, Client, Model, Overloaded, Quota, RateLimit, Server, Timeout};
        use FailureKind::{Hard, Soft};
        use KeyEffect::{CoolsDown, IsPutAside, Nothing};
        use OutcomeClass as Class;
        let row = |class, failure, key, again, code, message| Meaning { class, failure, key, again, code, overload: false, message };
        match self {
            //                        confidence                  breaker     key         again           the client's code
            Fault::Unreachable     => row(Some(Class::NetworkError), Some(Hard), Nothing,    Later,          Code::UpstreamConnect,      "no connection to the backend"),
            Fault::NoShare         => row(None,                      None,       Nothing,    Later,          Code::UpstreamConnect,      "no connection to the backend"),
            Fault::Broken          => row(Some(Class::NetworkError), Some(Hard), Nothing,    Later,          Code::UpstreamDisconnected, "the backend closed the connection before it answered"),
            Fault::Garbled         => row(Some(Class::ServerError),  Some(Soft), Nothing,    Later,          Code::UpstreamBadResponse,  "the backend's answer was none that the protocol knows"),
            Fault::Cut             => row(Some(Class::ServerError),  Some(Soft), Nothing,    Later,          Code::UpstreamTruncated,    "the backend's answer ended before its end"),
            Fault::Silent          => row(Some(Class::Timeout),      Some(Soft), Nothing,    Later,          Code::UpstreamTimeout,      "the backend did not answer in time"),
            Fault::OutOfTime       => row(None,                      None,       Nothing,    Not,            Code::UpstreamTimeout,      "no backend answered within the request's deadline"),
            Fault::Busy            => Meaning { overload: true,
                                   ..row(Some(Class::ServerError),  Some(Soft), CoolsDown,  Later,          Code::UpstreamOverloaded,   "the backend is not available for now") },
            Fault::Elsewhere       => row(Some(Class::ClientError),  None,       Nothing,    WithAnotherKey, Code::UpstreamAuth,         "the backend refused a request that refers to what it may not have made"),
            Fault::NoStream        => row(Some(Class::ModelError),   None,       Nothing,    Not,            Code::UpstreamBadResponse,  "the backend answered with no stream, although one was asked for"),
            Fault::Told(Server)    => row(Some(Class::ServerError),  Some(Soft), Nothing,    Later,          Code::UpstreamError,        "the backend answered with an error of its own"),
            Fault::Told(Timeout)   => row(Some(Class::Timeout),      Some(Soft), Nothing,    Later,          Code::UpstreamTimeout,      "the backend gave the request up"),
            Fault::Told(RateLimit) => row(Some(Class::RateLimit),    None,       CoolsDown,  Either,         Code::UpstreamOverloaded,   "the backend's rate limit is used up"),
            Fault::Told(Overloaded)=> Meaning { overload: true,
                                   ..row(Some(Class::RateLimit),    None,       CoolsDown,  Later,          Code::UpstreamOverloaded,   "the backend is overloaded") },
            Fault::Told(Auth)      => row(Some(Class::AuthError),    None,       IsPutAside, WithAnotherKey, Code::UpstreamAuth,         "the backend refused the credentials that Berry has for it"),
            Fault::Told(Quota)     => row(Some(Class::AuthError),    None,       IsPutAside, WithAnotherKey, Code::UpstreamAuth,         "the account that Berry has at the backend has nothing left to spend"),
            Fault::Told(Model)     => row(Some(Class::ModelError),   None,       Nothing,    Not,            Code::UpstreamError,        "the backend does not serve the model, or not in this way"),
            Fault::Told(Client)    => row(Some(Class::ClientError),  None,       Nothing,    Not,            Code::InvalidRequest,       "the backend refused the request as it was asked"),
        }
    }

    /// What is wrong with a whole plain answer that has a good status, if anything is.
    pub(crate) fn of_plain(operation: Operation, body: &[u8]) -> Option<Self> {
        berry_wire::plain_fault(operation, body).map(|fault| match fault {
            PlainFault::Garbled => Fault::Garbled,
            PlainFault::Told(complaint) => Fault::within_success(complaint),
        })
    }

    /// What is told where success was announced is no client's answer, whoever it blames (U9): another backend may have one.
    /// Where it blames the client it is no failure all the same, or prompts that are refused so would take a backend out.
    pub(crate) fn within_success(complaint: Complaint) -> Self {
        Fault::Told(if complaint == Complaint::Client { Complaint::Model } else { complaint })
    }

    /// Whether the fault is the client's own, so that no backend could do better: its answer is the answer.
    pub(crate) fn is_final(self) -> bool {
        self == Fault::Told(Complaint::Client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Again::{Either, Later, Not, WithAnotherKey};
    use Complaint::{Auth, Client, Model, Overloaded, Quota, RateLimit, Server, Timeout};
    use FailureKind::{Hard, Soft};
    use Fault::Told;
    use KeyEffect::{CoolsDown, IsPutAside, Nothing};
    use OutcomeClass as Class;

    /// Fault, what it counts as, for the breaker, for the key, how the same backend may do better, code, and whether it is
    /// overload.
    type Cells = (Fault, Option<Class>, Option<FailureKind>, KeyEffect, Again, &'static str, bool);

    #[rustfmt::skip]
    const MEANINGS: [Cells; 18] = [
        (Fault::Unreachable, Some(Class::NetworkError), Some(Hard), Nothing,    Later,          "upstream_connect",      false),
        (Fault::NoShare,     None,                      None,       Nothing,    Later,          "upstream_connect",      false),
        (Fault::Broken,      Some(Class::NetworkError), Some(Hard), Nothing,    Later,          "upstream_disconnected", false),
        (Fault::Garbled,     Some(Class::ServerError),  Some(Soft), Nothing,    Later,          "upstream_bad_response", false),
        (Fault::Cut,         Some(Class::ServerError),  Some(Soft), Nothing,    Later,          "upstream_truncated",    false),
        (Fault::Silent,      Some(Class::Timeout),      Some(Soft), Nothing,    Later,          "upstream_timeout",      false),
        (Fault::OutOfTime,   None,                      None,       Nothing,    Not,            "upstream_timeout",      false),
        (Fault::Busy,        Some(Class::ServerError),  Some(Soft), CoolsDown,  Later,          "upstream_overloaded",   true),
        (Fault::Elsewhere,   Some(Class::ClientError),  None,       Nothing,    WithAnotherKey, "upstream_auth",         false),
        (Fault::NoStream,    Some(Class::ModelError),   None,       Nothing,    Not,            "upstream_bad_response", false),
        (Told(Server),       Some(Class::ServerError),  Some(Soft), Nothing,    Later,          "upstream_error",        false),
        (Told(Timeout),      Some(Class::Timeout),      Some(Soft), Nothing,    Later,          "upstream_timeout",      false),
        (Told(RateLimit),    Some(Class::RateLimit),    None,       CoolsDown,  Either,         "upstream_overloaded",   false),
        (Told(Overloaded),   Some(Class::RateLimit),    None,       CoolsDown,  Later,          "upstream_overloaded",   true),
        (Told(Auth),         Some(Class::AuthError),    None,       IsPutAside, WithAnotherKey, "upstream_auth",         false),
        (Told(Quota),        Some(Class::AuthError),    None,       IsPutAside, WithAnotherKey, "upstream_auth",         false),
        (Told(Model),        Some(Class::ModelError),   None,       Nothing,    Not,            "upstream_error",        false),
        (Told(Client),       Some(Class::ClientError),  None,       Nothing,    Not,            "invalid_request",       false),
    ];

    #[test]
    fn each_fault_means_what_the_failure_model_says_for_client_backend_and_key() {
        for (fault, class, failure, key, again, code, overload) in MEANINGS {
            let meaning = fault.meaning();
            assert_eq!((meaning.class, meaning.failure), (class, failure), "{fault:?}");
            assert_eq!((meaning.key, meaning.again), (key, again), "{fault:?}");
            assert_eq!((meaning.code.as_str(), meaning.overload), (code, overload), "{fault:?}");
        }
    }

    #[test]
    fn only_the_clients_own_fault_is_the_last_word() {
        for (fault, ..) in MEANINGS {
            assert_eq!(fault.is_final(), fault == Told(Client), "{fault:?}");
        }
    }

    /// The breaker counts failures of the backend, not of its account, of the client or of Berry's own patience; what tells
    /// nothing about the backend is no outcome either.
    #[test]
    fn a_rate_limit_a_refused_key_and_a_bad_request_are_no_failures_of_the_backend() {
        for (fault, class, ..) in MEANINGS {
            let is_its_own = matches!(class, Some(Class::NetworkError | Class::ServerError | Class::Timeout));
            assert_eq!(fault.meaning().failure.is_some(), is_its_own, "{fault:?}");
        }
    }

    #[test]
    fn messages_name_no_host_and_end_without_a_full_stop() {
        for (fault, ..) in MEANINGS {
            let message = fault.meaning().message;
            assert!(message.starts_with(char::is_lowercase) && !message.ends_with('.'), "{fault:?}: {message}");
        }
    }
}
