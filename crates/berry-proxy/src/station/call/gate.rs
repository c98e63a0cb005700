//! The gate before the commit point: how much of an answer must have come, and how it is judged, before any of it goes to the
//! client. Of a stream, the first meaningful event; of a plain answer, all of it up to a bound; of an error, its body. What is
//! refused here, another backend may still answer, unseen.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use berry_vocab::Moment;
use berry_wire::{Complaint, Ending, Event, EventReader, Operation, complaint_of_status};
use bytes::Bytes;
use tokio::time::timeout;

use crate::station::Spent;
use crate::station::call::Tap;
use crate::station::call::fault::Fault;
use crate::upstream::{AnswerHead, Begun, BodyFault, First, UpstreamBody};
use crate::worker::Worker;

/// How much of a stream is held while nothing meaningful has come; a first event larger than this commits.
const STREAM_HELD: usize = 64 * 1024;

/// How much of a plain answer, or of an error, is held.
const PLAIN_HELD: usize = 256 * 1024;

/// How long the body of an error is waited for whose status says enough.
const ERROR_BODY: Duration = Duration::from_secs(1);

/// What the gate needs to know of the attempt.
pub(super) struct Gate<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) operation: Operation,
    /// Whether a stream was asked for.
    pub(super) stream: bool,
    /// Whether the account may lack what the request refers to.
    pub(super) may_lack_state: bool,
    /// When the attempt has taken too long, as it stands now.
    pub(super) due: &'a Cell<Moment>,
    /// How long a plain answer may pause, once it has begun.
    pub(super) idle: Duration,
    pub(super) tap: Option<Tap>,
    /// Whether the client has been promised a stream, by a head that has gone out already.
    pub(super) is_promised: Option<&'a Cell<bool>>,
}

/// An answer that may go to the client.
pub(crate) struct Received {
    pub(super) head: AnswerHead,
    pub(super) held: Held,
    /// When the first of it came that means something.
    pub(super) first_at: Moment,
    /// What it cost, where all of it is held and somebody counts.
    pub(super) spent: Spent,
}

/// What is at hand of an answer.
pub(super) enum Held {
    /// All of it.
    Whole(Bytes),
    /// The beginning, and where the rest comes from.
    Flowing {
        first: Bytes,
        /// How much of it the reader of events has taken.
        judged: usize,
        /// Follows the stream's events; `None`: it is no stream of events.
        events: Option<Box<EventReader>>,
        body: UpstreamBody,
    },
}

/// Why there is no answer.
pub(crate) struct Trouble {
    pub(super) fault: Fault,
    /// How long the backend asks to be left alone.
    pub(super) wait: Option<Duration>,
    /// The backend's own answer, where the client may be told it.
    pub(super) answer: Option<(AnswerHead, Bytes)>,
    /// The status that came, if one did.
    pub(super) status: Option<u16>,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self { fault, wait: None, answer: None, status: None }
    }
}

impl From<BodyFault> for Trouble {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Disconnected | BodyFault::Truncated => Fault::Cut.into(),
            BodyFault::Malformed => Fault::Garbled.into(),
        }
    }
}

/// An answer's body on its way through the gate.
struct Inflow {
    /// What came first; it is all, unless `more` holds something.
    first: Bytes,
    /// Everything, from the second piece on.
    more: Option<Vec<u8>>,
    last: bool,
    body: UpstreamBody,
}

impl Inflow {
    fn new(first: First, body: UpstreamBody) -> Self {
        Self { first: first.bytes, more: None, last: first.last, body }
    }

    fn held(&self) -> &[u8] {
        self.more.as_deref().unwrap_or(&self.first)
    }

    fn poll_more(&mut self, worker: &Worker, cx: &mut Context<'_>) -> Poll<Result<(), BodyFault>> {
        let mut scratch = worker.scratch.borrow_mut();
        let piece = ready!(self.body.poll_piece(cx, &mut scratch))?;
        let more = self.more.get_or_insert_with(|| self.first.to_vec());
        more.extend_from_slice(scratch.get(..piece.len).unwrap_or_default());
        self.last = piece.last;
        Poll::Ready(Ok(()))
    }

