//! `[providers.ID]`

use berry_vocab::{Protocol, ProviderId, Secret};
use berry_wire::{BaseUrl, VENDORS, Vendor};

use crate::checked::{At, Checked};
use crate::config::{Connection, Provider, ProxyUrl};
use crate::headers;
use crate::proxy_url;
use crate::reader::Reader;
use crate::registry::{ANY_WHOLE, Key, Rule, Table, Words};
use crate::table::{rate_limit, timeouts};

pub(crate) static TABLE: Table = Table::new(
    "An account at a vendor, or a server.",
    &[
        Key::optional("name", Rule::Text, "Name for people. Unset: the id."),
        Key::optional(
            "vendor",
            Rule::Word(Words { now: vendors, later: &["azure", "bedrock", "vertex"] }),
            "Whose account it is. It says what `base_url` and `backend_type` are where they are not written.",
        ),
        Key::required_without(
            "vendor",
            "base_url",
            Rule::Text,
            "Where it is reached, like \"https://api.openai.com/v1\". Unset: where the vendor is.",
        ),
        Key::new("api_key", Rule::Secret, "\"\"", "Its key; empty for servers without keys."),
        Key::new("api_keys", Rule::Secrets, "[]", "Keys of further accounts, beside `api_key`."),
        Key::new("models", Rule::Texts, "[]", "Names that it serves; empty: any."),
        Key::new("headers", Rule::Headers, "{}", "Extra request headers."),
        Key::new("enabled", Rule::Flag, "true", "Whether it gets traffic and checks."),
        Key::new("timeout_seconds", Rule::Seconds(1.0, 300.0), "10", "Time limit of connecting, TLS included."),
        Key::optional("max_retries", Rule::Whole(0, 10), "Replaces settings.max_internal_retries for its backends."),
        Key::new(
            "backend_type",
            Rule::Word(Words {
                now: || vec!["openai", "open_a_i", "claude", "anthropic", "gemini"],
                later: &["azure", "bedrock", "vertex"],
            }),
            "\"openai\"",
            "The protocol that it speaks. Where `vendor` is written: unset is the vendor's own.",
        ),
        timeouts::REQUEST,
        timeouts::STREAM_IDLE,
        timeouts::DEADLINE,
        timeouts::TOTAL,
        Key::optional(
            "proxy_url",
            Rule::Secret,
            "Proxy on the way: http:// or socks5://, host and port, with or without user:password@.",
        ),
        Key::optional("ca_file", Rule::Path, "Further certificates to trust, in PEM."),
        Key::new("insecure_skip_verify", Rule::Flag, "false", "Whether its certificate goes unchecked."),
        Key::new("http2", Rule::Flag, "true", "Whether HTTP/2 is offered."),
        Key::new("pool_max_idle_per_host", Rule::Whole(0, 1_000_000), "1024", "Idle connections that are kept."),
        Key::new(
            "pool_idle_timeout_seconds",
            Rule::Seconds(0.0, 86_400.0),
            "60",
            "How long an idle connection is kept.",
        ),
        Key::new("allow_link_local", Rule::Flag, "false", "Whether link-local addresses may be connected to."),
        Key::new("forward_request_headers", Rule::HeaderNames, "[]", "Further request headers that cross to it."),
        Key::new(
            "forward_response_headers",
            Rule::HeaderNames,
            "[]",
            "Further response headers that cross to the client.",
        ),
        Key::optional("rate_limit", Rule::Table(&rate_limit::TABLE), "What it is asked for in a time."),
        Key::optional("max_concurrent_requests", Rule::Whole(1, ANY_WHOLE), "Requests at once. Unset: no limit."),
        Key::new(
            "adaptive_concurrency",
            Rule::Flag,
            "true",
            "Whether the number of requests at once falls when it is over its limit or overloaded, and climbs again.",
        ),
    ],
);

pub(crate) fn build(t: &Checked, reader: &mut Reader<'_>) -> Option<Provider> {
    let protocol = protocol(t);
    let base_url = base_url(t, protocol, reader);
    let api_keys = keys(t).into_iter().filter(|key| usable(reader, key)).map(|key| key.value).collect();
    let connection = connection(t, reader);
    Some(Provider {
        id: ProviderId::new(&t.id),
        name: t.text("name").unwrap_or_else(|| t.id.clone()),
        base_url: base_url?,
        protocol,
        api_keys,
        models: t.strings("models"),
        headers: t.headers("headers").into_iter().map(|(name, value)| (name.value, value)).collect(),
        enabled: t.flag("enabled"),
        connect_timeout: t.duration("timeout_seconds").unwrap_or_default(),
        max_retries: t.has("max_retries").then(|| t.small("max_retries")),
        timeouts: timeouts::build(t),
        rate_limit: rate_limit::of(t),
        adaptive_concurrency: t.flag("adaptive_concurrency"),
        connection,
        forward_request_headers: t.strings("forward_request_headers"),
        forward_response_headers: t.strings("forward_response_headers"),
    })
}

