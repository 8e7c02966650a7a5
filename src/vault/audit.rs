//! What the audit log tells, and what of leases and requests is noted for it.

use super::core::Core;
use super::events::Event;
use crate::error::Error;
use crate::token::Label;

impl Core {
    /// Tells of a refusal, and hands it on.
    pub(super) fn watched<T>(&self, label: &str, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Denied(denied)) = &result {
            if let Ok(label) = Label::new(label) {
                self.events.emit(|| Event::denied(&label, denied));
            }
        }
        result
    }
}
