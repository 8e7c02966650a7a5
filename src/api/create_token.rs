//! What a new long-lived token shall be allowed: the body of the call that mints it.

use super::wire::AdminScope;
use crate::id::{EnterpriseId, WalletId};
use crate::money::{Amount, Coin};
use crate::scope::Scope;
use crate::secret::Otp;
use crate::token::{Label, TokenInfo};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// A long-lived token to be minted (PROTOCOL section 6).
///
/// What is not said is not sent. Amounts are sent as strings, so that none is rounded.
///
/// ```
/// # use bitgo_vault::{Amount, Coin, Label, api::CreateToken};
/// # use std::time::Duration;
/// # fn main() -> Result<(), bitgo_vault::WordError> {
/// let token = CreateToken::new(&Label::new("market maker")?, Duration::from_secs(30 * 86_400))
///     .scope("wallet_spend:5941b202b42fcbc707170d5b597491d9".parse()?)
///     .spending_limit(&Coin::new("tbtc")?, Amount::new(5_000_000)); // 0.05 tBTC over its life
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateToken {
    label: String,
    pub(super) duration: u64,
    pub(super) scope: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) spending_limits: Vec<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) all_erc20_tokens_limit: Option<Erc20Limit>,
    #[serde(skip)]
    pub(super) is_unlimited_by_choice: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ip_restrict: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enterprise: Option<String>,
    /// None of them is another thing than no such bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permitted_wallets: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permitted_enterprises: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_scope: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token_template_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Limit {
    coin: String,
    #[serde(flatten)]
    cap: Cap,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Erc20Limit {
    enabled: bool,
    #[serde(flatten)]
    cap: Cap,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Cap {
    At {
        #[serde(rename = "txValueLimit")]
        tx_value_limit: String,
    },
    Open {
        #[serde(rename = "maxLimit")]
        max_limit: bool,
    },
}

impl Cap {
    fn at(amount: Amount) -> Self {
        Self::At { tx_value_limit: amount.to_string() }
    }

    /// What `left` makes of it, if it is a cap at all.
    fn cut(&mut self, left: impl FnOnce(Amount) -> Amount) {
        if let Self::At { tx_value_limit } = self
            && let Ok(cap) = tx_value_limit.parse()
        {
            *tx_value_limit = left(cap).to_string();
        }
    }
}

/// The token with the second factor beside it, as it is sent.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    token: &'a CreateToken,
    otp: &'a str,
}

