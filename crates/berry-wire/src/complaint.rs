//! What a backend says went wrong, read from its status and from the stable fields of its error object; never from prose.

/// What a backend complains of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Complaint {
    /// The client's own request is at fault: no backend would take it.
    Client,
    /// The backend does not know the model (or the path).
    Model,
    /// The key is refused.
    Auth,
    /// The account has nothing left to spend: the key is of no use until somebody pays.
    Quota,
    /// The account's rate limit.
    RateLimit,
    /// The backend is overloaded, whoever asks.
    Overloaded,
    /// The backend gave the request up.
    Timeout,
    /// A fault of the backend's own.
    Server,
}
