//! Hot reload: the configuration is read again when the file has changed, on SIGHUP, and when the admin API asks (failure model,
//! K1 to K3). All of the new state is built aside; either the whole of it is put into force by one swap, or nothing changes.

mod judge;
mod keeper;
mod listeners;
mod rollback;
mod source;
mod trial;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berry_admin::{Answering, Came, Configuration, Refusal};
use berry_config::{Config, Loaded, Problem, Severity, load, redacted_diff, to_json};
use berry_proxy::{Gateway, Live, Reload, Snapshot};
use berry_store::audit::{AuditLog, NotRecorded, Who};
use berry_vocab::Secret;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::audit::{Credentials, note_undone, record_reload};
use crate::logging;
use crate::ready::{self, Ready, make_ready};
use crate::signals::Hangups;
use judge::AtStart;
pub(crate) use keeper::{Cause, Keeper, listed};
use listeners::Changes;
pub(crate) use listeners::RunningListeners;
use source::Marks;
pub(crate) use source::{Place, Source};
use trial::Trial;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A text counts once its file has been left alone for so long after it was read.
const REST: Duration = Duration::from_millis(200);

/// How often a file that does not come to rest is read before that is told.
const MOST_READS: usize = 25;

/// A longer text is not compared with the one in force, in bytes.
const MOST_COMPARED: usize = 1 << 20;

/// More problems than this are counted in the log, not listed.
const MOST_LOGGED: usize = 20;

/// Reads the configuration again, and puts it into force.
pub(crate) struct Reloader {
    place: Place,
    gateway: Arc<Gateway>,
    level: logging::Level,
    audit: Arc<AuditLog>,
    at_start: AtStart,
    keeper: Keeper,
    /// Held while the file is read: one at a time.
    state: Mutex<State>,
}

struct State {
    running: Running,
    listeners: RunningListeners,
    trial: Trial,
    /// What the files were like when they were last read, whatever came of it.
    tried: Marks,
    /// Whether that could not be put into force for want of a record: it is tried again once there can be one.
    waits_for_record: bool,
}

/// Of the file in force.
struct Running {
    text: Secret,
    marks: Marks,
    shown: Value,
    credentials: Credentials,
    watch: bool,
}

/// Whether somebody has said that a change is meant, even if it looks like a mistake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consent {
    Open,
    Given,
}

/// A configuration that may be put into force, and what is to be said of it.
struct Fit {
    config: Config,
    snapshot: Snapshot,
    changes: Changes,
    problems: Vec<Problem>,
}

/// What came of a reload.
struct Verdict {
    reload: Reload,
    generation: u64,
    problems: Vec<Problem>,
    /// Why there is no record of it, if there is none.
    not_recorded: Option<NotRecorded>,
}

// === impl Reloader ===

impl Reloader {
    /// For a gateway that runs what `source` holds.
    pub(crate) fn new(
        source: Source,
        config: &Config,
        gateway: Arc<Gateway>,
        listeners: RunningListeners,
        (level, keeper, audit): (logging::Level, Keeper, Arc<AuditLog>),
    ) -> Self {
        Self {
            at_start: AtStart::of(config),
            place: source.place.clone(),
            state: Mutex::new(State {
                tried: source.marks.clone(),
                running: Running::new(source, config),
                listeners,
                trial: Trial::default(),
                waits_for_record: false,
            }),
            gateway,
            level,
            audit,
            keeper,
        }
    }

