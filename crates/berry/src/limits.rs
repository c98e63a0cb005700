//! The system's limit of open files: a stream in flight takes two, and the usual soft limit of 1024 is there for programs that
//! use `select`, which Berry does not.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes all that the hard limit allows.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be had, what there is must do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// How many files the process may have open.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
