//! Pages that Berry answers itself: what it is, how it is, which models there are, and its metrics.

use std::sync::Arc;

use berry_http1::push_field;
use berry_vocab::{Code, Failure, Protocol};
use berry_wire::ModelCard;
use serde_json::{Value, json};

use crate::client::Request;
use crate::gateway::{Gateway, Phase};
use crate::origin::Origin;
use crate::path::Parts;
use crate::report;
use crate::routes::Page;
use crate::snapshot::{Door, Model, Snapshot, User};
use crate::station::{Outcome, Ticket, identify};

/// When every model counts as created: the lists of models want a time, and a configuration has none. 2024-01-01T00:00:00Z.
const CREATED: i64 = 1_704_067_200;

/// Answers a page.
///
/// # Errors
/// The caller may not see it, or there is no such model.
pub(crate) fn answer(page: Page<'_>, request: &Request, ticket: &mut Ticket) -> Result<Parts, Failure> {
    let gateway = ticket.worker.gateway.clone();
    let parts = match page {
        Page::Index => json_parts(200, &index()),
        Page::Live => json_parts(200, &json!({"status": "live"})),
        Page::Ready => ready(&gateway),
        Page::Health => {
            // The word alone is for everybody: see `Door::Probe`.
            let may_ask = ticket.snapshot.addresses.let_in(ticket.origin, Door::Data);
            let is_admin = may_ask && caller(request, ticket).is_ok_and(|user| user.is_admin);
            health(&gateway, &ticket.snapshot, is_admin)
        }
        Page::Metrics => metrics(&gateway, request, ticket)?,
        Page::ListModels { beta } => {
            ticket.dialect = models_dialect(request, beta);
            list_models(&*caller(request, ticket)?, ticket)
        }
        Page::GetModel { id, beta } => {
            ticket.dialect = models_dialect(request, beta);
            get_model(&*caller(request, ticket)?, id, ticket)?
        }
    };
    ticket.end(Outcome::Answered);
    Ok(parts)
}

/// Who asks. Pages do not count against its limits.
fn caller(request: &Request, ticket: &mut Ticket) -> Result<Arc<User>, Failure> {
    identify::caller(request, ticket.dialect, ticket)
}

fn json_parts(status: u16, value: &Value) -> Parts {
    text_parts(status, "application/json", value.to_string().into_bytes())
}

fn text_parts(status: u16, content_type: &str, body: Vec<u8>) -> Parts {
    let mut fields = crate::answer::begin_head(status);
    push_field(&mut fields, b"content-type", content_type.as_bytes());
    (status, fields, body.into())
}

fn index() -> Value {
    json!({
        "name": "berry",
        "version": env!("CARGO_PKG_VERSION"),
        "see": {"health": "/health", "models": "/v1/models", "metrics": "/metrics"},
    })
}

fn ready(gateway: &Gateway) -> Parts {
    match gateway.phase() {
        Phase::Serving => json_parts(200, &json!({"status": "ready"})),
        Phase::Leaving | Phase::Draining => json_parts(503, &json!({"status": "draining"})),
    }
}

fn health(gateway: &Gateway, snapshot: &Snapshot, detailed: bool) -> Parts {
    let report = report::health(gateway, snapshot);
    let healthy = gateway.phase() == Phase::Serving && report.models.iter().any(|model| model.servable);
    let mut body = json!({
        "status": if healthy { "healthy" } else { "unhealthy" },
        "models": {"total": report.models.len(), "servable": report.models.iter().filter(|model| model.servable).count()},
        "backends": {
            "total": report.backends.len(),
            "eligible": report.backends.iter().filter(|backend| backend.is_eligible()).count(),
        },
    });
    if detailed {
        body["detail"] = report.to_json();
        body["detail"]["audit"] = report::audit(gateway);
    }
    json_parts(if healthy { 200 } else { 503 }, &body)
}

/// For admin tokens, and for scrapers on this machine that no proxy speaks for.
fn metrics(gateway: &Gateway, request: &Request, ticket: &mut Ticket) -> Result<Parts, Failure> {
    let is_local = matches!(ticket.origin, Origin::Known(ip) if ip.is_loopback())
        && request.peer.socket.ip().to_canonical().is_loopback()
        && !request.fields().any(|(name, _)| is_of_forwarding(name));
    let carries_credential = berry_wire::CREDENTIAL_HEADERS.iter().any(|name| request.field(name).is_some());
    if !is_local || carries_credential {
        let user = caller(request, ticket)?;
        if !user.is_admin && !is_local {
            return Err(Failure::new(
                Code::IpForbidden,
                "metrics are for users tagged `admin` and for scrapers on this machine",
            ));
        }
    }
    let text = report::metrics(gateway, &ticket.snapshot);
    Ok(text_parts(200, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes()))
}

/// Whether a field of that name says that a proxy speaks for somebody.
fn is_of_forwarding(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"forwarded", b"x-real-ip", b"via", b"x-client-ip"];
    const PREFIX: &[u8] = b"x-forwarded-";
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whose shape the lists of models take.
fn models_dialect(request: &Request, beta: bool) -> Protocol {
    if request.field("anthropic-version").is_some() {
        Protocol::Anthropic
    } else if beta || request.field("x-goog-api-key").is_some() {
        Protocol::Gemini
    } else {
        Protocol::OpenAi
    }
}

/// The models that a user may call, by name; patterns name none.
fn visible<'s>(snapshot: &'s Snapshot, user: &User) -> Vec<&'s Model> {
    let callable = |model: &&Model| {
        model.enabled
            && !model.is_pattern()
            && user.may_use(&model.id)
            && model.targets.iter().any(|t| user.may_reach(&t.tags))
    };
    let mut models: Vec<&Model> = snapshot.models().iter().map(|model| &**model).filter(callable).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

fn list_models(user: &User, ticket: &Ticket) -> Parts {
    let models = visible(&ticket.snapshot, user);
    let cards: Vec<ModelCard<'_>> =
        models.iter().map(|model| ModelCard { id: &model.name, created: CREATED }).collect();
    text_parts(200, "application/json", berry_wire::list_models(ticket.dialect, &cards))
}

fn get_model(user: &User, id: &str, ticket: &Ticket) -> Result<Parts, Failure> {
    let id = berry_wire::percent_decode(id).unwrap_or_default();
    let is_known = ticket.snapshot.model(&id).is_some_and(|model| user.may_use(&model.id));
    if !is_known {
        return Err(Failure::new(
            Code::ModelNotFound,
            "there is no such model; GET /v1/models lists those that you may use",
        )
        .param("model"));
    }
    Ok(text_parts(
        200,
        "application/json",
        berry_wire::get_model(ticket.dialect, &ModelCard { id: &id, created: CREATED }),
    ))
}
