//! Back to a generation that ran: its text is checked as any other, kept as a new generation, and written into the file, which
//! stays the one truth; then it comes into force. Until the file is written everything is as it was, and whatever fails before
//! that leaves it so.

use berry_admin::Refusal;
use berry_config::load;
use berry_proxy::Reload;

use super::keeper::{refuse, tell};
use super::trial::AUTO_ROLLBACK;
use super::{Cause, Consent, Reloader, Source, Verdict, blocking};
use crate::files;

impl Reloader {
    pub(super) async fn roll_back(&self, to: u64, cause: Cause, consent: Consent) -> Result<Verdict, Refusal> {
        let mut state = self.state.lock().await;
        let origin = cause.origin;
        let (keeper, place, tried) = (self.keeper.clone(), self.place.clone(), state.tried.clone());
        let (text, found, mut loaded) = blocking(move || {
            let text = keeper.text(to)?;
            let found = Source::read(&place, &tried);
            let loaded = place.over(load(text.expose(), &place.path));
            Ok((text, found, loaded))
        })
        .await?;
        if text == state.running.text && text == found.loaded.text {
            return Ok(self.conclude(Reload::Unchanged, Vec::new(), origin));
        }
        let fit = match self.examine(&mut loaded, &state.listeners, consent).await {
            Ok(fit) => fit,
            Err((reload, problems)) => return Ok(self.conclude(reload, problems, origin)),
        };
        let (keeper, place, generation) = (self.keeper.clone(), self.place.clone(), self.gateway.generation() + 1);
        let now = self.gateway.clock().unix_millis();
        // Nobody is there to whom a refusal could be told.
        let goes_on = origin == AUTO_ROLLBACK;
        let (written, is_kept) = blocking(move || {
            // Before the file: what cannot be written down is not done.
            let kept = keeper.keep_restored(generation, (to, &text), &found.loaded.text, (cause, now));
            let is_kept = kept.is_ok();
            if let Err(error) = kept {
                if !goes_on {
                    return Err(refuse(error));
                }
                tell(&error, generation);
            }
            if let Err(failure) = files::put_back(&place.path, text.expose(), to) {
                if !goes_on {
                    keeper.forget(generation);
                    return Err(Refusal::InTheWay(failure.line()));
                }
                tracing::error!("the file still holds what was taken back, for the next start: {}", failure.line());
            }
            // So that its own writing is not taken for a change. One that comes in between is.
            let again = Source::read(&place, &found.marks);
            let marks = if again.loaded.text == text { again.marks } else { found.marks };
            Ok((Source { place, loaded, marks }, is_kept))
        })
        .await?;
        if !is_kept {
            self.gateway.count_unkept();
        }
        state.tried = written.marks.clone();
        state.trial.end();
        let problems = self.put_into_force(fit, written, &mut state);
        Ok(self.conclude(Reload::Applied, problems, origin))
    }
}
