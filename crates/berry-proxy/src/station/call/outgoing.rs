//! The head of the request to a provider: its own fields, those of the client's that cross, and the length of the body.

use berry_http1::{push_decimal, push_field};
use berry_wire::upstream_path;

use crate::snapshot::Target;
use crate::station::call::Inquiry;

/// A head that lacks only the length of the body.
pub(super) struct Head {
    bytes: Vec<u8>,
}

/// Writes the head for a target.
pub(super) fn head(inquiry: &Inquiry<'_>, target: &Target, account: usize) -> Head {
    let provider = &target.provider;
    let model = target.model_for(&inquiry.asked.model);
    let path = upstream_path(&provider.base_url, inquiry.call, model, inquiry.request.query());
    let mut bytes = Vec::with_capacity(path.len() + inquiry.request.bytes.len() + 512);
    bytes.extend_from_slice(b"POST ");
    bytes.extend_from_slice(provider.target_prefix.as_bytes());
    bytes.extend_from_slice(path.as_bytes());
    bytes.extend_from_slice(b" HTTP/1.1\r\n");
    bytes.extend_from_slice(provider.fixed_fields(account));
    let request = inquiry.request;
    let stays = |name: &[u8]| {
        request.head.connection_names_fields
            && request.head.all(&request.bytes, "connection").any(|list| is_named(list, name))
    };
    for (name, value) in request.fields() {
        if provider.takes(name) && !stays(name) {
            push_field(&mut bytes, name, value);
        }
    }
    for (name, value) in berry_wire::default_headers(provider.protocol) {
        if request.field(name).is_none() && !provider.sets(name) {
            push_field(&mut bytes, name.as_bytes(), value.as_bytes());
        }
    }
    Head { bytes }
}

impl Head {
    /// The whole head, for a body of `length` bytes.
    pub(super) fn with_length(mut self, length: usize) -> Vec<u8> {
        self.bytes.extend_from_slice(b"content-length: ");
        push_decimal(&mut self.bytes, length as u64);
        self.bytes.extend_from_slice(b"\r\n\r\n");
        self.bytes
    }
}

/// Whether a Connection field's list names a field, which is then for this hop alone (RFC 9110, section 7.6.1).
fn is_named(list: &[u8], name: &[u8]) -> bool {
    list.split(|&b| b == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(name))
}
