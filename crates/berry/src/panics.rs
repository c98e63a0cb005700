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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<String>>);

    impl<S: tracing::Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            struct All<'a>(&'a mut String);
            impl Visit for All<'_> {
                fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                    self.0.push_str(&format!("{}={value:?} ", field.name()));
                }
            }
            event.record(&mut All(&mut self.0.lock().unwrap()));
        }
    }

    fn told_of(panic: fn()) -> String {
        let heard = Heard::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(heard.clone()), || {
            let before = std::panic::take_hook();
            log_them();
            let caught = std::panic::catch_unwind(panic);
            std::panic::set_hook(before);
            assert!(caught.is_err());
        });
        heard.0.lock().unwrap().clone()
    }

    // One test for both: the hook is the whole process's.
    #[test]
    fn a_panic_is_logged_with_its_place_and_never_with_data() {
        let literal = told_of(|| panic!("written by hand"));
        assert!(literal.contains("panics.rs") && literal.contains("written by hand"), "{literal}");
        let formatted = told_of(|| {
            let prompt = String::from("my secret prompt ä");
            let _ = &prompt[..prompt.len() - 1];
        });
        assert!(formatted.contains("location=") && !formatted.contains("secret"), "{formatted}");
    }
}
