//! Randomness of the system's: tokens, and the seed of the dice.

use crate::outcome::Failure;

/// Random bytes, fit for secrets. From the system itself: a generator of one's own gathers entropy for 25 ms at the start.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    let failure = |error| {
        Failure::new(
            format!("the system gives no random bytes: {error}"),
            "make getrandom(2) or /dev/urandom available to Berry",
        )
    };
    getrandom::fill(&mut bytes).map_err(failure)?;
    Ok(bytes)
}

/// A user's token: 256 bits, in letters and digits that need no quoting anywhere.
pub(crate) fn token() -> Result<String, Failure> {
    let hex: String = bytes::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("berry-{hex}"))
}
