//! Stations 1 and 10: the ticket is opened when a request begins and settled once, when its answer is over, whatever way it
//! ended. Settling writes the log line and counts; it never affects the answer.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use berry_http1::Method;
use berry_policy::{FailureKind, OutcomeClass, State, WindowStanding};
use berry_vocab::{Code, Moment, Protocol};

use crate::client::Request;
use crate::live::{Age, BackendLive, Ending, Rules, Slot, is_metered};
use crate::origin::Origin;
use crate::places::Place;
use crate::ports::{Ended, Occasion};
use crate::routes::Route;
use crate::snapshot::{Model, Provider, Snapshot, Target, User};
use crate::station::{Estimate, Reservation, Spent};
use crate::worker::Worker;

/// How a request ended, as its log line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The answer went out whole, whatever its status.
    Answered,
    /// A failure was told, before or within the answer.
    Failed(Code),
    /// The client left before.
    ClientGone,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Failed(code) => code.as_str(),
            Outcome::ClientGone => "client_gone",
        }
    }
}

/// Whether it was for who asks that a request was not served: what the audit log is to know (security rule E24).
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::AuthMissingOrInvalid
            | Code::IpForbidden
            | Code::ModelForbidden
            | Code::BackendForbidden
            | Code::RateLimited
            | Code::BudgetExceeded
            | Code::ConcurrencyLimited
            | Code::KeyRevoked
    )
}

/// What is known of a request, from its begin to its end.
pub(crate) struct Ticket {
    pub(crate) worker: Rc<Worker>,
    /// The configuration that the request started with.
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) request_id: String,
    /// Where the request comes from.
    pub(crate) origin: Origin,
    /// The address at the other end of its connection.
    peer: IpAddr,
    pub(crate) started: Moment,
    /// Wall time when it was opened.
    pub(crate) opened_unix_millis: u64,
    pub(crate) dialect: Protocol,
    method: Method,
    route: Route,
    /// Whether its user has named the backend, and was let.
    pub(crate) is_forced: bool,
    pub(crate) user: Option<Arc<User>>,
    /// The public model that was asked for; set once it is known to exist.
    pub(crate) model: Option<Arc<Model>>,
    /// `provider/model` of the last attempt.
    pub(crate) backend: Option<Arc<str>>,
    pub(crate) attempts: u32,
    pub(crate) attempt: Option<Attempt>,
    /// Where the request's task is woken when there is no more time for what is in flight.
    pub(crate) place: Place,
    pub(crate) slots: Taken,
    /// How the user's tightest limit of requests stood once it had been charged with this one.
    pub(crate) rate: Option<WindowStanding>,
    /// How its tightest limit of tokens stood then.
    pub(crate) tokens: Option<WindowStanding>,
    /// What the request may use; `None`: nobody counts.
    pub(crate) estimate: Option<Estimate>,
    /// What was taken of limits of tokens for it, until it is known what it used.
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) spent: Spent,
    /// Whether its client has been promised a stream; `None`: nothing goes out before there is an answer.
    pub(crate) is_promised: Option<Rc<Cell<bool>>>,
    pub(crate) status: u16,
    /// Time that upstreams took until the answer began.
    pub(crate) upstream_time: Duration,
    pub(crate) first_byte: Option<Moment>,
    outcome: Outcome,
}

/// Places that a request takes, where their number is limited, until its ticket is settled.
#[derive(Default)]
pub(crate) struct Taken {
    /// Of its user.
    pub(crate) user: Option<Slot>,
    /// Of the whole gateway.
    pub(crate) gateway: Option<Slot>,
    /// Of its model.
    pub(crate) model: Option<Slot>,
}

impl Ticket {
    /// Opens the ticket of a request.
    pub(crate) fn open(worker: &Rc<Worker>, request: &Request) -> Self {
        let opened_unix_millis = worker.clock.unix_millis();
        let snapshot = worker.gateway.snapshot();
        Self {
            worker: worker.clone(),
            origin: snapshot.addresses.origin(request.peer.source, request.fields()),
            peer: request.peer.socket.ip().to_canonical(),
            snapshot,
            request_id: request_id(worker, request, opened_unix_millis),
            started: worker.now(),
            opened_unix_millis,
            dialect: Protocol::OpenAi,
            method: request.method(),
            route: Route::Unknown,
            is_forced: false,
            user: None,
            model: None,
            backend: None,
            attempts: 0,
            attempt: None,
            place: Place::new(worker.clone()),
            slots: Taken::default(),
            rate: None,
            tokens: None,
            estimate: None,
            reservations: Vec::new(),
            spent: Spent::Nothing,
            is_promised: None,
            status: 0,
            upstream_time: Duration::ZERO,
            first_byte: None,
            // Until something else is known: whoever drops a ticket early does so because the client left.
            outcome: Outcome::ClientGone,
        }
    }