    /// Follows SIGHUP and the file. Runs until it is dropped.
    pub(crate) async fn run(&self, mut hangups: Hangups) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = hangups.next() => {
                    Box::pin(self.reload(Cause::of("SIGHUP"), Consent::Open)).await;
                }
                _ = ticks.tick() => {
                    self.gateway.tidy();
                    self.look_after().await;
                    if self.has_changed().await {
                        Box::pin(self.reload(Cause::of("file"), Consent::Open)).await;
                    }
                }
            }
        }
    }

    /// Whether a file is not what it was when it was last read.
    async fn has_changed(&self) -> bool {
        let state = self.state.lock().await;
        if state.waits_for_record && self.audit.standing().failing.is_some() {
            return false;
        }
        state.running.watch
            && (state.waits_for_record || look_again(&state.tried).await.is_some_and(|marks| marks != state.tried))
    }

    async fn reload(&self, cause: Cause, consent: Consent) -> Verdict {
        let mut state = self.state.lock().await;
        let mut not_taken = None;
        let came = match self.read_at_rest(&state.tried).await {
            Some(source) => {
                state.tried = source.marks.clone();
                let text = source.loaded.text.clone();
                let came = Box::pin(self.take(source, &mut state, (&cause, consent))).await;
                if let Err(NotTaken::For(Reload::Invalid | Reload::Refused, _)) = came {
                    not_taken = self.what_would_change(state.running.text.clone(), text).await;
                }
                came
            }
            None => {
                let message = "the file, or one that it names, is written to all the time";
                let problem = Problem::about_file(Severity::Error, "", message, "let it come to rest");
                Err(NotTaken::For(Reload::Invalid, vec![problem]))
            }
        };
        let verdict = self.conclude(came, not_taken, &cause).await;
        state.waits_for_record = verdict.reload == Reload::Unrecorded;
        verdict
    }

    /// Counts and tells what came of it, and records it where nothing was changed: what was is recorded already.
    async fn conclude(
        &self,
        came: Result<Vec<Problem>, NotTaken>,
        would_change: Option<String>,
        cause: &Cause,
    ) -> Verdict {
        // What was built aside for nothing leaves nothing behind.
        self.gateway.live().forget_unused();
        let (reload, problems, not_recorded) = match came {
            Ok(problems) => (Reload::Applied, problems, None),
            Err(NotTaken::Unrecorded(why)) => (Reload::Unrecorded, Vec::new(), Some(why)),
            Err(NotTaken::For(reload, problems)) => {
                let outcome = (reload, would_change);
                let recorded = record_reload(&self.audit, &self.gateway, cause, outcome, Vec::new()).await;
                (reload, problems, recorded.err())
            }
        };
        self.gateway.count_reload(reload);
        let verdict = Verdict { reload, generation: self.gateway.generation(), problems, not_recorded };
        verdict.log(cause.origin, &self.place.path);
        verdict
    }

    /// The file as it is when nobody is writing it. `None`: it does not come to rest.
    async fn read_at_rest(&self, known: &Marks) -> Option<Source> {
        let mut known = known.clone();
        for _ in 0..MOST_READS {
            let place = self.place.clone();
            let source = spawn_blocking(move || Source::read(&place, &known)).await.ok()?;
            sleep(REST).await;
            if look_again(&source.marks).await.as_ref() == Some(&source.marks) {
                return Some(source);
            }
            known = source.marks;
        }
        None
    }

    /// Puts what was read into force, if it may be: once that is recorded. Gives what is to be said about it.
    async fn take(
        &self,
        mut source: Source,
        state: &mut State,
        (cause, consent): (&Cause, Consent),
    ) -> Result<Vec<Problem>, NotTaken> {
        let running = &state.running;
        if source.loaded.text == running.text && source.marks.named() == running.marks.named() {
            return Err(NotTaken::For(Reload::Unchanged, Vec::new()));
        }
        let growth = judge::growth(running.text.expose().len(), source.loaded.text.expose().len());
        let is_whole = source.loaded.config.is_some();
        if let Some(problem) = growth.filter(|_| is_whole && consent == Consent::Open) {
            return Err(NotTaken::For(Reload::Refused, vec![problem]));
        }
        let fit = self.examine(&mut source.loaded, state, (cause, consent)).await?;
        self.record(&fit.config, &state.running, cause).await.map_err(NotTaken::Unrecorded)?;
        let (former, is_on_trial) = (self.gateway.generation(), fit.config.changes.auto_rollback);
        let problems = self.put_into_force(fit, source, state);
        if is_on_trial {
            state.trial.begin(&self.gateway, former, &state.running.text);
        }
        self.keep(&state.running.text, cause.clone()).await;
        Ok(problems)
    }

    /// Records that a configuration comes into force, and whom it shuts out that the running one lets in.
    async fn record(&self, config: &Config, running: &Running, cause: &Cause) -> Result<(), NotRecorded> {
        let effects = running.credentials.replaced_by(&Credentials::of(config));
        record_reload(&self.audit, &self.gateway, cause, (Reload::Applied, None), effects).await
    }

    /// The difference between two texts without their secrets, for the record of a change that is not made.
    async fn what_would_change(&self, from: Secret, to: Secret) -> Option<String> {
        let longest = from.expose().len().max(to.expose().len());
        if longest > MOST_COMPARED {
            return Some(format!("(not compared: {longest} bytes)\n"));
        }
        let file = self.place.path.clone();
        spawn_blocking(move || redacted_diff(from.expose(), to.expose(), &file)).await.ok()
    }

    /// Whether what was read may be put into force.
    async fn examine(
        &self,
        loaded: &mut Loaded,
        state: &State,
        (cause, consent): (&Cause, Consent),
    ) -> Result<Fit, NotTaken> {
        let problems = std::mem::take(&mut loaded.problems);
        let Some(config) = loaded.config.take() else {
            return Err(NotTaken::For(Reload::Invalid, problems));
        };
        let (before, after) = (&state.running.credentials, Credentials::of(&config));
        if let Some(problem) = judge::admins(before, &after, &cause.by.actor, consent == Consent::Given) {
            return Err(NotTaken::For(Reload::Refused, vec![problem]));
        }
        let invalid = |problems| NotTaken::For(Reload::Invalid, problems);
        let (config, ready) = self.build(config).await.map_err(invalid)?;
        let silence = judge::silence(self.gateway.snapshot().can_answer(), ready.snapshot.can_answer());
        if let Some(problem) = silence.filter(|_| consent == Consent::Open) {
            return Err(NotTaken::For(Reload::Refused, vec![problem]));
        }
        let Ready { snapshot, certificates } = ready;
        // Last, since a bound port is the first thing that anybody outside could see.
        let changes = state.listeners.prepare(&config, certificates).map_err(invalid)?;
        Ok(Fit { config, snapshot, changes, problems })
    }

    /// From now on it is what runs. Gives what is to be said about it.
    fn put_into_force(&self, fit: Fit, source: Source, state: &mut State) -> Vec<Problem> {
        let Fit { config, snapshot, changes, mut problems } = fit;
        self.level.follow(&config.telemetry);
        self.gateway.replace(snapshot);
        // After the snapshot: who comes in by a new port meets what was meant for it.
        state.listeners.change(changes);
        if !config.changes.auto_rollback {
            state.trial.end();
        }
        state.running = Running::new(source, &config);
        problems.splice(0..0, self.at_start.warnings(&config));
        problems
    }

    /// Writes what runs into the history.
    async fn keep(&self, text: &Secret, cause: Cause) {
        let (keeper, generation, text) = (self.keeper.clone(), self.gateway.generation(), text.clone());
        let now = self.gateway.clock().unix_millis();
        let kept = spawn_blocking(move || keeper.keep(generation, &text, cause, now)).await;
        if !kept.is_ok_and(|is_kept| is_kept) {
            self.gateway.count_unkept();
        }
    }

    /// Builds the new state aside, on a thread of its own: a big configuration takes its time.
    async fn build(&self, config: Config) -> Result<(Config, Ready), Vec<Problem>> {
        let (gateway, now) = (self.gateway.clone(), self.gateway.clock().now());
        let built = spawn_blocking(move || make_ready(&config, gateway.live(), now).map(|ready| (config, ready)));
        let failed = |_| vec!["a fault of Berry's own: its log says where".to_owned()];
        built.await.map_err(failed).flatten().map_err(|unusable| ready::problems(&unusable).collect())
    }

    async fn shown(&self) -> Value {
        self.state.lock().await.running.shown.clone()
    }
}

