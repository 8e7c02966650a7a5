//! Where the rotation of an OAuth refresh token stands.

/// Where the rotation of one refresh token stands, as it must be durable before the call is made: an
/// answer that was lost may have spent the token, so that it is tried once more and no oftener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotationState {
    /// The refresh token is good, as far as is known.
    #[default]
    Settled,
    /// It was sent, and nothing came of it that is known.
    Sent,
    /// It was sent again after that.
    SentAgain,
    /// A human must sign in: the refresh token is spent, or may be.
    NeedsHuman,
}

impl RotationState {
    /// In the order of their numbers on disk.
    pub(crate) const ALL: [Self; 4] =
        [Self::Settled, Self::Sent, Self::SentAgain, Self::NeedsHuman];

    /// The state to make durable before the refresh token is sent; `None` if it must not be.
    pub fn before_sending(self) -> Option<Self> {
        match self {
            Self::Settled => Some(Self::Sent),
            Self::Sent => Some(Self::SentAgain),
            Self::SentAgain | Self::NeedsHuman => None,
        }
    }

    /// The state where what was to be sent has not left.
    pub(crate) fn unsent(self) -> Self {
        match self {
            Self::Settled | Self::Sent => Self::Settled,
            Self::SentAgain => Self::Sent,
            Self::NeedsHuman => Self::NeedsHuman,
        }
    }
}
