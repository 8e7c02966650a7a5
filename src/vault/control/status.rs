//! How a vault and its tokens stand, as JSON: what the control socket answers to `status`, and what a
//! program prints for others to read. Never a secret.
//!
//! `docs/CONTROL.md` tells every field, and a test holds the two together. Names stay; new ones may
//! come. Words come from closed lists, amounts are strings of digits in base units, times RFC 3339 in
//! UTC; what is not known, or does not apply, is `null`.

use crate::policy::Counter;
use crate::vault::core::Core;
use crate::vault::{TokenStatus, Vault};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A vault as the process that holds it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControlStatus {
    /// The process.
    pub pid: u32,
    /// Whether the vault is frozen: nothing is leased.
    pub is_frozen: bool,
    /// Whether it was opened though it is damaged.
    pub is_degraded: bool,
    /// What is damaged.
    pub damage: Option<String>,
    /// Why nothing can be written: no spend is reserved then, and no token renewed.
    pub read_only: Option<String>,
    /// Labels at BitGo of tokens that may have been minted, are not kept, and are not known to be gone.
    #[serde(default)]
    pub orphans: Vec<String>,
    /// Its tokens, by label.
    pub tokens: Vec<ControlToken>,
}

/// A token, as [`ControlStatus`] tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControlToken {
    /// The name it is kept under.
    pub label: String,
    /// Its id at BitGo.
    pub id: String,
    /// Where it stands in its life: `fresh`, `advisory`, `mandatory`, `expired`.
    pub phase: String,
    /// How it stands with BitGo: `good`, `suspect`, `revoked`.
    pub standing: String,
    /// Whether BitGo is asked to revoke it: nothing is leased with it any more.
    pub is_revoked: bool,
    /// Whether it spends nothing until it is reconciled.
    pub is_unreconciled: bool,
    /// Whether BitGo could not be asked about it since it was imported: it only views.
    pub is_unverified: bool,
    /// When it was made.
    pub created_at: Option<String>,
    /// When it ends.
    pub expires_at: Option<String>,
    /// How it is renewed: `manual`, `extend`, `internal-token`, `oauth`, `reissue`.
    pub renewal: String,
    /// What is done next: `revoke`, `renew`, `ask` BitGo whether it lives, or `none`.
    pub next_action: String,
    /// When it is tried next to renew it.
    pub renewal_at: Option<String>,
    /// When BitGo is asked next whether it lives.
    pub probe_at: Option<String>,
    /// Who must act before it is renewed: `vault` or `human`.
    pub who_acts: String,
    /// What a human must do, by its name ([`Need::as_str`](crate::Need::as_str)).
    pub need: Option<String>,
    /// The same as a sentence ([`Need::advice`](crate::Need::advice)).
    pub advice: Option<String>,
    /// Renewals since the vault was opened.
    pub renewals: u64,
    /// Attempts to renew it that failed since the last renewal.
    pub failures: u32,
    /// Why the last of them failed, where the vault has not been reopened since.
    pub last_error: Option<String>,
    /// What was spent, by coin.
    pub counters: BTreeMap<String, ControlCounter>,
}

/// A [`Counter`], as [`ControlToken`] tells of it: its parts, their sum, and what is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControlCounter {
    /// The most that the token may spend, as BitGo has it.
    pub limit: Option<String>,
    /// The most that it and its successors may spend.
    pub total: Option<String>,
    /// What BitGo verifiably accepted.
    pub accepted: String,
    /// What waits for an approval.
    pub pending: String,
    /// What has no known outcome, and counts as spent: all that a kill stranded, too.
    pub uncertain: String,
    /// What is leased or signed, and not settled yet.
    pub reserved: String,
    /// What was taken of the limit and is not leased yet.
    pub allotted: String,
    /// What others spent, or was spent before the vault counted.
    pub foreign: String,
    /// What former tokens used of the total.
    pub carried: String,
    /// What of the above the total does not count: the budget was renewed since.
    pub renewed: String,
    /// What counts against the limit; `null` for more than can be counted.
    pub used: Option<String>,
    /// What may still be spent; `null` where there is no cap.
    pub left: Option<String>,
}

