//! Back to a generation that ran: its text is checked as any other, kept as a new generation, and written into the file, which
//! stays the one truth; then it comes into force. Until the file is written everything is as it was, and whatever fails before
//! that leaves it so.

use berry_admin::Refusal;
use berry_config::load;
use berry_proxy::Reload;

use super::keeper::{refuse, tell};
use super::trial::AUTO_ROLLBACK;
use super::{Cause, Consent, NotTaken, Reloader, Source, Verdict, blocking};
use crate::files;

impl Reloader {
    pub(super) async fn roll_back(&self, to: u64, cause: Cause, consent: Consent) -> Result<Verdict, Refusal> {
        let mut state = self.state.lock().await;
        let (keeper, place, tried) = (self.keeper.clone(), self.place.clone(), state.tried.clone());
        let (text, found, mut loaded) = blocking(move || {
            let text = keeper.text(to)?;
            let found = Source::read(&place, &tried);
            let loaded = place.over(load(text.expose(), &place.path));
            Ok((text, found, loaded))
        })
        .await?;
        if text == state.running.text && text == found.loaded.text {
            return Ok(self.conclude(Err(NotTaken::For(Reload::Unchanged, Vec::new())), None, &cause).await);
        }
        let fit = match self.examine(&mut loaded, &state, (&cause, consent)).await {
            Ok(fit) => fit,
            Err(not_taken) => return Ok(self.conclude(Err(not_taken), None, &cause).await),
        };
        let generation = self.gateway.generation() + 1;
        let now = self.gateway.clock().unix_millis();
        // Nobody is there to whom a refusal could be told.
        let goes_on = cause.origin == AUTO_ROLLBACK;
        let (keeper, why, restored, replaced) =
            (self.keeper.clone(), cause.clone(), text.clone(), found.loaded.text.clone());
        let is_kept = blocking(move || {
            // Before the file: what cannot be written down is not done.
            match keeper.keep_restored(generation, (to, &restored), &replaced, (why, now)) {
                Ok(()) => Ok(true),
                Err(error) if goes_on => {
                    tell(&error, generation);
                    Ok(false)
                }
                Err(error) => Err(refuse(error)),
            }
        })
        .await?;
        if let Err(why) = self.record(&fit.config, &state.running, &cause).await {
            if !goes_on {
                self.keeper.forget(generation);
                return Ok(self.conclude(Err(NotTaken::Unrecorded(why)), None, &cause).await);
            }
            // The record is queued, as far as that goes.
            tracing::error!(%why, "a rollback is not in the audit log yet");
        }
        let (keeper, place) = (self.keeper.clone(), self.place.clone());
        let written = blocking(move || {
            if Source::read(&place, &found.marks).loaded.text != found.loaded.text {
                keeper.forget(generation);
                let message = "the file has changed meanwhile; look at what stands in it now, and ask again";
                return Err(Refusal::InTheWay(message.to_owned()));
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
            Ok(Source { place, loaded, marks })
        })
        .await?;
        if !is_kept {
            self.gateway.count_unkept();
        }
        state.tried = written.marks.clone();
        state.trial.end();
        let problems = self.put_into_force(fit, written, &mut state);
        Ok(self.conclude(Ok(problems), None, &cause).await)
    }
}
