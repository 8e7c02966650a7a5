//! Local rules: what a token may do here, beside what BitGo says of it.
//!
//! BitGo bounds a token by scopes, wallets and one sum per coin over its whole life. Local rules add what
//! BitGo does not have: caps per request, sliding windows, destinations, fees, trading. **Deny wins, and
//! of two bounds the stricter holds.** They are sealed in the vault, one set for a token and its
//! successors, and checked on the exact bytes that are signed, before anything leaves.
//!
//! A token without local rules is governed by BitGo's bounds alone: any destination, at any pace within
//! the limit. Denied even so, until a rule allows it: to hand the token out raw, amounts that the
//! caller declares, fees that the request names, and coins that the vault does not know.
//!
//! # Setting them
//!
//! ```console
//! $ bitgo-vault policy show market-maker > rules.json
//! $ $EDITOR rules.json
//! $ bitgo-vault policy set market-maker --file rules.json
//! market-maker: the rules are changed
//!   coins.tbtc: null -> {"fee":null,"perTransaction":"1000","total":null}
//! $ bitgo-vault check market-maker POST /api/v2/tbtc/wallet/$WALLET/tx/initiate --body payment.json
//! ```
//!
//! A file replaces all rules of the token. To tighten is free; rules that may allow any request that was
//! not allowed before ask for the passphrase, and for `--loosen` where nobody types it. Leases that
//! were taken under the former rules are void. From a program: [`LocalRules::from_json`],
//! [`Vault::set_rules`], [`Vault::check`].
//!
//! # What may stand in them
//!
//! Amounts are strings of digits in the coin's base unit, whiles are whole seconds. What is `null` or left
//! out sets no bound; a name that is not known, or stands twice, is refused.
//!
//! | field | holds | denies with |
//! |---|---|---|
//! | `actions` | any of `view`, `build`, `spend`, `order`, `cancel-order` | `action` |
//! | `wallets` | the wallets it may be used on | `wallet` |
//! | `destinations` | addresses as BitGo spells them; with a memo, `rAddress?memoId=7` | `destination` |
//! | `coins.COIN.perTransaction` | the most of one request, over all its recipients | `per-transaction` |
//! | `coins.COIN.total` | the most over the life of the token and its successors | `total` |
//! | `coins.COIN.fee` | the most that a request may offer as a fee, and the highest rate it may name | `fee` |
//! | `windows[]` | `purpose` (`withdrawal`, `trade`), `coin`, `period` (60 to 31622400), `sum`, `count` | `window` |
//! | `trading.products` | products that may be ordered, such as `TBTC-TUSD*` | `product` |
//! | `trading.perOrder` | by currency, the most that one order may let go; what is not named is denied | `order` |
//! | `trading.countsAsWithdrawal` | whether orders also draw on the limit for withdrawals | `limit`, `total` |
//! | `decay` | `after`, `over`: less may be spent the longer BitGo has confirmed nothing | `decay` |
//! | `rawExposure` | whether the token may be handed out | `raw-exposure` |
//! | `declaredAmounts` | whether a caller's word is taken for a transaction that cannot be read | `declared` |
//! | `units.COIN` | `decimals`, `isErc20`: a coin that the compiled table lacks | `unknown-coin` |
//!
//! [`LocalRules`] has each in full. What to do about a denial: [`operations`](super::operations).
//!
//! # A bot that pays a few addresses
//!
//! To two addresses, at most 50 000 satoshi each time, 120 000 a day and ten payments an hour; fees are
//! BitGo's to choose.
//!
//! ```
//! # use bitgo_vault::{Amount, Coin, Error, Label, Login, Passphrase, Vault, api::CreateToken};
//! # use std::time::Duration;
//! use bitgo_vault::{LocalRules, Request, Rule};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let bitgo = bitgo_vault::emulator::Emulator::start().await?;
//! # let dir = tempfile::tempdir()?;
//! # let tbtc = Coin::new("tbtc")?;
//! # let wallet = bitgo.wallet(&tbtc);
//! # let vault = Vault::builder(dir.path().join("vault"), bitgo.environment().clone())
//! #     .dangerous_allow_file_system(bitgo_vault::FileSystem::Overlayfs)
//! #     .create(Passphrase::new("correct horse battery staple")).await?;
//! # vault.login("desk", Login::new(bitgo.email(), bitgo.password(), bitgo.otp())).await?;
//! # let token = CreateToken::new(&Label::new("payer")?, Duration::from_secs(30 * 86_400))
//! #     .scope(format!("wallet_spend:{wallet}").parse()?)
//! #     .spending_limit(&tbtc, Amount::new(5_000_000));
//! # vault.issue("desk", token, bitgo.otp()).await?;
//! let rules = LocalRules::from_json(r#"{
//!     "actions": ["spend"],
//!     "destinations": ["tb1qtreasury", "tb1qexchange"],
//!     "coins": {"tbtc": {"perTransaction": "50000"}},
//!     "windows": [
//!         {"purpose": "withdrawal", "coin": "tbtc", "period": 86400, "sum": "120000"},
//!         {"purpose": "withdrawal", "coin": "tbtc", "period": 3600, "count": 10}
//!     ]
//! }"#)?;
//! vault.set_rules("payer", rules, None).await?; // tightens: no passphrase is asked for
//!
//! let pay = |address: &str, amount: &str| {
//!     let body = serde_json::json!({"recipients": [{"address": address, "amount": amount}]});
//!     Request::post(&format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate")).json(&body)
//! };
//! let denied_by = |request: &Request| -> Result<Option<Rule>, Error> {
//!     Ok(vault.check("payer", request)?.verdict().err().map(|denied| denied.rule()))
//! };
//! assert_eq!(denied_by(&pay("tb1qelsewhere", "1000")?)?, Some(Rule::Destination));
//! assert_eq!(denied_by(&pay("tb1qtreasury", "50001")?)?, Some(Rule::PerTransaction));
//! for _ in 0..2 {
//!     vault.send("payer", &pay("tb1qtreasury", "50000")?).await?;
//! }
//! // 20 000 are left of the day's sum; they are free again once the first payment is a day old.
//! assert_eq!(denied_by(&pay("tb1qtreasury", "20001")?)?, Some(Rule::Window));
//! assert_eq!(denied_by(&pay("tb1qtreasury", "20000")?)?, None);
//!
//! // Without the list any address would do again: that asks for the passphrase.
//! let mut loose = vault.rules("payer")?;
//! loose.destinations = None;
//! let set = vault.set_rules("payer", loose, None).await;
//! assert!(matches!(set, Err(Error::LoosensRules { .. })));
//! # vault.close().await?;
//! # Ok(()) }
//! ```
//!
//! Windows run on BitGo's own time, which this machine's clock cannot move; a spend leaves a window up to
//! 1/64 of its length late, never early. A window of another length starts with a past of its own, so
//! to change a `period` loosens, and is for the passphrase.
//!
//! # A bot that trades
//!
//! BitGo's limits are for withdrawals; what is traded, only local rules bound.
//!
//! ```
//! use bitgo_vault::{Amount, Coin, LocalRules, Purpose};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rules = LocalRules::from_json(r#"{
//!     "actions": ["view", "order", "cancel-order"],
//!     "trading": {
//!         "products": ["TBTC-TUSD*"],
//!         "perOrder": {"tbtc": "1000000", "tfiatusd": "50000"},
//!         "countsAsWithdrawal": false
//!     },
//!     "windows": [
//!         {"purpose": "trade", "coin": "tbtc", "period": 86400, "sum": "20000000"},
//!         {"purpose": "trade", "coin": "tfiatusd", "period": 86400, "sum": "1000000"}
//!     ],
//!     "decay": {"after": 3600, "over": 21600}
//! }"#)?;
//! let trading = rules.trading.as_ref().ok_or("it has none")?;
//! assert_eq!(trading.per_order[&Coin::new("tbtc")?], Amount::new(1_000_000)); // 0.01 bitcoin an order
//! assert!(rules.windows.iter().all(|window| window.purpose == Purpose::Trade));
//! # Ok(()) }
//! ```
//!
//! What an order lets go counts: the coin that is sold, or the money that is paid. BitGo's `TBTC` is the
//! coin `tbtc` here, its `USD` is `fiatusd`, its test money `TUSD*` is `tfiatusd`. What the desk charges on top,
//! if anything, is not counted.
//!
//! # Fees, declared amounts, new coins
//!
//! ```
//! use bitgo_vault::LocalRules;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plain = LocalRules::from_json("{}")?;
//! let own_fee = LocalRules::from_json(r#"{"coins": {"tbtc": {"fee": "20000"}}}"#)?;
//! let signed_elsewhere = LocalRules::from_json(r#"{"declaredAmounts": true}"#)?;
//! let new_coin = LocalRules::from_json(r#"{"units": {"newcoin": {"decimals": 6, "isErc20": true}}}"#)?;
//! for rules in [own_fee, signed_elsewhere, new_coin] {
//!     assert!(rules.loosens(&plain)); // each asks for the passphrase
//! }
//! # Ok(()) }
//! ```
//!
//! With `declaredAmounts` the vault believes what the bot says that a transaction moves
//! ([`Request::declaring`](crate::Request::declaring)): give it to a bot of its own, with a small limit. Orders
//! name amounts in whole units: with a decimal too many in `units`, a limit is worth ten times what was
//! meant.
//!
//! # Raw exposure
//!
//! `{"rawExposure": true}` lets [`Lease::expose_token`](crate::Lease::expose_token) and
//! `bitgo-vault exec` hand the token itself out. The audit log tells of it first, and all that is left
//! of the token's limits counts as spent: from then on BitGo's own limit is the only one. Take a token of
//! its own for that, with scopes that only view where that will do; see
//! [`wallet_passphrases`](super::wallet_passphrases) for what cannot be signed.
//!
//! [`LocalRules`]: crate::LocalRules
//! [`LocalRules::from_json`]: crate::LocalRules::from_json
//! [`Vault::set_rules`]: crate::Vault::set_rules
//! [`Vault::check`]: crate::Vault::check
