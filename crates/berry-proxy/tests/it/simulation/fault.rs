//! The ways in which a simulated provider misbehaves for a while.

use berry_vocab::Dice;

use super::plan::{below, one_of};

/// What a provider does to every request of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No connection is taken.
    Refuse,
    /// A connection is never made.
    Blackhole,
    /// The connection breaks once the request is there.
    ResetFirst,
    /// The head comes after everybody has given up.
    SlowHead,
    /// An error status.
    Status(u16),
    /// An error status, with the seconds to wait.
    Wait(u16, u64),
    /// A page for people.
    Page,
    /// 200 without a body.
    Empty,
    /// 200 with an error in it.
    ErrorIn200,
    /// No HTTP.
    Garbage,
    /// A stream whose first event is an error.
    ErrorFirst,
    /// A stream with an error behind its first events.
    ErrorLater,
    /// The connection breaks at some byte of the answer's body.
    ResetWithin,
    /// The answer ends at some byte of its body, and the connection in good order.
    Truncate,
    /// The answer is sound, and another one that nobody asked for follows it.
    Surplus,
    /// Nothing more comes from some byte of the answer's body on.
    Stall,
}

/// How a gateway sees it, as far as the counting of attempts goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// A breaker may take out every backend that is so.
    Hard,
    /// A wait was named.
    Waits,
    /// A breaker takes out half of a model's backends at most.
    Soft,
    /// No breaker opens for it in the end: it may come after the commit point, or is a wait that is soon over.
    Late,
}

#[rustfmt::skip]
const ROWS: [(Fault, Weight); 22] = [
    (Fault::Refuse,        Weight::Hard),
    (Fault::Blackhole,     Weight::Hard),
    (Fault::ResetFirst,    Weight::Hard),
    (Fault::Status(401),   Weight::Hard),
    (Fault::Wait(429, 15), Weight::Waits),
    (Fault::Wait(503, 15), Weight::Soft),
    (Fault::Status(500),   Weight::Soft),
    (Fault::Status(502),   Weight::Soft),
    (Fault::SlowHead,      Weight::Soft),
    (Fault::Page,          Weight::Soft),
    (Fault::Empty,         Weight::Soft),
    (Fault::ErrorIn200,    Weight::Soft),
    (Fault::Garbage,       Weight::Soft),
    (Fault::ErrorFirst,    Weight::Soft),
    (Fault::ErrorLater,    Weight::Late),
    (Fault::ResetWithin,   Weight::Late),
    (Fault::Truncate,      Weight::Late),
    (Fault::Stall,         Weight::Late),
    (Fault::Surplus,       Weight::Late),
    // These have no named wait, and come again a second later.
    (Fault::Status(429),   Weight::Late),
    (Fault::Status(503),   Weight::Late),
    // What the request's own fault is, in the eyes of whoever says so.
    (Fault::Status(400),   Weight::Late),
];

impl Fault {
    /// Any.
    pub(super) fn any(dice: &mut dyn Dice) -> Self {
        match one_of(&ROWS, dice).0 {
            Fault::Wait(status, _) => Fault::Wait(status, 1 + below(dice, 8)),
            Fault::Status(429) if below(dice, 2) == 0 => Fault::Status(529),
            fault => fault,
        }
    }

    /// What may be wrong with one key of an account.
    pub(super) fn of_a_key(dice: &mut dyn Dice) -> Self {
        *one_of(&[Fault::Status(401), Fault::Status(403), Fault::Wait(429, 15)], dice)
    }

    /// One of those with these weights.
    pub(super) fn of(weights: &[Weight], dice: &mut dyn Dice) -> Self {
        let rows: Vec<_> = ROWS.iter().filter(|(_, weight)| weights.contains(weight)).collect();
        one_of(&rows, dice).0
    }

    /// Whether it shows before a connection is made.
    pub(super) fn is_of_connections(self) -> bool {
        matches!(self, Fault::Refuse | Fault::Blackhole)
    }
}
