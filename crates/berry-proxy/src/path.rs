//! The path of a request, on one screen: ten stations, each one's output the next one's input.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use berry_http1::{Method, push_decimal, push_field};
use berry_vocab::{Code, Failure, Protocol};
use berry_wire::{Asked, Call};
use bytes::Bytes;

use crate::allowance::Allowance;
use crate::answer::{Answer, Content, refusal};
use crate::client::{BodyError, Client, Request};
use crate::pages;
use crate::routes::{self, Target};
use crate::station::call::{self, Inquiry, NoAnswer, Tap};
use crate::station::{Outcome, Ticket, admit, identify, limit, route, vigil};
use crate::worker::Worker;

/// Status, head and content of an answer, before Berry's own fields are added.
pub(crate) type Parts = (u16, Vec<u8>, Content);

/// Answers a request. `None`: the client is gone.
pub(crate) async fn handle<C: Client>(worker: &Rc<Worker>, request: &Request, client: &mut C) -> Option<Answer> {
    let mut ticket = Ticket::open(worker, request); // 1 accept
    poll_fn(|cx| {
        ticket.place.sit(cx);
        Poll::Ready(())
    })
    .await;
    let (call, prepared) = match prepare(request, client, &mut ticket).await {
        Ok(Step::Call(call, prepared)) => (call, prepared),
        Ok(Step::Answer(parts)) => return conclude(Ok(parts), ticket),
        Err(none) => return conclude(Err(none), ticket),
    };
    let may_comment = prepared.asked.stream && berry_wire::streams_events(call.operation, request.query());
    match ticket.snapshot.stream_keepalive.filter(|_| may_comment) {
        // Seldom asked for: its state should not lie in that of every request.
        Some(every) => Box::pin(vigil::call(request.clone(), prepared, client, ticket, every)).await,
        None => {
            let result = prepared.call(request, &call, client, &mut ticket).await; // 7 choose, 8 call
            conclude(result, ticket)
        }
    }
    // 9 relay is the side's that carries the client; 10 settle is the ticket's.
}

/// What a request comes to before any backend is asked.
#[expect(clippy::large_enum_variant, reason = "one for each request, which a box would cost an allocation")]
enum Step<'r> {
    /// An answer of Berry's own.
    Answer(Parts),
    /// A call, and all that it needs.
    Call(Call<'r>, Prepared),
}

/// A call that has been let in: what is asked, where it may go, and the memory that its body takes.
pub(crate) struct Prepared {
    pub(crate) asked: Asked,
    plan: route::Plan,
    body: Bytes,
    _allowance: Allowance,
}

impl Prepared {
    /// Calls backends until there is an answer.
    pub(crate) async fn call<C: Client>(
        self,
        request: &Request,
        call: &Call<'_>,
        client: &mut C,
        ticket: &mut Ticket,
    ) -> Result<Parts, NoAnswer> {
        let memory = ticket.worker.gateway.body_memory.clone();
        let tap =
            (ticket.estimate.is_some() || self.asked.adds_usage).then_some(Tap { is_unasked: self.asked.adds_usage });
        let is_promised = ticket.is_promised.clone();
        let inquiry = Inquiry { request, call, asked: &self.asked, body: self.body, tap, is_promised };
        let size = inquiry.body.len() as u64;
        let calling = pin!(call::call(&inquiry, &self.plan, client, ticket));
        memory.pressure.unless_given_up(size, calling).await
    }
}

/// The answer that a call has come to. `None`: the client is gone.
pub(crate) fn conclude(result: Result<Parts, NoAnswer>, ticket: Ticket) -> Option<Answer> {
    match result {
        Ok(parts) => Some(finish(parts, ticket)),
        Err(NoAnswer::Failed(failure)) => Some(refuse(&failure, &[], ticket)),
        Err(NoAnswer::ClientGone) => None,
    }
}

async fn prepare<'r, C: Client>(
    request: &'r Request,
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<Step<'r>, NoAnswer> {
    ticket.dialect = berry_wire::dialect_of_path(request.path());
    let target = match routes::find(request.method(), request.method_name(), request.path()) {
        Ok(target) => target,
        Err(miss) => return Ok(Step::Answer(missed(&miss, request, ticket))),
    };
    ticket.at(target.route(), target.dialect().unwrap_or(ticket.dialect));
    if request.head.expects_other {
        let message = "the expectation cannot be met; leave out `expect`, or send `100-continue`";
        return Err(Failure::new(Code::ExpectationFailed, message).into());
    }
    match target {
        Target::Page(page) => Ok(Step::Answer(pages::answer(page, request, ticket)?)),
        Target::Call(call) => Ok(Step::Call(call, let_in(&call, request, client, ticket).await?)),
    }
}

