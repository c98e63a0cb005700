//! The gateway's side of the history: what runs is kept, and where that fails the gateway goes on, loudly. Looks at files, so
//! that its callers are on threads that may wait.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use berry_admin::Refusal;
use berry_config::{redacted, text_hash};
use berry_store::audit::{Actor, Who};
use berry_store::{DataDirectory, History, HistoryError, Kept, NewGeneration, Replaced};
use berry_vocab::Secret;
use serde_json::{Value, json};

use super::trial::AUTO_ROLLBACK;

/// What brought a generation, and who.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) origin: &'static str,
    pub(crate) by: Who,
}

/// Keeps the generations that run.
#[derive(Clone)]
pub(crate) struct Keeper {
    history: History,
    file: PathBuf,
}

/// The number of the first generation, and whether it is in the history.
pub(crate) struct First {
    pub(crate) generation: u64,
    pub(crate) is_kept: bool,
}

// === impl Cause ===

impl Cause {
    /// Something on the gateway's own machine that says so: a signal, the file.
    pub(crate) fn of(origin: &'static str) -> Self {
        Self { origin, by: Actor::Operator(origin).into() }
    }

    /// The gateway itself.
    pub(crate) fn of_berry(origin: &'static str) -> Self {
        Self { origin, by: Actor::Berry.into() }
    }

    /// A user of the admin API.
    pub(crate) fn by(origin: &'static str, by: Who) -> Self {
        Self { origin, by }
    }

    /// What it is called in the audit log.
    pub(crate) fn action(&self) -> &'static str {
        match self.origin {
            "rollback" | AUTO_ROLLBACK => "config.rollback",
            _ => "config.reload",
        }
    }

    /// The user, where it was one.
    fn author(self) -> Option<String> {
        if let Actor::User(id) = self.by.actor { Some(id) } else { None }
    }
}

// === impl Keeper ===

impl Keeper {
    /// For the configuration of this file.
    pub(crate) fn new(data: Arc<DataDirectory>, file: &Path) -> Self {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self { history: History::new(data), file }
    }

    /// Keeps what the gateway starts with. What it ran before is no new generation.
    pub(crate) fn begin(&self, text: &Secret, unix_millis: u64) -> First {
        let archive = self.history.archive();
        let number = archive.last_number().ok().flatten().unwrap_or(0);
        let last = archive.last().unwrap_or_else(|error| {
            tell(&error, number);
            None
        });
        let (generation, kept) = match last {
            Some(last) if last.hash == text_hash(text.expose()) => {
                (last.generation, self.history.note_start(last, unix_millis))
            }
            last => {
                // Never a number that is taken, be what lies there damaged.
                let generation = last.map_or(number, |last| last.generation.max(number)) + 1;
                (
                    generation,
                    self.history
                        .keep(self.new_generation(generation, text, Cause::of_berry("start"), unix_millis))
                        .map(drop),
                )
            }
        };
        if let Err(error) = &kept {
            tell(error, generation);
        }
        First { generation, is_kept: kept.is_ok() }
    }

    /// Keeps what is in force now. `false`: it could not be written, which is told.
    pub(super) fn keep(&self, generation: u64, text: &Secret, cause: Cause, unix_millis: u64) -> bool {
        let kept = self.history.keep(self.new_generation(generation, text, cause, unix_millis));
        if let Err(error) = &kept {
            tell(error, generation);
        }
        kept.is_ok()
    }

    /// Keeps what is about to come into force in the place of what stands in the file.
    pub(super) fn keep_restored(
        &self,
        generation: u64,
        (by, text): (u64, &Secret),
        found: &Secret,
        (cause, unix_millis): (Cause, u64),
    ) -> Result<(), HistoryError> {
        let is_new = !found.is_empty() && !self.history.archive().has(found)?;
        let restores = Some(Replaced { by, text: is_new.then(|| found.clone()) });
        let new = NewGeneration { restores, ..self.new_generation(generation, text, cause, unix_millis) };
        self.history.keep(new).map(drop)
    }

    /// Takes out what did not come into force after all.
    pub(super) fn forget(&self, generation: u64) {
        self.history.forget(generation);
    }

    /// The text of a generation.
    pub(super) fn text(&self, generation: u64) -> Result<Secret, Refusal> {
        self.history.archive().text(generation).map_err(refuse)
    }

    /// All of them as the admin API lists them.
    pub(super) fn listed(&self, in_force: u64) -> Result<Vec<Value>, Refusal> {
        let all = self.history.archive().all().map_err(refuse)?;
        Ok(all.iter().map(|kept| marked(kept, in_force)).collect())
    }

    /// One of them as the admin API shows it.
    pub(super) fn shown(&self, generation: u64, in_force: u64) -> Result<Value, Refusal> {
        let archive = self.history.archive();
        let kept = archive.generation(generation).map_err(refuse)?;
        let text = archive.text(generation).map_err(refuse)?;
        let mut shown = marked(&kept, in_force);
        shown["diff"] = json!(kept.diff);
        shown["text"] = json!(redacted(text.expose(), &self.file));
        Ok(shown)
    }

    fn new_generation(&self, generation: u64, text: &Secret, cause: Cause, unix_millis: u64) -> NewGeneration {
        NewGeneration {
            generation,
            text: text.clone(),
            unix_millis,
            origin: cause.origin,
            author: cause.author(),
            file: self.file.clone(),
            restores: None,
        }
    }
}

/// What is said of a generation in a list, by the command line too.
pub(crate) fn listed(kept: &Kept) -> Value {
    json!({
        "generation": kept.generation,
        "hash": kept.hash,
        "time": kept.time,
        "origin": kept.origin,
        "author": kept.author,
        "file": kept.file,
        "bytes": kept.bytes,
        "started": kept.started,
        "restores": kept.restores,
        "has_replaced": kept.has_replaced,
    })
}

/// The same, and whether it runs.
fn marked(kept: &Kept, in_force: u64) -> Value {
    let mut listed = listed(kept);
    listed["in_force"] = json!(kept.generation == in_force);
    listed
}

/// Why it is refused, as the admin API says it.
pub(super) fn refuse(error: HistoryError) -> Refusal {
    let message = format!("{error}: {}", error.remedy());
    match error {
        HistoryError::Unknown(_) => Refusal::Unknown(message),
        _ => Refusal::InTheWay(message),
    }
}

/// A generation runs and is not kept.
pub(super) fn tell(error: &HistoryError, generation: u64) {
    let remedy = error.remedy();
    tracing::error!(generation, %error, remedy, "this generation is not kept in the history; the gateway goes on");
}
