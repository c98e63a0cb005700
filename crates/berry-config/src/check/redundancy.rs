//! What stands between a model and silence. A file with one provider and one model is as it should be, so that this only speaks
//! where the file shows that more was meant: a strategy that fails over with nothing to fail over to, or one model that lacks
//! what most of the others have.

use std::collections::HashSet;

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::table::provider;

/// Strategies whose name says that another backend is there.
const FAILING_OVER: [&str; 3] = ["failover", "weighted_failover", "smart_weighted_failover"];

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    let enabled: Vec<&Checked> = tables.models.iter().filter(|model| model.flag("enabled")).collect();
    let stood_in_for: HashSet<String> = enabled
        .iter()
        .flat_map(|model| tables.names.find_all(&model.strings("fallbacks")))
        .map(|id| id.as_str().to_owned())
        .collect();
    let is_safe = |model: &Checked| hosts(tables, model).len() > 1 || has_fallback(tables, model);
    // The last in a row of fallbacks has none; of the others two make a habit.
    let first: Vec<&&Checked> = enabled.iter().filter(|model| !stood_in_for.contains(&model.id)).collect();
    let safe = first.iter().filter(|model| is_safe(model)).count();
    let is_habit = safe >= 2 && safe * 2 > first.len();
    for model in enabled.iter().filter(|model| !is_safe(model)) {
        let hosts = hosts(tables, model);
        let Some(host) = hosts.iter().next() else { continue };
        let strategy = model.text("strategy").filter(|name| FAILING_OVER.contains(&name.as_str()));
        let is_single = tables.working_backends(model).count() == 1;
        let remedy = "add a backend at another provider, or name models that stand in for it in `fallbacks`";
        if let Some(strategy) = strategy.filter(|_| is_single) {
            let message = format!(
                "`{strategy}` has nothing to fail over to: the model `{}` has one working backend, and no fallbacks",
                model.id
            );
            problems.warning(&model.at("strategy"), message, remedy);
        } else if is_habit && !stood_in_for.contains(&model.id) {
            let message = format!(
                "unlike most, the model `{}` fails when {host} does: it has no backend elsewhere, and no fallbacks",
                model.id
            );
            problems.warning(&model.place, message, remedy);
        }
    }
}

/// The hosts that its working backends are at: two accounts at one of them fail together.
fn hosts(tables: &Tables, model: &Checked) -> HashSet<String> {
    let working =
        tables.working_backends(model).filter_map(|backend| tables.provider(&backend.text("provider")?).cloned());
    working.filter_map(|provider| provider::url(&provider)).map(|url| url.host().to_owned()).collect()
}

fn has_fallback(tables: &Tables, model: &Checked) -> bool {
    let others = tables.names.find_all(&model.strings("fallbacks"));
    others.iter().any(|id| {
        let other = tables.models.iter().find(|other| other.id == id.as_str() && other.id != model.id);
        other.is_some_and(|other| other.flag("enabled") && tables.working_backends(other).next().is_some())
    })
}
