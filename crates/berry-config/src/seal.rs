//! Sealed values: secrets encrypted in the file itself, each bound to its field, so that the file can be kept and shown like any
//! other. Pure: where keys lie is the matter of `key_file.rs`.
//!
//! A value is `sealed:v1:KEY:BYTES`. KEY tells which key of the ring opens it; BYTES are nonce, ciphertext and tag of
//! AES-256-GCM-SIV (RFC 8452), which stays safe should a random nonce ever come twice. The associated data is the field's path
//! without list positions: an entry may move within its list, but not to where another's secret is sent.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berry_vocab::Secret;
use zeroize::Zeroizing;

/// What every sealed value begins with.
const MARK: &str = "sealed:";
const VERSION: &str = "v1:";
/// What stands before each key of a key file.
const KEY_MARK: &str = "berry-key:v1:";
const KEY_LEN: usize = 32;

/// The keys that open sealed values; the first one seals.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring {
    first: SealingKey,
    others: Vec<SealingKey>,
}

#[derive(Clone, PartialEq, Eq)]
struct SealingKey(Zeroizing<[u8; KEY_LEN]>);

/// Why a sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealFault {
    /// Of a form that this version does not know.
    UnknownForm,
    /// Cut short, or holding what no sealed value holds.
    Damaged,
    /// Sealed with a key that is not in the ring.
    OtherKey,
    /// Sealed for another field, or changed.
    NotForThisField,
}

/// Whether a value claims to be sealed.
pub(crate) fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// The SHA-256 of a user's token, as `token_hash` holds it.
pub fn token_hash(token: &str) -> String {
    format!("sha256:{}", hex(digest(&SHA256, token.as_bytes()).as_ref()))
}

/// The SHA-256 of a configuration's text, by which generations are told apart.
pub fn text_hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

// === impl SealFault ===

impl SealFault {
    /// What is wrong, said after the field's name.
    pub fn told(self) -> &'static str {
        match self {
            SealFault::UnknownForm => "is sealed in a form that this version does not know",
            SealFault::Damaged => "is sealed, and cut short or damaged",
            SealFault::OtherKey => "is sealed with a key that is not in the key file",
            SealFault::NotForThisField => "is sealed for another field, or was changed since",
        }
    }

    /// What to do about it in this field.
    pub fn remedy(self, field: &str) -> String {
        match self {
            SealFault::UnknownForm => {
                "use the version of Berry that sealed it, or seal it again with this one".to_owned()
            }
            SealFault::Damaged => format!("copy the whole value, or {}", again(field)),
            SealFault::OtherKey => {
                format!("name the key file that it was sealed with in `[security] key_file`, or {}", again(field))
            }
            SealFault::NotForThisField => format!(
                "a sealed value opens only in the field that it was sealed for, so after renaming {}; under the old name \
                 `berry secret reveal` still shows it",
                again(field)
            ),
        }
    }
}

fn again(field: &str) -> String {
    format!("write the secret in clear and run `berry secret seal --field {}`", shell_word(without_position(field)))
}

/// A path as a shell takes it: keys in quotes need more of them.
fn shell_word(path: &str) -> String {
    if path.contains('"') { format!("'{path}'") } else { path.to_owned() }
}

// === impl Keyring ===

impl Keyring {
    /// A ring of one key, of random bytes.
    pub fn new(key: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self { first: SealingKey(key), others: Vec::new() }
    }

    /// The same keys behind a new one, which seals from now on.
    #[must_use]
    pub fn with_new(&self, key: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self { first: SealingKey(key), others: self.keys().cloned().collect() }
    }

    /// Only the key that seals.
    #[must_use]
    pub fn without_old(&self) -> Self {
        Self { first: self.first.clone(), others: Vec::new() }
    }

    /// Reads the text of a key file; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut keys = lines.map(SealingKey::parse);
        Some(Self { first: keys.next()??, others: keys.collect::<Option<_>>()? })
    }

    /// The text of a key file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::from(
            "# Berry's sealing keys: all of them open sealed values, the first one seals.\n\
             # Keep a copy apart from the configuration: without this file its sealed values are lost.\n",
        ));
        // So that no half of a key stays behind where the text has outgrown its place.
        text.reserve((self.others.len() + 1) * 64);
        for key in self.keys() {
            text.push_str(KEY_MARK);
            URL_SAFE_NO_PAD.encode_string(key.0.as_slice(), &mut text);
            text.push('\n');
        }
        text
    }

    /// Seals a secret for a field, whose path may hold list positions. `None` only if the system gives no randomness.
    pub fn seal(&self, field: &str, secret: &Secret) -> Option<String> {
        let clear = secret.expose().as_bytes();
        // Room for the tag too: a vector that grew would leave the clear text behind.
        let mut bytes = Vec::with_capacity(clear.len() + AES_256_GCM_SIV.tag_len());
        bytes.extend_from_slice(clear);
        let nonce = self.first.cipher()?.seal_in_place_append_tag(Aad::from(binding(field)), &mut bytes).ok()?;
        let whole = [nonce.as_ref().as_slice(), &bytes].concat();
        Some(format!("{MARK}{VERSION}{}:{}", self.first.id(), URL_SAFE_NO_PAD.encode(whole)))
    }

    /// Opens the value that stands in a field.
    pub fn open(&self, field: &str, sealed: &str) -> Result<Secret, SealFault> {
        let versioned = sealed.strip_prefix(MARK).ok_or(SealFault::UnknownForm)?;
        let rest = versioned.strip_prefix(VERSION).ok_or(SealFault::UnknownForm)?;
        let (id, text) = rest.split_once(':').ok_or(SealFault::Damaged)?;
        let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| SealFault::Damaged)?);
        if bytes.len() < NONCE_LEN + AES_256_GCM_SIV.tag_len() {
            return Err(SealFault::Damaged);
        }
        let key = self.keys().find(|key| key.id() == id).ok_or(SealFault::OtherKey)?;
        let (nonce, text) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealFault::Damaged)?;
        let cipher = key.cipher().ok_or(SealFault::Damaged)?;
        let aad = Aad::from(binding(field));
        let clear = cipher.open_in_place(nonce, aad, text).map_err(|_| SealFault::NotForThisField)?;
        let clear = str::from_utf8(clear).map_err(|_| SealFault::Damaged)?;
        Ok(Secret::new(clear.to_owned()))
    }

    fn keys(&self) -> impl Iterator<Item = &SealingKey> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring(*** × {})", self.others.len() + 1)
    }
}

