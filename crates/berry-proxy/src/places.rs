//! The open connections of a worker that wait for their next request: a drain reaches them here, and the one that has waited
//! for longest is told to close where room is needed for another.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};

use berry_vocab::Moment;

use crate::gateway::Phase;
use crate::worker::Worker;

/// The places of a worker's connections.
#[derive(Default)]
pub(crate) struct Places {
    seats: RefCell<Seats>,
}

#[derive(Default)]
struct Seats {
    all: Vec<Option<Seat>>,
    free: Vec<usize>,
}

struct Seat {
    waker: Waker,
    /// Since when it has waited for its next request, if it does.
    idle_since: Option<Moment>,
    must_close: bool,
}

/// A connection's place, from the first time that it waits until it ends.
pub(crate) struct Place {
    worker: Rc<Worker>,
    /// How often the listener had moved when the connection came in.
    moves: u64,
    seat: Option<usize>,
}

// === impl Places ===

impl Places {
    /// Wakes every connection.
    pub(crate) fn wake_all(&self) {
        self.seats.borrow().all.iter().flatten().for_each(|seat| seat.waker.wake_by_ref());
    }

    /// Tells the connection that has been idle for longest to close. `false`: none is idle.
    pub(crate) fn make_room(&self) -> bool {
        let mut seats = self.seats.borrow_mut();
        let idle = seats.all.iter_mut().flatten().filter(|seat| !seat.must_close);
        let oldest = idle.filter_map(|seat| seat.idle_since.map(|since| (since, seat))).min_by_key(|(since, _)| *since);
        let Some((_, seat)) = oldest else { return false };
        seat.must_close = true;
        seat.waker.wake_by_ref();
        true
    }

    fn enter(&self, waker: Waker) -> usize {
        let seat = Some(Seat { waker, idle_since: None, must_close: false });
        let mut seats = self.seats.borrow_mut();
        let free = seats.free.pop();
        match free.and_then(|place| seats.all.get_mut(place).map(|empty| (place, empty))) {
            Some((place, empty)) => {
                *empty = seat;
                place
            }
            None => {
                seats.all.push(seat);
                seats.all.len() - 1
            }
        }
    }

    fn leave(&self, place: usize) {
        let mut seats = self.seats.borrow_mut();
        if let Some(seat) = seats.all.get_mut(place) {
            *seat = None;
            seats.free.push(place);
        }
    }

    /// Notes whether a connection is idle, and says whether it must close.
    fn note(&self, place: usize, idle_since: Option<Moment>) -> bool {
        let mut seats = self.seats.borrow_mut();
        let Some(seat) = seats.all.get_mut(place).and_then(Option::as_mut) else { return false };
        seat.idle_since = idle_since;
        seat.must_close
    }
}

// === impl Place ===

impl Place {
    pub(crate) fn new(worker: Rc<Worker>) -> Self {
        Self { moves: worker.moves(), worker, seat: None }
    }

    /// Whether it takes no further requests: the gateway is draining, or the listener that it came in by is no more.
    pub(crate) fn is_draining(&self) -> bool {
        self.worker.gateway.phase() == Phase::Draining || self.worker.moves() != self.moves
    }

    /// As that; if not yet, the task will be woken when it is so.
    pub(crate) fn poll_draining(&mut self, cx: &Context<'_>) -> bool {
        if self.is_draining() {
            return true;
        }
        self.seat(cx);
        false
    }

    /// Notes that the connection has waited for its next request since then. Whether it must close, to make room for another;
    /// if not yet, the task will be woken when it must.
    pub(crate) fn rest(&mut self, cx: &Context<'_>, since: Moment) -> bool {
        let seat = self.seat(cx);
        self.worker.places.note(seat, Some(since))
    }

    /// Notes that the connection does not wait any more.
    pub(crate) fn resume(&self) {
        if let Some(seat) = self.seat {
            self.worker.places.note(seat, None);
        }
    }

    /// Has its task woken when something changes that concerns all.
    pub(crate) fn sit(&mut self, cx: &Context<'_>) {
        self.seat(cx);
    }

    fn seat(&mut self, cx: &Context<'_>) -> usize {
        // A connection stays with its task, so its waker is registered once.
        *self.seat.get_or_insert_with(|| self.worker.places.enter(Waker::clone(cx.waker())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            self.worker.places.leave(seat);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn room_is_made_by_the_connection_that_has_been_idle_for_longest() {
        let places = Places::default();
        let at = |seconds| Moment::ZERO.after(Duration::from_secs(seconds));
        let [first, second, third, busy] = std::array::from_fn(|_| places.enter(Waker::noop().clone()));
        let must_close = |place, since: Option<u64>| places.note(place, since.map(at));
        assert!(!places.make_room(), "none is idle");
        for (place, since) in [(first, 3), (second, 1), (third, 2)] {
            assert!(!must_close(place, Some(since)));
        }
        assert!(places.make_room());
        assert!(must_close(second, Some(1)) && !must_close(third, Some(2)));
        assert!(places.make_room(), "one that was told already is not told again");
        assert!(must_close(third, Some(2)) && !must_close(first, Some(3)) && !must_close(busy, None));
        must_close(first, None);
        assert!(!places.make_room(), "the others are told or busy");
        places.leave(second);
        assert_eq!(places.enter(Waker::noop().clone()), second);
        assert!(!must_close(second, Some(9)), "who comes next begins anew");
    }
}
