//! The vendors' words for what went wrong, one row each; the first that fits counts. Rows name fields that a vendor documents or
//! was seen to send. Message text is looked at in one place: used-up credit at Anthropic has no field of its own.
//!
//! Rows for any protocol are of vendors that send the same error object in whichever protocol they are spoken to.

use berry_vocab::Protocol;
use serde_json::Value;

use super::Complaint;
use super::Complaint::{Auth, Client, Model, Overloaded, Quota, RateLimit, Server, Timeout};
use crate::error_object::find_at;

/// One thing that a vendor says.
pub(super) struct Row {
    protocol: Option<Protocol>,
    when: When,
    /// Where in the error object, as a pointer; `*` is any item of a list.
    at: &'static str,
    is: Pattern,
    pub(super) complaint: Complaint,
}

/// With which status a row counts.
enum When {
    Always,
    /// With one of these.
    With(&'static [u16]),
    /// With any but this.
    Without(u16),
    /// Where no status is known, because the status, where there is one, says more.
    Unsaid,
}

/// What stands there. Case does not matter.
enum Pattern {
    Is(&'static [&'static str]),
    Begins(&'static str),
    Contains(&'static str),
    /// Anything but null.
    Present,
}

use Pattern::{Begins, Contains, Is, Present};

impl Row {
    /// Whether this row is what this error object says.
    pub(super) fn says(&self, protocol: Protocol, status: Option<u16>, error: &Value) -> bool {
        let is_its_status = match self.when {
            When::Always => true,
            When::With(those) => status.is_some_and(|status| those.contains(&status)),
            When::Without(that) => status != Some(that),
            When::Unsaid => status.is_none(),
        };
        let is_its_protocol = self.protocol.is_none_or(|its| its == protocol);
        is_its_protocol
            && is_its_status
            && find_at(error, self.at, &mut |value| self.is.fits(value).then_some(())).is_some()
    }

    const fn with(mut self, statuses: &'static [u16]) -> Row {
        self.when = When::With(statuses);
        self
    }

    const fn without(mut self, status: u16) -> Row {
        self.when = When::Without(status);
        self
    }

    const fn unsaid(mut self) -> Row {
        self.when = When::Unsaid;
        self
    }
}

impl Pattern {
    fn fits(&self, value: &Value) -> bool {
        let text = match value {
            Value::String(text) => text.to_ascii_lowercase(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        match self {
            Is(words) => words.iter().any(|word| text.eq_ignore_ascii_case(word)),
            Begins(start) => text.starts_with(&start.to_ascii_lowercase()),
            Contains(part) => text.contains(&part.to_ascii_lowercase()),
            Present => !value.is_null(),
        }
    }
}

const fn any(at: &'static str, is: Pattern, complaint: Complaint) -> Row {
    Row { protocol: None, when: When::Always, at, is, complaint }
}

const fn openai(at: &'static str, is: Pattern, complaint: Complaint) -> Row {
    Row { protocol: Some(Protocol::OpenAi), when: When::Always, at, is, complaint }
}

const fn anthropic(at: &'static str, is: Pattern, complaint: Complaint) -> Row {
    Row { protocol: Some(Protocol::Anthropic), when: When::Always, at, is, complaint }
}

/// All rows.
#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[
    // Anthropic: platform.claude.com/docs/en/api/errors, November 2026. Used-up credit comes as a 400 of the type that every
    // malformed request has: in threads of its clients' users from January 2025 to August 2026.
    anthropic("/message", Begins("Your credit balance is too low"), Quota),
    anthropic("/type", Is(&["billing_error"]), Quota),
    anthropic("/type", Is(&["overloaded_error"]), Overloaded),
    anthropic("/type", Is(&["rate_limit_error"]), RateLimit),
    anthropic("/type", Is(&["authentication_error", "permission_error"]), Auth),
    anthropic("/type", Is(&["timeout_error"]), Timeout),
    anthropic("/type", Is(&["not_found_error"]), Model).unsaid(),
    anthropic("/type", Is(&["invalid_request_error", "request_too_large"]), Client).unsaid(),

    // Gemini, in its own protocol and under OpenAI's paths: ai.google.dev/gemini-api/docs/troubleshooting and the reasons of
    // google/api/error_reason.proto, November 2026. A bad key is an INVALID_ARGUMENT with a reason.
    any("/details/*/reason", Is(&["API_KEY_INVALID"]), Auth),
    any("/details/*/reason", Is(&["BILLING_DISABLED"]), Quota),
    any("/status", Is(&["RESOURCE_EXHAUSTED"]), RateLimit),
    any("/status", Is(&["UNAVAILABLE"]), Overloaded),
    any("/status", Is(&["UNAUTHENTICATED", "PERMISSION_DENIED"]), Auth),
    // A FAILED_PRECONDITION is of the account's country or billing as often as of the request.
    any("/status", Is(&["NOT_FOUND", "FAILED_PRECONDITION"]), Model),
    any("/status", Is(&["INVALID_ARGUMENT", "OUT_OF_RANGE"]), Client),
    any("/status", Is(&["DEADLINE_EXCEEDED"]), Timeout),
    any("/status", Is(&["INTERNAL"]), Server).unsaid(),

    // Zhipu (bigmodel.cn, z.ai): docs.bigmodel.cn/cn/api/api-code, November 2026. An empty account is a 429 there. 1305 is the
    // account's limit on one of its pages and the model's load on another: its status decides.
    any("/code", Is(&["1113", "1309"]), Quota),
    any("/code", Is(&["1000", "1001", "1002", "1003", "1004", "1110", "1111", "1112", "1121", "1220"]), Auth),
    any("/code", Is(&["1211", "1221", "1222", "1311"]), Model),
    any("/code", Is(&["1210", "1213", "1214", "1215", "1261", "1301"]), Client),
    any("/code", Is(&["1302", "1303", "1304", "1305", "1308", "1310", "1313"]), RateLimit),
    any("/code", Is(&["1312"]), Overloaded),

    // OpenRouter: openrouter.ai/docs/api/reference/errors-and-debugging, November 2026. A 403 with reasons is moderation's.
    openai("/metadata/reasons", Present, Client).with(&[403]),
    openai("/metadata/flagged_input", Present, Client).with(&[403]),

    // OpenAI: developers.openai.com/docs/guides/error-codes, November 2026, and what its users' threads quote. Both words for an
    // account without money come as a 429. DashScope says the first one of a minute's tokens, too, in the same shape: its
    // vendor alone would tell.
    openai("/code", Is(&["insufficient_quota", "billing_not_active", "billing_hard_limit_reached"]), Quota),
    openai("/type", Is(&["insufficient_quota", "billing_not_active"]), Quota),
    openai("/code", Is(&["invalid_api_key", "account_deactivated", "unsupported_country_region_territory"]), Auth),
    openai("/code", Is(&["model_not_found"]), Model),
    openai("/code", Is(&["context_length_exceeded", "previous_response_not_found"]), Client),
    openai("/code", Is(&["content_filter", "content_policy_violation", "moderation_blocked"]), Client),
    // Groq says `rate_limit_exceeded` of one request that is larger than a minute's tokens, with 413: waiting does not help it.
    openai("/code", Is(&["rate_limit_exceeded", "rate_limit_error"]), RateLimit).without(413),
    openai("/code", Is(&["slow_down"]), Overloaded),
    openai("/code", Contains("overloaded"), Overloaded),
    openai("/type", Contains("overloaded"), Overloaded),
    openai("/code", Begins("service_unavailable"), Overloaded),
    openai("/type", Begins("service_unavailable"), Overloaded),
    // The codes of a failed response, as OpenAI's SDKs list them in ResponseError, November 2026.
    openai("/code", Is(&["vector_store_timeout"]), Timeout),
    openai("/code", Is(&["invalid_prompt", "invalid_base64_image", "empty_image_file"]), Client),
    openai("/code", Is(&["unsupported_image_media_type", "failed_to_download_image"]), Client),
    openai("/code", Begins("invalid_image"), Client),
    openai("/code", Begins("image_"), Client),

    // Moonshot: the types in the threads of its cookbook and of its own client, 2024 and 2026; all are 429. (Its
    // `engine_overloaded_error` is among OpenAI's.)
    openai("/type", Is(&["exceeded_current_quota_error"]), Quota),
    openai("/type", Is(&["rate_limit_reached_error", "rate_limit_error"]), RateLimit).without(413),
    // DashScope: help.aliyun.com/en/model-studio/error-code, November 2026. `Arrearage` is an account with a bill to pay.
    openai("/code", Is(&["Arrearage"]), Quota),
    openai("/code", Is(&["ModelNotFound"]), Model),
    openai("/code", Begins("Throttling"), RateLimit),
    // Volcengine Ark: volcengine.com/docs/82379/1299023, November 2026. An account with a bill to pay is a 403.
    openai("/code", Is(&["AccountOverdueError"]), Quota),
    openai("/code", Begins("InvalidEndpointOrModel"), Model),
    openai("/code", Is(&["ModelNotOpen"]), Model),

    // What OpenAI and its followers call things where no status says so: in streams. Their types say less than a status does,
    // so that with one they are not asked (DeepSeek's empty account is a 402 with the code `invalid_request_error`).
    openai("/type", Is(&["authentication_error", "invalid_authentication_error", "permission_error"]), Auth).unsaid(),
    openai("/type", Is(&["not_found_error", "resource_not_found_error"]), Model).unsaid(),
    openai("/type", Is(&["timeout_error"]), Timeout).unsaid(),
    openai("/type", Is(&["invalid_request_error", "content_filter"]), Client).unsaid(),
];