// === impl SealingKey ===

impl SealingKey {
    fn parse(line: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(line.strip_prefix(KEY_MARK)?).ok()?);
        let mut key = Zeroizing::new([0; KEY_LEN]);
        if bytes.len() != KEY_LEN {
            return None;
        }
        key.copy_from_slice(&bytes);
        Some(Self(key))
    }

    /// Tells keys apart, and tells nothing about them: 32 bits of a hash of 256 random ones.
    fn id(&self) -> String {
        let named = Zeroizing::new([b"berry key id ".as_slice(), self.0.as_slice()].concat());
        hex(digest(&SHA256, &named).as_ref()).chars().take(8).collect()
    }

    fn cipher(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM_SIV, self.0.as_slice()).ok()
    }
}

/// What a value is bound to. The form's version stands in it, so that no later form can be taken for this one.
fn binding(field: &str) -> String {
    format!("berry {MARK}{VERSION}{}", without_position(field))
}

/// The path of a list for that of its entry. Only a position ends in a bracket: keys that hold one are quoted.
fn without_position(field: &str) -> &str {
    match field.strip_suffix(']').and_then(|field| field.rsplit_once('[')) {
        Some((list, _)) => list,
        None => field,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(seed: u8) -> Keyring {
        Keyring::new(Zeroizing::new([seed; KEY_LEN]))
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_in_its_field_and_in_no_other(text in ".*", field in ".*", other in ".*") {
            let sealed = ring(1).seal(&field, &secret(&text)).unwrap();
            prop_assert_eq!(ring(1).open(&field, &sealed), Ok(secret(&text)));
            prop_assume!(without_position(&field) != without_position(&other));
            prop_assert_eq!(ring(1).open(&other, &sealed), Err(SealFault::NotForThisField));
        }

        #[test]
        fn a_value_with_any_byte_changed_does_not_open(text in ".{0,40}", at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let sealed = ring(1).seal("a.b", &secret(&text)).unwrap();
            let mut bytes = sealed.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let opened = ring(1).open("a.b", &String::from_utf8_lossy(&bytes));
            prop_assert!(opened.is_err(), "{} of {}", at, sealed);
        }

        #[test]
        fn a_value_cut_at_any_place_does_not_open(text in ".{0,40}", at in any::<prop::sample::Index>()) {
            let sealed = ring(1).seal("a.b", &secret(&text)).unwrap();
            prop_assert!(ring(1).open("a.b", &sealed[..at.index(sealed.len())]).is_err());
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same_twice() {
        let seal = || ring(1).seal("a.b", &secret("text")).unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn an_entry_may_move_within_its_list_and_not_out_of_it() {
        let sealed = ring(1).seal("providers.a.api_keys[0]", &secret("text")).unwrap();
        assert_eq!(ring(1).open("providers.a.api_keys[7]", &sealed), Ok(secret("text")));
        assert_eq!(ring(1).open("providers.b.api_keys[0]", &sealed), Err(SealFault::NotForThisField));
        assert_eq!(without_position("providers.\"a[1]\""), "providers.\"a[1]\"");
    }

    #[test]
    fn old_keys_of_the_ring_open_until_they_are_taken_out() {
        let sealed = ring(1).seal("a.b", &secret("text")).unwrap();
        let rotated = ring(1).with_new(Zeroizing::new([2; KEY_LEN]));
        assert_eq!(rotated.open("a.b", &sealed), Ok(secret("text")));
        assert_eq!(rotated.without_old().open("a.b", &sealed), Err(SealFault::OtherKey));
        let anew = rotated.seal("a.b", &secret("text")).unwrap();
        assert_eq!(rotated.without_old().open("a.b", &anew), Ok(secret("text")));
    }

    #[test]
    fn a_key_file_reads_as_it_was_written_and_nothing_else_is_one() {
        let rotated = ring(1).with_new(Zeroizing::new([2; KEY_LEN]));
        let text = rotated.to_text();
        assert_eq!(Keyring::parse(&text), Some(rotated.clone()));
        assert_eq!(Keyring::parse(&text.replace('\n', "\r\n")), Some(rotated));
        for none in ["", "# nothing", "berry-key:v1:AAAA", "a password", &format!("{}more\n", *text)] {
            assert_eq!(Keyring::parse(none), None, "{none}");
        }
    }

    #[test]
    fn keys_do_not_print() {
        assert_eq!(format!("{:?}", ring(7)), "Keyring(*** × 1)");
    }

    #[test]
    fn a_token_hash_is_the_sha_256_in_hex() {
        assert_eq!(token_hash("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_later_form_is_told_from_damage() {
        assert_eq!(ring(1).open("a.b", "sealed:v2:x:y"), Err(SealFault::UnknownForm));
        assert_eq!(ring(1).open("a.b", "sealed:v1:x"), Err(SealFault::Damaged));
    }
}
