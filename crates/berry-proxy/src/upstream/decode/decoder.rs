//! The content codings of RFC 9110, section 8.4.1, with brotli (RFC 7932) and zstd (RFC 8878), each by the library that does it
//! well; and the limits that keep a small answer from becoming a huge one.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use crate::upstream::BodyFault;

/// More than this comes out of no answer.
const MOST: u64 = 64 << 20;

/// More than this many times what came in comes out of none that is longer than `HARMLESS`.
const MOST_GROWTH: u64 = 20;

const HARMLESS: u64 = 1 << 20;

/// The window that a decoder of zstd for HTTP must have and need not go beyond: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// The window of gzip and deflate, as large as there is.
const GZIP_WINDOW_BITS: u8 = 15;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Names of codings, in lower case.
const NAMES: [(&[u8], Coding); 5] = [
    (b"gzip", Coding::Gzip),
    (b"x-gzip", Coding::Gzip),
    (b"deflate", Coding::Deflate),
    (b"br", Coding::Brotli),
    (b"zstd", Coding::Zstd),
];

/// Decodes a body as it comes.
pub(super) struct Decoder {
    coding: Coding,
    /// The coded stream that has begun and not ended.
    stream: Option<Stream>,
    has_begun: bool,
    came: u64,
    gave: u64,
}

/// What one step of decoding took and made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
}

