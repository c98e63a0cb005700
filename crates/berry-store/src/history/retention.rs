//! How much of the history is kept: so many generations and so many bytes, the latest ones. The one in force is the latest, and
//! stays however big it is.

use super::Archive;

const MOST: usize = 200;
const MOST_BYTES: u64 = 64 << 20;

/// Lets go of the earliest generations that are too many.
pub(super) fn apply(archive: &Archive, forget: impl FnMut(u64)) {
    let Ok(numbers) = archive.numbers() else { return };
    let size = |kind: &str, generation| archive.path(generation, kind).metadata().map_or(0, |file| file.len());
    let sizes = numbers.iter().rev().map(|&generation| {
        let bytes = ["json", "text", "replaced"].iter().map(|kind| size(kind, generation)).sum();
        (generation, bytes)
    });
    too_many(sizes).for_each(forget);
}

/// Of generations with their sizes, the latest first, those to let go of.
fn too_many(sizes: impl Iterator<Item = (u64, u64)>) -> impl Iterator<Item = u64> {
    let mut bytes = 0_u64;
    sizes.enumerate().filter_map(move |(place, (generation, size))| {
        bytes = bytes.saturating_add(size);
        (place > 0 && (place >= MOST || bytes > MOST_BYTES)).then_some(generation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(sizes: &[u64]) -> usize {
        too_many(sizes.iter().enumerate().map(|(place, size)| (place as u64, *size))).count()
    }

    #[test]
    fn the_latest_stay_up_to_a_number_and_a_size_and_the_one_in_force_always() {
        assert_eq!(gone(&[10; 200]), 0);
        assert_eq!(gone(&[10; 203]), 3);
        assert_eq!(gone(&[32 << 20, 32 << 20, 1]), 1);
        assert_eq!(gone(&[65 << 20]), 0);
        assert_eq!(gone(&[65 << 20, 1, 1]), 2);
        assert_eq!(gone(&[]), 0);
    }
}