    /// Wall time when it was opened, in seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> i64 {
        (self.opened_unix_millis / 1000).cast_signed()
    }

    /// How the user's tightest limit of requests stands; `None`: there is none.
    pub(crate) fn rate(&self) -> Option<WindowStanding> {
        // What was not let in, and what does not count, has charged nothing and is told how things are.
        self.rate.or_else(|| {
            let user = self.user.as_ref().filter(|user| !user.limits.requests.is_empty())?;
            user.live.meter.requests.tightest(&user.limits.requests, self.worker.now())
        })
    }

    /// Notes what the request is for.
    pub(crate) fn at(&mut self, route: Route, dialect: Protocol) {
        self.route = route;
        self.dialect = dialect;
    }

    /// Notes how the request ended.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Notes that the answer is over, and went well as far as its backend goes.
    pub(crate) fn complete(&mut self) {
        if self.outcome == Outcome::ClientGone {
            self.outcome = Outcome::Answered;
        }
        self.end_attempt(Ending::of(OutcomeClass::Success));
    }

    /// Ends the attempt under way, if one is.
    pub(crate) fn end_attempt(&mut self, ending: Ending) {
        if let Some(mut attempt) = self.attempt.take() {
            attempt.settle(self.used());
            attempt.end(ending, &self.worker, &self.snapshot.rules);
        }
    }

    /// How many tokens it has used, as far as that is known.
    fn used(&self) -> u32 {
        self.estimate.map_or(0, |estimate| self.spent.tokens(estimate))
    }

    /// Settles what was taken of limits of tokens.
    fn settle_tokens(&mut self) {
        // Who leaves before there is an answer has had its request sent: its vendor counts that.
        if self.outcome == Outcome::ClientGone && self.attempts > 0 && self.spent == Spent::Nothing {
            self.spent = Spent::Sent;
        }
        let used = self.used();
        if let (Some(output), Some(model)) = (self.spent.told_output(), &self.model) {
            model.live.note_output(output);
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.settle(used);
        }
        self.reservations.drain(..).for_each(|reservation| reservation.settle(used));
    }

    /// Notes that the first byte of the answer is there.
    pub(crate) fn begin_answer(&mut self, status: u16) {
        let now = self.worker.now();
        self.status = status;
        self.first_byte = Some(now);
        let own = now.since(self.started).saturating_sub(self.upstream_time);
        self.worker.gateway.metrics().overhead.record(own);
    }

    fn settle(&mut self) {
        let duration = self.worker.now().since(self.started);
        let metrics = self.worker.gateway.metrics();
        if self.outcome == Outcome::ClientGone {
            metrics.disconnects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // The status that nginx made customary for a client that closed its request.
            self.status = if self.first_byte.is_some() { self.status } else { 499 };
        }
        metrics.record_request(self.method, self.route, self.status, duration);
        self.log(duration);
        self.account();
    }

    fn account(&self) {
        let Some(audit) = self.worker.gateway.audit() else { return };
        // Of those whom Berry does not know, scanners and probes, only refusals are told.
        let is_each_told = self.snapshot.audits_requests && self.user.is_some();
        let occasion = match self.outcome {
            _ if self.is_forced => Occasion::Forced,
            _ if is_each_told => Occasion::Asked,
            Outcome::Failed(code) if is_refusal(code) => Occasion::Refused(code),
            _ => return,
        };
        audit.note(&Ended {
            occasion,
            unix_millis: self.opened_unix_millis,
            user: self.user.as_ref().map(|user| &user.id),
            route: self.route.label(),
            model: self.model.as_ref().map(|model| model.name.as_str()),
            backend: self.backend.as_deref(),
            outcome: self.outcome.as_str(),
            ip: self.origin.known(),
            request_id: &self.request_id,
        });
    }

    fn log(&self, duration: Duration) {
        tracing::info!(
            target: "berry::request",
            request_id = %self.request_id,
            ip = %self.origin,
            // Behind a proxy both addresses are told (failure model, C24).
            peer = (self.origin != Origin::Known(self.peer)).then(|| tracing::field::display(self.peer)),
            user_id = self.user.as_ref().map(|user| user.id.as_str()),
            method = self.method.as_str(),
            route = self.route.label(),
            model = self.model.as_ref().map(|model| model.name.as_str()),
            backend = self.backend.as_deref(),
            attempts = self.attempts,
            status = self.status,
            outcome = self.outcome.as_str(),
            generation = self.snapshot.generation,
            duration_ms = millis(duration),
            ttfb_ms = self.first_byte.map(|at| millis(at.since(self.started))),
            "request ended"
        );
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle_tokens();
        // An attempt that nobody finished was cancelled: it tells nothing about its backend.
        self.attempt = None;
        // A request whose handling panics is answered and settled by a ticket of its own.
        if !std::thread::panicking() {
            self.settle();
        }
    }
}

