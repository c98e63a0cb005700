//! The stations on the path of a request, one file each, in the order in which a request passes them. The path itself stands in
//! [`crate::path`]. Recall (6) has its place there and comes with the cache; of admit (4), `limit` is what concerns
//! users, and `admit` all else.

pub(crate) mod admit;
pub(crate) mod call;
pub(crate) mod choose;
pub(crate) mod identify;
pub(crate) mod limit;
mod maker;
mod relay;
mod reservation;
pub(crate) mod route;
mod ticket;
pub(crate) mod vigil;

pub(crate) use call::Fault;
pub(crate) use maker::Maker;
pub(crate) use relay::{Cut, Flow};
pub(crate) use reservation::{Estimate, Reservation, Spent};
pub(crate) use ticket::{Attempt, Outcome, Ticket, tell};
pub(crate) use vigil::Vigil;
