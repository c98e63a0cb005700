//! Bytes in pieces, as reads from a socket bring them: the same pieces for the same seed.

/// Pieces of random lengths; the seed's low bits say how long they may be, from one byte to 32 KiB.
pub(crate) fn cut(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let most = 1_usize << (seed % 16);
    let mut dice = u32::from(seed) + 1;
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        // Marsaglia's xorshift: the cuts need to be varied, not unforeseeable.
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        let (piece, after) = rest.split_at((1 + dice as usize % most).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
