//! How much of the gateway's memory request bodies may take: each its own most, and all together. What does not fit is refused
//! while it arrives, so that memory stays bounded whatever clients send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use berry_vocab::{Code, Failure};

use crate::client::BodyError;
use crate::pressure::Pressure;

/// Bytes of request bodies that are held, over all requests.
#[derive(Debug, Default)]
pub(crate) struct BodyMemory {
    held: AtomicU64,
    /// How near the whole process is to its end of memory.
    pub(crate) pressure: Pressure,
}

/// What one request may hold. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Allowance {
    memory: Arc<BodyMemory>,
    /// The largest body.
    pub(crate) most: u64,
    /// Over all requests.
    limit: u64,
    held: u64,
}

// === impl BodyMemory ===

impl BodyMemory {
    /// An allowance for one body of at most `most` bytes, while all together hold at most `limit`.
    pub(crate) fn allow(self: &Arc<Self>, most: u64, limit: u64) -> Allowance {
        Allowance { memory: self.clone(), most, limit, held: 0 }
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }
}

// === impl Allowance ===

impl Allowance {
    /// The body has grown to `length` bytes.
    pub(crate) fn hold(&mut self, length: usize) -> Result<(), BodyError> {
        let length = length as u64;
        if length > self.most {
            return Err(BodyError::too_large(self.most));
        }
        self.memory.pressure.admit_body(length).map_err(BodyError::Refused)?;
        let more = length.saturating_sub(self.held);
        let fits = |held: u64| held.checked_add(more).filter(|all| *all <= self.limit);
        if self.memory.held.fetch_update(Relaxed, Relaxed, fits).is_err() {
            let message = "the gateway holds as many bytes of request bodies as it may (max_body_memory_bytes)";
            let failure = Failure::new(Code::Overloaded, message).retry_after(Duration::from_secs(1));
            return Err(BodyError::Refused(failure));
        }
        self.held += more;
        Ok(())
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.held, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), BodyError>) -> Option<Code> {
        match result {
            Ok(()) => None,
            Err(BodyError::Refused(failure)) => Some(failure.code()),
            Err(BodyError::Gone) => panic!("nobody left"),
        }
    }

    #[test]
    fn bodies_share_a_bound_and_give_back_what_they_held() {
        let memory = Arc::new(BodyMemory::default());
        let mut one = memory.allow(80, 100);
        let mut other = memory.allow(80, 100);
        assert_eq!(code(one.hold(60)), None);
        assert_eq!(code(one.hold(60)), None, "what is held already counts once");
        assert_eq!(code(one.hold(81)), Some(Code::BodyTooLarge));
        assert_eq!(code(other.hold(41)), Some(Code::Overloaded));
        assert_eq!(code(other.hold(40)), None);
        assert_eq!(memory.held(), 100);
        drop(one);
        assert_eq!((memory.held(), code(other.hold(80))), (40, None));
        drop(other);
        assert_eq!(memory.held(), 0);
    }
}
