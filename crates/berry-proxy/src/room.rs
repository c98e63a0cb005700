//! How many clients there is room for. Every descriptor that the process may have open is either kept in reserve, a client's,
//! or there for the connection to a provider that this client's request may need (failure model, P1).

/// Descriptors for all else: listeners, event loops, files, the admin listener's connections.
const RESERVE: u64 = 64;

/// However low the limit is, it is tried with so many; the system then says no earlier.
const FEWEST: usize = 16;

/// How many clients may be connected at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    most: usize,
}

/// How full it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fullness {
    /// There is room for more.
    Roomy,
    /// Little is left: idle connections to providers are closed.
    Scarce,
    /// Nothing is left: the client that has been idle for longest must make room for a new one.
    Full,
}

impl Room {
    /// What a limit of open files comes to.
    pub(crate) fn new(open_files: u64) -> Self {
        let most = open_files.saturating_sub(RESERVE) / 2;
        Self { most: usize::try_from(most).unwrap_or(usize::MAX).max(FEWEST) }
    }

    /// How full it is with so many clients.
    pub(crate) fn fullness(self, clients: usize) -> Fullness {
        match clients {
            clients if clients >= self.most => Fullness::Full,
            clients if clients >= self.most - self.most / 5 => Fullness::Scarce,
            _ => Fullness::Roomy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_half_of_what_is_not_kept_in_reserve() {
        for (open_files, clients, fullness) in [
            (1024, 0, Fullness::Roomy),
            (1024, 383, Fullness::Roomy),
            (1024, 384, Fullness::Scarce),
            (1024, 479, Fullness::Scarce),
            (1024, 480, Fullness::Full),
            (1024, 481, Fullness::Full),
            (u64::MAX, 1 << 40, Fullness::Roomy),
            (65, 12, Fullness::Roomy),
            (65, 13, Fullness::Scarce),
            (0, 15, Fullness::Scarce),
            (0, 16, Fullness::Full),
        ] {
            assert_eq!(Room::new(open_files).fullness(clients), fullness, "{clients} of {open_files}");
        }
    }
}