fn texts(ids: &[impl ToString]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

impl CreateToken {
    /// A token without any permission that ends `lifetime` after it is minted, in whole seconds;
    /// BitGo allows at most 10 years.
    pub fn new(label: &Label, lifetime: Duration) -> Self {
        Self {
            label: label.as_str().to_owned(),
            duration: lifetime.as_secs(),
            scope: Vec::new(),
            spending_limits: Vec::new(),
            all_erc20_tokens_limit: None,
            is_unlimited_by_choice: false,
            ip_restrict: Vec::new(),
            enterprise: None,
            permitted_wallets: None,
            permitted_enterprises: None,
            admin: None,
            admin_scope: None,
            access_token_template_id: None,
        }
    }

    /// A token that may do what `present` may, kept as `label`: the same scopes, wallets, enterprises,
    /// addresses and limits, each limit as high as it was at first.
    ///
    /// # Security
    /// What BitGo does not tell of a token is not carried over.
    pub fn like(label: &Label, present: &TokenInfo, lifetime: Duration) -> Self {
        let mut token = Self::new(label, lifetime);
        token.scope = present.scopes.iter().map(ToString::to_string).collect();
        token.ip_restrict.clone_from(&present.ip_restrict);
        token.enterprise = present.enterprise.map(|id| id.to_string());
        token.permitted_wallets = present.permitted_wallets.as_deref().map(texts);
        token.permitted_enterprises = present.permitted_enterprises.as_deref().map(texts);
        for (coin, limit) in present.spending_limits.iter() {
            token = match limit.limit {
                Some(limit) => token.spending_limit(coin, limit),
                None => token.dangerous_uncapped(coin),
            };
        }
        match present.erc20_limit.map(|pool| pool.limit) {
            Some(Some(limit)) => token.all_erc20_tokens_limit(limit),
            Some(None) => token.dangerous_uncapped_erc20_tokens(),
            None if token.spending_limits.is_empty() => token.no_spending_limit(),
            None => token,
        }
    }

    /// The label it will have.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Adds a permission.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope.push(scope.to_string());
        self
    }

    /// Caps what may be spent of `coin` over the token's life, in base units.
    pub fn spending_limit(mut self, coin: &Coin, amount: Amount) -> Self {
        self.spending_limits.push(Limit { coin: coin.to_string(), cap: Cap::at(amount) });
        self
    }

    /// Mints without any spending limit, which [`CreateToken::check`] else refuses: for a token that
    /// only looks, or one that is unlocked by hand each time it shall spend.
    ///
    /// # Security
    /// While it is unlocked, whoever holds the token can empty the wallets it reaches.
    pub fn no_spending_limit(mut self) -> Self {
        self.is_unlimited_by_choice = true;
        self
    }

    /// Lets the token spend `coin` without a cap (`maxLimit`).
    ///
    /// # Security
    /// Whoever gets hold of the token can then empty the wallets it reaches.
    pub fn dangerous_uncapped(mut self, coin: &Coin) -> Self {
        let cap = Cap::Open { max_limit: true };
        self.spending_limits.push(Limit { coin: coin.to_string(), cap });
        self
    }

    /// Caps what may be spent of all ERC-20 coins that have no limit of their own, together.
    pub fn all_erc20_tokens_limit(mut self, amount: Amount) -> Self {
        self.all_erc20_tokens_limit = Some(Erc20Limit { enabled: true, cap: Cap::at(amount) });
        self
    }

    /// Lets the token spend all ERC-20 coins that have no limit of their own without a cap (`maxLimit`).
    ///
    /// # Security
    /// Whoever gets hold of the token can then empty the wallets it reaches.
    pub fn dangerous_uncapped_erc20_tokens(mut self) -> Self {
        let cap = Cap::Open { max_limit: true };
        self.all_erc20_tokens_limit = Some(Erc20Limit { enabled: true, cap });
        self
    }

    /// Confines the token to a source address or CIDR block, such as `203.0.113.7` or
    /// `203.0.113.0/28`; BitGo takes blocks from /24 to /32, and in production demands at least one.
    pub fn ip_restrict(mut self, block: impl Into<String>) -> Self {
        self.ip_restrict.push(block.into());
        self
    }

    /// Names the enterprise that `_enterprise` scopes reach.
    pub fn enterprise(mut self, enterprise: EnterpriseId) -> Self {
        self.enterprise = Some(enterprise.to_string());
        self
    }

    /// Confines the token to this wallet and others named so.
    pub fn permitted_wallet(mut self, wallet: WalletId) -> Self {
        self.permitted_wallets.get_or_insert_default().push(wallet.to_string());
        self
    }

    /// Confines the token to this enterprise and others named so.
    pub fn permitted_enterprise(mut self, enterprise: EnterpriseId) -> Self {
        self.permitted_enterprises.get_or_insert_default().push(enterprise.to_string());
        self
    }

    /// Asks for administrative permissions, as far as `scope` goes.
    pub fn admin(mut self, scope: AdminScope) -> Self {
        self.admin = Some(true);
        self.admin_scope = Some(Cow::Borrowed(match scope {
            AdminScope::Read => "read",
            AdminScope::Full => "full",
        }));
        self
    }

    /// Mints from a template that the enterprise keeps.
    pub fn template(mut self, template_id: impl Into<String>) -> Self {
        self.access_token_template_id = Some(template_id.into());
        self
    }

    /// The same token under another label.
    pub(crate) fn labelled(&self, label: String) -> Self {
        Self { label, ..self.clone() }
    }

    /// The same token with what `left` makes of each cap: of a coin's, or of that which ERC-20 coins
    /// share (`None`).
    pub(crate) fn capped(&self, left: impl Fn(Option<&str>, Amount) -> Amount) -> Self {
        let mut capped = self.clone();
        for limit in &mut capped.spending_limits {
            limit.cap.cut(|cap| left(Some(&limit.coin), cap));
        }
        if let Some(limit) = &mut capped.all_erc20_tokens_limit {
            limit.cap.cut(|cap| left(None, cap));
        }
        capped
    }

    /// As it is kept, to be minted again.
    pub(crate) fn to_plan(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The reverse of [`CreateToken::to_plan`].
    pub(crate) fn of_plan(plan: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(plan)
    }

    /// The coins without a cap.
    pub(super) fn uncapped(&self) -> impl Iterator<Item = &str> {
        let is_open = |cap: &Cap| matches!(cap, Cap::Open { .. });
        let coins = self.spending_limits.iter().filter(move |limit| is_open(&limit.cap));
        let pool = self.all_erc20_tokens_limit.iter().filter(move |limit| is_open(&limit.cap));
        coins.map(|limit| limit.coin.as_str()).chain(pool.map(|_| "erc-20 coins"))
    }

    pub(super) fn body<'a>(&'a self, otp: &'a Otp) -> impl Serialize + 'a {
        Body { token: self, otp: otp.expose() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin_map::CoinMap;
    use crate::id::TokenId;
    use crate::token::SpendingLimit;

    #[test]
    fn amounts_travel_as_strings_and_what_is_unsaid_does_not() {
        let label = Label::new("bot").unwrap();
        let coin = |name| Coin::new(name).unwrap();
        let token = CreateToken::new(&label, Duration::from_secs(86_400))
            .scope("wallet_view_all".parse().unwrap())
            .spending_limit(&coin("hteth"), Amount::new(9_007_199_254_740_993))
            .dangerous_uncapped(&coin("tbtc"))
            .all_erc20_tokens_limit(Amount::new(1))
            .admin(AdminScope::Read);
        assert_eq!(
            serde_json::to_string(&token.body(&Otp::new("0000000"))).unwrap(),
            concat!(
                r#"{"label":"bot","duration":86400,"scope":["wallet_view_all"],"#,
                r#""spendingLimits":[{"coin":"hteth","txValueLimit":"9007199254740993"},"#,
                r#"{"coin":"tbtc","maxLimit":true}],"#,
                r#""allErc20TokensLimit":{"enabled":true,"txValueLimit":"1"},"#,
                r#""admin":true,"adminScope":"read","otp":"0000000"}"#
            )
        );
    }

    #[test]
    fn one_like_another_may_do_the_same() {
        let label = Label::new("bot").unwrap();
        let coin = |name| Coin::new(name).unwrap();
        let limit = |limit| SpendingLimit { limit, spent: Amount::new(1) };
        let limits = [(coin("hteth"), limit(Some(Amount::new(5)))), (coin("tbtc"), limit(None))];
        let bare = TokenInfo::of_limits(TokenId::from_bytes([1; 16]), CoinMap::default());
        let full = TokenInfo {
            scopes: vec!["wallet_spend_enterprise".parse().unwrap()],
            enterprise: Some(EnterpriseId::from_bytes([2; 16])),
            permitted_wallets: Some(vec![WalletId::from_bytes([3; 16])]),
            permitted_enterprises: Some(vec![EnterpriseId::from_bytes([4; 16])]),
            ip_restrict: vec!["203.0.113.7".into()],
            spending_limits: limits.into(),
            erc20_limit: Some(limit(Some(Amount::new(7)))),
            ..bare.clone()
        };
        let lifetime = Duration::from_secs(60);
        let expect = CreateToken::new(&label, lifetime)
            .scope("wallet_spend_enterprise".parse().unwrap())
            .enterprise(EnterpriseId::from_bytes([2; 16]))
            .permitted_wallet(WalletId::from_bytes([3; 16]))
            .permitted_enterprise(EnterpriseId::from_bytes([4; 16]))
            .ip_restrict("203.0.113.7")
            .spending_limit(&coin("hteth"), Amount::new(5))
            .dangerous_uncapped(&coin("tbtc"))
            .all_erc20_tokens_limit(Amount::new(7));
        let like = CreateToken::like(&label, &full, lifetime);
        assert_eq!(like.to_plan().unwrap(), expect.to_plan().unwrap());
        let shut = TokenInfo { permitted_enterprises: Some(Vec::new()), ..bare.clone() };
        let plan = CreateToken::like(&label, &shut, lifetime).to_plan().unwrap();
        assert!(plan.contains(r#""permittedEnterprises":[]"#), "none is not all: {plan}");
        let like = CreateToken::like(&label, &bare, lifetime);
        assert!(like.is_unlimited_by_choice, "it had no limit before either");
        let expect = CreateToken::new(&label, lifetime);
        assert_eq!(like.to_plan().unwrap(), expect.to_plan().unwrap());
    }

    #[test]
    fn a_plan_comes_back_as_it_was_and_is_cut_to_what_is_left() {
        let coin = |name| Coin::new(name).unwrap();
        let token = CreateToken::new(&Label::new("bot").unwrap(), Duration::from_secs(86_400))
            .scope("wallet_view_all".parse().unwrap())
            .spending_limit(&coin("hteth"), Amount::new(100))
            .dangerous_uncapped(&coin("tbtc"))
            .all_erc20_tokens_limit(Amount::new(7))
            .ip_restrict("203.0.113.7")
            .admin(AdminScope::Full);
        let plan = token.to_plan().unwrap();
        assert_eq!(CreateToken::of_plan(&plan).unwrap().to_plan().unwrap(), plan);
        let cut = token.capped(|coin, cap| match coin {
            Some(_) => cap.saturating_sub(Amount::new(40)),
            None => Amount::ZERO,
        });
        let expect = plan.replace(r#""100""#, r#""60""#).replace(r#""7""#, r#""0""#);
        assert_eq!(cut.to_plan().unwrap(), expect);
        assert!(CreateToken::of_plan(r#"{"label":"a","duration":1,"scope":[],"x":1}"#).is_err());
    }
}
