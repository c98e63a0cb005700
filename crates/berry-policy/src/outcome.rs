//! What one attempt at a backend says about that backend. The class is decided once, from values, by whoever made the attempt;
//! breaker and confidence only read it.

/// How a failure counts for the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The backend cannot be there: refused, reset, DNS, TLS, or its last key refused.
    Hard,
    /// The backend is there and fails: 5xx, time-out, truncated or bad answer.
    Soft,
}

/// The class of an attempt's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeClass {
    /// A whole answer.
    Success,
    /// No connection, or it broke before an answer began.
    NetworkError,
    /// A key was refused (401, 402, 403). The key is put aside, not the backend; when it was the last one, the caller
    /// records a [`FailureKind::Hard`] beside this.
    AuthError,
    /// A rate limit or overload (429, 529): the key cools down, which is no failure.
    RateLimit,
    /// 5xx, or an answer that was truncated or bad.
    ServerError,
    /// "No such model" (404 on a route that names one): the mapping is wrong, not the backend's health.
    ModelError,
    /// No answer in time.
    Timeout,
    /// The client's own mistake (400, 404, 413, 422): counts against nobody.
    ClientError,
}

impl OutcomeClass {
    /// How the outcome counts for the breaker, if it counts there at all.
    pub fn failure_kind(self) -> Option<FailureKind> {
        match self {
            Self::NetworkError => Some(FailureKind::Hard),
            Self::ServerError | Self::Timeout => Some(FailureKind::Soft),
            Self::Success | Self::AuthError | Self::RateLimit | Self::ModelError | Self::ClientError => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_backend_itself_did_wrong_counts_for_the_breaker() {
        use OutcomeClass::*;
        assert_eq!(NetworkError.failure_kind(), Some(FailureKind::Hard));
        assert!([ServerError, Timeout].iter().all(|o| o.failure_kind() == Some(FailureKind::Soft)));
        assert!([Success, AuthError, RateLimit, ModelError, ClientError].iter().all(|o| o.failure_kind().is_none()));
    }
}