/// `api_key`, if it is not empty, and `api_keys`.
pub(crate) fn keys(t: &Checked) -> Vec<At<Secret>> {
    let first = t.secret("api_key").filter(|key| !key.is_empty()).map(|value| At { value, place: t.at("api_key") });
    first.into_iter().chain(t.secrets("api_keys")).collect()
}

fn vendors() -> Vec<&'static str> {
    VENDORS.iter().flat_map(|vendor| vendor.ids).copied().collect()
}

/// The vendor that is written.
pub(crate) fn vendor(t: &Checked) -> Option<&'static Vendor> {
    berry_wire::vendor(&t.text("vendor")?)
}

fn protocol(t: &Checked) -> Protocol {
    if let Some(vendor) = vendor(t).filter(|_| !t.has("backend_type")) {
        return vendor.protocol();
    }
    match t.text("backend_type").as_deref() {
        Some("claude" | "anthropic") => Protocol::Anthropic,
        Some("gemini") => Protocol::Gemini,
        _ => Protocol::OpenAi,
    }
}

/// The URL that is written, or else the vendor's.
fn url_text(t: &Checked) -> Option<String> {
    t.text("base_url").or_else(|| vendor(t)?.url(protocol(t)).map(str::to_owned))
}

/// The URL, if it is one.
pub(crate) fn url(t: &Checked) -> Option<BaseUrl> {
    BaseUrl::parse(&url_text(t)?, protocol(t)).ok()
}

fn base_url(t: &Checked, protocol: Protocol, reader: &mut Reader<'_>) -> Option<BaseUrl> {
    let Some(text) = url_text(t) else {
        if let Some(vendor) = vendor(t) {
            let message = format!("{} has no address that Berry knows for the {protocol} protocol", vendor.name);
            let remedy = "remove `backend_type`, or write the `base_url` that the vendor names for it";
            reader.problems.error(&t.at("backend_type"), message, remedy);
        }
        return None;
    };
    let place = t.at("base_url");
    if t.has("base_url") && text.contains(['@', '?']) {
        // It may carry a password or a key.
        reader.masks.push(place.span.clone());
    }
    BaseUrl::parse(&text, protocol)
        .map_err(|error| reader.problems.error(&place, format!("`base_url`: {error}"), error.remedy()))
        .ok()
}

fn usable(reader: &mut Reader<'_>, key: &At<Secret>) -> bool {
    let text = key.value.expose();
    let fault = if text.is_empty() {
        Some("is empty")
    } else if text.chars().any(char::is_whitespace) {
        Some("holds white space")
    } else {
        headers::value(text).err().map(|_| "holds what cannot stand in a header")
    };
    if let Some(fault) = fault {
        let remedy = "copy the key as the vendor shows it: visible ASCII, without spaces or line breaks";
        reader.problems.error(&key.place, format!("the API key {fault}"), remedy);
    }
    fault.is_none()
}

fn connection(t: &Checked, reader: &mut Reader<'_>) -> Connection {
    let ca_file = t.text("ca_file").map(|path| reader.resolve(&path));
    if let Some(path) = &ca_file {
        reader.must_exist("ca_file", &t.at("ca_file"), path);
    }
    Connection {
        proxy: proxy(t, reader),
        ca_file,
        insecure_skip_verify: t.flag("insecure_skip_verify"),
        http2: t.flag("http2"),
        pool_max_idle: t.whole("pool_max_idle_per_host").and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
        pool_idle_timeout: t.duration("pool_idle_timeout_seconds").unwrap_or_default(),
        allow_link_local: t.flag("allow_link_local"),
    }
}

fn proxy(t: &Checked, reader: &mut Reader<'_>) -> Option<ProxyUrl> {
    let text = t.secret("proxy_url")?;
    proxy_url::parse(text.expose()).map_err(|misfit| reader.misfit("proxy_url", &t.at("proxy_url"), misfit)).ok()
}
