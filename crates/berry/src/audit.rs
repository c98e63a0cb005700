//! The audit log of the running gateway: the data plane's port to it, and what of a configuration is worth a record.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use berry_config::{Config, User, UserToken};
use berry_proxy::net::SystemClock;
use berry_proxy::ports::{Audit, AuditStanding, Clock, Ended, KeyRefused, Occasion};
use berry_proxy::{Gateway, Reload};
use berry_store::DataDirectory;
use berry_store::audit::{Actor, AuditLog, Event, Keeper, NotRecorded, Who};
use berry_vocab::{Code, ProviderId, Secret, UserId};
use tokio::task::spawn_blocking;

use crate::outcome::Failure;
use crate::reload::Cause;

/// Accounts for what the data plane notes.
struct Accountant(Arc<AuditLog>);

/// Who may come in by a configuration, and what Berry proves itself with at its providers.
pub(crate) struct Credentials {
    users: Vec<Credential>,
    keys: Vec<(ProviderId, Vec<Secret>)>,
}

/// Of one user.
struct Credential {
    id: UserId,
    enabled: bool,
    is_admin: bool,
    token: UserToken,
    expires_at: Option<i64>,
}

/// Something that a change of the configuration does, beside that it is one.
pub(crate) struct Effect {
    action: &'static str,
    resource: String,
    result: &'static str,
}

/// Opens the log of a data directory, and has the gateway account for its requests there.
pub(crate) fn open(data: &Arc<DataDirectory>, gateway: &Arc<Gateway>) -> Result<(Arc<AuditLog>, Keeper), Failure> {
    let of_gateway = gateway.clone();
    let clock = Arc::new(move || of_gateway.clock().unix_millis());
    let opened = AuditLog::start(data, clock).map_err(|error| {
        let message =
            format!("the audit log in the data directory {} cannot be opened: {error}", data.path().display());
        Failure::new(message, "let the user that runs Berry write to all that is in it, and make room on its disk")
    });
    let (log, keeper) = opened?;
    gateway.account_to(Arc::new(Accountant(log.clone())));
    let started = event(gateway, Actor::Berry.into(), "config.start", generation(gateway.generation()), "applied");
    log.note(started);
    Ok((log, keeper))
}

/// Records that a gateway did not start, as its configuration does not hold: where one has run before, and none is running now.
pub(crate) fn note_bad_start(data: &Path) {
    if !data.join("audit").is_dir() {
        return;
    }
    let Ok(data) = DataDirectory::open(data) else { return };
    let system = SystemClock::new();
    let clock = Arc::new(move || system.unix_millis());
    let Ok((log, _keeper)) = AuditLog::start(&Arc::new(data), clock.clone()) else { return };
    let (who, resource) = (Actor::Berry.into(), generation(0));
    let (action, result) = ("config.start".into(), Reload::Invalid.as_str().into());
    let _ = log.record(Event { unix_millis: clock(), who, action, resource, result, diff: None });
}

/// Records what came of reading the configuration again, and whom it shuts out and which keys it replaces; where nothing came of
/// it, what would have changed.
pub(crate) async fn record_reload(
    log: &Arc<AuditLog>,
    gateway: &Gateway,
    cause: &Cause,
    (reload, diff): (Reload, Option<String>),
    effects: Vec<Effect>,
) -> Result<(), NotRecorded> {
    let in_force = gateway.generation() + u64::from(reload == Reload::Applied);
    let by = &cause.by;
    let main = event(gateway, by.clone(), cause.action(), generation(in_force), reload.as_str());
    let main = Event { diff, ..main };
    let of = |effect: Effect| event(gateway, by.clone(), effect.action, effect.resource, effect.result);
    let with = effects.into_iter().map(of).collect();
    let log = log.clone();
    let recorded = spawn_blocking(move || log.record_with(main, with)).await;
    recorded.unwrap_or_else(|_| Err(NotRecorded::for_want_of("a fault of Berry's own; its log says where")))
}

/// Notes that going back to a generation came to nothing, whatever had been recorded of it before.
pub(crate) fn note_undone(log: &AuditLog, gateway: &Gateway, cause: &Cause, to: u64) {
    log.note(event(gateway, cause.by.clone(), cause.action(), format!("to {}", generation(to)), "not done"));
}

fn generation(number: u64) -> String {
    format!("generation:{number}")
}

fn event(gateway: &Gateway, who: Who, action: &'static str, resource: String, result: &'static str) -> Event {
    let unix_millis = gateway.clock().unix_millis();
    Event { unix_millis, who, action: action.into(), resource, result: result.into(), diff: None }
}

// === impl Accountant ===

impl Audit for Accountant {
    fn note(&self, ended: &Ended<'_>) {
        match ended.occasion {
            Occasion::Refused(code) => self.0.note_refusal(code, ended.unix_millis, || of(ended, "refuse")),
            Occasion::Forced => self.0.note(of(ended, "backend.force")),
            Occasion::Asked => self.0.note(of(ended, "request")),
        }
    }

    fn note_key_refused(&self, refused: &KeyRefused<'_>) {
        let KeyRefused { provider, key, is_put_aside, unix_millis, request_id } = *refused;
        // Bounded as refusals are: the last key of a provider may be refused with every request.
        self.0.note_refusal(Code::UpstreamAuth, unix_millis, || Event {
            unix_millis,
            who: Who { request_id: Some(request_id.to_owned()), ..Actor::Berry.into() },
            action: "provider.key_refused".into(),
            resource: format!("provider:{provider} key:{key}"),
            result: if is_put_aside { "put aside" } else { "the last one" }.into(),
            diff: None,
        });
    }

