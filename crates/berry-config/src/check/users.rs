//! Users: each token one user, each allowed model there, something that each user may reach, and somebody for each model.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use berry_vocab::ModelId;

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::rule::suggestion;

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
    }
    callers(tables, problems);
}

/// Warns of models that no user may call, for lack of a name in a list or of a tag.
fn callers(tables: &Tables, problems: &mut Problems) {
    let users: Vec<(Vec<ModelId>, Vec<String>)> = tables
        .users
        .iter()
        .filter(|user| user.flag("enabled") && !has_expired(user))
        .map(|user| (tables.names.find_all(&user.strings("allowed_models")), user.strings("tags")))
        .collect();
    if users.is_empty() {
        return;
    }
    for model in tables.models.iter().filter(|model| model.flag("enabled")) {
        let wanted: Vec<Vec<String>> = tables.working_backends(model).map(|backend| backend.strings("tags")).collect();
        let is_named = |allowed: &[ModelId]| allowed.is_empty() || allowed.iter().any(|id| id.as_str() == model.id);
        let named: Vec<_> = users.iter().filter(|(allowed, _)| is_named(allowed)).collect();
        let mut tags = named.iter().flat_map(|(_, tags)| wanted.iter().map(move |wanted| (wanted, tags)));
        let (why, remedy) = if named.is_empty() {
            let remedy = "add it to somebody's `allowed_models`, remove it, or set `enabled = false`";
            ("it is in nobody's `allowed_models`", remedy)
        // Where the only user is shut out, that has been said of the user.
        } else if users.len() > 1 && !wanted.is_empty() && !tags.any(|(wanted, tags)| open(wanted, tags)) {
            ("no user that may name it has a tag of its backends", "give one of them such a tag")
        } else {
            continue;
        };
        problems.warning(&model.place, format!("no user may call the model `{}`: {why}", model.id), remedy);
    }
}

/// Whether a backend with these tags may be used by a user with those.
fn open(wanted: &[String], tags: &[String]) -> bool {
    tags.is_empty() || wanted.is_empty() || wanted.iter().any(|tag| tags.contains(tag))
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
    let mut backends = wanted.iter().filter(|(model, _)| mine(model)).peekable();
    if backends.peek().is_some() && !backends.any(|(_, wanted)| open(wanted, &tags)) {
        let message = format!("the tags of `{}` leave it no backend at all", user.id);
        let remedy = "give it a tag that its backends have, or no tags to let it use all";
        problems.warning(&user.at("tags"), message, remedy);
    }
}

fn expiry(user: &Checked, problems: &mut Problems) {
    if has_expired(user) {
        let message = format!("the token of `{}` has expired", user.id);
        problems.warning(&user.at("expires_at"), message, "write a later date, or remove the user");
    }
}

fn has_expired(user: &Checked) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    user.instant("expires_at").is_some_and(|end| i128::from(end) < i128::from(now))
}
