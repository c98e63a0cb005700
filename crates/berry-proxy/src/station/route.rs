//! Station 5: the model that is asked for, to the pool of targets that this caller may reach by this protocol.

use std::sync::Arc;

use berry_vocab::{Code, Failure, Protocol};
use berry_wire::{Asked, Call};
use smallvec::{SmallVec, smallvec};

use crate::snapshot::{Model, Snapshot, Target, User};

/// Where a request may go.
pub(crate) struct Plan {
    /// The model that was asked for, then those that stand in for it.
    pub(crate) pools: SmallVec<[Pool; 1]>,
    /// Whether the caller named the backend.
    pub(crate) forced: bool,
}

/// The targets of one model that a request may go to, by their places in the model's list.
pub(crate) struct Pool {
    pub(crate) model: Arc<Model>,
    /// How many targets stand in the pools before this one, so that a place means one target of the whole plan.
    before: usize,
    places: SmallVec<[usize; 8]>,
}

impl Pool {
    fn new(model: &Arc<Model>, places: SmallVec<[usize; 8]>) -> Self {
        Self { model: model.clone(), before: 0, places }
    }

    /// The target at a place of the plan.
    pub(crate) fn target(&self, place: usize) -> Option<&Target> {
        self.model.targets.get(place.checked_sub(self.before)?)
    }

    /// Places in the plan and targets, in the order of the file.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (usize, &Target)> {
        self.places.iter().filter_map(|&place| Some((self.before + place, self.model.targets.get(place)?)))
    }
}

impl Plan {
    fn new(mut pools: SmallVec<[Pool; 1]>, forced: bool) -> Self {
        let mut before = 0;
        for pool in &mut pools {
            pool.before = before;
            before += pool.model.targets.len();
        }
        Self { pools, forced }
    }
}

/// Finds where a request may go.
///
/// # Errors
/// `model_not_found`, `model_forbidden`, `backend_forbidden`, `no_backend`, and `invalid_request` where the model's backends
/// speak another protocol than the client.
pub(crate) fn plan(
    snapshot: &Snapshot,
    user: &User,
    call: &Call<'_>,
    asked: &Asked,
    forced: Option<&str>,
) -> Result<Plan, Failure> {
    let model = find_model(snapshot, user, &asked.model)?;
    if let Some(provider) = forced {
        return force(snapshot, user, model, call.protocol, provider);
    }
    let first = reachable(model, user, call.protocol)?;
    let stand_in = |&place: &usize| {
        let fallback = snapshot.model_at(place).filter(|fallback| user.may_use(&fallback.id))?;
        reachable(fallback, user, call.protocol).ok()
    };
    let pools = std::iter::once(first).chain(model.fallbacks.iter().filter_map(stand_in)).collect();
    Ok(Plan::new(pools, false))
}

fn find_model<'s>(snapshot: &'s Snapshot, user: &User, name: &str) -> Result<&'s Arc<Model>, Failure> {
    let Some(model) = snapshot.model(name) else {
        let message =
            format!("the model `{}` does not exist here; GET /v1/models lists those that you may use", printable(name));
        return Err(Failure::new(Code::ModelNotFound, message).param("model"));
    };
    match user.may_use(&model.id) {
        true => Ok(model),
        false => Err(Failure::new(Code::ModelForbidden, format!("you may not use the model `{}`", printable(name)))
            .param("model")),
    }
}

fn reachable(model: &Arc<Model>, user: &User, protocol: Protocol) -> Result<Pool, Failure> {
    let speaks = |target: &Target| target.provider.protocol == protocol;
    let (mut any_protocol, mut places) = (false, SmallVec::new());
    for (place, target) in model.targets.iter().enumerate().filter(|(_, target)| user.may_reach(&target.tags)) {
        any_protocol = true;
        if speaks(target) {
            places.push(place);
        }
    }
    match (places.is_empty(), any_protocol) {
        (false, _) => Ok(Pool::new(model, places)),
        (true, true) => Err(other_protocol(model, protocol)),
        (true, false) if model.targets.is_empty() => {
            Err(Failure::new(Code::NoBackend, format!("no backend of the model `{}` is enabled", model.name)))
        }
        (true, false) => {
            Err(Failure::new(Code::NoBackend, format!("your tags reach no backend of the model `{}`", model.name)))
        }
    }
}

fn other_protocol(model: &Model, protocol: Protocol) -> Failure {
    let mut spoken: Vec<&str> = model.targets.iter().map(|target| target.provider.protocol.as_str()).collect();
    spoken.sort_unstable();
    spoken.dedup();
    let message = format!(
        "this route speaks the {protocol} protocol, and the backends of the model `{}` speak {}; call it by a route of that protocol \
         (translation between protocols is not there yet)",
        model.name,
        spoken.join(" and ")
    );
    Failure::new(Code::InvalidRequest, message).param("model")
}

fn force(
    snapshot: &Snapshot,
    user: &User,
    model: &Arc<Model>,
    protocol: Protocol,
    provider: &str,
) -> Result<Plan, Failure> {
    if !user.may_force_backend {
        let message = "you may not name a backend; leave out `backend` and `berry-backend`";
        return Err(Failure::new(Code::BackendForbidden, message).param("backend"));
    }
    // All backends of one provider speak its protocol; their tags may differ.
    let of_provider = || model.targets.iter().enumerate().filter(|(_, target)| target.provider.id.as_str() == provider);
    let Some((_, target)) = of_provider().next() else {
        return Err(no_such_target(snapshot, model, provider));
    };
    if target.provider.protocol != protocol {
        return Err(other_protocol(model, protocol));
    }
    let reached = of_provider().filter(|(_, target)| user.may_reach(&target.tags));
    let places: SmallVec<[usize; 8]> = reached.map(|(place, _)| place).collect();
    if places.is_empty() {
        return Err(Failure::new(Code::NoBackend, "your tags do not reach the backend that you named").param("backend"));
    }
    Ok(Plan::new(smallvec![Pool::new(model, places)], true))
}

fn no_such_target(snapshot: &Snapshot, model: &Model, provider: &str) -> Failure {
    if model.is_disabled_backend(provider) {
        return Failure::new(Code::NoBackend, "the backend that you named is disabled").param("backend");
    }
    let message = match snapshot.has_provider(provider) {
        true => format!("`{}` is no backend of the model `{}`", printable(provider), model.name),
        false => format!("there is no provider `{}`", printable(provider)),
    };
    Failure::new(Code::InvalidRequest, message).param("backend")
}

/// What a client sent, fit for a message: bounded, and without control characters.
fn printable(text: &str) -> String {
    const LONGEST: usize = 64;
    text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
