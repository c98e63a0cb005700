//! Who may open a file, as far as its mode tells. Files that hold secrets are for the user that runs Berry alone (security rule
//! E23); what to do about one that is not is said here once, for the configuration, the keys and the tokens alike.

use std::path::Path;

use crate::problem::{Place, Problems};

/// Warns about a file with secrets that is not its owner's alone. `what` names it, like "the file of `api_key`".
pub(crate) fn check(problems: &mut Problems, at: &Place, what: &str, path: &Path) {
    if open_to_others(path) {
        let remedy = format!("make the user that runs Berry its owner, and chmod 600 {}", path.display());
        problems.secret_warning(at, format!("{what} is open to other users of this machine"), remedy);
    }
}

/// Whether group or others may do anything with the file.
#[cfg(unix)]
fn open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn open_to_others(_path: &Path) -> bool {
    false
}
