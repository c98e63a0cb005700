//! Secrets that every gateway of these tests works with, looked for wherever it leaves something: in what it prints, in its answers,
//! and in its data directory, as they are and as base64, hex and URLs have them (promise 5). The harness calls this for all of
//! them, so that no test has to think of it.

use std::collections::HashSet;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::harness::{PROMPT, TOKEN, USER_TOKEN};

/// The key of the simulated provider, where a test gives it none of its own.
pub(crate) const KEY: &str = "sk-of-a-simulated-provider";

/// What must be nowhere, in every form.
static FORMS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| [TOKEN, USER_TOKEN, KEY, PROMPT].iter().flat_map(|secret| forms(secret)).collect());

/// Simulated providers: they say what they were asked.
static MOCKS: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// A simulated provider answers there.
pub(crate) fn is_mock(address: &str) {
    MOCKS.lock().unwrap().get_or_insert_default().insert(address.to_owned());
}

/// Whether an answer on this connection is a gateway's.
pub(crate) fn is_of_gateway(stream: &TcpStream) -> bool {
    let mocks = MOCKS.lock().unwrap();
    let is_mock = |address: String| mocks.as_ref().is_some_and(|mocks| mocks.contains(&address));
    stream.peer_addr().is_ok_and(|address| !is_mock(address.to_string()))
}

/// Fails where a secret stands in what came from `place`.
pub(crate) fn look(place: &str, bytes: &[u8]) {
    if let Some(found) = FORMS.iter().find(|form| memchr::memmem::find(bytes, form).is_some()) {
        panic!("{} stands in {place}: {}", String::from_utf8_lossy(found), String::from_utf8_lossy(bytes));
    }
}

/// The same in all files of a directory.
pub(crate) fn look_in(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            look_in(&path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            look(&path.display().to_string(), &bytes);
        }
    }
}

fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let url: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex, url.to_lowercase(), url];
    // Wherever it stands in what was encoded: without the characters at both ends that hold a neighbour's bits.
    for before in 0..3 {
        let padded = [&[0_u8; 2][..before], bytes].concat();
        let whole = padded.len() / 3 * 4;
        for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&padded);
            forms.push(encoded[before.min(1) * 4..whole].to_owned());
        }
    }
    forms.into_iter().map(String::into_bytes).collect()
}

#[test]
fn a_secret_is_found_in_whatever_form_it_stands() {
    let hidden = |text: &str| std::panic::catch_unwind(|| look("a test", text.as_bytes())).is_err();
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{TOKEN} and more");
        assert!(hidden(&text) && hidden(&BASE64_STANDARD_NO_PAD.encode(&text)), "{before}");
        assert!(hidden(&text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()), "{before}");
        assert!(hidden(&text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()), "{before}");
    }
    assert!(!hidden("an-admin-token-for-tests") && !hidden(""), "parts are none");
}
