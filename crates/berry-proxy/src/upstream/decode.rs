//! Undoes the coding of an answer that a provider has compressed although identity was asked (failure model, U15): stations
//! and clients see plain bytes, as early as they can be told from what has come.

mod decoder;

use std::task::{Context, Poll, ready};

use crate::upstream::{Begun, BodyFault, Piece, UpstreamBody};
use decoder::{Coding, Decoder};

/// How much of a coded body is read at once.
const READ_BYTES: usize = 8 * 1024;

const FIELD: &str = "content-encoding";

/// A body that is decoded on its way.
pub(crate) struct Decoded {
    inner: UpstreamBody,
    decoder: Decoder,
    /// What has come.
    input: Vec<u8>,
    /// Where that begins which is not decoded yet, and where it ends.
    waiting: (usize, usize),
    /// Whether nothing more comes.
    is_ended: bool,
}

/// The same answer, in plain bytes if its coding is a known one.
pub(super) fn plain(begun: Begun) -> Begun {
    let Some(coding) = begun.head.field(FIELD).and_then(Coding::of) else {
        return begun;
    };
    // One coding on top of another, or none at all, is left to the client.
    let lines = begun.head.fields().filter(|(name, _)| name.eq_ignore_ascii_case(FIELD.as_bytes())).count();
    if lines > 1 {
        return begun;
    }
    let Begun { mut head, first, body } = begun;
    head.is_decoded = true;
    let (input, is_ended) = first.map_or((Vec::new(), false), |first| (first.bytes.into(), first.last));
    let waiting = (0, input.len());
    let decoder = Decoder::new(coding, input.len() as u64);
    let decoded = Decoded { inner: body, decoder, input, waiting, is_ended };
    Begun { head, first: None, body: UpstreamBody::Decoded(Box::new(decoded)) }
}

impl Decoded {
    /// The next piece of plain bytes: what can be told without waiting for more comes first.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, BodyFault>> {
        loop {
            let (start, end) = self.waiting;
            let step = self.decoder.decode(self.input.get(start..end).unwrap_or_default(), buffer)?;
            self.waiting.0 += step.read;
            let last = self.is_ended && self.waiting.0 == end && self.decoder.is_whole();
            if step.written > 0 || last {
                return Poll::Ready(Ok(Piece { len: step.written, last }));
            }
            if self.is_ended {
                return Poll::Ready(Err(BodyFault::Truncated));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFault>> {
        self.input.resize(READ_BYTES, 0);
        let piece = ready!(self.inner.poll_piece(cx, &mut self.input))?;
        self.waiting = (0, piece.len);
        self.is_ended = piece.last;
        self.decoder.note_came(piece.len as u64);
        Poll::Ready(Ok(()))
    }
}
