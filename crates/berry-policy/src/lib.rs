//! Decisions: which backend and key a request goes to, what outcomes say about their health, when to check it, and whether
//! another try, or a second one beside the first, or the request at all, is allowed. Pure: time
//! ([`Moment`](berry_vocab::Moment)) and dice ([`Dice`](berry_vocab::Dice)) are arguments.
//!
//! It knows numbers about backends. It must not know what a backend is: no HTTP, no protocol, no configuration file, no lock.
//! Who holds these values (and under which lock) is the caller's affair; but [`Rate`] may be shared as it is.

mod balance;
mod bucket;
mod budget;
mod checks;
mod concurrency;
mod confidence;
mod cooldown;
mod ewma;
mod health;
mod hedge;
mod keys;
mod latency;
mod limit;
mod outcome;
mod relapse;
mod retry;
mod smart_ai;
#[cfg(test)]
mod testing;

pub use balance::{Candidate, Strategy, StrategyRow, Turn};
pub use budget::{BudgetRules, RetryBudget};
pub use checks::{Billing, Check, CheckRules, CheckSchedule, leads_to_ramp};
pub use concurrency::AdaptiveLimit;
pub use confidence::Confidence;
pub use cooldown::{Cooldown, Cooling};
pub use ewma::ewma;
pub use health::{Health, HealthRules, State, may_open_soft, panic_pick};
pub use hedge::{HedgeAfter, HedgeBudget, HedgeRules};
pub use keys::{KeyStanding, Quarantine, is_last_usable, key_soonest, pick_key};
pub use latency::Latencies;
pub use limit::{Quantity, Rate, Window, WindowLimits, WindowStanding, WindowStandings};
pub use outcome::{FailureKind, OutcomeClass};
pub use relapse::{Calls, Probation, RecentCalls, Standing};
pub use retry::{Visits, backoff};
pub use smart_ai::SmartAi;
