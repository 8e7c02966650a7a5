//! What a worker does, and what must be found of it: a plain model, told step by step.

use bitgo_vault::test_util::{KeptToken, Work};
use bitgo_vault::{Amount, AuditAction, Coin, Counter, Outcome, StoreError, TokenId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The one that makes the store, changes its passphrase and its data key.
pub(super) const KEEPER: usize = 0;
/// All who work, the keeper among them: each spends a coin of its own.
pub(super) const WORKERS: usize = Work::COINS.len();
/// The keeper's token, of which all others spend too.
pub(super) const SHARED: &str = "0-0";

const OUTCOMES: [Outcome; 4] =
    [Outcome::Accepted, Outcome::Pending, Outcome::Uncertain, Outcome::Rejected];

/// What a worker does. Tokens are its own, by number; `None` is the shared one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Operation {
    Create,
    Add {
        token: usize,
        version: u64,
    },
    Replace {
        token: usize,
        version: u64,
    },
    Remove {
        token: usize,
    },
    Reserve {
        token: Option<usize>,
        amount: u64,
    },
    /// The outcome is the one of this number.
    Settle {
        token: Option<usize>,
        amount: u64,
        outcome: usize,
    },
    Audit {
        version: u64,
    },
    Allow {
        token: usize,
        allowed: bool,
    },
    Passphrase {
        to: usize,
    },
    Rekey,
}

impl Operation {
    /// What they are called where they are counted.
    pub(super) const KINDS: [&'static str; 10] = [
        "create",
        "add",
        "replace",
        "remove",
        "reserve",
        "settle",
        "audit",
        "allow",
        "passphrase",
        "rekey",
    ];

    pub(super) fn kind(&self) -> &'static str {
        Self::KINDS[match self {
            Self::Create => 0,
            Self::Add { .. } => 1,
            Self::Replace { .. } => 2,
            Self::Remove { .. } => 3,
            Self::Reserve { .. } => 4,
            Self::Settle { .. } => 5,
            Self::Audit { .. } => 6,
            Self::Allow { .. } => 7,
            Self::Passphrase { .. } => 8,
            Self::Rekey => 9,
        }]
    }

    /// Whether its `Ok` says that it, and all before it, is durable. A settlement waits for the next one
    /// that is; so does a reservation of what was refused before, which is still allotted.
    fn is_durable(&self, before: &Share) -> bool {
        match self {
            Self::Settle { .. } => false,
            Self::Reserve { token, amount } => before.allotted(*token) < u128::from(*amount),
            _ => true,
        }
    }

    /// Does it.
    pub(super) fn work(&self, worker: usize, work: &Work) -> Result<(), StoreError> {
        let label = |token: &usize| label(worker, *token);
        let of = |token: &Option<usize>| token.as_ref().map_or(SHARED.into(), label);
        let coin = Work::COINS[worker];
        match self {
            Self::Create => panic!("it is there"),
            Self::Add { token, version } | Self::Replace { token, version } => {
                work.put(&label(token), *version)
            }
            Self::Remove { token } => work.remove(&label(token)),
            Self::Reserve { token, amount } => work.reserve(&of(token), coin, *amount),
            Self::Settle { token, amount, outcome } => {
                work.settle(&of(token), coin, *amount, OUTCOMES[*outcome])
            }
            Self::Audit { version } => work.note(*version),
            Self::Allow { token, allowed } => work.allow(&label(token), *allowed),
            Self::Passphrase { to } => {
                work.change_passphrase(&super::passphrase(1 - to), &super::passphrase(*to))
            }
            Self::Rekey => work.rekey(),
        }
    }
}

pub(super) fn label(worker: usize, token: usize) -> String {
    format!("{worker}-{token}")
}

/// Where a worker's versions begin: no two workers have one in common, and the tenth byte of their
/// ids tells whose it is.
pub(super) fn versions_of(worker: usize) -> u64 {
    (worker as u64) << 48
}

