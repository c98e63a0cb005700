//! The audit log of the running gateway: the data plane's port to it, and what of a configuration is worth a record.

use std::sync::Arc;

use berry_config::{Config, User, UserToken};
use berry_proxy::ports::{Audit, AuditStanding, Ended, Occasion};
use berry_proxy::{Gateway, Reload};
use berry_store::DataDirectory;
use berry_store::audit::{Actor, AuditLog, Event, Keeper, NotRecorded, Who};
use berry_vocab::UserId;
use tokio::task::spawn_blocking;

use crate::outcome::Failure;
use crate::reload::Cause;

/// Accounts for what the data plane notes.
struct Accountant(Arc<AuditLog>);

/// The users that a configuration lets in, with what they prove themselves with.
pub(crate) struct Users(Vec<(UserId, bool, UserToken)>);

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

/// Records what came of reading the configuration again, and whom it shuts out.
pub(crate) async fn record_reload(
    log: &Arc<AuditLog>,
    gateway: &Gateway,
    cause: &Cause,
    reload: Reload,
    revoked: Vec<(UserId, &'static str)>,
) -> Result<(), NotRecorded> {
    let in_force = gateway.generation() + u64::from(reload == Reload::Applied);
    let by = &cause.by;
    let main = event(gateway, by.clone(), cause.action(), generation(in_force), reload.as_str());
    let revocation =
        |(user, how): (UserId, &'static str)| event(gateway, by.clone(), "user.revoke", format!("user:{user}"), how);
    let with = revoked.into_iter().map(revocation).collect();
    let log = log.clone();
    let recorded = spawn_blocking(move || log.record_with(main, with)).await;
    recorded.unwrap_or_else(|_| Err(NotRecorded::for_want_of("a fault of Berry's own; its log says where")))
}

fn generation(number: u64) -> String {
    format!("generation:{number}")
}

fn event(gateway: &Gateway, who: Who, action: &'static str, resource: String, result: &'static str) -> Event {
    Event { unix_millis: gateway.clock().unix_millis(), who, action: action.into(), resource, result: result.into() }
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
    Event { unix_millis: ended.unix_millis, who, action: action.into(), resource, result: ended.outcome.into() }
}

// === impl Users ===

impl Users {
    pub(crate) fn of(config: &Config) -> Self {
        let of = |user: &User| (user.id.clone(), user.enabled, user.token.clone());
        Self(config.users.iter().map(of).collect())
    }

    /// Whom `new` shuts out of these, and how.
    pub(crate) fn revoked_by(&self, new: &Self) -> Vec<(UserId, &'static str)> {
        let by_id: std::collections::HashMap<_, _> =
            new.0.iter().map(|(id, enabled, token)| (id, (*enabled, token))).collect();
        let how = |token: &UserToken, id: &UserId| match by_id.get(id) {
            None => Some("removed"),
            Some((false, _)) => Some("disabled"),
            Some((true, new)) if *new != token => Some("token replaced"),
            Some((true, _)) => None,
        };
        let enabled = self.0.iter().filter(|(_, enabled, _)| *enabled);
        enabled.filter_map(|(id, _, token)| Some((id.clone(), how(token, id)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn users(text: &str) -> Users {
        let rest = "[providers.p]\nbase_url = \"http://127.0.0.1:9/v1\"\n\
                    [models.m]\nbackends = [{ provider = \"p\", model = \"m\" }]\n";
        let loaded = berry_config::load(&format!("{rest}{text}"), Path::new("/nowhere/config.toml"));
        assert_eq!(loaded.errors().map(|problem| &problem.message).collect::<Vec<_>>(), [""; 0]);
        Users::of(&loaded.config.unwrap())
    }

    #[test]
    fn who_is_removed_or_disabled_or_has_another_token_is_shut_out() {
        let user = |id: &str, more: &str| format!("[users.{id}]\ntoken = \"a-long-token-of-{id}-0123456789\"\n{more}");
        let all = ["a", "b", "c", "d"].map(|id| user(id, "")).concat() + &user("e", "enabled = false\n");
        let new = user("a", "name = \"A\"\n")
            + &user("b", "enabled = false\n")
            + &user("c", "").replace("0123", "9876")
            + &user("f", "");
        let revoked = users(&all).revoked_by(&users(&new));
        let told: Vec<(&str, &str)> = revoked.iter().map(|(id, how)| (id.as_str(), *how)).collect();
        assert_eq!(told, [("b", "disabled"), ("c", "token replaced"), ("d", "removed")]);
    }
}
