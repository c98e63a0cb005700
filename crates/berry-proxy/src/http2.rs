//! What both sides' HTTP/2 connections have in common: how a dead peer is noticed, and how much may be on its way.

use std::time::Duration;

/// A peer is asked for a sign of life this often while there are streams (failure model, C12).
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long it may take to give one.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of one stream that may be on their way: a whole answer of usual size, so that a long way does not slow it.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;

/// Bytes of all streams together: a few that nobody reads cannot stop the others at once.
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;
