//! The key that signs a log's checkpoints and head: Ed25519. The public key lies beside it, so that a copy of the log can be
//! verified without the one that signs.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::hex;

/// The file of the key.
pub(super) const KEY: &str = "key";

/// The file of the public key.
pub(super) const PUBLIC_KEY: &str = "key.pub";

/// Signs.
pub(super) struct Signer {
    pair: Ed25519KeyPair,
    id: String,
}

/// Knows what was signed.
pub(super) struct Verifier {
    public: [u8; 32],
}

// === impl Signer ===

impl Signer {
    /// The signer of a seed; `None`: the crypto library refuses it.
    pub(super) fn new(seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let id = Verifier { public: pair.public_key().as_ref().try_into().ok()? }.id();
        Some(Self { pair, id })
    }

    /// Reads the key's file.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        Self::new(&hex::read(text.strip_suffix(b"\n")?)?)
    }

    /// What is written into the public key's file.
    pub(super) fn public_text(&self) -> String {
        hex::text(self.pair.public_key().as_ref()) + "\n"
    }

    /// The key's id: by it people compare keys.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, statement: &[u8]) -> [u8; 64] {
        self.pair.sign(statement).as_ref().try_into().unwrap_or([0; 64])
    }
}

// === impl Verifier ===

impl Verifier {
    /// Reads the public key's file.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        hex::read(text.strip_suffix(b"\n")?).map(|public| Self { public })
    }

    /// The key's id.
    pub(super) fn id(&self) -> String {
        let sha256 = digest(&SHA256, &self.public);
        hex::text(sha256.as_ref().get(..8).unwrap_or_default())
    }

    pub(super) fn has_signed(&self, statement: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(statement, signature).is_ok()
    }
}

/// What is written into the key's file.
pub(super) fn seed_text(seed: &[u8; 32]) -> String {
    hex::text(seed) + "\n"
}
