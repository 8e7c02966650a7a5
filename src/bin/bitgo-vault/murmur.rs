//! What the vault warns of meanwhile, on standard error: that somebody else acts as this user, that a
//! token is minted against advice, that the machine's clock is off.

use crate::page::harmless;
use std::fmt::{self, Write as _};
use std::io::{Write as _, stderr};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Passes warnings of the vault on to who started the command.
pub(crate) fn to_whom_it_may_concern() {
    // Nobody else sets one in this process.
    let _ = tracing::subscriber::set_global_default(Murmur);
}

/// What the verb that meets it tells by itself.
const TOLD: [&str; 4] = ["freeze.on", "renewal.failed", "token.not_revoked", "token.unlocked"];

struct Murmur;

impl Subscriber for Murmur {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::WARN
            && metadata.target().starts_with("bitgo_vault")
            && !TOLD.contains(&metadata.name())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line { message, fields } = line;
        let warning = harmless(&format!("{message}{fields}"));
        let _ = writeln!(stderr(), "bitgo-vault: warning: {warning}");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The sentence of an event, and its fields behind it.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // To a text nothing fails.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, "; {name} {value:?}"),
        };
    }
}
