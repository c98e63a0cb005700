//! The control plane: what looks at the gateway and, later, changes it. A listener of its own, loopback by default, for users
//! tagged `admin` who prove themselves with a Bearer token.
//!
//! It knows the gateway's reports; it must not be on the path of a request, and no endpoint returns a key or a token in any
//! form. `endpoint` holds the table of what there is and who may call it.

mod auth;
mod caller;
mod configuration;
mod endpoint;
mod error;
mod page;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use berry_proxy::Gateway;
use berry_proxy::ports::Listener;
use berry_store::audit::AuditLog;

pub use configuration::{Answering, Came, Configuration, Refusal, Verdict};
use error::ApiError;
pub use rustls::ServerConfig;
pub use server::{Speaks, Tls};

/// A larger body is refused. The longest configuration file is as long.
const LARGEST_BODY: usize = 16 << 20;

/// The admin plane of one gateway.
pub struct ControlPlane {
    control: Control,
    speaks: Speaks,
}

/// What endpoints look at.
#[derive(Clone)]
pub(crate) struct Control {
    gateway: Arc<Gateway>,
    workers: usize,
    configuration: Arc<dyn Configuration>,
    audit: Arc<AuditLog>,
}

impl ControlPlane {
    /// The admin plane of `gateway`, whose data plane has so many workers. What it changes is recorded in `audit`.
    pub fn new(
        gateway: Arc<Gateway>,
        workers: usize,
        configuration: Arc<dyn Configuration>,
        audit: Arc<AuditLog>,
        speaks: Speaks,
    ) -> Self {
        Self { control: Control { gateway, workers, configuration, audit }, speaks }
    }

    /// How many workers the data plane has.
    pub fn workers(&self) -> usize {
        self.control.workers
    }

    /// Serves the connections that come in. Never ends by itself; dropping it ends the listener's part of it.
    pub async fn serve(self, listener: &mut dyn Listener) {
        let control = self.control.clone();
        let router = self.router();
        let of_peer = move |peer| {
            let guard = from_fn_with_state((control.clone(), peer), auth::known_addresses_only);
            router.clone().layer(guard).layer(map_response(harden))
        };
        server::serve(listener, of_peer, self.speaks).await;
    }

    fn router(&self) -> Router {
        endpoint::router(&self.control)
            .fallback(|| async {
                ApiError::not_found("there is no such endpoint; GET /admin/openapi.json lists those there are")
            })
            .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
    }
}

/// What is said here is for the caller alone, and it is never a page.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
