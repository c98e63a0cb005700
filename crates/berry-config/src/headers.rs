//! Header names and values that a file may ask for. What belongs to one connection, to Berry's own framing or to the client's own
//! identity never crosses (security rule E11).

use berry_wire::CREDENTIAL_HEADERS;

use crate::rule::Misfit;

/// RFC 9110 section 7.6.1 and what its fields are used with; the length, the host and the encoding are Berry's own to write.
const OF_THE_CONNECTION: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Who the client is and where it came from, beside its credentials.
const OF_THE_CLIENT: &[&str] = &["cookie", "forwarded", "x-real-ip"];

/// Whether a provider's `headers` may set it (lower case).
pub(crate) fn extra(name: &str) -> Result<(), Misfit> {
    if !is_token(name) {
        return Err(Misfit::new("is no header name", "write letters, digits and hyphens"));
    }
    if OF_THE_CONNECTION.contains(&name) {
        return Err(Misfit::new("belongs to the connection and cannot be set", "remove it: Berry writes it itself"));
    }
    Ok(())
}

/// Whether a header may cross between client and backend (lower case).
pub(crate) fn crossing(name: &str) -> Result<(), Misfit> {
    if !is_token(name) {
        return Err(Misfit::new("holds what is no header name", "write letters, digits and hyphens"));
    }
    if OF_THE_CONNECTION.contains(&name) {
        return Err(Misfit::new(format!("cannot hold `{name}`: it belongs to the connection"), "remove it"));
    }
    if CREDENTIAL_HEADERS.contains(&name) || OF_THE_CLIENT.contains(&name) || name.starts_with("x-forwarded-") {
        let what = format!("cannot hold `{name}`: who the client is stays with Berry");
        return Err(Misfit::new(what, "remove it; a provider's own credentials go into `api_key` or `headers`"));
    }
    Ok(())
}

/// Whether a value can stand in a header.
pub(crate) fn value(text: &str) -> Result<(), Misfit> {
    if text.chars().all(|c| c == '\t' || c == ' ' || c.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Misfit::new("holds what cannot stand in a header", "write visible ASCII, without line breaks"))
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
