//! What the demo shows: providers, the configuration in front of them, and who asks for what.

use std::net::SocketAddr;
use std::time::Duration;

use berry_mock::{Dialect, Fault, Mock, Options};

use super::call::Call;
use crate::assemble::Urls;
use crate::outcome::Failure;
use crate::random;

/// Where the demo listens.
pub(super) struct Addresses {
    pub(super) data: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// The simulated providers. They stop when this is dropped.
pub(super) struct Providers {
    budget: Mock,
    premium: Mock,
    claude: Mock,
}

/// The users' tokens: new ones each time, so that none is ever a default.
pub(super) struct Tokens {
    pub(super) admin: String,
    pub(super) alice: String,
    pub(super) bob: String,
}

// === impl Providers ===

impl Providers {
    pub(super) async fn start() -> Result<Self, Failure> {
        let fault = Fault::parse("500-p30").map_err(|error| Failure::new(error, ""))?;
        let openai = |ttfb, rate| Options {
            ttfb: Duration::from_millis(ttfb),
            rate: Some(rate),
            dialects: vec![Dialect::OpenAi],
            journal_limit: 20,
            ..Options::default()
        };
        Ok(Self {
            budget: start(Options { fault: Some(fault), ..openai(60, 40.0) }).await?,
            premium: start(openai(180, 80.0)).await?,
            claude: start(Options { dialects: vec![Dialect::Anthropic], ..openai(120, 60.0) }).await?,
        })
    }
}

async fn start(options: Options) -> Result<Mock, Failure> {
    Mock::start(options)
        .await
        .map_err(|error| Failure::new(format!("a simulated provider cannot be started: {error}"), ""))
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { admin: random::token()?, alice: random::token()?, bob: random::token()? })
    }
}

/// The demo's configuration file.
pub(super) fn configuration(addresses: &Addresses, providers: &Providers, tokens: &Tokens) -> String {
    format!(
        r#"# What `berry demo` runs. Everything but the addresses of the simulated providers could stand in a real file.
[server]
listen = "{data}"
drain_seconds = 5

[admin]
listen = "{admin}"

[telemetry]
log_level = "error" # RUST_LOG=info shows a line for each request

[providers.budget]
name = "Budget (cheap; three answers in ten are errors)"
base_url = "{budget}/v1"
api_key = "sk-budget-simulated"

[providers.premium]
name = "Premium (dear and steady)"
base_url = "{premium}/v1"
api_key = "sk-premium-simulated"

[providers.claude]
name = "Claude (speaks Anthropic's protocol)"
backend_type = "anthropic"
base_url = "{claude}"
api_key = "sk-ant-simulated"

# Mostly the cheap one, as long as it earns confidence; errors go on to the other before anybody sees them.
[models.chat]
strategy = "smart_ai"

[[models.chat.backends]]
provider = "budget"
model = "budget-large"
weight = 3.0

[[models.chat.backends]]
provider = "premium"
model = "premium-large"
weight = 1.0
tags = ["premium"]

# The dear one first, the cheap one while it cannot.
[models.best]
strategy = "failover"

[[models.best.backends]]
provider = "premium"
model = "premium-large"
priority = 0
tags = ["premium"]

[[models.best.backends]]
provider = "budget"
model = "budget-large"
priority = 1

[models.claude]
backends = [{{ provider = "claude", model = "claude-simulated" }}]

[users.admin]
token = "{token_admin}"
tags = ["admin", "premium"]

[users.alice]
token = "{token_alice}"
tags = ["premium"]

# Bob has no tag in common with the dear backends, and may use one model.
[users.bob]
token = "{token_bob}"
tags = ["basic"]
allowed_models = ["chat"]
"#,
        data = addresses.data,
        admin = addresses.admin,
        budget = providers.budget.url(),
        premium = providers.premium.url(),
        claude = providers.claude.url(),
        token_admin = tokens.admin,
        token_alice = tokens.alice,
        token_bob = tokens.bob,
    )
}

/// The requests that people are invited to send.
pub(super) fn calls(urls: &Urls, tokens: &Tokens) -> Vec<Call> {
    let data = &urls.data;
    vec![
        Call::get("Which models may Alice use?", data, "/v1/models").bearer(&tokens.alice),
        chat("A chat; the headers berry-backend and berry-attempts say who answered", data, &tokens.alice, "chat"),
        streamed("The same as a stream", data, &tokens.alice, "chat"),
        messages("Anthropic's protocol", data, &tokens.alice),
        Call::get("Metrics for Prometheus", data, "/metrics"),
        Call::get("Health of the backends, for admins", &urls.admin, "/admin/backend-health").bearer(&tokens.admin),
        Call::get("The share of its traffic that each backend gets now", &urls.admin, "/admin/model-weights")
            .bearer(&tokens.admin),
    ]
}

/// The requests that Alice and Bob send, in turn.
pub(super) fn traffic(urls: &Urls, tokens: &Tokens) -> Vec<Call> {
    let data = &urls.data;
    vec![
        chat("", data, &tokens.alice, "chat"),
        chat("", data, &tokens.bob, "chat"),
        streamed("", data, &tokens.alice, "best"),
        messages("", data, &tokens.alice),
        chat("", data, &tokens.alice, "best"),
        streamed("", data, &tokens.bob, "chat"),
    ]
}

fn chat(title: &'static str, url: &str, token: &str, model: &str) -> Call {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hello!"}}]}}"#);
    Call::post(title, url, "/v1/chat/completions", body).bearer(token)
}

fn streamed(title: &'static str, url: &str, token: &str, model: &str) -> Call {
    let body = format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"Hello!"}}]}}"#);
    Call::post(title, url, "/v1/chat/completions", body).bearer(token)
}

fn messages(title: &'static str, url: &str, token: &str) -> Call {
    let body = r#"{"model":"claude","max_tokens":100,"messages":[{"role":"user","content":"Hello!"}]}"#;
    Call::post(title, url, "/v1/messages", body.to_owned())
        .header("x-api-key", token)
        .header("anthropic-version", "2023-06-01")
}
