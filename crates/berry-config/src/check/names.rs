//! Which model a name in the file means: a public name, or else a table's id.

use berry_vocab::ModelId;

use crate::checked::Checked;
use crate::table::model;

/// The names of all models, in the order of the file.
pub(crate) struct ModelNames {
    models: Vec<(String, String)>,
}

impl ModelNames {
    pub(crate) fn new(models: &[Checked]) -> Self {
        Self { models: models.iter().map(|table| (model::name(table), table.id.clone())).collect() }
    }

    /// The model of a public name; failing that, of an id.
    pub(crate) fn find(&self, name: &str) -> Option<ModelId> {
        let by_name = self.models.iter().find(|(public, _)| public == name);
        by_name.or_else(|| self.models.iter().find(|(_, id)| id == name)).map(|(_, id)| ModelId::new(id))
    }

    /// The models of several names, each once.
    pub(crate) fn find_all(&self, names: &[String]) -> Vec<ModelId> {
        let mut found = Vec::new();
        for id in names.iter().filter_map(|name| self.find(name)) {
            if !found.contains(&id) {
                found.push(id);
            }
        }
        found
    }

    /// The public names.
    pub(crate) fn public(&self) -> impl Iterator<Item = &str> + Clone {
        self.models.iter().map(|(public, _)| public.as_str())
    }
}
