//! A scripted LLM provider that replays recorded bytes: for tests, `berry mock`, `berry demo` and benchmarks.
//!
//! It knows the vendors' answers only as files under `recorded/`, and shares no code with what is tested against it: no
//! protocol type, no encoder, no HTTP reader of Berry's. It must not know Berry's configuration or any other crate.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use berry_mock::{Fault, Mock, Options, Script};
//!
//! let mock = Mock::start(Options::default()).await?;
//! mock.script(Fault::parse("429-r5")?); // the next request
//! mock.script(Script::new().play("chat-stream-crlf")); // the one after it
//! // … let a client call `mock.url()` …
//! mock.wait_for(|journal| journal.iter().filter(|request| request.completed).count() == 2).await;
//! # Ok(())
//! # }
//! ```
//!
//! The path of a request: `server` accepts, `http1` or `http2` reads, `ask` understands it, `script` and `fault` say
//! what is to happen, `recording` has the bytes, `answer` puts it together, and the HTTP version plays it. `journal`
//! notes what came and how it ended, and `pages` shows it to other processes.

mod answer;
mod ask;
mod date;
mod events;
mod fault;
mod http1;
mod http2;
mod journal;
mod pages;
mod recording;
mod script;
mod server;
#[cfg(feature = "tls")]
mod tls;

pub use ask::{Dialect, Operation};
pub use fault::{FAULTS, Fault, Kind, Row, Wait, help};
pub use journal::{Received, Stats};
pub use recording::{RECORDINGS, Recording, named};
pub use script::{Gate, Options, Script};
pub use server::Mock;
#[cfg(feature = "tls")]
pub use tls::Tls;
