//! Where longer recorded results lie until the tree holds them, or nobody asks for them any more.

use bytes::BytesMut;

use crate::store::{Encoded, Lent, Outcome};

/// Results that are longer are shared with who is answered by them; the shortest lie in their records.
const SHORT: usize = 1 << 10;
const CHUNK: usize = 16 << 10;

/// Keeps short results side by side, in the order in which they came, which is about the order in
/// which they go: a buffer for each would have gone cold when it is freed.
///
/// A chunk stays until the last result in it goes, at the next checkpoint but one at the latest: so
/// all chunks take no more than the log does.
#[derive(Debug, Default)]
pub(super) struct Results {
    chunk: BytesMut,
}

impl Results {
    /// The same outcome, to be kept.
    pub(super) fn keep(&mut self, result: Lent<'_>) -> Outcome {
        match result {
            Lent::Brief(value) => Outcome::Success(value.into()),
            Lent::Whole(Outcome::Success(value)) => Outcome::Success(self.copy(value)),
            Lent::Whole(Outcome::BusinessError(error)) => Outcome::BusinessError(self.copy(error)),
            Lent::Whole(Outcome::Aborted(reason)) => Outcome::Aborted(*reason),
        }
    }

    fn copy(&mut self, result: &Encoded) -> Encoded {
        if result.is_inline() || result.len() > SHORT {
            return result.clone();
        }
        if self.chunk.capacity() < result.len() {
            self.chunk = BytesMut::with_capacity(CHUNK);
        }
        self.chunk.extend_from_slice(result);
        self.chunk.split().freeze().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::AbortReason;

    #[test]
    fn what_is_kept_is_the_same() {
        let mut results = Results::default();
        let given: Vec<Outcome> = (0..3 * CHUNK)
            .step_by(97)
            .map(|length| Encoded::from(vec![length as u8; length % (2 * SHORT)]))
            .flat_map(|bytes| [Outcome::Success(bytes.clone()), Outcome::BusinessError(bytes)])
            .chain([Outcome::Aborted(AbortReason::Deadline)])
            .collect();
        let kept: Vec<Outcome> =
            given.iter().map(|outcome| results.keep(Lent::Whole(outcome))).collect();
        assert_eq!(kept, given);
        assert_eq!(results.keep(Lent::Brief(b"brief")), Outcome::Success(b"brief".into()));
    }

    #[test]
    fn a_short_result_is_copied_and_a_long_one_is_shared() {
        let mut results = Results::default();
        for (length, is_shared) in [(SHORT - 1, false), (SHORT, false), (SHORT + 1, true)] {
            let given = Encoded::from(vec![7; length]);
            let kept = results.copy(&given);
            assert_eq!(kept.as_ptr() == given.as_ptr(), is_shared, "{length} bytes");
        }
    }

    #[test]
    fn short_results_share_a_chunk() {
        let mut results = Results::default();
        let places: Vec<*const u8> = (0..CHUNK / SHORT)
            .map(|_| results.copy(&Encoded::from(&[7; SHORT])))
            .map(|kept| kept.as_ptr())
            .collect();
        assert!(places.windows(2).all(|pair| pair[1] as usize - pair[0] as usize == SHORT));
    }
}
