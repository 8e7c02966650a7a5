//! The vault's own rules for one token, beside what BitGo says of it.

/// Local rules. The default allows nothing that BitGo's own record does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalRules {
    /// Whether the token itself may be handed out.
    pub raw_exposure: bool,
}
