//! What no single value shows: tables that contradict each other, and values that are legal and probably not meant.

pub(crate) mod addresses;
pub(crate) mod choice;
pub(crate) mod limits;
pub(crate) mod listeners;
pub(crate) mod names;
pub(crate) mod providers;
pub(crate) mod redundancy;
pub(crate) mod routes;
pub(crate) mod secrets;
pub(crate) mod users;

use crate::check::names::ModelNames;
use crate::checked::Checked;
use crate::config::Timeouts;
use crate::reader::Reader;
use crate::registry::Rule;
use crate::table::{ROOT, timeouts};

/// The file's tables, taken apart once for all checks.
pub(crate) struct Tables {
    pub(crate) root: Checked,
    pub(crate) providers: Vec<Checked>,
    pub(crate) models: Vec<Checked>,
    pub(crate) users: Vec<Checked>,
    pub(crate) names: ModelNames,
}

impl Tables {
    pub(crate) fn new(root: Checked) -> Self {
        let models = root.tables("models");
        let names = ModelNames::new(&models);
        Self { providers: root.tables("providers"), users: root.tables("users"), models, names, root }
    }

    /// A top-level table; an empty one where it is not written.
    pub(crate) fn top(&self, name: &str) -> Checked {
        match ROOT.find(name).map(|key| key.rule) {
            Some(Rule::Table(table)) => self.root.table(name, table),
            _ => Checked::empty(&ROOT),
        }
    }

    pub(crate) fn provider(&self, id: &str) -> Option<&Checked> {
        self.providers.iter().find(|provider| provider.id == id)
    }

    /// The model's backends that are enabled, at providers that are. One that is not there is reported already.
    pub(crate) fn working_backends(&self, model: &Checked) -> impl Iterator<Item = Checked> {
        model.tables("backends").into_iter().filter(|backend| {
            let provider = backend.text("provider").and_then(|id| self.provider(&id));
            backend.flag("enabled") && provider.is_none_or(|provider| provider.flag("enabled"))
        })
    }
}

/// Runs all checks.
pub(crate) fn all(tables: &Tables, reader: &mut Reader<'_>) {
    let problems = &mut reader.problems;
    listeners::check(tables, problems);
    providers::check(tables, problems);
    routes::check(tables, problems);
    choice::check(tables, problems);
    redundancy::check(tables, problems);
    users::check(tables, problems);
    limits::check(tables, problems);
    addresses::check(tables, problems);
    secrets::check(tables, problems);
    let outer: Timeouts = timeouts::build(&tables.top("settings"));
    timeouts::check(problems, &tables.top("settings"), &[]);
    for table in tables.providers.iter().chain(&tables.models) {
        timeouts::check(problems, table, &[outer]);
    }
}
