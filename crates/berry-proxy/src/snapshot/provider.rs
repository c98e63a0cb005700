//! A provider, made ready: its endpoint, and the head fields that every request to it carries, already written.

use std::sync::Arc;

use berry_config::{RateLimit, Timeouts};
use berry_http1::push_field;
use berry_vocab::{Moment, Protocol, ProviderId};
use berry_wire::BaseUrl;

use crate::live::{Accounts, is_metered};
use crate::snapshot::Surroundings;
use crate::upstream::Endpoint;

/// One enabled provider.
pub(crate) struct Provider {
    pub(crate) id: ProviderId,
    pub(crate) protocol: Protocol,
    pub(crate) base_url: BaseUrl,
    pub(crate) endpoint: Arc<Endpoint>,
    /// Host, credential, configured fields, as they go on the wire: one for each account.
    fixed_fields: Vec<Vec<u8>>,
    /// What stands before the path where requests need the absolute form; else empty.
    pub(crate) target_prefix: String,
    /// Names (lower case) that the configuration sets, so that a client's own do not cross.
    set_names: Vec<String>,
    pub(crate) forward_request: Vec<String>,
    pub(crate) forward_response: Vec<String>,
    pub(crate) timeouts: Timeouts,
    pub(crate) max_retries: Option<u32>,
    pub(crate) accounts: Accounts,
    /// What it is asked for in a time, and at once, over all its models.
    pub(crate) rate_limit: RateLimit,
    /// Whether its backends' limits follow their rate limits and overload.
    pub(crate) adaptive: bool,
    /// What of its own must not reach a client: keys, and where it is.
    secrets: Vec<Vec<u8>>,
}

impl Provider {
    pub(crate) fn new(provider: &berry_config::Provider, around: &Surroundings<'_>) -> Result<Self, String> {
        let endpoint = Endpoint::new(provider, around.workers, around.disk)?;
        let (mut target_prefix, mut proxy_fields) = (String::new(), String::new());
        if let (true, Some(proxy)) = (endpoint.needs_absolute_form(), &endpoint.proxy) {
            target_prefix = format!("http://{}", provider.base_url.authority());
            proxy_fields = crate::upstream::proxy_authorization(proxy);
        }
        let keys: Vec<&str> = match provider.api_keys.is_empty() {
            true => vec![""],
            false => provider.api_keys.iter().map(|key| key.expose()).collect(),
        };
        Ok(Self {
            id: provider.id.clone(),
            protocol: provider.protocol,
            base_url: provider.base_url.clone(),
            accounts: Accounts::new(&keys, around.live.provider(&provider.id)),
            secrets: secrets(provider, &keys),
            fixed_fields: keys.into_iter().map(|key| fixed_fields(provider, key, &proxy_fields)).collect(),
            endpoint: around.live.endpoint(&provider.id, endpoint),
            target_prefix,
            set_names: provider.headers.iter().map(|(name, _)| name.clone()).collect(),
            forward_request: provider.forward_request_headers.clone(),
            forward_response: provider.forward_response_headers.clone(),
            timeouts: provider.timeouts,
            max_retries: provider.max_retries.map(u32::from),
            rate_limit: provider.rate_limit,
            adaptive: provider.adaptive_concurrency,
        })
    }

    /// The fields that every request carries, with an account's credential.
    pub(crate) fn fixed_fields(&self, account: usize) -> &[u8] {
        self.fixed_fields.get(account).map_or(&[], Vec::as_slice)
    }

    /// Until when its limits in a time keep a request with so many tokens from it.
    pub(crate) fn limited_until(&self, tokens: u32, now: Moment) -> Option<Moment> {
        let is_limited = is_metered(&self.rate_limit);
        let wait = is_limited.then(|| self.accounts.live.meter.wait(&self.rate_limit, tokens, now)).flatten()?;
        Some(now.after(wait))
    }

    /// Whether it has a place for one more request.
    pub(crate) fn has_room(&self) -> bool {
        self.rate_limit.concurrent_requests.is_none_or(|limit| self.accounts.live.in_flight() < limit)
    }

    /// A text of its own, without its keys and its address (failure model, U8). `None`: it holds none of them.
    pub(crate) fn blanked(&self, text: &[u8]) -> Option<Vec<u8>> {
        let holds = |secret: &&Vec<u8>| memchr::memmem::find(text, secret).is_some();
        let mut found = self.secrets.iter().filter(holds).peekable();
        found.peek()?;
        let mut blanked = text.to_vec();
        for secret in found {
            while let Some(at) = memchr::memmem::find(&blanked, secret) {
                blanked.splice(at..at + secret.len(), *b"***");
            }
        }
        Some(blanked)
    }

    /// Whether the configuration sets a field of that name (lower case).
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.set_names.iter().any(|set| set == name)
    }

    /// Whether a client's field of that name crosses to this provider.
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        let listed = |names: &[String]| names.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
        (berry_wire::crosses_to_backend(name) || listed(&self.forward_request)) && !listed(&self.set_names)
    }

    /// Whether a field of that name of its answers crosses to the client.
    pub(crate) fn gives(&self, name: &[u8]) -> bool {
        berry_wire::crosses_to_client(name)
            || self.forward_response.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
    }
}

/// The credential is added last; a configured field of its name replaces it, for vendors with a scheme of their own.
fn fixed_fields(provider: &berry_config::Provider, key: &str, proxy_fields: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    push_field(&mut out, b"host", provider.base_url.authority().as_bytes());
    push_field(&mut out, b"accept-encoding", b"identity");
    out.extend_from_slice(proxy_fields.as_bytes());
    for (name, value) in &provider.headers {
        push_field(&mut out, name.as_bytes(), value.expose().as_bytes());
    }
    let (name, value) = berry_wire::credential(provider.protocol, key);
    if !key.is_empty() && !provider.headers.iter().any(|(set, _)| set == name) {
        push_field(&mut out, name.as_bytes(), value.as_bytes());
    }
    out
}

/// Too short a text would be found by chance.
const SHORTEST_SECRET: usize = 6;

fn secrets(provider: &berry_config::Provider, keys: &[&str]) -> Vec<Vec<u8>> {
    let of_headers = provider.headers.iter().map(|(_, value)| value.expose());
    let all = keys.iter().copied().chain(of_headers).chain([provider.base_url.authority()]);
    all.filter(|text| text.len() >= SHORTEST_SECRET).map(|text| text.as_bytes().to_vec()).collect()
}
