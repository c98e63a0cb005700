//! Randomness of the system's: tokens, and the seed of the dice.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

use crate::outcome::Failure;

/// Random bytes, fit for secrets.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    let failure =
        |_| Failure::new("the system gives no random bytes", "make /dev/urandom or getrandom(2) available to Berry");
    SystemRandom::new().fill(&mut bytes).map_err(failure)?;
    Ok(bytes)
}

/// A user's token: 192 bits, in letters and digits that need no quoting anywhere.
pub(crate) fn token() -> Result<String, Failure> {
    let hex: String = bytes::<24>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("berry-{hex}"))
}
