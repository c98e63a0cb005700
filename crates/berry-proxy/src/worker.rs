//! A worker: one thread, one event loop, and what its requests share without locks. A connection stays on the worker that it
//! was given to, so that nothing on the path of a request is `Send` or contended.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use berry_vocab::{Dice, Moment, SeededDice};

use crate::gateway::Gateway;
use crate::places::Places;
use crate::ports::{Clock, Connector};
use crate::upstream::Pool;

/// Size of the buffer that all reads of a worker land in.
const SCRATCH_BYTES: usize = 64 * 1024;

const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What the requests of one thread share.
pub struct Worker {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) connector: Rc<dyn Connector>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Pool,
    /// Lent to whoever reads from a socket, for the length of one poll.
    pub(crate) scratch: RefCell<Vec<u8>>,
    dice: RefCell<SeededDice>,
    /// The time when it was last asked for.
    recent: Cell<Moment>,
    date: Date,
    pub(crate) places: Places,
    /// How often the listener has moved, or changed what it speaks.
    moves: Cell<u64>,
    is_cut: Cell<bool>,
}

impl Worker {
    /// A worker of `gateway`. `seed` decides its dice.
    pub fn new(gateway: Arc<Gateway>, connector: Rc<dyn Connector>, clock: Arc<dyn Clock>, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            gateway,
            connector,
            clock,
            pool: Pool::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            dice: RefCell::new(SeededDice::new(seed)),
            recent: Cell::new(Moment::ZERO),
            date: Date::default(),
            places: Places::default(),
            moves: Cell::new(0),
            is_cut: Cell::new(false),
        })
    }

    /// Closes connections to providers that nobody needs any more. Runs until it is dropped.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let snapshot = self.gateway.snapshot();
            self.pool.sweep(self.now(), &*self.connector, |endpoint| snapshot.reaches(endpoint));
        }
    }

    /// Wakes every connection, so that it sees that the gateway is draining.
    pub fn wake_all(&self) {
        self.places.wake_all();
    }

    /// The listener has moved: connections that came in before end once they have answered what they have been asked.
    pub(crate) fn part(&self) {
        self.moves.set(self.moves.get() + 1);
        self.wake_all();
    }

    /// How often that was.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.get()
    }

    /// Gives descriptors back: those of idle connections to providers, and of the client that has been idle for longest.
    /// `false`: no client is idle.
    pub(crate) fn make_room(&self) -> bool {
        self.pool.shrink();
        self.places.make_room()
    }

    /// Ends what is still in flight: streams with the error event `shutdown`, waiting requests with that code.
    pub fn cut(&self) {
        self.is_cut.set(true);
        self.wake_all();
    }

    /// Whether the time for what is in flight is over.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    pub(crate) fn now(&self) -> Moment {
        let now = self.clock.now();
        self.recent.set(now);
        now
    }

    /// The time when it was last asked for, which every request does when it begins and ends: good enough for the age of idle
    /// connections, and no call of the clock. Not for setting a limit: it may be long ago.
    pub(crate) fn recent(&self) -> Moment {
        self.recent.get()
    }

    pub(crate) fn roll(&self) -> u64 {
        self.dice.borrow_mut().roll()
    }

    pub(crate) fn with_dice<T>(&self, decide: impl FnOnce(&mut dyn Dice) -> T) -> T {
        decide(&mut *self.dice.borrow_mut())
    }

    /// Appends the `date` field line of a second.
    pub(crate) fn push_date(&self, unix_seconds: u64, out: &mut Vec<u8>) {
        self.date.push(unix_seconds, out);
    }
}

/// The `date` field line, written anew once a second.
#[derive(Default)]
struct Date {
    second: Cell<u64>,
    line: RefCell<String>,
}

impl Date {
    fn push(&self, second: u64, out: &mut Vec<u8>) {
        if self.second.replace(second) != second {
            *self.line.borrow_mut() = format!("date: {}\r\n", imf_fixdate(second));
        }
        out.extend_from_slice(self.line.borrow().as_bytes());
    }
}

/// RFC 9110, section 5.6.7. The civil date by Howard Hinnant's algorithm (`days_from_civil`, 2014).
fn imf_fixdate(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (unix / 86_400, unix % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let name = |names: &[&'static str], i: u64| names.get(i as usize).copied().unwrap_or_default();
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7),
        name(&MONTHS, month),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(imf_fixdate(unix), text);
        }
    }
}
