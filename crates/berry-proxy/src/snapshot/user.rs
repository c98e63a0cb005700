//! Users, found by their token. Only a keyed hash of each token is kept, looked up as a whole: neither memory nor the time that
//! a look-up takes tells anything about a token (security rule E1).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use berry_config::{RateLimit, UserToken};
use berry_policy::Quantity;
use berry_vocab::{ModelId, UserId};
use foldhash::{HashMap, HashSet};

use crate::live::{Live, UserLimit, UserLive};

/// Who may ask for what.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: UserId,
    /// Models that it may use; `None`: all.
    allowed_models: Option<HashSet<ModelId>>,
    tags: Vec<String>,
    pub(crate) is_admin: bool,
    pub(crate) may_force_backend: bool,
    expires_at: Option<i64>,
    pub(crate) limits: RateLimit,
    pub(crate) live: Arc<UserLive>,
}

/// All enabled users, by the keyed hash of their tokens.
pub(crate) struct Users {
    key: Option<hmac::Key>,
    by_token: HashMap<[u8; 32], Arc<User>>,
}

impl Users {
    pub(crate) fn new(users: &[berry_config::User], live: &Live) -> Self {
        live.forget_former_users();
        // From the system: the crypto library's own generator takes tens of milliseconds to seed, which only TLS should pay.
        let mut seed = [0; 32];
        let key = getrandom::fill(&mut seed).ok().map(|()| hmac::Key::new(HMAC_SHA256, &seed));
        let mut table = Self { key, by_token: HashMap::default() };
        for user in users.iter().filter(|user| user.enabled) {
            let sha256 = match &user.token {
                UserToken::Plain(token) => sha256(token.expose().as_bytes()),
                UserToken::Sha256(hash) => *hash,
            };
            if let Some(keyed) = table.keyed(&sha256) {
                table.by_token.insert(keyed, Arc::new(User::new(user, live)));
            }
        }
        table
    }

    /// The user of a token, unless it has expired by `unix_seconds`.
    pub(crate) fn find(&self, token: &[u8], unix_seconds: i64) -> Option<&Arc<User>> {
        let keyed = self.keyed(&sha256(token))?;
        self.by_token.get(&keyed).filter(|user| user.expires_at.is_none_or(|at| unix_seconds < at))
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<&User> {
        let mut all: Vec<&User> = self.by_token.values().map(|user| &**user).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// A process without a source of randomness has no key, and so lets nobody in.
    fn keyed(&self, sha256: &[u8; 32]) -> Option<[u8; 32]> {
        hmac::sign(self.key.as_ref()?, sha256).as_ref().try_into().ok()
    }
}

impl User {
    fn new(user: &berry_config::User, live: &Live) -> Self {
        let is_admin = user.tags.iter().any(|tag| tag == "admin");
        Self {
            id: user.id.clone(),
            allowed_models: user.allowed_models.as_ref().map(|models| models.iter().cloned().collect()),
            tags: user.tags.clone(),
            is_admin,
            may_force_backend: is_admin || user.can_force_backend,
            expires_at: user.expires_at,
            limits: user.rate_limit,
            live: live.user(&user.id),
        }
    }

    /// Whether it may use the model.
    pub(crate) fn may_use(&self, model: &ModelId) -> bool {
        self.allowed_models.as_ref().is_none_or(|allowed| allowed.contains(model))
    }

    /// Whether it is limited in this way.
    pub(crate) fn has_limit(&self, by: UserLimit) -> bool {
        match by {
            UserLimit::InATime(Quantity::Requests, window) => self.limits.requests.of(window).is_some(),
            UserLimit::InATime(Quantity::Tokens, window) => self.limits.tokens.of(window).is_some(),
            UserLimit::AtOnce => self.limits.concurrent_requests.is_some(),
        }
    }

    /// Whether its tags let it use a backend with these: without tags on either side anything goes, else one must be shared.
    pub(crate) fn may_reach(&self, backend_tags: &[String]) -> bool {
        self.tags.is_empty() || backend_tags.is_empty() || backend_tags.iter().any(|tag| self.tags.contains(tag))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or([0; 32])
}
