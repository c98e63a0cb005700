//! Bytes to what is asked, and to what a backend complains of; and failures and lists back to bytes, in the dialects of the
//! protocols that Berry speaks.
//!
//! It knows paths, body fields, error shapes, header names and vendors' addresses. It knows no runtime, no HTTP library, no
//! configuration and no policy: it never opens a connection, reads a clock, rolls dice or logs. The same protocol in and out
//! never meets a tree of JSON here: a body is scanned once, and edited by cutting the original bytes. Only the error object of an
//! answer that has failed is read as one.

mod account_state;
mod asked;
mod base_url;
mod complaint;
mod error;
mod error_object;
mod estimate;
mod events;
mod headers;
mod media;
mod models;
mod multipart;
mod percent;
mod pieces;
mod probe;
mod protocol;
mod route;
mod scan;
mod upstream;
mod usage;
mod vendor;
mod wait;

pub use account_state::{bound_state, made_state};
pub use asked::{Asked, MAX_MODEL_BYTES, read};
pub use base_url::{BaseUrl, BaseUrlError};
pub use complaint::{
    Complaint, PlainFault, complaint, complaint_of_status, is_page, may_lack_state, of_error_object, plain_fault,
};
pub use error::{Rendered, error_event, render, render_event, render_event_after, status};
pub use estimate::{estimate_tokens, output_bound};
pub use events::{Ending, Event, EventReader, MAX_EVENT_BYTES};
pub use headers::{CREDENTIAL_HEADERS, credential, crosses_to_backend, crosses_to_client, default_headers};
pub use models::{ModelCard, get_model, list_models};
pub use multipart::{Field, Form, FormError, boundary, scan_form};
pub use percent::decode as percent_decode;
pub use pieces::Pieces;
pub use probe::{Probe, lists_model, probe_models, probe_one_token};
pub use route::{Call, Matched, Miss, Operation, dialect_of_path, find};
pub use scan::{MAX_DEPTH, Member, Scan, ScanError, scan_json};
pub use upstream::{key_parameters, models_path, streams_events, upstream_path};
pub use usage::{Usage, UsageReader};
pub use vendor::{VENDORS, Vendor, key_warning, vendor, vendor_of};
pub use wait::{wait, wait_in_body};