/// One try at a backend. It counts as in flight until it is dropped; one that is dropped without an ending was given up.
pub(crate) struct Attempt {
    live: Arc<BackendLive>,
    provider: Arc<Provider>,
    /// The account that it is tried with: its place at the provider, and its hash.
    account: (usize, u64),
    /// `provider/model`, for the log.
    label: Arc<str>,
    /// The model that it is tried for: how many of its backends are open decides whether a soft failure may open this one.
    model: Arc<Model>,
    /// What was taken of its provider's limit of tokens.
    reservation: Option<Box<Reservation>>,
    /// As long as its answer has not begun.
    unanswered: Option<Age>,
    has_ended: bool,
}

impl Attempt {
    /// Begins a try at `target` with one of its accounts. What its provider's limits in a time have for it has been taken.
    pub(crate) fn begin(target: &Target, account: usize, model: &Arc<Model>, ticket: &Ticket) -> Self {
        let accounts = &target.provider.accounts;
        let unanswered = Some(target.live.enter());
        accounts.live.enter();
        let limits = &target.provider.rate_limit;
        let reservation = is_metered(limits).then(|| {
            let tokens = ticket.estimate.unwrap_or_default().total();
            Box::new(Reservation::of(&ticket.worker, &accounts.live.meter, limits.tokens, tokens))
        });
        Self {
            live: target.live.clone(),
            provider: target.provider.clone(),
            account: (account, accounts.hashes().get(account).copied().unwrap_or_default()),
            label: target.fixed_label(),
            model: model.clone(),
            reservation,
            unanswered,
            has_ended: false,
        }
    }

    /// Settles what was taken of its provider's limit of tokens.
    fn settle(&mut self, used: u32) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(used);
        }
    }

    /// Notes that its answer has begun, `sample` after it was sent.
    pub(crate) fn begin_answer(&mut self, sample: Duration, now: Moment) {
        let turned = self.unanswered.take().and_then(|age| self.live.record_begun(age, sample, now));
        if let Some(turned) = turned {
            tell(&self.label, turned.to, now);
        }
        self.provider.accounts.live.room.release();
    }

    /// Ends the try.
    pub(crate) fn end(mut self, ending: Ending, worker: &Worker, rules: &Rules) {
        let now = worker.now();
        self.has_ended = true;
        // Looked at now, not when the attempt began: others in flight may have failed meanwhile.
        let may_open = ending.failure == Some(FailureKind::Soft) && self.model.may_lose_one(now);
        let (place, hash) = self.account;
        if let Some(cooldown) = ending.cooldown.filter(|cooldown| self.live.cool_down(hash, *cooldown, now)) {
            let (backend, seconds) = (&*self.label, cooldown.1.as_secs_f64());
            tracing::info!(backend, key = place + 1, seconds, "a key cools down");
        }
        if let Some(turned) = self.live.record(ending, may_open, (&self.provider.accounts, now), rules) {
            tell(&self.label, turned.to, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.live.leave(self.unanswered);
        self.provider.accounts.live.leave();
        if !self.has_ended {
            self.live.record_cancelled();
        }
    }
}

/// Says in the log that a backend's state has changed.
pub(crate) fn tell(backend: &str, to: State, now: Moment) {
    match to {
        State::Healthy => tracing::info!(backend, "a backend is healthy again"),
        State::Ramp { .. } => tracing::info!(backend, "a backend may prove itself with a little traffic"),
        State::Open { until, hard } => {
            let seconds = until.since(now).as_secs_f64();
            tracing::warn!(backend, seconds, hard, "a backend is taken out");
        }
    }
}

/// The caller's own id where it is well-formed, else a new one (UUID version 7, RFC 9562).
fn request_id(worker: &Worker, request: &Request, unix_millis: u64) -> String {
    const LONGEST: usize = 128;
    let well_formed = |id: &&str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        (1..=LONGEST).contains(&id.len()) && id.bytes().all(allowed)
    };
    if let Some(id) = request.text_field("x-request-id").filter(well_formed) {
        return id.to_owned();
    }
    let mut random = [0; 10];
    let rolls = worker.roll().to_le_bytes().into_iter().chain(worker.roll().to_le_bytes());
    random.iter_mut().zip(rolls).for_each(|(byte, roll)| *byte = roll);
    uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid().to_string()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
