//! `berry demo`
use clap::Args;

use crate::outcome::{Outcome, Status};

/// Runs
#[derive(Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(super) fn run(self) -> Outcome {
        Ok(Status::Done)
    }
}
