//! Running a vault: what to do on an ordinary day, on a bad one, and the runbook.
//!
//! Commands are given for the command `bitgo-vault` and, in brackets, for the library. While a bot
//! holds the vault, `status`, `check`, `freeze`, `renew`, `reconcile` and `audit` ask that bot over the
//! vault's control socket; every other verb wants the bot stopped, or is done by the bot itself.
//!
//! # Rotation day
//!
//! BitGo cannot renew a long-lived token: another is minted by a fresh login, and takes its place. Both
//! live for a while, so that nobody is without one.
//!
//! ```console
//! $ bitgo-vault rotate market-maker --email desk@example.com
//! ```
//!
//! ([`Vault::reissue`](crate::Vault::reissue), while the bot runs: the vault then mints the next one
//! by itself as well, as long as it has the login: call
//! [`Vault::provide_login`](crate::Vault::provide_login) after each opening, since a login is kept in
//! memory alone.) The successor is proved, swapped in with one commit, and the former one is revoked,
//! wherever it is cut off. Limits are cut to what is left of the budget: to give more, see "Limit
//! reached".
//!
//! One-time passwords are good once: `rotate` takes `--otp` twice, for the login and for the token.
//!
//! **A process was killed while it issued a token**: the vault wrote down its label at BitGo, tells of it
//! ([BV-0208](#bv-0208), `bitgo-vault status`), and with a session of the account looks for it and revokes it,
//! by itself and by `bitgo-vault revoke` with that label.
//!
//! Alarms tell of an end 30, 14, 7 and 1 days before ([BV-0204](#bv-0204)). Sessions that were asked for
//! with [`Login::extensible`](crate::Login::extensible) and internal tokens are renewed by the vault.
//! **A session that has ended** and was not extensible: `bitgo-vault remove session`
//! ([`Vault::remove`](crate::Vault::remove)), then log in again.
//!
//! # The passphrase
//!
//! **Another one**: `bitgo-vault passwd` ([`Vault::change_passphrase`](crate::Vault::change_passphrase)).
//! Once it is `Ok` only the new one opens the vault; older copies of the directory, and backups, still
//! open with the old one. To make guessing it dearer, in a program:
//!
//! ```no_run
//! # async fn upgrade(vault: &bitgo_vault::Vault, passphrase: bitgo_vault::Passphrase)
//! #     -> Result<(), bitgo_vault::Error> {
//! use bitgo_vault::Vault;
//! use std::time::Duration;
//!
//! // As many passes and as much memory, up to 1 GiB, as take a second on this machine.
//! let dearer = Vault::calibrate_kdf(Duration::from_secs(1), 1 << 20).await?;
//! vault.upgrade_kdf(passphrase, dearer).await?;
//! # Ok(()) }
//! ```
//!
//! **Lost**: nobody can open the vault, nor its backups of that time. The tokens in it are lost, and
//! alive at BitGo. Revoke them there (web interface, or any session of the account), move the directory
//! away, make a new vault, log in, issue anew. A backup made under an older passphrase opens with that
//! one: restore it, and its tokens that still live are back.
//!
//! **Leaked**, in this order: `bitgo-vault passwd`, `bitgo-vault rekey`
//! ([`Vault::rekey`](crate::Vault::rekey)); then destroy older copies and backups, revoke the tokens at
//! BitGo and issue others. In the other order the new data key is wrapped under the passphrase that
//! leaked. **Of a single token**: `bitgo-vault revoke LABEL` ([`Vault::revoke`](crate::Vault::revoke)),
//! which forgets it once BitGo has confirmed; then `bitgo-vault rekey`, after which its old bytes open
//! no more.
//!
//! # Backups
//!
//! `bitgo-vault backup FILE` ([`Vault::back_up`](crate::Vault::back_up), also while the bot trades)
//! writes one new file, sealed under the passphrase of now. Keep it elsewhere, and make one after each
//! issuance.
//!
//! **Restored**: `bitgo-vault restore FILE`
//! ([`VaultBuilder::restore`](crate::VaultBuilder::restore)) makes a vault where none is, with the
//! passphrase of the backup's time. What the tokens spent since is not known: each spends once
//! `bitgo-vault reconcile LABEL` ([`Vault::reconcile`](crate::Vault::reconcile)) has asked BitGo, from ten
//! minutes after the opening on: the command waits for it. Tokens that were removed since are back; remove
//! them again, and look at the rules. **Never let the original run beside it**: two copies count apart, and
//! each would spend the whole limit up to BitGo's own.
//!
//! # Another host
//!
//! Never copy a vault's directory to use both. To move one: stop the bot, so that it closes and returns
//! what was allotted; `bitgo-vault backup FILE`; `restore` it on the new host; remove the old directory.
//! The tokens spend ten minutes after, as above. Moving the directory itself (stopped, whole, with its
//! anchor, `tar` or a moved volume) needs no reconciling, since nothing is lost: but the old one must be
//! gone, not copied. `ip_restrict` of the tokens must hold the new address
//! ([`ApiError::IpNotAllowed`](crate::api::ApiError::IpNotAllowed) tells the one that BitGo saw), and
//! `LOCK` is the old host's only in its text.
//!
//! # A second process
//!
//! One process holds a vault. A second gets [`InUse`](crate::StoreError::InUse), which names host,
//! process and time ([BV-0007](#bv-0007)). **Several bots on a host**: a directory, a token and a limit
//! each. To look at a held vault, use `status` and its kin above.
//!
//! # Outage
//!
//! BitGo is not reached: tokens that live go on being used, and renewal is tried again with growing
//! waits, never dropping a valid token. What the bot sees of a spend:
//!
//! | error | its budget | do |
//! |---|---|---|
//! | [`Api(Unreachable)`](crate::api::ApiError::Unreachable) | given back: nothing left this machine | try again |
//! | [`Api(Lost)`](crate::api::ApiError::Lost) | counts as spent | look at BitGo before sending again |
//! | [`Untrusted`](crate::Error::Untrusted) | counts as spent | look at BitGo before sending again |
//! | [`ReadOnly`](crate::StoreError::ReadOnly) | | free space or mend the disk, then reopen |
//!
//! What counts for want of an answer comes back once BitGo was asked, ten minutes after the last
//! signature, by the vault itself. **After a crash**: unlock. The lock ended with the process; what was
//! reserved or allotted counts as spent until the vault has reconciled it, ten minutes after. What a
//! SIGKILL strands shows in `bitgo-vault status` as having no known outcome.
//!
//! # Limit reached
//!
//! BitGo's spending limit is cumulative over a token's life. What is used up stays so:
//!
//! * `bitgo-vault show LABEL` tells what is left; `bitgo-vault check LABEL METHOD PATH` which rule is the
//!   strict one. Counters in [`TokenStatus::counters`](crate::TokenStatus::counters).
//! * What has no known outcome may come back: `bitgo-vault reconcile LABEL`, ten minutes after it.
//! * A token with a higher limit is another token: `issue` it, then `revoke` the old one; or
//!   `rotate LABEL --email EMAIL --limit COIN=AMOUNT`.
//! * Where the local total is the bound: successors share it.
//!   `bitgo-vault renew-budget LABEL` ([`Vault::renew_budget`](crate::Vault::renew_budget)) begins it anew, with
//!   the passphrase.
//! * Never `unlock` a token that has limits: BitGo deletes them for good. The vault refuses to.
//!
//! # Revoked token
//!
//! `bitgo-vault revoke LABEL` denies it here at once, and asks BitGo until it confirms, over restarts.
//! Where BitGo revoked it, its use ends with [`Rule::Revoked`](crate::Rule::Revoked)
//! ([BV-0123](#bv-0123)): find out who did it, then `remove` it and issue another.
//!
//! To stop everything at once, without a passphrase: `bitgo-vault freeze`
//! ([`Vault::freeze_at`](crate::Vault::freeze_at), or any file `FREEZE` in the directory). It reaches a
//! running bot within a second, not what is signed already: `revoke` does that.
//!
//! # Something is wrong with the vault
//!
//! `bitgo-vault doctor --deep` ([`VaultBuilder::doctor`](crate::VaultBuilder::doctor)) looks and mends
//! nothing.
//!
//! * [`Damaged`](crate::StoreError::Damaged):
//!   [`unlock_degraded`](crate::VaultBuilder::unlock_degraded) reads what is whole;
//!   `bitgo-vault restore --repair BACKUP` ([`repair`](crate::VaultBuilder::repair)) mends, with the backup
//!   or without. Then [`Vault::reclaim`](crate::Vault::reclaim) for tokens of which nothing else was left:
//!   those that it names do nothing until [`Vault::set_rules`](crate::Vault::set_rules). `reconcile` what
//!   is to spend. What was found is kept in `damaged.<epoch>` until you remove it.
//! * [`NoAnchor`](crate::StoreError::NoAnchor), [`DamagedAnchor`](crate::StoreError::DamagedAnchor): mostly
//!   it was not named, or its disk is not mounted. Name it with `--anchor` or `BITGO_VAULT_ANCHOR`. Where it is
//!   lost for good, a rollback cannot be told from none: as below.
//! * [`RolledBack`](crate::StoreError::RolledBack): put the newest copy back; where there is none,
//!   `bitgo-vault restore --in-place --dangerous-accept-rollback`
//!   ([`dangerous_accept_rollback`](crate::VaultBuilder::dangerous_accept_rollback)), then `reconcile`, and
//!   look for removed tokens and older rules that came back with it. A backup is taken so by its name in
//!   place of `--in-place`.
//!
//! **The anchor elsewhere**: [`VaultBuilder::anchor`](crate::VaultBuilder::anchor), or `--anchor FILE`, when
//! the vault is made and at every opening since. It is a file of 8 KiB, synced with each commit: choose a
//! medium as fast as the vault's, and one that is not restored along with it.
//!
//! # Runbook
//!
//! The command prints a code behind `see:` (with `--json`, in the field `see`), alarms have one in the
//! field `see` of their event, and programs by [`Rule::runbook`](crate::Rule::runbook) and
//! [`Alarm::runbook`](crate::Alarm::runbook). Codes stay; a code that goes is not given again.
//!
//! ## Exit codes
//!
//! ### BV-0001
//! Exit code 1, kind `other`. The message says what to do: no vault there, no token of that label, a
//! label that is taken, a file that is there, a disk that is full or refuses
//! ([`StoreError`](crate::StoreError)). `--verbose` adds the causes.
//!
//! ### BV-0002
//! Exit code 2, kind `usage`. It was said wrongly; nothing was done. `bitgo-vault VERB --help`. Rules
//! that cannot be read name the field; a token that goes against BitGo's advice names the flaw
//! ([`UnfitToken`](crate::api::UnfitToken)).
//!
//! ### BV-0003
//! Exit code 3, kind `denied`, where no rule below is named: local rules would be loosened without the
//! passphrase (`--loosen`), or a token with limits would be unlocked, which would delete them. `check`
//! exits with 3 too, and names the rule.
//!
//! ### BV-0004
//! Exit code 4, kind `locked`. No secret, or the wrong one. Which source was asked:
//! `--passphrase-fd`, `-file` or `-command`, else `BITGO_VAULT_PASSPHRASE`, else systemd's credential
//! `bitgo-vault-passphrase`, else the terminal. If it is lost, see "The passphrase".
//!
//! ### BV-0005
//! Exit code 5, kind `needs-human`. Log in (`login`), give a one-time password (`--otp`), sign on at
//! BitGo, unlock, or approve the request in BitGo's web interface (`send` with status 202: it counts
//! until its outcome is known).
//!
//! ### BV-0006
//! Exit code 6, kind `api`. BitGo was not reached, refused, or its answer is not believed; see "Outage".
//! The message has the id of the request, for BitGo's support.
//! [`Orphaned`](crate::Error::Orphaned) and [`Unresolved`](crate::Error::Unresolved) name a token to revoke
//! at BitGo.
//!
//! ### BV-0007
//! Exit code 7, kind `in-use`. Another process holds the vault: the message names host, process and since
//! when. End it there. If it is no more and the vault is still held, a child that it forked without
//! `exec` holds the lock.
//!
//! ### BV-0008
//! Exit code 8, kind `damaged`. The vault, its anchor or a backup is damaged or not the last; nothing was
//! changed. Copy the directory before anything else, then see "Something is wrong with the vault". An
//! audit log that does not verify ends so too: compare with an older export.
//!
//! ## Denied rules
//!
//! Nothing left the machine, nothing was charged. `bitgo-vault check LABEL METHOD PATH` shows every rule
//! with its numbers.
//!
//! ### BV-0101
//! `scope`: no scope of the token allows the call on that wallet or enterprise. One permission never
//! implies another. Issue or rotate with `--scope`.
//!
//! ### BV-0102
//! `wallet`: the wallet is not among those that the token is confined to, at BitGo or by its local
//! rules. Correct the request, or issue with `--wallet`; the local list is `wallets`.
//!
//! ### BV-0103
//! `expired`: the token has ended by this machine's clock or by BitGo's, or when it ends is not known.
//! A session: log in again. A long-lived one: `rotate`. If it cannot be, check the clock.
//!
//! ### BV-0104
//! `limit`: more than is left of the token's limit at BitGo. See "Limit reached".
//!
//! ### BV-0105
//! `no-limit`: the token has no limit for that coin at BitGo, so nothing of it may be spent. Issue one
//! with `--limit COIN=AMOUNT`.
//!
//! ### BV-0106
//! `unknown-call`: the vault does not know what the call does, or it is a call of BitGo Express and does
//! not go to this machine. See "Limits of it" in the README for what is understood; what moves money
//! some other way needs a token outside the vault, with a limit of its own.
//!
//! ### BV-0107
//! `body`: the body does not say plainly what it moves: an unknown field, a key that stands twice, `max`,
//! both forms of recipients, a type that is no payment. The message names it. Leave the field out.
//!
//! ### BV-0108
//! `raw-exposure`: the token may not be handed out. Use `sign` or `send`; to allow it, set
//! `rawExposure` ([`policies`](super::policies)), which asks for the passphrase.
//!
//! ### BV-0109
//! `unreconciled`: what the token has spent is not known, after a restore, a repair or an accepted
//! rollback. `bitgo-vault reconcile LABEL`, which waits until ten minutes after its opening (`--no-wait`:
//! answers at once). A held vault does it by itself. A token whose answers bear no HMAC is never reconciled.
//!
//! ### BV-0110
//! `action`: the local rules' `actions` do not list it (`view`, `build`, `spend`, `order`,
//! `cancel-order`).
//!
//! ### BV-0111
//! `destination`: the address is not among `destinations`. A request that names a memo wants an entry
//! with it: `rAddress?memoId=7`. An address that nobody on the desk knows: freeze first, ask then.
//!
//! ### BV-0112
//! `per-transaction`: one request sends more of the coin, over all recipients, than `perTransaction`.
//!
//! ### BV-0113
//! `total`: more than is left of what the token and its successors may spend. See "Limit reached":
//! [`Vault::renew_budget`](crate::Vault::renew_budget), or a higher `total`.
//!
//! ### BV-0114
//! `window`: too much, or too often, within a sliding while. `resets_at` tells when it fits again, on
//! BitGo's time; until anything was heard from BitGo since the opening, nothing fits: `reconcile`.
//!
//! ### BV-0115
//! `decay`: BitGo has confirmed nothing for long, so that less may be spent. `reconcile`; if that
//! fails, it is an outage.
//!
//! ### BV-0116
//! `erc20-pool`: more than is left of the limit that ERC-20 coins share.
//!
//! ### BV-0117
//! `fee`: the request names a fee, or a rate, above `coins.COIN.fee`, or there is no such rule. Leave the
//! fee to BitGo, or set a cap.
//!
//! ### BV-0118
//! `product`: the product is not among `trading.products`.
//!
//! ### BV-0119
//! `order`: one order lets go of more of a currency than `trading.perOrder` has, or of one that is not
//! named there.
//!
//! ### BV-0120
//! `declared`: the transaction was made elsewhere and cannot be read; or the caller declares what the
//! vault reads by itself. The former wants
//! [`Request::declaring`](crate::Request::declaring) and the rule `declaredAmounts`, with which the vault
//! believes the caller.
//!
//! ### BV-0121
//! `unknown-coin`: how the coin is counted is not known, or a name stands for none or an account. Name
//! the coin in the path; for one that the compiled table lacks, add it to `units`.
//!
//! ### BV-0122
//! `frozen`: somebody pulled the kill switch. Find out who and why (`bitgo-vault audit`), then
//! `bitgo-vault thaw`, with the passphrase. What was handed out or signed before is for `revoke`. A
//! repair freezes too, where it is not known whether the vault was frozen.
//!
//! ### BV-0123
//! `revoked`: the token is being revoked here, or BitGo says that it is dead. See "Revoked token".
//!
//! ### BV-0124
//! `suspect`: a refusal came that BitGo did not sign; BitGo is asked, and leases wait. It passes by
//! itself, or becomes BV-0123. If it stays: is something between the bot and BitGo answering?
//!
//! ### BV-0125
//! `unverified`: BitGo could not be asked about the token when it was imported, so it only views.
//! `bitgo-vault reconcile LABEL`; a held vault does it by itself.
//!
//! ## Alarms
//!
//! By [`Vault::events`](crate::Vault::events), as an event of `tracing`, and in the metric
//! `bitgo_vault_alarms_total`. The command prints them as warnings.
//!
//! ### BV-0201
//! `spent-by-others`: BitGo counted spends that are not of this vault; they count here at once. If no
//! other program has the token: `freeze`, then `revoke`, then find the leak. If one has, give it a token
//! of its own.
//!
//! ### BV-0202
//! `counted-less`: BitGo counted less than it verifiably accepted. The vault keeps its own, higher
//! count. Compare with BitGo's web interface, and tell BitGo's support; do not spend around it.
//!
//! ### BV-0203
//! `pool-unreadable`: what ERC-20 coins share of a limit stands in the list of tokens alone, which wants a
//! session. `bitgo-vault login EMAIL`, with the same account.
//!
//! ### BV-0204
//! `ending`: a token ends, and a human must renew it: 30, 14, 7 and 1 days before. See "Rotation day".
//!
//! ### BV-0205
//! `ended`: it has ended, and requests are denied (BV-0103). See "Rotation day".
//!
//! ### BV-0206
//! `needs-human`: the vault cannot renew a token; it is used while it lives. `bitgo-vault status` has the
//! `advice`, [`Need::advice`](crate::Need::advice): issue it anew, sign on at BitGo, see to the one-time
//! password, hand over a login, make room on the disk.
//!
//! ### BV-0207
//! `refused`: a token was refused. `suspect`: BitGo is asked, wait. `revoked`: it is dead; see "Revoked
//! token".
//!
//! ### BV-0208
//! `orphan`: a token was minted, or may have been, is not kept, and could not be revoked so far. The
//! alarm has its label at BitGo. It is tried again with each login: `bitgo-vault login EMAIL`, or revoke
//! it in BitGo's web interface.
//!
//! ### BV-0209
//! `former-alive`: BitGo refuses to revoke a token that was replaced. Revoke it in BitGo's web interface,
//! by the id that the alarm has.
//!
//! ### BV-0210
//! `locking`: a token that was unlocked locks again. `bitgo-vault unlock LABEL`, if it still must spend.
//!
//! ### BV-0211
//! `clock-skew`: this machine's clock and BitGo's are too far apart, and requests are refused. Set the
//! clock; see why time synchronisation stopped. No token is lost for it.
