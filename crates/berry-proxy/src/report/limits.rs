//! How users stand with their limits: for the admin listener and for the metrics.

use berry_policy::{Quantity, WindowStanding};
use berry_vocab::Moment;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::live::UserLimit;
use crate::metrics::Exposition;
use crate::snapshot::{Snapshot, User};

/// What each enabled user has used of each of its limits, by user; of one alone where `user_id` names it.
pub fn rate_limit_usage(gateway: &Gateway, snapshot: &Snapshot, user_id: Option<&str>) -> Vec<Value> {
    let now = gateway.clock().now();
    let asked_for = |user: &&User| user_id.is_none_or(|id| user.id.as_str() == id);
    let of_user = |user: &User| json!({"user": user.id.as_str(), "limits": usage(user, now)});
    snapshot.users.all().into_iter().filter(asked_for).map(of_user).collect()
}

fn usage(user: &User, now: Moment) -> Vec<Value> {
    let row = |by: UserLimit, allowed: u32, remaining: u32, reset: Option<f64>| {
        json!({
            "limit": by.name(),
            "allowed": allowed,
            "used": allowed.saturating_sub(remaining),
            "remaining": remaining,
            "reset_seconds": reset,
            "refused": user.live.refused(by),
        })
    };
    let in_a_time = |quantity| {
        move |standing: WindowStanding| {
            let reset = super::rounded(standing.reset.as_secs_f64());
            row(UserLimit::InATime(quantity, standing.window), standing.limit, standing.remaining, Some(reset))
        }
    };
    let at_once = user
        .limits
        .concurrent_requests
        .map(|limit| row(UserLimit::AtOnce, limit, limit.saturating_sub(user.live.slots.taken()), None));
    let requests = user.live.meter.requests.standings(&user.limits.requests, now);
    let tokens = user.live.meter.tokens.standings(&user.limits.tokens, now);
    let requests = requests.into_iter().map(in_a_time(Quantity::Requests));
    requests.chain(tokens.into_iter().map(in_a_time(Quantity::Tokens))).chain(at_once).collect()
}

/// Writes the refusals of all limits that are set.
pub(super) fn expose(snapshot: &Snapshot, out: &mut Exposition) {
    out.family("berry_rate_limited_total", "counter", "Requests that a user's limit refused.");
    for user in snapshot.users.all() {
        for by in UserLimit::ALL.into_iter().filter(|by| user.has_limit(*by)) {
            let labels = [("user", user.id.as_str()), ("limit", by.name())];
            out.sample("berry_rate_limited_total", &labels, user.live.refused(by) as f64);
        }
    }
}