    fn into_parts(self) -> (Bytes, UpstreamBody) {
        (self.more.map_or(self.first, Bytes::from), self.body)
    }

    /// Leaves out a part of what is held.
    fn cut(&mut self, part: Range<usize>) {
        let mut held = self.more.take().unwrap_or_else(|| self.first.to_vec());
        if part.start <= part.end && part.end <= held.len() {
            held.drain(part);
        }
        self.more = Some(held);
    }
}

impl Gate<'_> {
    /// Takes of an answer what is needed to judge it.
    pub(super) async fn receive(&self, begun: Begun) -> Result<Received, Trouble> {
        let Begun { head, first, body } = begun;
        let status = head.status();
        let mut trouble = match status {
            200..=203 | 205..=299 => match self.success(head, first, body).await {
                Ok(received) => return Ok(received),
                Err(trouble) => trouble,
            },
            400.. => self.error(head, first, body).await,
            _ => Fault::Garbled.into(),
        };
        trouble.status = Some(status);
        Err(trouble)
    }

    async fn success(
        &self,
        head: AnswerHead,
        first: Option<First>,
        mut body: UpstreamBody,
    ) -> Result<Received, Trouble> {
        let first = match first {
            Some(first) => first,
            None => self.first(&mut body).await?,
        };
        if head.field("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            // Of a coding that cannot be undone nothing can be judged.
            let held = match first.last {
                true => Held::Whole(first.bytes),
                false => Held::Flowing { first: first.bytes, judged: 0, events: None, body },
            };
            return Ok(Received { head, held, first_at: self.worker.now(), spent: Spent::Estimated(0) });
        }
        let is_events = head.field("content-type").is_some_and(|value| value.starts_with(b"text/event-stream"));
        if (is_events || self.stream) && is_stream(self.operation, &first.bytes) {
            let (held, first_at, spent) = self.stream(first, body).await?;
            return Ok(Received { head, held, first_at, spent });
        }
        if self.is_promised.is_some_and(Cell::get) {
            return Err(Fault::NoStream.into());
        }
        self.plain(head, first, body).await
    }

    /// Waits for the first meaningful event. An answer that is all there already is judged to its end.
    async fn stream(&self, first: First, body: UpstreamBody) -> Result<(Held, Moment, Spent), Trouble> {
        let mut inflow = Inflow::new(first, body);
        let events = EventReader::new(self.operation);
        let mut events = Box::new(match self.tap {
            Some(Tap { is_unasked }) => events.with_usage(is_unasked),
            None => events,
        });
        let (mut judged, mut first_at) = (0, None);
        loop {
            while let Some((taken, event)) = events.next(inflow.held().get(judged..).unwrap_or_default()) {
                judged += taken;
                match event {
                    Event::Quiet => {}
                    Event::Unasked => {
                        inflow.cut(judged - taken..judged);
                        judged -= taken;
                    }
                    Event::Error(complaint) => return Err(Fault::within_success(complaint).into()),
                    Event::End if !events.has_content() => return Err(Fault::Garbled.into()),
                    Event::Content | Event::End => first_at = first_at.or_else(|| Some(self.worker.now())),
                }
                if first_at.is_some() && !inflow.last {
                    break;
                }
                judged += events.skip(inflow.held().get(judged..).unwrap_or_default());
            }
            if first_at.is_none() {
                judged = inflow.held().len();
            }
            if inflow.last {
                let is_empty = inflow.held().trim_ascii().is_empty();
                return match events.finish() {
                    Ending::Whole if first_at.is_some() || !events.is_between_events() => {
                        let spent = self.tap.map_or(Spent::Nothing, |_| Spent::of_stream(&events, true));
                        let first_at = first_at.unwrap_or_else(|| self.worker.now());
                        Ok((Held::Whole(inflow.into_parts().0), first_at, spent))
                    }
                    Ending::Failed(complaint) => Err(Fault::within_success(complaint).into()),
                    Ending::Truncated if !is_empty => Err(Fault::Cut.into()),
                    Ending::Whole | Ending::Truncated => Err(Fault::Garbled.into()),
                };
            }
            if first_at.is_some() || inflow.held().len() >= STREAM_HELD {
                let (first, body) = inflow.into_parts();
                let held = Held::Flowing { first, judged, events: Some(events), body };
                return Ok((held, first_at.unwrap_or_else(|| self.worker.now()), Spent::Nothing));
            }
            self.more(&mut inflow).await?;
        }
    }

    /// Holds a plain answer until its end, or up to the bound.
    async fn plain(&self, head: AnswerHead, first: First, body: UpstreamBody) -> Result<Received, Trouble> {
        let first_at = self.worker.now();
        if first.last {
            return match Fault::of_plain(self.operation, &first.bytes) {
                None => {
                    Ok(Received { head, spent: self.spent(&first.bytes), held: Held::Whole(first.bytes), first_at })
                }
                Some(fault) => Err(fault.into()),
            };
        }
        let mut inflow = Inflow::new(first, body);
        let mut list = (self.operation == Operation::StreamGenerateContent).then(List::default);
        while !inflow.last && inflow.held().len() < PLAIN_HELD {
            let element = list.as_mut().and_then(|list| list.first_element(inflow.held()));
            if element.is_some_and(|element| Fault::of_plain(self.operation, element).is_none()) {
                break;
            }
            self.due.set(self.worker.now().after(self.idle));
            self.more(&mut inflow).await?;
        }
        if let Some(fault) = Fault::of_plain(self.operation, inflow.held()).filter(|_| inflow.last) {
            return Err(fault.into());
        }
        if berry_wire::is_page(inflow.held()) {
            return Err(Fault::Garbled.into());
        }
        let last = inflow.last;
        let (first, body) = inflow.into_parts();
        let (held, spent) = match last {
            true => (Held::Whole(first.clone()), self.spent(&first)),
            false => (Held::Flowing { first, judged: 0, events: None, body }, Spent::Nothing),
        };
        Ok(Received { head, held, first_at, spent })
    }

    /// What a whole plain answer cost, where somebody counts.
    fn spent(&self, body: &[u8]) -> Spent {
        self.tap.map_or(Spent::Nothing, |_| Spent::of_plain(self.operation, body))
    }

    /// Reads an error's body, which may say more than the status does. Where the status says enough, what does not come soon
    /// is not waited for.
    async fn error(&self, head: AnswerHead, first: Option<First>, body: UpstreamBody) -> Trouble {
        let status = head.status();
        let is_clear = !matches!(complaint_of_status(status), Complaint::Client | Complaint::Model);
        let nothing = First { bytes: Bytes::new(), last: false };
        let mut inflow = Inflow::new(first.unwrap_or(nothing), body);
        let whole = self.whole(&mut inflow);
        let came = match is_clear {
            true => timeout(ERROR_BODY, whole).await.unwrap_or(Ok(())),
            false => whole.await,
        };
        if let (false, Err(fault)) = (is_clear, came) {
            return fault.into();
        }
        let protocol = self.operation.protocol();
        let complaint = berry_wire::complaint(protocol, status, inflow.held());
        let unix_millis = self.worker.clock.unix_millis();
        let wait = berry_wire::wait(head.fields(), unix_millis)
            .or_else(|| berry_wire::wait_in_body(protocol, inflow.held(), unix_millis));
        let fault = match (complaint, wait) {
            (Complaint::Server, Some(_)) if status == 503 => Fault::Busy,
            (Complaint::Client | Complaint::Model | Complaint::Auth, _)
                if self.may_lack_state && berry_wire::may_lack_state(status, inflow.held()) =>
            {
                Fault::Elsewhere
            }
            (complaint, _) => Fault::Told(complaint),
        };
        let is_told = match fault {
            // A 403 may be a refusal of Berry's own account all the same, which is no client's to read.
            Fault::Elsewhere => status != 403,
            other => matches!(other, Fault::Told(Complaint::Client | Complaint::Model)),
        };
        // What is too long to be cleared of secrets, or a page of some server on the way, is not passed on.
        let may_pass = inflow.last && !berry_wire::is_page(inflow.held());
        let answer = (is_told && may_pass).then(|| (head, inflow.into_parts().0));
        Trouble { fault, wait, answer, status: Some(status) }
    }

    async fn whole(&self, inflow: &mut Inflow) -> Result<(), BodyFault> {
        while !inflow.last && inflow.held().len() < PLAIN_HELD {
            self.more(inflow).await?;
        }
        Ok(())
    }

    async fn more(&self, inflow: &mut Inflow) -> Result<(), BodyFault> {
        poll_fn(|cx| inflow.poll_more(self.worker, cx)).await
    }

    async fn first(&self, body: &mut UpstreamBody) -> Result<First, BodyFault> {
        poll_fn(|cx| {
            let mut scratch = self.worker.scratch.borrow_mut();
            let piece = ready!(body.poll_piece(cx, &mut scratch))?;
            let bytes = Bytes::copy_from_slice(scratch.get(..piece.len).unwrap_or_default());
            Poll::Ready(Ok(First { bytes, last: piece.last }))
        })
        .await
    }
}

