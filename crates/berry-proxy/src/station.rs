//! The stations on the path of a request, one file each, in the order in which a request passes them. The path itself stands in
//! [`crate::path`]. Admit (4) and recall (6) have their place there and come with limits and cache.

pub(crate) mod call;
pub(crate) mod choose;
pub(crate) mod identify;
mod relay;
pub(crate) mod route;
mod ticket;

pub(crate) use relay::{Cut, Flow};
pub(crate) use ticket::{Attempt, Outcome, Ticket};
