//! What the log says of a panic. The data plane catches one that happens in a request and answers 500; here it is only told.

use std::panic::PanicHookInfo;

/// From now on panics go to the log, not to stderr.
pub(crate) fn log_them() {
    std::panic::set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("?").to_owned();
    // A literal was written by whoever wrote the code. A formatted text may quote what was being worked on: a failed slice
    // of a string shows the string, and that may be a prompt.
    let message = info.payload().downcast_ref::<&str>().copied();
    tracing::error!(
        location,
        thread,
        message = message.unwrap_or("a panic in the code (its text is withheld: it may quote a request)")
    );
}