/// What a worker answers for: its tokens, its coin of the shared one, its entries in the audit log;
/// of the keeper also what befell the store as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Share {
    worker: usize,
    pub(super) tokens: BTreeMap<String, KeptToken>,
    accounts: BTreeMap<String, String>,
    shared: u128,
    /// What of it was refused and may still be allotted, unless the token was replaced meanwhile.
    shared_allotted: u128,
    pub(super) audit: Vec<(AuditAction, Option<TokenId>)>,
    pub(super) exists: bool,
    pub(super) passphrase: usize,
    epoch: u32,
}

impl Share {
    pub(super) fn new(worker: usize) -> Self {
        Self { worker, ..Self::default() }
    }

    /// The shares of all workers, as a store holds them.
    pub(super) fn find(
        work: &Work,
        passphrase: usize,
        epoch: u32,
    ) -> Result<Vec<Self>, StoreError> {
        let mut shares: Vec<_> = (0..WORKERS).map(Self::new).collect();
        let keeper = &mut shares[KEEPER];
        (keeper.exists, keeper.passphrase, keeper.epoch) = (true, passphrase, epoch);
        for (label, mut token) in work.tokens()? {
            if label == SHARED {
                for (share, name) in shares.iter_mut().zip(Work::COINS) {
                    let counters = token.counters.as_ref().unwrap();
                    let used = counters[&coin(name)].used_of_total();
                    share.shared = used.unwrap().base_units();
                }
                token.counters = None;
            }
            let worker: usize = label.split_once('-').unwrap().0.parse().unwrap();
            let account = work.account(&label)?.unwrap_or_default();
            shares[worker].accounts.insert(label.clone(), account);
            shares[worker].tokens.insert(label, token);
        }
        for (action, id) in work.audit()? {
            let worker = id.map_or(KEEPER, |id| usize::from(id.as_bytes()[9]));
            shares[worker].audit.push((action, id));
        }
        Ok(shares)
    }

    /// What it becomes by an operation, in steps each of which a kill may leave.
    fn steps(&self, operation: &Operation) -> Vec<Self> {
        let mut after = self.clone();
        let own = |token: &usize| label(self.worker, *token);
        match operation {
            Operation::Create => after.exists = true,
            Operation::Add { token, version } => {
                let mut kept = KeptToken::new(*version).unwrap();
                if own(token) == SHARED {
                    kept.counters = None;
                }
                after.tokens.insert(own(token), kept);
                after.accounts.insert(own(token), Work::account_key(*version));
            }
            Operation::Replace { token, version } => {
                let kept = after.tokens.get_mut(&own(token)).unwrap();
                let KeptToken { info, token, extension_key, .. } =
                    KeptToken::new(*version).unwrap();
                (kept.info, kept.token, kept.extension_key) = (info, token, extension_key);
                // Another token: what the former used is carried over, and what it was allotted returned.
                let counters = kept.counters.iter_mut().flat_map(BTreeMap::values_mut);
                for counter in counters {
                    let before = *counter;
                    counter.carried = before.used_of_total().unwrap();
                    for part in [
                        &mut counter.accepted,
                        &mut counter.pending,
                        &mut counter.uncertain,
                        &mut counter.reserved,
                        &mut counter.allotted,
                    ] {
                        *part = Amount::ZERO;
                    }
                }
            }
            Operation::Remove { token } => {
                after.tokens.remove(&own(token));
                after.accounts.remove(&own(token));
            }
            Operation::Reserve { token: None, amount } => {
                after.shared += u128::from(*amount);
                after.shared_allotted = after.shared_allotted.saturating_sub(u128::from(*amount));
            }
            Operation::Settle { token: None, amount, outcome } => {
                if OUTCOMES[*outcome] == Outcome::Rejected {
                    after.shared -= u128::from(*amount);
                    after.shared_allotted += u128::from(*amount);
                }
            }
            Operation::Reserve { token: Some(token), amount } => {
                let counter = after.counter(*token);
                counter.reserved = plus(counter.reserved, *amount);
                counter.allotted = counter.allotted.saturating_sub(Amount::new((*amount).into()));
            }
            Operation::Settle { token: Some(token), amount, outcome } => {
                let counter = after.counter(*token);
                counter.reserved = Amount::new(counter.reserved.base_units() - u128::from(*amount));
                match OUTCOMES[*outcome] {
                    Outcome::Accepted => counter.accepted = plus(counter.accepted, *amount),
                    Outcome::Pending => counter.pending = plus(counter.pending, *amount),
                    Outcome::Uncertain => counter.uncertain = plus(counter.uncertain, *amount),
                    _ => counter.allotted = plus(counter.allotted, *amount),
                }
            }
            Operation::Audit { version } => {
                after.audit.push((AuditAction::Exposed, Some(Work::id(*version))));
            }
            Operation::Allow { token, allowed } => {
                // No former rule bounds what is drawn from here on: what was allotted is returned.
                after.counter(*token).allotted = Amount::ZERO;
                let kept = after.tokens.get_mut(&own(token)).unwrap();
                kept.rules.raw_exposure = *allowed;
                let action = match allowed {
                    true => AuditAction::ExposureAllowed,
                    false => AuditAction::ExposureForbidden,
                };
                after.audit.push((action, Some(kept.info.id)));
            }
            Operation::Passphrase { to } => {
                after.audit.push((AuditAction::PassphraseChanged, None));
                let told = after.clone();
                after.passphrase = *to;
                return vec![told, after];
            }
            Operation::Rekey => {
                after.audit.push((AuditAction::Rekeyed, None));
                let told = after.clone();
                after.epoch += 1;
                return vec![told, after];
            }
        }
        vec![after]
    }

