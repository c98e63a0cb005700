//! The checked configuration: what was typed and found good. Its values cannot be illegal, and only [`crate::load`] makes one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use berry_policy::{SmartAi, Strategy, WindowLimits};
use berry_vocab::{ModelId, Nets, Protocol, ProviderId, Secret, UserId};
use berry_wire::BaseUrl;

/// The whole file. Tables keep the order in which they stand in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// `[settings]`
    pub settings: Settings,
    /// `[server]`
    pub server: Server,
    /// `[admin]`
    pub admin: Admin,
    /// `[security]`
    pub security: Security,
    /// `[telemetry]`
    pub telemetry: Telemetry,
    /// `[storage] path`
    pub data_dir: PathBuf,
    /// `[audit]`
    pub audit: Audit,
    /// `[config]`
    pub changes: Changes,
    /// `[providers.*]`
    pub providers: Vec<Provider>,
    /// `[models.*]`
    pub models: Vec<Model>,
    /// `[users.*]`
    pub users: Vec<User>,
}

/// `[settings]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Time between active checks of a healthy backend.
    pub health_check_interval: Duration,
    /// Time between tries of an open one.
    pub recovery_check_interval: Duration,
    /// Time limit of one check.
    pub health_check_timeout: Duration,
    /// Timeouts that hold where neither the provider nor the model sets its own.
    pub timeouts: Timeouts,
    /// Repeated visits to backends already tried, for one request.
    pub max_retries: u8,
    /// Of these, on any one backend.
    pub max_internal_retries: u8,
    /// Consecutive soft failures that open a backend.
    pub circuit_breaker_failure_threshold: u32,
    /// Open time before the ramp.
    pub circuit_breaker_timeout: Duration,
    /// Repeated visits that a model's requests may add, in percent of them, 0..=100.
    pub retry_budget_percent: f64,
    /// Repeated visits a second that each model may have beside that.
    pub retry_budget_per_second: f64,
    /// Time after which a waiting stream gets a comment; `None`: never.
    pub stream_keepalive: Option<Duration>,
    /// For whom streams are asked to report their usage.
    pub ask_usage: AskUsage,
    /// `[settings.smart_ai]`
    pub smart_ai: SmartAi,
}

/// `ask_usage`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskUsage {
    /// Where tokens are limited.
    #[default]
    Limited,
    /// For all.
    Always,
    /// For nobody.
    Never,
}

/// Timeouts, each unset unless its table sets it. The nearest wins: model, then provider, then settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Head and first body byte of one attempt.
    pub request: Option<Duration>,
    /// Between the events of a stream.
    pub stream_idle: Option<Duration>,
    /// Over all attempts, until the answer begins.
    pub deadline: Option<Duration>,
    /// Over the whole answer.
    pub total: Option<Duration>,
}

/// `[server]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Server {
    /// Address of the data listener.
    pub listen: SocketAddr,
    /// Certificate chain and key, both PEM.
    pub tls: Option<TlsFiles>,
    /// Largest request body, in bytes.
    pub max_body_bytes: u64,
    /// Memory for the bodies of all requests at once, in bytes.
    pub max_body_memory: u64,
    /// Requests at once over all users, at least 1; `None`: no limit.
    pub max_in_flight: Option<u32>,
    /// Whose word on a client's address is taken.
    pub trusted_proxies: Nets,
    /// Whether they begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// How long readiness is 503 before the listener closes.
    pub predrain: Duration,
    /// How long requests in flight may go on after that.
    pub drain: Duration,
}

/// `tls_cert` and `tls_key`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// `[admin]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admin {
    /// Address of the admin listener.
    pub listen: SocketAddr,
    /// Certificate chain and key, both PEM.
    pub tls: Option<TlsFiles>,
    /// Who may use it; empty: everybody.
    pub allow_ips: Nets,
}

/// `[security]`, as far as it is not about the file itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Security {
    /// Who may use the data listener; empty: everybody.
    pub allow_ips: Nets,
    /// Who may use neither listener.
    pub deny_ips: Nets,
}

/// `[telemetry]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Telemetry {
    /// Shape of the log lines.
    pub log_format: LogFormat,
    /// Least severe level that is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter of tracing's syntax.
    pub log_level: String,
}

/// `log_format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// `[audit]`
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Audit {
    /// Whether every request of a user is recorded.
    pub requests: bool,
}

/// `[config]`
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Changes {
    /// Whether a changed file is read again by itself.
    pub watch: bool,
    /// Whether a change under which far more calls fail is taken back.
    pub auto_rollback: bool,
}

