//! A new configuration on trial (`[config] auto_rollback`): where far more calls fail under it than before, the gateway goes back to
//! the generation before, once. A text that was taken back and comes again is meant, and is not on trial again: so nothing
//! goes to and fro.

use berry_config::text_hash;
use berry_policy::{Calls, Probation, RecentCalls, Standing};
use berry_proxy::Gateway;
use berry_vocab::Secret;

use super::{Cause, Consent, Reloader, State};

/// The origin of generations that are gone back to by this.
pub(super) const AUTO_ROLLBACK: &str = "auto_rollback";

/// What is watched.
#[derive(Default)]
pub(super) struct Trial {
    recent: RecentCalls,
    open: Option<Open>,
    /// Hash of the text that was taken back last.
    taken_back: Option<String>,
}

#[derive(Clone, Copy)]
struct Open {
    probation: Probation,
    /// The generation that was good.
    back_to: u64,
}

/// Why a configuration is taken back.
struct Failed {
    back_to: u64,
    before: Calls,
    since: Calls,
}

// === impl Trial ===

impl Trial {
    /// A text has come into force in the place of the generation `former`.
    pub(super) fn begin(&mut self, gateway: &Gateway, former: u64, text: &Secret) {
        let (now, calls) = (gateway.clock().now(), gateway.metrics().calls());
        let is_meant = self.taken_back.as_ref().is_some_and(|hash| *hash == text_hash(text.expose()));
        self.open = match self.open {
            _ if is_meant => None,
            Some(open) => Some(Open { probation: open.probation.anew(now, calls), ..open }),
            None => Probation::begin(now, &self.recent, calls).map(|probation| Open { probation, back_to: former }),
        };
    }

    /// Somebody has decided, or nobody wants it.
    pub(super) fn end(&mut self) {
        self.open = None;
    }

    /// Looks at the calls of now.
    fn look(&mut self, gateway: &Gateway) -> Option<Failed> {
        let (now, calls) = (gateway.clock().now(), gateway.metrics().calls());
        self.recent.note(now, calls);
        let Open { probation, back_to } = self.open?;
        match probation.standing(now, calls) {
            Standing::Open => None,
            Standing::Passed => {
                self.open = None;
                None
            }
            Standing::Failed { before, since } => {
                self.open = None;
                Some(Failed { back_to, before, since })
            }
        }
    }
}

impl Reloader {
    /// Looks at the calls, once a second, and goes back where they fail.
    pub(super) async fn look_after(&self) {
        let failed = {
            let mut state = self.state.lock().await;
            let State { trial, running, .. } = &mut *state;
            let failed = trial.look(&self.gateway);
            if failed.is_some() {
                trial.taken_back = Some(text_hash(running.text.expose()));
            }
            failed
        };
        let Some(Failed { back_to, before, since }) = failed else { return };
        tracing::error!(
            generation = self.gateway.generation(),
            back_to,
            failed_before = before.failed,
            calls_before = before.ended,
            failed = since.failed,
            calls = since.ended,
            "auto_rollback: far more calls fail than before this configuration; going back"
        );
        let gone = Box::pin(self.roll_back(back_to, Cause::of_berry(AUTO_ROLLBACK), Consent::Given)).await;
        if let Err(refusal) = gone {
            tracing::error!(back_to, "auto_rollback: the gateway cannot go back: {refusal}");
        }
    }
}
