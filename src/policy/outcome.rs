//! What became of a signed spend, by the answer alone (DESIGN section 4).

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
    /// The outcome of an answer with `status` whose HMAC was `verified`.
    ///
    /// An answer that anyone could have written proves nothing, whatever it says.
    pub(crate) fn of(status: u16, verified: bool) -> Self {
        match (verified, status) {
            (true, 200 | 201) => Self::Accepted,
            (true, 202) => Self::Pending,
            (true, 400 | 401 | 403 | 404 | 422 | 429) => Self::Rejected,
            _ => Self::Uncertain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verified_answers_decide() {
        for status in 100..600 {
            assert_eq!(Outcome::of(status, false), Outcome::Uncertain);
            let expect = match status {
                200 | 201 => Outcome::Accepted,
                202 => Outcome::Pending,
                400 | 401 | 403 | 404 | 422 | 429 => Outcome::Rejected,
                _ => Outcome::Uncertain,
            };
            assert_eq!(Outcome::of(status, true), expect, "{status}");
        }
    }
}
