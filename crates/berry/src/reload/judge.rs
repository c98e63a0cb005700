//! What is said of a configuration that holds, and is not simply put into force: changes that look like a mistake, and those
//! that need a restart.

use berry_config::{Config, Problem, Severity};
use berry_store::audit::Actor;

use crate::audit::Credentials;

/// A file that grew by so much at once was probably not meant (failure model, K2) …
const GROWTH: usize = 10;

/// … unless it is still a small one.
const SMALL: usize = 64 * 1024;

const CONFIRM: &str =
    "put the former file back; or, if it is meant, call POST /admin/reload-config?confirm=true, or restart";

/// What holds from the start to the end of the process: keys, and what of the configuration they decide.
type Fixed = (&'static str, fn(&Config) -> String);

static FIXED: &[Fixed] = &[
    ("storage.path", |config| config.data_dir.display().to_string()),
    ("telemetry.log_format", |config| format!("{:?}", config.telemetry.log_format)),
];

/// What each of [`FIXED`] was at the start.
pub(super) struct AtStart(Vec<String>);

// === impl AtStart ===

impl AtStart {
    pub(super) fn of(config: &Config) -> Self {
        Self(FIXED.iter().map(|(_, value)| value(config)).collect())
    }

    /// A warning for each key that has changed since, and needs a restart.
    pub(super) fn warnings(&self, config: &Config) -> impl Iterator<Item = Problem> {
        let changed = FIXED.iter().zip(&self.0).filter(|((_, value), at_start)| value(config) != **at_start);
        changed.map(|((key, _), _)| {
            let message = format!("the change of `{key}` is not in effect: it needs a restart");
            Problem::about_file(Severity::Warning, key, message, "restart Berry; SIGTERM drains it first")
        })
    }
}

/// An error where the file grew so much that it is hardly what was meant.
pub(super) fn growth(former: usize, new: usize) -> Option<Problem> {
    let is_suspect = new > SMALL && new > former.saturating_mul(GROWTH);
    is_suspect.then(|| {
        let message = format!("the file has grown from {former} to {new} bytes, which looks like a mistake");
        Problem::about_file(Severity::Error, "", message, CONFIRM)
    })
}

/// An error where nothing could be answered any more.
pub(super) fn silence(could_answer: bool, can_answer: bool) -> Option<Problem> {
    let message = "no enabled model has an enabled backend: nothing could be answered any more";
    (could_answer && !can_answer).then(|| Problem::about_file(Severity::Error, "models", message, CONFIRM))
}

/// The key that problems with admins are told of.
pub(super) const ADMINS: &str = "users";

/// An error where nobody could change anything any more, or the one who asks could not (failure model, K7). The former also
/// where it is said to be meant: there would be nobody to take it back.
pub(super) fn admins(before: &Credentials, after: &Credentials, by: &Actor, is_meant: bool) -> Option<Problem> {
    if before.admins().next().is_some() && after.admins().next().is_none() {
        let message =
            "no enabled user is tagged `admin` any more: nobody could use the admin API, or take this back there";
        let remedy = "keep one; or, if it is meant, restart Berry with this file";
        return Some(Problem::about_file(Severity::Error, ADMINS, message, remedy));
    }
    let Actor::User(id) = by else { return None };
    let is_one = |of: &Credentials| of.admins().any(|admin| admin.as_str() == id);
    let message = "you would be no admin any more";
    (!is_meant && is_one(before) && !is_one(after))
        .then(|| Problem::about_file(Severity::Error, ADMINS, message, CONFIRM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_big_file_that_was_small_is_suspect() {
        assert!(growth(1000, 64 * 1024).is_none());
        assert!(growth(1000, 64 * 1024 + 1).is_some());
        assert!(growth(1 << 20, 10 << 20).is_none());
        assert!(growth(1 << 20, (10 << 20) + 1).is_some());
    }

    #[test]
    fn only_who_could_answer_can_fall_silent() {
        assert!(silence(true, false).is_some());
        assert!(silence(false, false).is_none() && silence(true, true).is_none());
    }
}
