//! A connection to a provider that makes the code which reads from it panic, at the byte that a test chooses.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use berry_proxy::ports::Stream;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// What a provider sends to break it.
pub(crate) const BREAK: &str = "<panic>";

pub(crate) struct Fragile(pub(crate) DuplexStream);

impl Stream for Fragile {}

impl AsyncRead for Fragile {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        let broken = buffer.filled()[before..].windows(BREAK.len()).any(|window| window == BREAK.as_bytes());
        assert!(!broken, "a connection that panics, on purpose of a test");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
