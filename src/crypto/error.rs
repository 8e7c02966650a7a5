//! Why a cryptographic operation was refused: by class, never with the data.

/// The class of a [`CryptoError`], by the names the vectors use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The tag or MAC does not fit: wrong password or key, or altered data.
    Authentication,
    /// The data does not have the shape it should.
    Malformed,
    /// A parameter lies outside its cap; nothing was computed.
    Parameter,
    /// A format version that is not known.
    Version,
    /// A derivation path that cannot be walked.
    Path,
    /// A key that is no key of its kind.
    Key,
    /// The system gave no randomness.
    Entropy,
}

impl ErrorClass {
    /// The class's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Malformed => "malformed",
            Self::Parameter => "parameter",
            Self::Version => "version",
            Self::Path => "path",
            Self::Key => "key",
            Self::Entropy => "entropy",
        }
    }
}

/// A refused cryptographic operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// Wrong password or key, or altered data; which of them cannot be told.
    #[error("could not open")]
    CouldNotOpen,
    /// The data does not have the shape it should; the text names the part.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A parameter lies outside its cap; the text names it and its bounds.
    #[error("parameter out of bounds: {0}")]
    Parameter(&'static str),
    /// A format version that is not known.
    #[error("unknown version")]
    Version,
    /// A derivation path that cannot be walked.
    #[error("derivation path refused: {0}")]
    Path(&'static str),
    /// A key that is no key of its kind.
    #[error("not a usable key: {0}")]
    Key(&'static str),
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Entropy,
}

impl CryptoError {
    /// The error's class.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::CouldNotOpen => ErrorClass::Authentication,
            Self::Malformed(_) => ErrorClass::Malformed,
            Self::Parameter(_) => ErrorClass::Parameter,
            Self::Version => ErrorClass::Version,
            Self::Path(_) => ErrorClass::Path,
            Self::Key(_) => ErrorClass::Key,
            Self::Entropy => ErrorClass::Entropy,
        }
    }
}
