//! From models to providers: every name leads somewhere, and something can answer.

use std::collections::{HashMap, HashSet};

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::rule::suggestion;
use crate::table::model;

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    if tables.models.is_empty() {
        let place = tables.root.at("models");
        problems.error(
            &place,
            "no model is configured",
            "add a [models.ID] table with a backend; `berry init` writes an example",
        );
    }
    let mut seen: HashMap<String, &str> = HashMap::new();
    for table in &tables.models {
        let name = model::name(table);
        if let Some(first) = seen.get(&name) {
            let message = format!("the public name `{name}` is taken by [models.{first}]");
            problems.error(&table.at("name"), message, "give each model a `name` of its own");
        } else {
            seen.insert(name, &table.id);
        }
        backends(tables, table, problems);
        fallbacks(tables, table, problems);
    }
}

fn backends(tables: &Tables, table: &Checked, problems: &mut Problems) {
    let backends = table.tables("backends");
    if table.has("backends") && backends.is_empty() {
        let remedy = format!("add [[{}.backends]] with a provider and a model", table.place.path);
        problems.error(&table.at("backends"), format!("the model `{}` has no backends", table.id), remedy);
        return;
    }
    let mut pairs = HashSet::new();
    for backend in &backends {
        let (Some(provider), Some(model)) = (backend.text("provider"), backend.text("model")) else {
            continue;
        };
        self::provider(tables, table, backend, problems);
        if !pairs.insert((provider, model)) {
            let remedy = "keep one of them: they are one backend, with one health; raise its `weight` for more traffic";
            problems.warning(&backend.at("provider"), "this provider and model stand in the model twice", remedy);
        }
    }
    let working = tables.working_backends(table).count();
    if table.flag("enabled") && !backends.is_empty() && working == 0 {
        let message = format!("the model `{}` has no enabled backend: nothing can answer it", table.id);
        problems.warning(&table.place, message, "enable a backend and its provider, or set `enabled = false` here");
    }
    if table.has("hedge") && working == 1 {
        let message = format!("`hedge` has no effect: the model `{}` has only one enabled backend", table.id);
        problems.warning(&table.at("hedge"), message, "add another backend, or remove `hedge`");
    }
}

fn provider(tables: &Tables, table: &Checked, backend: &Checked, problems: &mut Problems) {
    let (Some(id), Some(asked)) = (backend.text("provider"), backend.text("model")) else {
        return;
    };
    let Some(provider) = tables.provider(&id) else {
        let known = tables.providers.iter().map(|provider| provider.id.as_str());
        let remedy = match suggestion(&id, known) {
            empty if empty.is_empty() => format!("add a [providers.{id}] table"),
            remedy => remedy,
        };
        problems.error(&backend.at("provider"), format!("there is no provider `{id}`"), remedy);
        return;
    };
    let served = provider.strings("models");
    // What `*` passes on is known where the public name is no pattern.
    let public = model::name(table);
    let sent = if asked == "*" { public } else { asked };
    if !served.is_empty() && !sent.contains('*') && !served.contains(&sent) {
        let remedy =
            format!("{}; or add it to providers.{id}.models", suggestion(&sent, served.iter().map(String::as_str)));
        problems.error(&backend.at("model"), format!("the provider `{id}` does not serve a model `{sent}`"), remedy);
    }
    if table.flag("enabled") && backend.flag("enabled") && !provider.flag("enabled") {
        let message = format!("this backend gets no traffic: its provider `{id}` is disabled");
        problems.warning(&backend.at("provider"), message, "enable the provider, or disable the backend too");
    }
}

fn fallbacks(tables: &Tables, table: &Checked, problems: &mut Problems) {
    for fallback in table.texts("fallbacks") {
        match tables.names.find(&fallback.value) {
            None => {
                let remedy = suggestion(&fallback.value, tables.names.public());
                problems.error(
                    &fallback.place,
                    format!("there is no model `{}` to fall back to", fallback.value),
                    remedy,
                );
            }
            Some(id) if id.as_str() == table.id => {
                problems.warning(
                    &fallback.place,
                    "the model falls back to itself",
                    "remove it: it has been tried by then",
                );
            }
            Some(id) if leads_to(tables, id.as_str(), &table.id) => {
                let message = format!("the fallbacks go round in a circle: `{}` leads back here", fallback.value);
                problems.warning(&fallback.place, message, format!("remove it here or there; {}", EACH_ONCE));
            }
            Some(_) => {}
        }
    }
}

const EACH_ONCE: &str = "each model is tried once at most";

/// Whether the fallbacks of `from` reach `to`.
fn leads_to(tables: &Tables, from: &str, to: &str) -> bool {
    let mut seen: HashSet<String> = HashSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(id) = next.pop() {
        if id == to {
            return true;
        }
        if let Some(table) = tables.models.iter().find(|model| model.id == id)
            && seen.insert(id)
        {
            next.extend(tables.names.find_all(&table.strings("fallbacks")).iter().map(|id| id.as_str().to_owned()));
        }
    }
    false
}