    fn standing(&self) -> AuditStanding {
        let standing = self.0.standing();
        AuditStanding {
            failing: standing.failing.map(|failing| failing.reason),
            records: standing.records,
            lost: standing.lost,
        }
    }
}

fn of(ended: &Ended<'_>, action: &'static str) -> Event {
    let mut resource = ended.route.to_owned();
    for (kind, name) in [("model", ended.model), ("backend", ended.backend)] {
        if let Some(name) = name {
            resource.push_str(&format!(" {kind}:{name}"));
        }
    }
    let who = Who {
        actor: ended.user.map_or(Actor::Unknown, |user| Actor::User(user.to_string())),
        ip: ended.ip,
        request_id: Some(ended.request_id.to_owned()),
    };
    Event {
        unix_millis: ended.unix_millis,
        who,
        action: action.into(),
        resource,
        result: ended.outcome.into(),
        diff: None,
    }
}

// === impl Credentials ===

impl Credentials {
    pub(crate) fn of(config: &Config) -> Self {
        let of = |user: &User| Credential {
            id: user.id.clone(),
            enabled: user.enabled,
            is_admin: user.tags.iter().any(|tag| tag == "admin"),
            token: user.token.clone(),
            expires_at: user.expires_at,
        };
        Self {
            users: config.users.iter().map(of).collect(),
            keys: config.providers.iter().map(|provider| (provider.id.clone(), provider.api_keys.clone())).collect(),
        }
    }

    /// The users who may change things.
    pub(crate) fn admins(&self) -> impl Iterator<Item = &UserId> {
        self.users.iter().filter(|user| user.enabled && user.is_admin).map(|user| &user.id)
    }

    /// What `new` does to these: users that it shuts out, and how; providers whose keys it replaces.
    pub(crate) fn replaced_by(&self, new: &Self) -> Vec<Effect> {
        let by_id: HashMap<&UserId, &Credential> = new.users.iter().map(|user| (&user.id, user)).collect();
        let how = |old: &Credential| match by_id.get(&old.id) {
            None => Some("removed"),
            Some(new) if !new.enabled => Some("disabled"),
            Some(new) if new.token != old.token => Some("token replaced"),
            Some(new) if new.expires_at.unwrap_or(i64::MAX) < old.expires_at.unwrap_or(i64::MAX) => {
                Some("expires sooner")
            }
            Some(new) if old.is_admin && !new.is_admin => Some("no admin any more"),
            Some(_) => None,
        };
        let enabled = self.users.iter().filter(|user| user.enabled);
        let revoked = enabled.filter_map(|user| {
            Some(Effect { action: "user.revoke", resource: format!("user:{}", user.id), result: how(user)? })
        });
        let keys: HashMap<&ProviderId, &Vec<Secret>> = new.keys.iter().map(|(id, keys)| (id, keys)).collect();
        let rotated =
            self.keys.iter().filter(|(id, old)| keys.get(id).is_some_and(|new| *new != old)).map(|(id, _)| Effect {
                action: "provider.rotate",
                resource: format!("provider:{id}"),
                result: "keys replaced",
            });
        revoked.chain(rotated).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn credentials(text: &str) -> Credentials {
        let rest = "[providers.p]\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key = \"sk-one-0123456789\"\n\
                    [models.m]\nbackends = [{ provider = \"p\", model = \"m\" }]\n";
        let loaded = berry_config::load(&format!("{rest}{text}"), Path::new("/nowhere/config.toml"));
        assert_eq!(loaded.errors().map(|problem| &problem.message).collect::<Vec<_>>(), [""; 0]);
        Credentials::of(&loaded.config.unwrap())
    }

    fn user(id: &str, more: &str) -> String {
        format!("[users.{id}]\ntoken = \"a-long-token-of-{id}-0123456789\"\n{more}")
    }

    #[test]
    fn who_is_removed_or_disabled_or_has_another_token_is_shut_out() {
        let all = ["a", "b", "c", "d"].map(|id| user(id, "")).concat() + &user("e", "enabled = false\n");
        let all = all + &user("g", "tags = [\"admin\"]\n") + &user("h", "");
        let new = user("a", "name = \"A\"\n")
            + &user("b", "enabled = false\n")
            + &user("c", "").replace("0123", "9876")
            + &user("f", "")
            + &user("g", "")
            + &user("h", "expires_at = 2030-01-01T00:00:00Z\n");
        let effects = credentials(&all).replaced_by(&credentials(&new));
        let told: Vec<(&str, &str)> = effects.iter().map(|it| (it.resource.as_str(), it.result)).collect();
        let expected = [
            ("user:b", "disabled"),
            ("user:c", "token replaced"),
            ("user:d", "removed"),
            ("user:g", "no admin any more"),
            ("user:h", "expires sooner"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn keys_that_are_replaced_are_told_by_their_provider_and_no_more() {
        let old = credentials(&user("a", ""));
        let mut new = credentials(&user("a", ""));
        new.keys[0].1.push(Secret::new("sk-two-0123456789".to_owned()));
        let told: Vec<(&str, String)> = old.replaced_by(&new).into_iter().map(|it| (it.action, it.resource)).collect();
        assert_eq!(told, [("provider.rotate", "provider:p".to_owned())]);
        assert!(new.replaced_by(&new).is_empty());
    }

    #[test]
    fn admins_are_those_who_are_enabled_and_tagged() {
        let all =
            user("a", "tags = [\"admin\"]\n") + &user("b", "") + &user("c", "tags = [\"admin\"]\nenabled = false\n");
        assert_eq!(credentials(&all).admins().map(UserId::as_str).collect::<Vec<_>>(), ["a"]);
    }
}