/// Stations 2 to 6.
async fn let_in<C: Client>(
    call: &Call<'_>,
    request: &Request,
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<Prepared, NoAnswer> {
    if request.is_late {
        let failure = Failure::new(Code::Shutdown, "the gateway is stopping; ask again, it or another will answer");
        return Err(failure.into());
    }
    let snapshot = ticket.snapshot.clone();
    let user = identify::caller(request, call.protocol, &snapshot.users, ticket.unix_seconds())?; // 2 identify
    ticket.user = Some(user.clone());
    ticket.worker.gateway.body_memory.pressure.admit()?; // 4 admit: is there memory
    limit::user(user, ticket)?; // 4 admit: the user's own limits
    admit::at_the_door(ticket)?; // 4 admit: may there be a place

    if is_coded(request) {
        let message = "a body with a content coding is not taken; send it as it is, without content-encoding";
        return Err(Failure::new(Code::UnsupportedMedia, message).into());
    }
    let mut allowance = ticket.worker.gateway.body_memory.allow(snapshot.max_body_bytes, snapshot.max_body_memory);
    let body = client.read_body(&mut allowance).await?; // 3 read
    ticket.slots.gateway = admit::gateway(client, ticket).await?; // 4 admit: the whole gateway
    let mut asked = berry_wire::read(call, request.text_field("content-type"), &body)?;

    let forced = forced_backend(request, &asked)?;
    ticket.model = snapshot.model(&asked.model).filter(|model| user.may_use(&model.id)).cloned();
    let plan = route::plan(&snapshot, user, call, &asked, forced)?; // 5 route
    limit::tokens((call, &mut asked), &body, &plan, ticket)?; // 4 admit: the user's tokens, now that they can be estimated

    // Budgets take their place here, holding a reservation in the ticket as tokens do.

    // 6 recall: a cache, and joining an identical request in flight, take their place here.

    Ok(Prepared { asked, plan, body, _allowance: allowance })
}

fn is_coded(request: &Request) -> bool {
    request
        .field("content-encoding")
        .is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

/// The backend that the request names, by header or body field.
fn forced_backend<'a>(request: &'a Request, asked: &'a Asked) -> Result<Option<&'a str>, Failure> {
    match (request.text_field("berry-backend"), asked.backend.as_deref()) {
        (Some(header), Some(field)) if header != field => {
            let message =
                "the header `berry-backend` and the field `backend` name different backends; send one of them";
            Err(Failure::new(Code::InvalidRequest, message).param("backend"))
        }
        (header, field) => Ok(header.or(field)),
    }
}

fn missed(miss: &berry_wire::Miss, request: &Request, ticket: &mut Ticket) -> Parts {
    // With another method the path would be one that is known: the log says which.
    let known = [Method::Post, Method::Get].map(|method| routes::find(method, method.as_str(), request.path()));
    if let Some(target) = known.into_iter().find_map(Result::ok) {
        ticket.at(target.route(), target.dialect().unwrap_or(ticket.dialect));
    }
    let failure = miss.failure();
    let (status, mut fields, body) = refusal(&failure, ticket.dialect, &ticket.request_id);
    if let berry_wire::Miss::MethodNotAllowed { allow } = miss {
        push_field(&mut fields, b"allow", allow.as_bytes());
    }
    ticket.end(Outcome::Failed(failure.code()));
    (status, fields, Content::Whole(body))
}

/// The answer that tells a failure. `fields`: further field lines.
pub(crate) fn refuse(failure: &Failure, fields: &[u8], mut ticket: Ticket) -> Answer {
    let (status, mut all, body) = refusal(failure, ticket.dialect, &ticket.request_id);
    all.extend_from_slice(fields);
    ticket.end(Outcome::Failed(failure.code()));
    finish((status, all, Content::Whole(body)), ticket)
}

/// Adds the fields that every answer carries.
fn finish((status, mut fields, content): Parts, mut ticket: Ticket) -> Answer {
    if let Some(backend) = &ticket.backend {
        push_field(&mut fields, b"berry-backend", backend.as_bytes());
        fields.extend_from_slice(b"berry-attempts: ");
        push_decimal(&mut fields, u64::from(ticket.attempts));
        fields.extend_from_slice(b"\r\n");
    }
    push_own_fields(&ticket, &mut fields);
    ticket.begin_answer(status);
    Answer::new((status, fields, content), ticket)
}

/// Adds what is known of every request before it has an answer.
pub(crate) fn push_own_fields(ticket: &Ticket, fields: &mut Vec<u8>) {
    push_field(fields, b"x-request-id", ticket.request_id.as_bytes());
    if ticket.dialect == Protocol::Anthropic {
        push_field(fields, b"request-id", ticket.request_id.as_bytes());
    }
    limit::push_standings(ticket, fields);
    ticket.worker.push_date(ticket.opened_unix_millis / 1000, fields);
}

impl From<BodyError> for NoAnswer {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Refused(failure) => NoAnswer::Failed(failure),
            BodyError::Gone => NoAnswer::ClientGone,
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(body: Vec<u8>) -> Self {
        Content::Whole(Bytes::from(body))
    }
}