impl Vault {
    /// What the vault answers at its control socket to `status` ([`Control::status`](super::Control::status)).
    pub fn control_status(&self) -> ControlStatus {
        ControlStatus::of(&self.core)
    }
}

impl ControlStatus {
    pub(super) fn of(core: &Core) -> Self {
        let damage = core.store.damage();
        Self {
            pid: std::process::id(),
            is_frozen: core.store.freeze().is_frozen(),
            is_degraded: damage.is_some(),
            damage: damage.map(ToString::to_string),
            read_only: core.store.check_writable().err().map(|why| why.to_string()),
            // Where that cannot be read, the vault tells of the damage.
            orphans: core
                .orphans()
                .unwrap_or_default()
                .into_iter()
                .map(|(_, it)| it.label)
                .collect(),
            tokens: core.list().iter().map(ControlToken::from).collect(),
        }
    }
}

impl From<&TokenStatus> for ControlToken {
    fn from(status: &TokenStatus) -> Self {
        let counters = status.counters.iter();
        let text = |word: &str| word.to_owned();
        Self {
            label: status.label.to_string(),
            id: status.info.id.to_string(),
            phase: text(status.phase.as_str()),
            standing: text(status.standing.as_str()),
            is_revoked: status.is_revoked,
            is_unreconciled: status.is_unreconciled,
            is_unverified: status.is_unverified,
            created_at: status.info.created_at.map(time),
            expires_at: status.info.expires_at.map(time),
            renewal: text(status.renewal.as_str()),
            next_action: text(next_action(status)),
            renewal_at: status.renewal_at.map(time),
            probe_at: status.probe_at.map(time),
            who_acts: text(if status.need.is_some() { "human" } else { "vault" }),
            need: status.need.map(|need| text(need.as_str())),
            advice: status.need.map(|need| text(need.advice())),
            renewals: status.renewals,
            failures: status.failures,
            last_error: status.last_error.clone(),
            counters: counters.map(|(coin, counter)| (coin.to_string(), counter.into())).collect(),
        }
    }
}

fn next_action(status: &TokenStatus) -> &'static str {
    match (status.probe_at, status.renewal_at) {
        _ if status.is_revoked => "revoke",
        (None, None) => "none",
        (None, Some(_)) => "renew",
        (Some(probe), Some(renewal)) if renewal < probe => "renew",
        (Some(_), _) => "ask",
    }
}

impl From<&Counter> for ControlCounter {
    fn from(counter: &Counter) -> Self {
        // Taken apart, so that a new part does not compile until it is seen to.
        let Counter {
            limit,
            total,
            accepted,
            pending,
            uncertain,
            reserved,
            allotted,
            foreign,
            carried,
            renewed,
        } = counter;
        Self {
            limit: limit.map(|limit| limit.to_string()),
            total: total.map(|total| total.to_string()),
            accepted: accepted.to_string(),
            pending: pending.to_string(),
            uncertain: uncertain.to_string(),
            reserved: reserved.to_string(),
            allotted: allotted.to_string(),
            foreign: foreign.to_string(),
            carried: carried.to_string(),
            renewed: renewed.to_string(),
            used: counter.used().map(|used| used.to_string()),
            left: counter.left().map(|left| left.to_string()),
        }
    }
}

