//! Where a log ends: the newest record, and how far its file goes. Signed, and kept apart from the records, so that a cut-off tail
//! is missed; and what a start goes by, since only what stands before the head was ever acknowledged.

use serde::Deserialize;

use super::hex;
use super::line::{Link, time};
use super::signing::{Signer, Verifier};

/// The file of the head.
pub(super) const HEAD: &str = "head";

/// Said before what is signed, so that a head's signature fits nothing else.
const STATEMENT: &[u8] = b"berry audit head 1\n";

/// Where a log ends.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) link: Link,
    /// The newest record's file; empty before the first.
    pub(super) file: String,
    /// The bytes of that file that are records.
    pub(super) length: u64,
}

#[derive(Deserialize)]
struct Written {
    seq: u64,
    hash: String,
    file: String,
    length: u64,
}

impl Head {
    /// The file's bytes.
    pub(super) fn text(&self, unix_millis: u64, signer: &Signer) -> Vec<u8> {
        let Self { link, file, length } = self;
        let mut text = format!(
            "{{\"seq\":{},\"hash\":\"{}\",\"file\":\"{file}\",\"length\":{length},\"time\":\"{}\",\"key\":\"{}\"",
            link.seq,
            hex::text(&link.hash),
            time(unix_millis),
            signer.id()
        )
        .into_bytes();
        let signature = signer.sign(&[STATEMENT, &text].concat());
        text.extend_from_slice(b",\"signature\":\"");
        hex::push(&signature, &mut text);
        text.extend_from_slice(b"\"}\n");
        text
    }

    /// Reads the file's bytes; `None`: the key has not signed them.
    pub(super) fn read(bytes: &[u8], verifier: &Verifier) -> Option<Self> {
        let rest = bytes.strip_suffix(b"\"}\n")?;
        let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(128)?)?;
        let signed = rest.strip_suffix(b",\"signature\":\"")?;
        if !verifier.has_signed(&[STATEMENT, signed].concat(), &hex::read(digits)?) {
            return None;
        }
        let written: Written = serde_json::from_slice(bytes).ok()?;
        let link = Link { seq: written.seq, hash: hex::read(written.hash.as_bytes())? };
        Some(Self { link, file: written.file, length: written.length })
    }
}