    /// What it becomes by an operation that is done.
    pub(super) fn after(&self, operation: &Operation) -> Self {
        self.steps(operation).pop().unwrap()
    }

    /// Everything that a kill may leave, after what was said: at least all that is known to be
    /// durable, at most all that was announced, and of that the first operations.
    pub(super) fn may_be(&self, said: &[Said]) -> Vec<Self> {
        let mut may_be = vec![self.clone()];
        for Said { operation, done } in said {
            let before = may_be.last().unwrap();
            let (steps, is_durable) = (before.steps(operation), operation.is_durable(before));
            may_be.extend(steps);
            if *done && is_durable {
                may_be.drain(..may_be.len() - 1);
            }
        }
        may_be.into_iter().map(Self::crashed).collect()
    }

    /// What was reserved or allotted may have been spent.
    fn crashed(mut self) -> Self {
        let counters = self.tokens.values_mut().filter_map(|token| token.counters.as_mut());
        for counter in counters.flat_map(BTreeMap::values_mut) {
            counter.uncertain = plus(counter.uncertain, counter.reserved.base_units());
            counter.uncertain = plus(counter.uncertain, counter.allotted.base_units());
            (counter.reserved, counter.allotted) = (Amount::ZERO, Amount::ZERO);
        }
        self
    }

    /// Whether a kill may have left this of it.
    pub(super) fn fits(&self, found: &Self) -> bool {
        let shared = self.shared..=self.shared + self.shared_allotted;
        let is_same = Self { shared: found.shared, shared_allotted: 0, ..self.clone() } == *found;
        is_same && shared.contains(&found.shared)
    }

    fn allotted(&self, token: Option<usize>) -> u128 {
        let Some(token) = token else { return self.shared_allotted };
        let kept = &self.tokens[&label(self.worker, token)];
        kept.counters.as_ref().unwrap()[&coin(Work::COINS[self.worker])].allotted.base_units()
    }

    fn counter(&mut self, token: usize) -> &mut Counter {
        let kept = self.tokens.get_mut(&label(self.worker, token)).unwrap();
        kept.counters.as_mut().unwrap().get_mut(&coin(Work::COINS[self.worker])).unwrap()
    }
}

/// An operation that was announced, and whether it was acknowledged.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) operation: Operation,
    pub(super) done: bool,
}

fn coin(name: &str) -> Coin {
    Coin::new(name).unwrap()
}

fn plus(sum: Amount, amount: impl Into<u128>) -> Amount {
    sum.checked_add(Amount::new(amount.into())).unwrap()
}