/// Why a configuration is not put into force.
enum NotTaken {
    /// For what it is, and what is to be said about that.
    For(Reload, Vec<Problem>),
    /// It could not be recorded.
    Unrecorded(NotRecorded),
}

/// Looks at files from a thread that may wait: a network mount can hang. `None`: it could not.
async fn look_again(marks: &Marks) -> Option<Marks> {
    let marks = marks.clone();
    spawn_blocking(move || marks.again()).await.ok()
}

/// Does what looks at files on a thread that may wait.
async fn blocking<T: Send + 'static>(what: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let failed = |_| Err(Refusal::InTheWay("a fault of Berry's own: its log says where".to_owned()));
    spawn_blocking(what).await.unwrap_or_else(failed)
}

/// A change that goes on to its end whoever waits for it: an admin who hangs up leaves nothing half done, nor recorded and not
/// done.
fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Answering<Result<T, Refusal>> {
    let change = tokio::spawn(change);
    let failed = |_| Err(Refusal::InTheWay("a fault of Berry's own: its log says where".to_owned()));
    Box::pin(async move { change.await.unwrap_or_else(failed) })
}

impl Configuration for Reloader {
    fn reload(self: Arc<Self>, by: Who, confirmed: bool) -> Answering<Result<berry_admin::Verdict, Refusal>> {
        to_its_end(async move {
            let verdict = Reloader::reload(&self, Cause::by("admin", by), Consent::of(confirmed)).await;
            verdict.told()
        })
    }

