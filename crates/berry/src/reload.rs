//! Hot reload: the configuration is read again when the file has changed, on SIGHUP, and when the admin API asks (failure model,
//! K1 to K3). All of the new state is built aside; either the whole of it is put into force by one swap, or nothing changes.

mod judge;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berry_admin::{Answering, Configuration};
use berry_config::{Config, Problem, Severity, load, to_json};
use berry_proxy::{Gateway, ListenerTls, Live, Reload};
use berry_store::audit::{Actor, AuditLog, NotRecorded, Who};
use berry_vocab::Secret;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::audit::{Users, record_reload};
use crate::logging;
use crate::ready::{self, Listeners, Ready, make_ready};
use crate::signals::Hangups;
use judge::AtStart;
use source::Marks;
pub(crate) use source::{Place, Source};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A text counts once its file has been left alone for so long after it was read.
const REST: Duration = Duration::from_millis(200);

/// How often a file that does not come to rest is read before that is told.
const MOST_READS: usize = 25;

/// More problems than this are counted in the log, not listed.
const MOST_LOGGED: usize = 20;

/// Reads the configuration again, and puts it into force.
pub(crate) struct Reloader {
    place: Place,
    gateway: Arc<Gateway>,
    tls: Listeners<ListenerTls>,
    level: logging::Level,
    audit: Arc<AuditLog>,
    at_start: AtStart,
    /// Held while the file is read: one at a time.
    state: Mutex<State>,
}

struct State {
    running: Running,
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
    users: Users,
    watch: bool,
}

/// Whether somebody has said that a change is meant, even if it looks like a mistake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consent {
    Open,
    Given,
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
        gateway: &Arc<Gateway>,
        tls: Listeners<ListenerTls>,
        level: logging::Level,
        audit: &Arc<AuditLog>,
    ) -> Self {
        let (place, tried) = (source.place.clone(), source.marks.clone());
        let running = Running::new(source, config);
        Self {
            at_start: AtStart::of(config),
            place,
            state: Mutex::new(State { tried, running, waits_for_record: false }),
            gateway: gateway.clone(),
            audit: audit.clone(),
            tls,
            level,
        }
    }

    /// Follows SIGHUP and the file. Runs until it is dropped.
    pub(crate) async fn run(&self, mut hangups: Hangups) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = hangups.next() => {
                    self.reload(&Actor::Operator("SIGHUP").into(), Consent::Open).await;
                }
                _ = ticks.tick() => {
                    self.gateway.tidy();
                    if self.has_changed().await {
                        self.reload(&Actor::Operator("file").into(), Consent::Open).await;
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

    async fn reload(&self, by: &Who, consent: Consent) -> Verdict {
        let mut state = self.state.lock().await;
        let came = match self.read_at_rest(&state.tried).await {
            Some(source) => {
                state.tried = source.marks.clone();
                self.take(source, &mut state.running, by, consent).await
            }
            None => {
                let message = "the file, or one that it names, is written to all the time";
                let problem = Problem::about_file(Severity::Error, "", message, "let it come to rest");
                Err(NotTaken::For(Reload::Invalid, vec![problem]))
            }
        };
        // What was built aside for nothing leaves nothing behind.
        self.gateway.live().forget_unused();
        let (reload, problems, not_recorded) = match came {
            Ok(problems) => (Reload::Applied, problems, None),
            Err(NotTaken::Unrecorded(why)) => (Reload::Unrecorded, Vec::new(), Some(why)),
            Err(NotTaken::For(reload, problems)) => {
                let recorded = record_reload(&self.audit, &self.gateway, by, reload, Vec::new()).await;
                (reload, problems, recorded.err())
            }
        };
        state.waits_for_record = reload == Reload::Unrecorded;
        self.gateway.count_reload(reload);
        let verdict = Verdict { reload, generation: self.gateway.generation(), problems, not_recorded };
        verdict.log(&by.actor, &self.place.path);
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
        running: &mut Running,
        by: &Who,
        consent: Consent,
    ) -> Result<Vec<Problem>, NotTaken> {
        if source.loaded.text == running.text && source.marks.named() == running.marks.named() {
            return Err(NotTaken::For(Reload::Unchanged, Vec::new()));
        }
        let mut problems = std::mem::take(&mut source.loaded.problems);
        let Some(config) = source.loaded.config.take() else {
            return Err(NotTaken::For(Reload::Invalid, problems));
        };
        let is_open = consent == Consent::Open;
        let growth = judge::growth(running.text.expose().len(), source.loaded.text.expose().len());
        if let Some(problem) = growth.filter(|_| is_open) {
            return Err(NotTaken::For(Reload::Refused, vec![problem]));
        }
        let (config, ready) = self.build(config).await.map_err(|unusable| NotTaken::For(Reload::Invalid, unusable))?;
        let silence = judge::silence(self.gateway.snapshot().can_answer(), ready.snapshot.can_answer());
        if let Some(problem) = silence.filter(|_| is_open) {
            return Err(NotTaken::For(Reload::Refused, vec![problem]));
        }
        let new = Running::new(source, &config);
        let revoked = running.users.revoked_by(&new.users);
        let recorded = record_reload(&self.audit, &self.gateway, by, Reload::Applied, revoked).await;
        recorded.map_err(NotTaken::Unrecorded)?;
        self.tls.show(ready.certificates);
        self.level.follow(&config.telemetry);
        self.gateway.replace(ready.snapshot);
        *running = new;
        problems.splice(0..0, self.at_start.warnings(&config));
        Ok(problems)
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

/// Why what was read is not put into force.
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

impl Configuration for Reloader {
    fn reload(self: Arc<Self>, by: Who, confirmed: bool) -> Answering<Result<berry_admin::Verdict, NotRecorded>> {
        let consent = if confirmed { Consent::Given } else { Consent::Open };
        Box::pin(async move {
            let mut verdict = Reloader::reload(&self, &by, consent).await;
            verdict.not_recorded.take().map_or_else(|| Ok(verdict.into()), Err)
        })
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

// === impl Running ===

impl Running {
    fn new(source: Source, config: &Config) -> Self {
        let Source { loaded, marks, .. } = source;
        let users = Users::of(config);
        Self { text: loaded.text, shown: loaded.shown, marks, users, watch: config.changes.watch }
    }
}

// === impl Verdict ===

impl Verdict {
    fn log(&self, by: &Actor, path: &Path) {
        let (generation, problems) = (self.generation, self.problems.len());
        let origin = if let Actor::Operator(way) = by { way } else { "admin" };
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
}

impl From<Verdict> for berry_admin::Verdict {
    fn from(verdict: Verdict) -> Self {
        let mut report = to_json(&verdict.problems);
        report["result"] = json!(verdict.reload.as_str());
        report["generation"] = json!(verdict.generation);
        Self { in_force: matches!(verdict.reload, Reload::Applied | Reload::Unchanged), report }
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
