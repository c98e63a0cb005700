//! Who made an answer, so that state which the answer hands out finds its maker again (failure model, R7).

use berry_vocab::BackendKey;
use berry_wire::Operation;

use crate::live::{BoundTo, Live};
use crate::snapshot::Target;

/// The backend and account of an answer; nothing where answers of the operation hand out no such state.
pub(crate) struct Maker {
    known: Option<(Operation, BackendKey, u64)>,
}

impl Maker {
    pub(crate) fn of(operation: Operation, target: &Target, account: u64) -> Self {
        let makes = matches!(operation, Operation::Responses | Operation::Messages);
        Self { known: makes.then(|| (operation, target.key.clone(), account)) }
    }

    /// Remembers what a part of the answer hands out: a plain answer, or whole events of a stream.
    pub(crate) fn note(&self, part: &[u8], live: &Live) {
        let Some((operation, backend, account)) = &self.known else {
            return;
        };
        let remember = |json: &[u8]| {
            for state in berry_wire::made_state(*operation, json) {
                live.bound.remember(state, BoundTo { backend: backend.clone(), account: *account });
            }
        };
        if part.trim_ascii_start().first() == Some(&b'{') {
            return remember(part.trim_ascii_start());
        }
        let lines = part.split(|byte| matches!(byte, b'\n' | b'\r'));
        lines.filter_map(|line| line.strip_prefix(b"data:")).for_each(|data| remember(data.trim_ascii_start()));
    }
}
