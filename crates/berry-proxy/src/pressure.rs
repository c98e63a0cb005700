//! How near the process is to the memory that its control group may have, and what is given up for it (failure model, P2): first
//! large bodies, then new calls, then the largest that has no answer yet. The system would kill the process, and all with it.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Duration;

use berry_vocab::{Code, Failure};
use parking_lot::Mutex;

/// Bodies above this are the first to be refused.
const LARGE_BODY: u64 = 1 << 20;

/// How short memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Roomy,
    /// 80 %: large bodies are refused.
    Tight,
    /// 90 %: new calls are.
    Scarce,
    /// 95 %: the largest call without an answer is given up.
    Critical,
}

/// The pressure, and the calls that could be given up.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    level: AtomicU8,
    next_id: AtomicU64,
    /// The one that is given up; ids begin with 1.
    doomed: AtomicU64,
    /// Calls with large bodies that have no answer yet, by size.
    large: Mutex<BTreeMap<(u64, u64), Waker>>,
}

impl Level {
    /// The level for so many bytes in use of so many.
    fn of(used: u64, limit: u64) -> Self {
        let percent = used.saturating_mul(100) / limit.max(1);
        match percent {
            95.. => Level::Critical,
            90.. => Level::Scarce,
            80.. => Level::Tight,
            _ => Level::Roomy,
        }
    }
}

impl Pressure {
    /// Notes how many bytes are in use of how many. At the critical level the largest call without an answer is given up. Says
    /// the level before and now.
    pub(crate) fn note(&self, used: u64, limit: u64) -> (Level, Level) {
        let now = Level::of(used, limit);
        let before = self.level.swap(now as u8, Relaxed);
        if now == Level::Critical {
            let largest = self.large.lock().pop_last();
            if let Some(((_, id), waker)) = largest {
                self.doomed.store(id, Relaxed);
                waker.wake();
            }
        }
        (level(before), now)
    }

    /// Whether a new call may begin.
    pub(crate) fn admit(&self) -> Result<(), Failure> {
        if self.level() >= Level::Scarce { Err(too_tight("the gateway has hardly any memory left")) } else { Ok(()) }
    }

    /// Whether a body of that length may come in.
    pub(crate) fn admit_body(&self, length: u64) -> Result<(), Failure> {
        if length > LARGE_BODY && self.level() >= Level::Tight {
            return Err(too_tight("the gateway has no memory left for a body of more than 1 MiB"));
        }
        Ok(())
    }

    /// Runs a call with a body of that length, unless it is given up for the memory that it takes.
    pub(crate) async fn unless_given_up<T, E: From<Failure>>(
        &self,
        length: u64,
        mut call: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, E> {
        if length <= LARGE_BODY {
            return call.await;
        }
        let id = poll_fn(|cx| Poll::Ready(self.enter(length, cx.waker()))).await;
        let _entered = Entered { pressure: self, length, id };
        poll_fn(|cx| match self.is_doomed(id) {
            true => Poll::Ready(Err(too_tight("the gateway has no memory left for this call").into())),
            false => call.as_mut().poll(cx),
        })
        .await
    }

    /// Enters a call with a body of that length, so that it can be given up; 0: it is too small to help.
    fn enter(&self, length: u64, waker: &Waker) -> u64 {
        if length <= LARGE_BODY {
            return 0;
        }
        let id = self.next_id.fetch_add(1, Relaxed) + 1;
        self.large.lock().insert((length, id), waker.clone());
        id
    }

    /// The call has its answer, or has ended.
    fn leave(&self, length: u64, id: u64) {
        if id != 0 {
            self.large.lock().remove(&(length, id));
        }
    }

    /// Whether this call is the one that is given up.
    fn is_doomed(&self, id: u64) -> bool {
        id != 0 && self.doomed.load(Relaxed) == id
    }

    fn level(&self) -> Level {
        level(self.level.load(Relaxed))
    }
}

struct Entered<'p> {
    pressure: &'p Pressure,
    length: u64,
    id: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.pressure.leave(self.length, self.id);
    }
}

fn level(number: u8) -> Level {
    [Level::Roomy, Level::Tight, Level::Scarce].get(usize::from(number)).copied().unwrap_or(Level::Critical)
}

/// What is told to whoever is given up or not let in.
fn too_tight(message: &'static str) -> Failure {
    Failure::new(Code::Overloaded, message).retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_levels_are_those_of_the_failure_model() {
        for (used, expected) in [
            (0, Level::Roomy),
            (79, Level::Roomy),
            (80, Level::Tight),
            (90, Level::Scarce),
            (95, Level::Critical),
            (200, Level::Critical),
        ] {
            assert_eq!(Level::of(used, 100), expected, "{used}");
        }
        assert_eq!(Level::of(5, 0), Level::Critical);
    }

    #[test]
    fn large_bodies_are_refused_before_calls_are() {
        let pressure = Pressure::default();
        let allowed =
            || (pressure.admit_body(MIB).is_ok(), pressure.admit_body(MIB + 1).is_ok(), pressure.admit().is_ok());
        assert_eq!(allowed(), (true, true, true));
        pressure.note(85, 100);
        assert_eq!(allowed(), (true, false, true));
        pressure.note(92, 100);
        assert_eq!(allowed(), (true, false, false));
        assert_eq!(pressure.note(50, 100), (Level::Scarce, Level::Roomy));
        assert_eq!(allowed(), (true, true, true));
    }

    #[test]
    fn the_largest_call_without_an_answer_is_given_up_one_at_a_time() {
        let pressure = Pressure::default();
        let ids = [3, 9, 5].map(|mib| pressure.enter(mib * MIB, Waker::noop()));
        let small = pressure.enter(MIB, Waker::noop());
        let doomed = || ids.map(|id| pressure.is_doomed(id));
        pressure.note(94, 100);
        assert_eq!(doomed(), [false, false, false]);
        pressure.note(96, 100);
        assert_eq!(doomed(), [false, true, false]);
        pressure.leave(9 * MIB, ids[1]);
        pressure.note(97, 100);
        assert_eq!(doomed(), [false, false, true]);
        pressure.leave(3 * MIB, ids[0]);
        pressure.note(97, 100);
        assert_eq!((doomed(), pressure.is_doomed(small)), ([false, false, true], false), "nobody else is left");
    }
}
