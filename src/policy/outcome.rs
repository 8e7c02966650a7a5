//! What became of a signed spend, by the answer alone.

/// What became of a signed request that moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server did it: a verified 200 or 201.
    Accepted,
    /// It waits for an approval: a verified 202. It counts as spent.
    Pending,
    /// The server refused it: a verified 400, 401, 403, 404, 422 or 429. It gives the reservation back.
    Rejected,
    /// Not known: everything else. It counts as spent.
    Uncertain,
}

impl Outcome {
    /// What a verified answer with `status` says. One that is not verified could have been
    /// written by anyone: it says nothing, and the outcome is [`Outcome::Uncertain`].
    pub(crate) fn of(status: u16) -> Self {
        match status {
            200 | 201 => Self::Accepted,
            202 => Self::Pending,
            400 | 401 | 403 | 404 | 422 | 429 => Self::Rejected,
            _ => Self::Uncertain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_row_names_is_uncertain() {
        let named = [200, 201, 202, 400, 401, 403, 404, 422, 429];
        for status in 0..=u16::MAX {
            assert_eq!(Outcome::of(status) == Outcome::Uncertain, !named.contains(&status));
        }
        assert_eq!(Outcome::of(202), Outcome::Pending);
        assert_eq!(Outcome::of(201), Outcome::Accepted);
        assert_eq!(Outcome::of(429), Outcome::Rejected);
    }
}
