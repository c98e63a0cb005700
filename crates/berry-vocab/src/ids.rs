//! Identifiers. Each is its own type, so that a provider's id cannot be passed where a model's is meant.

use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the id as written in the configuration.
            pub fn new(id: &str) -> Self {
                Self(id.into())
            }

            /// The id as written in the configuration.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// The key of a `[providers.ID]` table.
    ProviderId
);
id!(
    /// The key of a `[models.ID]` table (not the public model name).
    ModelId
);
id!(
    /// The key of a `[users.ID]` table.
    UserId
);

/// What identifies a backend across reloads: live numbers (health, latency, counters) are kept by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendKey {
    /// The provider that is called.
    pub provider: ProviderId,
    /// The model name that the provider is asked for; `*` where the asked name is passed on.
    pub model: Arc<str>,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}