/// Whether a body begins as a stream of events does. Some vendors answer in one piece although a stream was asked for, and
/// Gemini streams a JSON array unless it is told otherwise.
pub(crate) fn is_stream(operation: Operation, body: &[u8]) -> bool {
    let begins = body.trim_ascii_start().first();
    match operation {
        // Sound and pictures may begin with anything; their streams of events begin with a field.
        Operation::Audio | Operation::Images => {
            let text = body.trim_ascii_start();
            [&b"data"[..], b"event", b":", b"id", b"retry"].iter().any(|start| text.starts_with(start))
        }
        _ => !matches!(begins, Some(b'{' | b'[' | b'<')),
    }
}

/// The array that Gemini streams, of which the first element is looked for as it comes.
#[derive(Default)]
struct List {
    /// How much has been looked at.
    at: usize,
    begins: usize,
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl List {
    /// The first element, once it has come whole. `held` is all that has come.
    fn first_element<'b>(&mut self, held: &'b [u8]) -> Option<&'b [u8]> {
        if held.trim_ascii_start().first() != Some(&b'[') {
            return None;
        }
        for byte in held.get(self.at..).unwrap_or_default() {
            self.at += 1;
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' => self.is_escaped = self.is_in_string,
                b'"' => self.is_in_string = !self.is_in_string,
                b'{' | b'[' if !self.is_in_string => {
                    if self.depth == 1 {
                        self.begins = self.at - 1;
                    }
                    self.depth += 1;
                }
                b'}' | b']' if !self.is_in_string => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 1 {
                        return held.get(self.begins..self.at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_of_a_list_is_found_however_it_comes() {
        let list = br#" [ {"a":["}]",{"b":"\\\"}"}]} , {"c":1}]"#;
        let first = &br#"{"a":["}]",{"b":"\\\"}"}]}"#[..];
        let mut reader = List::default();
        let found: Vec<_> = (0..=list.len()).filter_map(|len| reader.first_element(&list[..len])).collect();
        assert_eq!(found, [first, br#"{"c":1}"#]);
        assert_eq!(List::default().first_element(list), Some(first));
        for other in [&b"[]"[..], br#"{"error":{"code":500}}"#, b""] {
            assert_eq!(List::default().first_element(other), None);
        }
    }
}