/// To the millisecond, as BitGo writes times.
fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin_map::CoinMap;
    use crate::id::TokenId;
    use crate::money::{Amount, Coin};
    use crate::policy::LocalRules;
    use crate::refresh::{Phase, Standing};
    use crate::renewal_memory::Need;
    use crate::token::{Label, Renewal, TokenInfo};
    use serde_json::{Value, json};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_767_323_045_678 + seconds * 1000).unwrap()
    }

    fn status() -> TokenStatus {
        let counter = Counter {
            limit: Some(Amount::MAX),
            accepted: Amount::new(1),
            uncertain: Amount::new(9_007_199_254_740_993),
            ..Counter::default()
        };
        let info = TokenInfo::of_limits(TokenId::from_bytes([2; 16]), CoinMap::default());
        TokenStatus {
            label: Label::new("bot").unwrap(),
            info: TokenInfo { created_at: Some(at(-9)), expires_at: Some(at(0)), ..info },
            renewal: Renewal::Oauth,
            rules: LocalRules::default(),
            rules_version: 0,
            is_revoked: false,
            is_unreconciled: false,
            is_unverified: true,
            phase: Phase::Mandatory,
            standing: Standing::Suspect,
            renewal_at: Some(at(-2)),
            probe_at: Some(at(-3)),
            need: Some(Need::RefreshToken),
            renewals: 7,
            failures: 3,
            last_error: Some("sign in anew".into()),
            counters: [(Coin::new("tbtc").unwrap(), counter)].into(),
        }
    }

    fn shown(status: &TokenStatus) -> Value {
        serde_json::to_value(ControlToken::from(status)).unwrap()
    }

    #[test]
    fn the_shape_of_a_token_is_kept() {
        let expect = json!({
            "label": "bot",
            "id": "02020202020202020202020202020202",
            "phase": "mandatory",
            "standing": "suspect",
            "is_revoked": false,
            "is_unreconciled": false,
            "is_unverified": true,
            "created_at": "2026-01-02T03:03:56.678Z",
            "expires_at": "2026-01-02T03:04:05.678Z",
            "renewal": "oauth",
            "next_action": "ask",
            "renewal_at": "2026-01-02T03:04:03.678Z",
            "probe_at": "2026-01-02T03:04:02.678Z",
            "who_acts": "human",
            "need": "refresh-token",
            "advice": Need::RefreshToken.advice(),
            "renewals": 7,
            "failures": 3,
            "last_error": "sign in anew",
            "counters": {"tbtc": {
                "limit": Amount::MAX.to_string(),
                "total": null,
                "accepted": "1",
                "pending": "0",
                "uncertain": "9007199254740993",
                "reserved": "0",
                "allotted": "0",
                "foreign": "0",
                "carried": "0",
                "renewed": "0",
                "used": "9007199254740994",
                "left": (Amount::MAX.base_units() - 9_007_199_254_740_994).to_string(),
            }},
        });
        assert_eq!(shown(&status()), expect);
        let read: ControlToken = serde_json::from_value(expect).unwrap();
        assert_eq!(read, ControlToken::from(&status()));
    }

    #[test]
    fn what_is_next_is_the_sooner_of_what_is_due() {
        for (is_revoked, probe_at, renewal_at, expect) in [
            (false, None, None, "none"),
            (false, None, Some(1), "renew"),
            (false, Some(2), Some(1), "renew"),
            (false, Some(1), Some(1), "ask"),
            (false, Some(1), None, "ask"),
            (true, Some(1), Some(1), "revoke"),
        ] {
            let (probe_at, renewal_at) = (probe_at.map(at), renewal_at.map(at));
            let status = TokenStatus { is_revoked, probe_at, renewal_at, need: None, ..status() };
            let shown = shown(&status);
            assert_eq!(
                (&shown["next_action"], &shown["who_acts"]),
                (&json!(expect), &json!("vault"))
            );
        }
    }

    #[test]
    fn every_field_is_told_of_and_no_other() {
        let document = include_str!("../../../docs/CONTROL.md");
        let vault = ControlStatus {
            pid: 1,
            is_frozen: false,
            is_degraded: false,
            damage: None,
            read_only: None,
            orphans: Vec::new(),
            tokens: Vec::new(),
        };
        let token = shown(&status());
        for (section, value) in [
            ("### The vault", &serde_json::to_value(vault).unwrap()),
            ("### A token", &token),
            ("### A counter", &token["counters"]["tbtc"]),
        ] {
            let (_, rest) = document.split_once(section).unwrap();
            let table = rest.split("\n#").next().unwrap().lines();
            let told = table.filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
            let mut told: Vec<_> = told.map(|(name, _)| name).collect();
            told.sort_unstable();
            let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(told, names, "{section}");
        }
        let row = document.lines().find(|line| line.starts_with("| `need`")).unwrap();
        for need in Need::ALL.map(Need::as_str) {
            assert!(row.contains(&format!("`{need}`")), "{need}");
        }
    }
}
