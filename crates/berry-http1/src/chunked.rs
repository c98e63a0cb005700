//! Chunked bodies (RFC 9112, section 7.1), decoded in place: the data of all chunks moves to the front of the buffer, so that
//! a burst of small chunks leaves as one run of bytes and is written out once.

use crate::Fault;

/// Where the reader stands within the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first digit of a size.
    SizeStart,
    /// Within the digits of a size.
    Size,
    /// Within blanks behind the size, where some pad it.
    SizePad,
    /// Within the extensions between size and CRLF.
    Extension,
    /// At the LF of the size line.
    SizeLf,
    /// Within the data of a chunk, so many bytes from its end.
    Data,
    /// At the CR behind the data.
    DataCr,
    /// At the LF behind the data.
    DataLf,
    /// At the start of a trailer line, or of the blank line.
    TrailerStart,
    /// Within a trailer line.
    Trailer,
    /// At the LF of a trailer line.
    TrailerLf,
    /// At the LF of the blank line.
    EndLf,
    /// Behind the end.
    End,
}

/// What one call of [`ChunkedReader::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of data, now at the front of the buffer.
    pub data: usize,
    /// Bytes of the buffer that were read; less than all of it only behind the end.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// An incremental reader of a chunked body.
#[derive(Clone, Debug)]
pub struct ChunkedReader {
    at: At,
    /// Of the size being read, or bytes of data still to come.
    left: u64,
    /// Bytes of extensions and trailers so far, which carry nothing and are bounded.
    overhead: u32,
}

const MAX_OVERHEAD: u32 = 16 * 1024;

impl Default for ChunkedReader {
    fn default() -> Self {
        Self { at: At::SizeStart, left: 0, overhead: 0 }
    }
}

impl ChunkedReader {
    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.at == At::End
    }

    /// Decodes what stands in `buffer`, moving the data to its front.
    ///
    /// # Errors
    /// Malformed chunks: the connection must not be used again.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Result<Decoded, Fault> {
        let (mut data, mut consumed) = (0, 0);
        while consumed < buffer.len() && self.at != At::End {
            if self.at == At::Data {
                let run = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len() - consumed);
                if data != consumed {
                    buffer.copy_within(consumed..consumed + run, data);
                }
                data += run;
                consumed += run;
                self.left -= run as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
            } else {
                let byte = buffer.get(consumed).copied().unwrap_or_default();
                self.step(byte)?;
                consumed += 1;
            }
        }
        Ok(Decoded { data, consumed, done: self.at == At::End })
    }

    fn step(&mut self, byte: u8) -> Result<(), Fault> {
        self.at = match (self.at, byte) {
            (At::SizeStart, _) => {
                self.left = hex(byte)?;
                At::Size
            }
            (At::Size | At::SizePad, b'\r') => At::SizeLf,
            (At::Size | At::SizePad, b' ' | b'\t') => self.skip(At::SizePad)?,
            (At::Size | At::SizePad, b';') => self.skip(At::Extension)?,
            (At::Size, _) => {
                if self.left >> 56 != 0 {
                    return Err(Fault::Malformed("a chunk size is too large"));
                }
                self.left = (self.left << 4) | hex(byte)?;
                At::Size
            }
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\n' | 0) => return Err(Fault::Malformed("a chunk extension is malformed")),
            (At::Extension, _) => self.skip(At::Extension)?,
            (At::SizeLf, b'\n') => match self.left {
                0 => At::TrailerStart,
                _ => At::Data,
            },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::SizeStart,
            (At::TrailerStart, b'\r') => At::EndLf,
            (At::TrailerStart, b'\n') => return Err(Fault::Malformed("a trailer line must end with CRLF")),
            (At::TrailerStart, _) => self.skip(At::Trailer)?,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Trailer, b'\n' | 0) => return Err(Fault::Malformed("a trailer line is malformed")),
            (At::Trailer, _) => self.skip(At::Trailer)?,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::EndLf, b'\n') => At::End,
            _ => return Err(Fault::Malformed("a chunk must end with CRLF")),
        };
        Ok(())
    }

    fn skip(&mut self, to: At) -> Result<At, Fault> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            Err(Fault::Malformed("chunk extensions and trailers are too long"))
        } else {
            Ok(to)
        }
    }
}

fn hex(byte: u8) -> Result<u64, Fault> {
    char::from(byte).to_digit(16).map(u64::from).ok_or(Fault::Malformed("a chunk size must be a hexadecimal number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), Fault> {
        let (mut reader, mut data, mut unread) = (ChunkedReader::default(), Vec::new(), 0);
        for piece in pieces {
            let mut buffer = piece.to_vec();
            let decoded = reader.decode(&mut buffer)?;
            data.extend_from_slice(&buffer[..decoded.data]);
            unread += buffer.len() - decoded.consumed;
        }
        Ok((data, reader.is_done(), unread))
    }

    const BODY: &[u8] = b"5\r\nhello\r\n1;a=b\r\n,\r\nA\r\n wide world\r\n0\r\nX-Trailer: y\r\n\r\n";

    #[test]
    fn any_split_of_the_bytes_gives_the_same_data() {
        // "A" is ten bytes: " wide worl"; so the text above is malformed on purpose of this assertion.
        assert!(decode_all(&[BODY]).is_err());
        let good = b"5\r\nhello\r\n1;a=b\r\n,\r\nB\r\n wide world\r\n0\r\nX-Trailer: y\r\n\r\nNEXT";
        for split in 0..good.len() {
            let (data, done, unread) = decode_all(&[&good[..split], &good[split..]]).unwrap();
            assert_eq!((data.as_slice(), done, unread), (&b"hello, wide world"[..], true, 4), "split at {split}");
        }
        let bytewise: Vec<&[u8]> = good.chunks(1).collect();
        assert_eq!(decode_all(&bytewise).unwrap().0, b"hello, wide world");
    }

    #[test]
    fn a_size_may_be_padded_and_extended() {
        for line in ["5", "5 ", "5\t ", "5;a", "5 ;a=\"b c\"", "5; a ; b"] {
            let wire = format!("{line}\r\nhello\r\n0\r\n\r\n");
            assert_eq!(decode_all(&[wire.as_bytes()]).unwrap().0, b"hello", "{line}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bad in [
            &b"\r\n"[..],
            b"-5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n",
            b"5 ; x\n",
            b"g\r\n",
            b"fffffffffffffffff\r\n",
            b"5\rhello",
            b"0\r\n\n",
            b"0\r\nX: y\n\r\n",
            b"5\r\nhello\r\r\n",
            b" 5\r\nhello\r\n",
            b"5 zz\r\nhello\r\n",
            b"5\t6\r\nhello\r\n",
        ] {
            assert!(decode_all(&[bad]).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        let endless = [&b"5;"[..], &vec![b'x'; 20_000]].concat();
        assert!(decode_all(&[&endless]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_was_cut_into_chunks_comes_back_whole(chunks in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 1..50), 0..20),
                                                     cut in 1usize..40) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            let (data, done, _) = decode_all(&pieces).unwrap();
            proptest::prop_assert_eq!(data, chunks.concat());
            proptest::prop_assert!(done);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = decode_all(&[&bytes]);
        }
    }
}
