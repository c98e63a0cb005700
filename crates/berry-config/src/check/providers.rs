//! Providers: used at all, reached safely, and given up soon enough.

use std::collections::HashSet;
use std::time::Duration;

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::table::rate_limit;

/// A backend that swallows packets delays failover by its whole connect timeout.
const SLOW_CONNECT: Duration = Duration::from_secs(15);

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    let used: HashSet<String> = tables
        .models
        .iter()
        .flat_map(|m| m.tables("backends"))
        .filter_map(|backend| backend.text("provider"))
        .collect();
    // Where a name leads nowhere, the provider that seems unused is probably the one that was meant.
    let sure = used.iter().all(|id| tables.provider(id).is_some());
    for provider in &tables.providers {
        if sure && !used.contains(&provider.id) {
            let message = format!("no model uses the provider `{}`", provider.id);
            problems.warning(&provider.place, message, "name it in a model's backends, or remove it");
        }
        connection(provider, problems);
        rate_limit::check(problems, provider);
    }
}

fn connection(provider: &Checked, problems: &mut Problems) {
    if let Some(timeout) = provider.duration("timeout_seconds").filter(|timeout| *timeout > SLOW_CONNECT) {
        problems.warning(
            &provider.at("timeout_seconds"),
            format!("a server that does not answer delays failover by {} s", timeout.as_secs_f64()),
            "this is the time to connect only: 15 or less leaves time for another backend; answers have request_timeout_seconds",
        );
    }
    if provider.flag("insecure_skip_verify") {
        problems.warning(
            &provider.at("insecure_skip_verify"),
            format!("anyone on the way to `{}` can read its key and its answers", provider.id),
            "remove it, and name the server's own certificate authority in ca_file",
        );
    }
}
