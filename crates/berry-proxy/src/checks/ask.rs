//! One request of Berry's own to a provider, and what its answer says by the table that judges traffic.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use berry_http1::{push_decimal, push_field};
use berry_wire::{Complaint, Pieces, Probe};
use tokio::time::timeout;

use crate::snapshot::Provider;
use crate::station::Fault;
use crate::upstream::{self, Begun, Outgoing};
use crate::worker::Worker;

/// How much of an answer is read; a list of thousands of models fits.
const LONGEST: usize = 4 * 1024 * 1024;

/// What came of it.
pub(super) struct Reply {
    pub(super) status: Option<u16>,
    pub(super) body: Vec<u8>,
    pub(super) fault: Option<Fault>,
    /// How long the provider asks to be left alone.
    pub(super) wait: Option<Duration>,
    /// Hash of the account that it was asked with.
    pub(super) account: u64,
    pub(super) took: Duration,
}

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Asks a provider, with the account whose turn it is.
pub(super) async fn ask(worker: &Rc<Worker>, provider: &Provider, probe: &Probe, limit: Duration) -> Reply {
    let hashes = provider.accounts.hashes();
    let account = provider.accounts.next_turn() % hashes.len().max(1);
    let begun = worker.now();
    let outcome = timeout(limit, exchange(worker, provider, account, probe)).await;
    let mut reply = outcome.unwrap_or(Err(Fault::Silent)).unwrap_or_else(|fault| Reply {
        status: None,
        body: Vec::new(),
        fault: Some(fault),
        wait: None,
        account: 0,
        took: Duration::ZERO,
    });
    reply.account = hashes.get(account).copied().unwrap_or_default();
    reply.took = worker.now().since(begun);
    reply
}

async fn exchange(worker: &Rc<Worker>, provider: &Provider, account: usize, probe: &Probe) -> Result<Reply, Fault> {
    let head = head(provider, account, probe);
    let mut pieces = Pieces::default();
    pieces.push(probe.body.clone().into());
    let begun = upstream::send(worker, &provider.endpoint, Outgoing { head: &head, pieces: &pieces });
    let Begun { head, first, mut body } = begun.await?;
    let (mut text, mut last) = first.map_or_else(|| (Vec::new(), false), |first| (first.bytes.to_vec(), first.last));
    while !last && text.len() < LONGEST {
        last = poll_fn(|cx| {
            let mut scratch = worker.scratch.borrow_mut();
            body.poll_piece(cx, &mut scratch).map_ok(|piece| {
                text.extend_from_slice(scratch.get(..piece.len).unwrap_or_default());
                piece.last
            })
        })
        .await
        .map_err(|_| Fault::Cut)?;
    }
    let status = head.status();
    let fault = match (status, probe.operation) {
        (200..=203 | 205..=299, Some(operation)) => Fault::of_plain(operation, &text),
        (200..=203 | 205..=299, None) => is_no_list(&text).then_some(Fault::Garbled),
        (400.., _) => Some(Fault::Told(berry_wire::complaint(provider.protocol, status, &text))),
        _ => Some(Fault::Garbled),
    };
    let wait = match fault {
        Some(Fault::Told(Complaint::RateLimit | Complaint::Overloaded)) => {
            berry_wire::wait(head.fields(), worker.clock.unix_millis())
        }
        _ => None,
    };
    Ok(Reply { status: Some(status), body: text, fault, wait, account: 0, took: Duration::ZERO })
}

fn is_no_list(text: &[u8]) -> bool {
    berry_wire::is_page(text) || text.trim_ascii().is_empty()
}

fn head(provider: &Provider, account: usize, probe: &Probe) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    for part in [probe.method, " ", &provider.target_prefix, &probe.path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    head.extend_from_slice(provider.fixed_fields(account));
    for (name, value) in berry_wire::default_headers(provider.protocol) {
        if !provider.sets(name) {
            push_field(&mut head, name.as_bytes(), value.as_bytes());
        }
    }
    push_field(&mut head, b"accept", b"application/json");
    if !probe.body.is_empty() {
        push_field(&mut head, b"content-type", b"application/json");
        head.extend_from_slice(b"content-length: ");
        push_decimal(&mut head, probe.body.len() as u64);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
