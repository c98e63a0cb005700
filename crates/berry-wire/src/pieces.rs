//! A body to send: slices of the body that came, with what was replaced between them. Nothing of the original is copied.

use bytes::Bytes;
use smallvec::SmallVec;

/// The pieces of a body, in order; none is empty.
#[derive(Clone, Debug, Default)]
pub struct Pieces(SmallVec<[Bytes; 5]>);

impl Pieces {
    /// The whole body as one piece.
    pub fn whole(body: Bytes) -> Self {
        let mut pieces = Pieces::default();
        pieces.push(body);
        pieces
    }

    /// Appends a piece, unless it is empty.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.0.push(piece);
        }
    }

    /// How many bytes there are in all.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many pieces there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The pieces in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.0.iter()
    }

    /// All bytes in one place, for tests and for those who must have them so.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.concat()
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 5]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Pieces {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