/// `[providers.ID]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Provider {
    /// The table's key.
    pub id: ProviderId,
    /// Name for people.
    pub name: String,
    /// Where it is reached.
    pub base_url: BaseUrl,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// `api_key` and `api_keys`, in this order; empty for keyless servers.
    pub api_keys: Vec<Secret>,
    /// Names that it serves; empty: any.
    pub models: Vec<String>,
    /// Extra request headers: lower-case names and checked values.
    pub headers: Vec<(String, Secret)>,
    /// Whether it gets traffic and checks.
    pub enabled: bool,
    /// Time limit of connect and TLS.
    pub connect_timeout: Duration,
    /// Replaces `settings.max_internal_retries` for its backends.
    pub max_retries: Option<u8>,
    /// Timeouts of its own.
    pub timeouts: Timeouts,
    /// What it is asked for in a time, and at once, over all its keys and models.
    pub rate_limit: RateLimit,
    /// Whether the number of requests at once follows its rate limits and overload.
    pub adaptive_concurrency: bool,
    /// How connections to it are made and kept.
    pub connection: Connection,
    /// Further request headers that cross, lower case.
    pub forward_request_headers: Vec<String>,
    /// Further response headers that cross, lower case.
    pub forward_response_headers: Vec<String>,
}

/// Connection keys of `[providers.ID]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// `http://[user:pass@]host:port` or `socks5://[user:pass@]host:port`; parsed, credentials kept secret.
    pub proxy: Option<ProxyUrl>,
    /// Further trusted certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether the server's certificate goes unchecked.
    pub insecure_skip_verify: bool,
    /// Whether HTTP/2 is offered by ALPN.
    pub http2: bool,
    /// Idle connections kept, over all workers.
    pub pool_max_idle: usize,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// Whether link-local addresses may be connected to.
    pub allow_link_local: bool,
}

/// `proxy_url`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyUrl {
    /// How the proxy is spoken to.
    pub scheme: ProxyScheme,
    /// Its host name or address (IPv6 without brackets).
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password, percent-decoded.
    pub credentials: Option<(String, Secret)>,
}

/// Scheme of `proxy_url`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyScheme {
    /// HTTP proxy: CONNECT for TLS, absolute form otherwise.
    Http,
    /// SOCKS 5 (RFC 1928); the proxy resolves names (`socks5h` means the same here).
    Socks5,
}

/// `[models.ID]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Model {
    /// The table's key.
    pub id: ModelId,
    /// The public name, or a pattern with `*`.
    pub name: String,
    /// How a backend is chosen.
    pub strategy: Strategy,
    /// Whether it is served.
    pub enabled: bool,
    /// Other public models, tried in order.
    pub fallbacks: Vec<ModelId>,
    /// `[[backends]]`
    pub backends: Vec<Backend>,
    /// Timeouts of its own.
    pub timeouts: Timeouts,
    /// What it is asked for in a time, and at once, over all its backends.
    pub rate_limit: RateLimit,
    /// A second request when the first is slow; `None`: never.
    pub hedge: Option<Hedge>,
}

/// `hedge`
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hedge {
    /// How long the first request is waited for.
    pub after: HedgeAfter,
    /// Share of the requests that may have a second one, 0..=1.
    pub max_share: f64,
}

/// `after_ms`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// This long.
    Fixed(Duration),
    /// As long as 95 of 100 first bytes took of late.
    P95,
}

/// `[[models.ID.backends]]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// Which provider.
    pub provider: ProviderId,
    /// The name that the provider is asked for; `*` passes the asked name on.
    pub model: String,
    /// Share of the traffic, in (0, 100].
    pub weight: f64,
    /// Lower first, 0..=10.
    pub priority: u8,
    /// Whether it gets traffic.
    pub enabled: bool,
    /// Who may use it; `premium` also means dear.
    pub tags: Vec<String>,
    /// How its vendor bills.
    pub billing: Billing,
    /// USD for a million input tokens, where known.
    pub input_price: Option<f64>,
    /// USD for a million output tokens, where known.
    pub output_price: Option<f64>,
}

/// `billing_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// Checks are cheap.
    PerToken,
    /// Never checked by a request that costs.
    PerRequest,
}

/// `[users.ID]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct User {
    /// The table's key.
    pub id: UserId,
    /// Name for people.
    pub name: String,
    /// What the user proves itself with.
    pub token: UserToken,
    /// Models that it may use, by table key; `None`: all.
    pub allowed_models: Option<Vec<ModelId>>,
    /// Whether it may do anything.
    pub enabled: bool,
    /// Its tags; `admin` opens the admin API.
    pub tags: Vec<String>,
    /// Whether it may name a backend.
    pub can_force_backend: bool,
    /// Unix time in seconds after which it is refused.
    pub expires_at: Option<i64>,
    /// What it may ask for in a time.
    pub rate_limit: RateLimit,
    /// Where it may come from; empty: anywhere.
    pub allowed_ips: Nets,
}

/// `rate_limit` of a user, a provider or a model, and its `max_concurrent_requests`
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RateLimit {
    /// Requests in a time.
    pub requests: WindowLimits,
    /// Tokens in a time, in and out.
    pub tokens: WindowLimits,
    /// Requests at once, at least 1; `None`: no limit.
    pub concurrent_requests: Option<u32>,
}

/// `token` or `token_hash`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserToken {
    /// In clear.
    Plain(Secret),
    /// SHA-256 of the token (`token_hash = "sha256:<64 hex digits>"`).
    Sha256([u8; 32]),
}
