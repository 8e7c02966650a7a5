//! `policy`: the vault's own rules for a token, beside what BitGo says of it.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use bitgo_vault::{Error, Label, LocalRules, Vault};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

/// Longer than any rules that are taken, in bytes.
const RULES_MAX: u64 = 1 << 20;

/// Show or replace the vault's own rules for a token
#[derive(Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print a token's rules as JSON, as set takes them
    Show {
        /// What the token is kept as
        label: String,
    },
    /// Replace a token's rules by those of a file
    ///
    /// Amounts are strings of digits in base units, whiles are seconds; what is left out sets no bound. To tighten
    /// rules is free; what may allow a request that was not allowed before asks for the passphrase again.
    Set {
        /// What the token is kept as
        label: String,
        /// The file with the rules; - is standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Agree to rules that allow what was not allowed before, where nobody is asked for the passphrase
        #[arg(long)]
        loosen: bool,
    },
}

/// Rules in their own shape, for a script as for people.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Value);

impl Tell for Shown {
    fn tell(&self, page: &mut Page) {
        page.text(format_args!("{:#}", self.0));
    }
}

/// What became of a token's rules.
#[derive(Serialize)]
struct Replaced {
    label: String,
    is_loosened: bool,
    changes: Vec<Change>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    /// The names that lead to it, such as `coins.tbtc.fee`.
    rule: String,
    before: Value,
    after: Value,
}

impl Tell for Replaced {
    fn tell(&self, page: &mut Page) {
        match self.changes.is_empty() {
            true => page.line(format_args!("{}: the rules are as they were", self.label)),
            false => page.line(format_args!("{}: the rules are changed", self.label)),
        }
        for Change { rule, before, after } in &self.changes {
            page.line(format_args!("  {rule}: {before} -> {after}"));
        }
    }
}

impl Policy {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        match self.what {
            What::Show { label } => {
                let showing = async |vault: &Vault| Ok(vault.rules(&label)?);
                printer.say(&Shown(told(&common.within(printer, showing).await?)?))
            }
            What::Set { label, file, loosen } => {
                let rules = LocalRules::from_json(&read(&file)?).map_err(Error::from)?;
                let passphrase = common.passphrase().await?;
                let again = common.passphrase.repeat(&passphrase);
                let setting = async |vault: &Vault| {
                    let before = vault.rules(&label)?;
                    let is_loosened = match vault.set_rules(&label, rules.clone(), None).await {
                        Err(Error::LoosensRules { .. }) => {
                            // A file with a rule forgotten must not open what was closed.
                            if again.is_some() && !loosen {
                                return Err(
                                    Error::LoosensRules { label: Label::new(&label)? }.into()
                                );
                            }
                            printer.note("the rules allow what was not allowed before");
                            let passphrase = again.map_or_else(|| common.passphrase.ask(), Ok)?;
                            let loosening =
                                vault.set_rules(&label, rules.clone(), Some(passphrase));
                            printer.busy("deriving the key", loosening).await?;
                            true
                        }
                        set => {
                            set?;
                            false
                        }
                    };
                    Ok((before, is_loosened))
                };
                let builder = common.builder()?;
                let (before, is_loosened) =
                    common.opened(builder, passphrase, printer, setting).await?;
                let mut changes = Vec::new();
                compare("", &told(&before)?, &told(&rules)?, &mut changes);
                printer.say(&Replaced { label, is_loosened, changes })
            }
        }
    }
}

fn told(rules: &LocalRules) -> Result<Value, Failure> {
    serde_json::from_str(&rules.to_json()).map_err(Failure::could_not("write the rules"))
}

/// What differs, as deep as both are objects.
fn compare(rule: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    let (Value::Object(was), Value::Object(is)) = (before, after) else {
        if before != after {
            let (before, after) = (before.clone(), after.clone());
            changes.push(Change { rule: rule.to_owned(), before, after });
        }
        return;
    };
    let new = is.keys().filter(|name| !was.contains_key(*name));
    for name in was.keys().chain(new) {
        let dot = if rule.is_empty() { "" } else { "." };
        let of =
            |side: &serde_json::Map<String, Value>| side.get(name).cloned().unwrap_or_default();
        compare(&format!("{rule}{dot}{name}"), &of(was), &of(is), changes);
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut rules = String::new();
    let read = match path.as_os_str() == "-" {
        true => stdin().lock().take(RULES_MAX).read_to_string(&mut rules),
        false => File::open(path).and_then(|file| file.take(RULES_MAX).read_to_string(&mut rules)),
    };
    read.map_err(Failure::at_file("read the rules of", path))?;
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_named_as_deep_as_it_goes() {
        let before = json!({"rawExposure": false, "wallets": null, "coins": {"tbtc": {"fee": "1", "total": null}}});
        let after = json!({"rawExposure": false, "wallets": ["a"], "coins": {
            "hteth": {"fee": "3"}, "tbtc": {"fee": "2", "total": null},
        }});
        let mut changes = Vec::new();
        compare("", &before, &after, &mut changes);
        let change = |rule: &str, before, after| Change { rule: rule.into(), before, after };
        assert_eq!(
            changes,
            [
                change("coins.tbtc.fee", json!("1"), json!("2")),
                change("coins.hteth", json!(null), json!({"fee": "3"})),
                change("wallets", json!(null), json!(["a"])),
            ]
        );
        changes.clear();
        compare("", &after, &after, &mut changes);
        assert_eq!(changes, []);
    }
}
