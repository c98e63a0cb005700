//! Limits that contradict each other: one of the two can never be reached.

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::table::rate_limit;

const AT_ONCE: &str = "max_concurrent_requests";

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    let all = tables.top("server").count("max_in_flight");
    for table in tables.users.iter().chain(&tables.providers).chain(&tables.models) {
        let limits = table.table("rate_limit", &rate_limit::TABLE);
        rate_limit::check(problems, &limits);
        two_names(table, &limits, problems);
    }
    // A provider's limit is that of its vendor, who knows nothing of the gateway's.
    for table in tables.users.iter().chain(&tables.models) {
        beyond_all(all, table, AT_ONCE, problems);
        beyond_all(all, &table.table("rate_limit", &rate_limit::TABLE), "concurrent_requests", problems);
    }
    for model in &tables.models {
        beyond_providers(tables, model, problems);
    }
    retries(&tables.top("settings"), problems);
}

/// Both names of a limit, with different values.
fn two_names(table: &Checked, limits: &Checked, problems: &mut Problems) {
    let (Some(one), Some(other)) = (table.count(AT_ONCE), limits.count("concurrent_requests")) else { return };
    if one != other {
        let at = if one > other { table.at(AT_ONCE) } else { limits.at("concurrent_requests") };
        let message =
            format!("{} requests at once are never reached: the other limit is {}", one.max(other), one.min(other));
        problems.warning(&at, message, "keep one of `max_concurrent_requests` and `rate_limit.concurrent_requests`");
    }
}

fn beyond_all(all: Option<u32>, table: &Checked, key: &str, problems: &mut Problems) {
    if let (Some(all), Some(own)) = (all, table.count(key))
        && own > all
    {
        let message =
            format!("{own} requests at once are never reached: server.max_in_flight allows {all} over all users");
        problems.warning(&table.at(key), message, format!("make it at most {all}, or raise server.max_in_flight"));
    }
}

/// More than all of the model's providers together take.
fn beyond_providers(tables: &Tables, model: &Checked, problems: &mut Problems) {
    let Some(own) = model.count(AT_ONCE) else { return };
    let mut ids: Vec<String> = tables.working_backends(model).filter_map(|backend| backend.text("provider")).collect();
    ids.sort();
    ids.dedup();
    let taken: Option<u32> = ids
        .iter()
        .map(|id| tables.provider(id).and_then(|provider| provider.count(AT_ONCE)))
        .try_fold(0_u32, |sum, count| Some(sum.saturating_add(count?)));
    if let Some(taken) = taken.filter(|taken| !ids.is_empty() && *taken < own) {
        let message = format!("{own} requests at once are never reached: its providers take {taken} together");
        problems.warning(
            &model.at(AT_ONCE),
            message,
            format!("make it at most {taken}, or raise that of the providers"),
        );
    }
}

fn retries(settings: &Checked, problems: &mut Problems) {
    let [all, each] =
        ["max_retries", "max_internal_retries"].map(|key| settings.whole(key).filter(|_| settings.has(key)));
    if let (Some(all), Some(each)) = (all, each)
        && each > all
    {
        let message =
            format!("{each} repeated visits to one backend are never made: a request has {all} over all of them");
        problems.warning(&settings.at("max_internal_retries"), message, "make it at most max_retries");
    }
}