enum Stream {
    Inflate(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(DCtx<'static>),
}

// === impl Coding ===

impl Coding {
    /// The coding of a `content-encoding` field, if it is a single known one.
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        let named = |name: &[u8]| value.trim_ascii().eq_ignore_ascii_case(name);
        NAMES.iter().find(|(name, _)| named(name)).map(|(_, coding)| *coding)
    }

    /// Whether a body may hold several coded streams, one behind the other.
    fn may_repeat(self) -> bool {
        matches!(self, Coding::Gzip | Coding::Zstd)
    }

    fn begin(self, first: u8) -> Option<Stream> {
        Some(match self {
            Coding::Gzip => Stream::Inflate(Decompress::new_gzip(GZIP_WINDOW_BITS)),
            // Deflate means zlib's format, and some send what it wraps. Zlib's first byte names method 8.
            Coding::Deflate => Stream::Inflate(Decompress::new(first & 0x0f == 8)),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Stream::Brotli(Box::new(BrotliState::new(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => {
                let mut context = DCtx::try_create()?;
                context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
                Stream::Zstd(context)
            }
        })
    }
}

// === impl Decoder ===

impl Decoder {
    /// A decoder of a body of which `came` bytes have come.
    pub(super) fn new(coding: Coding, came: u64) -> Self {
        Self { coding, stream: None, has_begun: false, came, gave: 0 }
    }

    /// Counts coded bytes that have come.
    pub(super) fn note_came(&mut self, bytes: u64) {
        self.came += bytes;
    }

    /// Whether what was decoded so far is complete. A body of no bytes is.
    pub(super) fn is_whole(&self) -> bool {
        self.stream.is_none()
    }

    /// Decodes until the input is used up or the output is full.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, BodyFault> {
        let mut sum = Step::default();
        while sum.written < output.len() {
            let input = input.get(sum.read..).unwrap_or_default();
            let stream = match (&mut self.stream, input.first()) {
                (Some(stream), _) => stream,
                (None, None) => break,
                (None, Some(_)) if self.has_begun && !self.coding.may_repeat() => return Err(BodyFault::Malformed),
                (None, Some(first)) => {
                    self.has_begun = true;
                    self.stream.insert(self.coding.begin(*first).ok_or(BodyFault::Malformed)?)
                }
            };
            let output = output.get_mut(sum.written..).unwrap_or_default();
            let (step, is_done) = stream.step(input, output).ok_or(BodyFault::Malformed)?;
            sum.read += step.read;
            sum.written += step.written;
            if is_done {
                self.stream = None;
            } else if step.read + step.written == 0 {
                break;
            }
        }
        self.gave += sum.written as u64;
        let is_bomb = self.gave > MOST || (self.gave > HARMLESS && self.gave > self.came * MOST_GROWTH);
        if is_bomb { Err(BodyFault::Malformed) } else { Ok(sum) }
    }
}

// === impl Stream ===

impl Stream {
    /// One step, and whether the stream has ended with it. `None`: what came is not of this coding.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<(Step, bool)> {
        match self {
            Stream::Inflate(inflate) => {
                let before = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, output, FlushDecompress::None).ok()?;
                let read = usize::try_from(inflate.total_in() - before.0).ok()?;
                let written = usize::try_from(inflate.total_out() - before.1).ok()?;
                Some((Step { read, written }, status == Status::StreamEnd))
            }
            Stream::Brotli(state) => {
                let (mut left, mut read) = (input.len(), 0);
                let (mut room, mut written, mut total) = (output.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut read,
                    input,
                    &mut room,
                    &mut written,
                    output,
                    &mut total,
                    state,
                );
                let is_done = match result {
                    BrotliResult::ResultFailure => return None,
                    BrotliResult::ResultSuccess => true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => false,
                };
                Some((Step { read, written }, is_done))
            }
            Stream::Zstd(context) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
                let missing = context.decompress_stream(&mut to, &mut from).ok()?;
                Some((Step { read: from.pos(), written: to.pos() }, missing == 0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    const EVENTS: [&str; 3] = ["data: {\"n\":1}\n\n", "data: {\"n\":2}\n\n", "data: [DONE]\n\n"];

    /// Brotli's form of `EVENTS`, flushed after each, as its reference encoder (quality 5) writes it.
    const BROTLI: [&[u8]; 3] = [
        &[11, 7, 128, 100, 97, 116, 97, 58, 32, 123, 34, 110, 34, 58, 49, 125, 10, 10],
        &[112, 0, 0, 64, 82, 65, 166, 175, 68, 1, 38, 132, 53],
        &[104, 0, 0, 64, 192, 67, 214, 95, 51, 149, 117, 83, 4, 232, 18, 128, 166, 198, 7, 3, 3],
    ];

    /// Deflates pieces, flushing after each.
    fn deflate(mut compress: Compress, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let last = pieces.len() - 1;
        let mut coded = |(place, piece): (usize, &&[u8])| {
            let mut out = Vec::with_capacity(piece.len() + 1000);
            let flush = if place == last { FlushCompress::Finish } else { FlushCompress::Sync };
            compress.compress_vec(piece, &mut out, flush).unwrap();
            out
        };
        pieces.iter().enumerate().map(&mut coded).collect()
    }

    fn gzip(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        deflate(Compress::new_gzip(Compression::fast(), 15), pieces)
    }

    fn zstd(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        use zstd_safe::{CCtx, zstd_sys::ZSTD_EndDirective};
        let mut context = CCtx::create();
        let last = pieces.len() - 1;
        let mut coded = |(place, piece): (usize, &&[u8])| {
            let mut out = vec![0; piece.len() + 1000];
            let mut to = OutBuffer::around(&mut out[..]);
            let how = if place == last { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_flush };
            assert_eq!(context.compress_stream2(&mut to, &mut InBuffer::around(piece), how).unwrap(), 0);
            let length = to.pos();
            out.truncate(length);
            out
        };
        pieces.iter().enumerate().map(&mut coded).collect()
    }

    /// `EVENTS` in each coding.
    fn coded_events() -> Vec<(&'static str, Coding, Vec<Vec<u8>>)> {
        let events = EVENTS.map(str::as_bytes);
        vec![
            ("gzip", Coding::Gzip, gzip(&events)),
            ("zlib", Coding::Deflate, deflate(Compress::new(Compression::fast(), true), &events)),
            ("raw deflate", Coding::Deflate, deflate(Compress::new(Compression::fast(), false), &events)),
            ("br", Coding::Brotli, BROTLI.map(<[u8]>::to_vec).to_vec()),
            ("zstd", Coding::Zstd, zstd(&events)),
        ]
    }

    /// Takes all of `input`, into a buffer of `room` bytes.
    fn take(decoder: &mut Decoder, input: &[u8], room: usize) -> Result<Vec<u8>, BodyFault> {
        decoder.note_came(input.len() as u64);
        let (mut out, mut buffer, mut read) = (Vec::new(), vec![0; room], 0);
        loop {
            let step = decoder.decode(&input[read..], &mut buffer)?;
            read += step.read;
            out.extend_from_slice(&buffer[..step.written]);
            if step.written == 0 && read == input.len() {
                return Ok(out);
            }
        }
    }

    #[test]
    fn an_event_comes_out_once_it_has_come_in() {
        for (case, coding, coded) in coded_events() {
            let mut decoder = Decoder::new(coding, 0);
            for (event, coded) in EVENTS.iter().zip(&coded) {
                let plain = take(&mut decoder, coded, 1024).unwrap();
                assert_eq!(String::from_utf8(plain).unwrap(), *event, "{case}");
            }
            assert!(decoder.is_whole(), "{case}");
        }
    }

    #[test]
    fn bytes_may_come_one_by_one_and_leave_one_by_one() {
        for (case, coding, coded) in coded_events() {
            let mut decoder = Decoder::new(coding, 0);
            let mut plain = Vec::new();
            for (place, byte) in coded.concat().iter().enumerate() {
                assert!(place == 0 || !decoder.is_whole(), "{case} is not whole after {place} bytes");
                plain.extend(take(&mut decoder, &[*byte], 1).unwrap());
            }
            assert_eq!((String::from_utf8(plain).unwrap(), decoder.is_whole()), (EVENTS.concat(), true), "{case}");
        }
    }

    #[test]
    fn what_follows_must_be_a_further_stream_of_a_coding_that_has_some() {
        for (case, coding, coded) in coded_events() {
            let coded = coded.concat();
            let twice = take(&mut Decoder::new(coding, 0), &[coded.clone(), coded.clone()].concat(), 1024);
            match coding.may_repeat() {
                true => assert_eq!(twice.unwrap(), EVENTS.concat().repeat(2).as_bytes(), "{case}"),
                false => assert_eq!(twice, Err(BodyFault::Malformed), "{case}"),
            }
            let garbage = take(&mut Decoder::new(coding, 0), &[coded, b"garbage, no stream".to_vec()].concat(), 1024);
            assert_eq!(garbage, Err(BodyFault::Malformed), "{case}");
        }
    }

    #[test]
    fn bytes_of_no_coding_are_malformed() {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            let page = vec![0xff; 1000];
            assert_eq!(take(&mut Decoder::new(coding, 0), &page, 1024), Err(BodyFault::Malformed), "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_is_malformed_before_it_has_burst() {
        let zeros = vec![0; 5 << 18];
        for (coding, coded) in [(Coding::Gzip, gzip(&[&zeros])), (Coding::Zstd, zstd(&[&zeros]))] {
            let mut decoder = Decoder::new(coding, 0);
            assert_eq!(take(&mut decoder, &coded.concat(), 64 * 1024), Err(BodyFault::Malformed), "{coding:?}");
            assert!(decoder.gave <= HARMLESS.max(decoder.came * MOST_GROWTH) + 64 * 1024);
        }
    }

    #[test]
    fn what_grows_twentyfold_within_a_mebibyte_is_harmless() {
        let zeros = vec![0; 1 << 18];
        let coded = zstd(&[&zeros]).concat();
        assert!(coded.len() < zeros.len() / 1000);
        assert_eq!(take(&mut Decoder::new(Coding::Zstd, 0), &coded, 64 * 1024).unwrap(), zeros);
    }

    #[test]
    fn no_answer_becomes_larger_than_64_mebibytes() {
        let coded = gzip(&[b"0123456789"]).concat();
        for (gave, is_too_large) in [(MOST - 10, false), (MOST - 9, true)] {
            let mut decoder = Decoder::new(Coding::Gzip, MOST);
            decoder.gave = gave;
            assert_eq!(take(&mut decoder, &coded, 1024).is_err(), is_too_large);
        }
    }

    #[test]
    fn codings_are_known_by_name() {
        for (value, coding) in [
            ("gzip", Some(Coding::Gzip)),
            (" GZIP ", Some(Coding::Gzip)),
            ("br", Some(Coding::Brotli)),
            ("identity", None),
            ("gzip, br", None),
            ("", None),
        ] {
            assert_eq!(Coding::of(value.as_bytes()), coding, "{value}");
        }
    }
}
