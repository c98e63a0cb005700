//! Users: each token one user, each allowed model there, and something that the user may reach.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::rule::suggestion;
use crate::table::rate_limit;

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    if tables.users.is_empty() {
        let remedy = "add a [users.ID] table with a token; `berry init` makes a random one";
        problems.error(&tables.root.at("users"), "no user is configured: nobody could ask anything", remedy);
    } else if !tables.users.iter().any(|user| user.flag("enabled")) {
        problems.warning(&tables.root.at("users"), "no user is enabled: nobody can ask anything", "enable one");
    }
    tokens(tables, problems);
    let tags_of = |model: &Checked| model.tables("backends").iter().map(|b| b.strings("tags")).collect::<Vec<_>>();
    let wanted: Vec<(&str, Vec<String>)> = tables
        .models
        .iter()
        .flat_map(|model| tags_of(model).into_iter().map(|tags| (model.id.as_str(), tags)))
        .collect();
    for user in &tables.users {
        allowed_models(tables, user, problems);
        reach(tables, &wanted, user, problems);
        expiry(user, problems);
        rate_limit::check(problems, user);
    }
}

fn tokens(tables: &Tables, problems: &mut Problems) {
    for key in ["token", "token_hash"] {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for user in &tables.users {
            let Some(token) = user.secret(key).filter(|token| !token.is_empty()) else {
                continue;
            };
            // Tokens tell upper from lower case; the digits of a hash do not.
            let text = if key == "token" { token.expose().to_owned() } else { token.expose().to_ascii_lowercase() };
            if let Some(first) = seen.get(&text) {
                let message = format!("`{key}` is the same as that of the user `{first}`");
                problems.error(&user.at(key), message, "give each user a token of its own");
            } else {
                seen.insert(text, &user.id);
            }
        }
    }
}

fn allowed_models(tables: &Tables, user: &Checked, problems: &mut Problems) {
    for allowed in user.texts("allowed_models") {
        if tables.names.find(&allowed.value).is_none() {
            let all = if allowed.value == "*" { "leave the list empty for all models; " } else { "" };
            let remedy = format!("{all}{}", suggestion(&allowed.value, tables.names.public()));
            problems.error(&allowed.place, format!("there is no model `{}`", allowed.value), remedy);
        }
    }
}

/// Warns where the user's tags leave none of the backends of its models. `wanted` are the tags of each backend, by model.
fn reach(tables: &Tables, wanted: &[(&str, Vec<String>)], user: &Checked, problems: &mut Problems) {
    let tags = user.strings("tags");
    if tags.is_empty() || !user.flag("enabled") {
        return;
    }
    let allowed = tables.names.find_all(&user.strings("allowed_models"));
    let mine = |model: &str| allowed.is_empty() || allowed.iter().any(|id| id.as_str() == model);
    let open = |wanted: &[String]| wanted.is_empty() || wanted.iter().any(|tag| tags.contains(tag));
    let mut backends = wanted.iter().filter(|(model, _)| mine(model)).peekable();
    if backends.peek().is_some() && !backends.any(|(_, wanted)| open(wanted)) {
        let message = format!("the tags of `{}` leave it no backend at all", user.id);
        let remedy = "give it a tag that its backends have, or no tags to let it use all";
        problems.warning(&user.at("tags"), message, remedy);
    }
}

fn expiry(user: &Checked, problems: &mut Problems) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    if user.instant("expires_at").is_some_and(|end| i128::from(end) < i128::from(now)) {
        let message = format!("the token of `{}` has expired", user.id);
        problems.warning(&user.at("expires_at"), message, "write a later date, or remove the user");
    }
}