    fn roll_back(
        self: Arc<Self>,
        generation: u64,
        by: Who,
        confirmed: bool,
    ) -> Answering<Result<berry_admin::Verdict, Refusal>> {
        to_its_end(async move {
            let cause = Cause::by("rollback", by);
            match Box::pin(Reloader::roll_back(&self, generation, cause.clone(), Consent::of(confirmed))).await {
                Ok(verdict) => verdict.told(),
                Err(refusal) => {
                    note_undone(&self.audit, &self.gateway, &cause, generation);
                    Err(refusal)
                }
            }
        })
    }

    fn history(self: Arc<Self>) -> Answering<Result<Vec<Value>, Refusal>> {
        let in_force = self.gateway.generation();
        Box::pin(async move { blocking(move || self.keeper.listed(in_force)).await })
    }

    fn generation(self: Arc<Self>, generation: u64) -> Answering<Result<Value, Refusal>> {
        let in_force = self.gateway.generation();
        Box::pin(async move { blocking(move || self.keeper.shown(generation, in_force)).await })
    }

    fn validate(self: Arc<Self>, text: String) -> Answering<Value> {
        let now = self.gateway.clock().now();
        let check = move || {
            let loaded = load(&text, &self.place.path);
            // Beside numbers of its own: nothing of what runs is touched.
            let unusable = loaded.config.as_ref().and_then(|config| make_ready(config, &Live::default(), now).err());
            let unusable = unusable.unwrap_or_default();
            to_json(&ready::problems(&unusable).chain(loaded.problems).collect::<Vec<_>>())
        };
        Box::pin(async move { spawn_blocking(check).await.unwrap_or_default() })
    }

    fn shown(self: Arc<Self>) -> Answering<Value> {
        Box::pin(async move { Reloader::shown(&self).await })
    }
}

// === impl Consent ===

impl Consent {
    fn of(confirmed: bool) -> Self {
        if confirmed { Consent::Given } else { Consent::Open }
    }
}

// === impl Running ===

impl Running {
    fn new(source: Source, config: &Config) -> Self {
        let Source { loaded, marks, .. } = source;
        let credentials = Credentials::of(config);
        Self { text: loaded.text, shown: loaded.shown, marks, credentials, watch: config.changes.watch }
    }
}

// === impl Verdict ===

impl Verdict {
    fn log(&self, origin: &str, path: &Path) {
        let (generation, problems) = (self.generation, self.problems.len());
        match self.reload {
            Reload::Applied => tracing::info!(generation, origin, problems, "a new configuration is in force"),
            Reload::Unchanged => tracing::info!(generation, origin, "the configuration is what is in force already"),
            Reload::Invalid => {
                tracing::error!(generation, origin, problems, "the new configuration is not used: it does not hold");
            }
            Reload::Refused => {
                tracing::error!(generation, origin, "the new configuration is not used: it looks like a mistake");
            }
            Reload::Unrecorded => {
                let why = self.not_recorded.as_ref().map(NotRecorded::to_string);
                tracing::error!(generation, origin, why, "the new configuration is not used: it cannot be recorded");
            }
        }
        log_problems(&self.problems, path);
    }

    /// As the admin API tells it.
    fn told(self) -> Result<berry_admin::Verdict, Refusal> {
        if let Some(why) = self.not_recorded {
            return Err(Refusal::NotRecorded(why));
        }
        let mut report = to_json(&self.problems);
        report["result"] = json!(self.reload.as_str());
        report["generation"] = json!(self.generation);
        let came = match self.reload {
            Reload::Applied | Reload::Unchanged => Came::InForce,
            Reload::Refused if self.problems.iter().any(|problem| problem.path == judge::ADMINS) => Came::Conflict,
            Reload::Refused | Reload::Invalid | Reload::Unrecorded => Came::Unfit,
        };
        Ok(berry_admin::Verdict { came, report })
    }
}

/// Somebody should look at these: one line each, as the log may be read by programs.
pub(crate) fn log_problems(problems: &[Problem], file: &Path) {
    for problem in problems.iter().take(MOST_LOGGED) {
        let Problem { severity, line, column, path, message, remedy, .. } = problem;
        let place = format!("{}:{line}:{column}", file.display());
        tracing::warn!(severity = severity.as_str(), place, key = path, remedy, "{message}");
    }
    if let Some(more) = problems.len().checked_sub(MOST_LOGGED).filter(|more| *more > 0) {
        tracing::warn!(more, "there are more problems: see `berry check`");
    }
}
