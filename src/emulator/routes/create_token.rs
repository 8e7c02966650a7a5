//! Minting a long-lived token: what its body may ask for (PROTOCOL section 6).

use super::access_token::issued;
use super::{body, check_otp};
use crate::api::wire::Object;
use crate::emulator::ip_block::IpBlock;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::spending::{Cap, Limits, Pool};
use crate::emulator::state::Visit;
use crate::emulator::token::Grant;
use crate::money::Coin;
use crate::scope::Scope;
use crate::token::TokenKind;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest life of a long-lived token: 10 years.
const LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long one lives that does not say.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(86_400);

/// Mints a token: the bearer must be a session and bring its second factor.
pub(super) fn create(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    if visit.bearer()?.kind != TokenKind::Session {
        return Err(Refused::new(403, "Forbidden", "a short-lived session is required"));
    }
    let body = body(visit.received)?;
    check_otp(visit.state, &body)?;
    let lifetime = body.count("duration")?;
    let lifetime = lifetime.map_or(LIFETIME_DEFAULT, Duration::from_secs);
    if lifetime > LIFETIME_MAX || lifetime.is_zero() {
        return Err(Refused::invalid("duration must lie between 1 second and 10 years"));
    }
    let grant = grant(&body)?;
    check_scopes(&grant, visit.state.settings.as_prod)?;
    check_blocks(&grant, visit.state.settings.as_prod)?;
    let lifetime = visit.lifetime(lifetime);
    let index = visit.state.mint(TokenKind::LongLived, grant, visit.now, lifetime)?;
    issued(visit.state, index)
}

fn grant(body: &Object<'_>) -> Result<Grant, Refused> {
    let label = body.text("label")?;
    let label = label.filter(|label| !label.is_empty());
    if body.raw("accessTokenTemplateId").is_some() {
        return Err(Refused::invalid("there is no such template"));
    }
    let admin_scope = match body.text("adminScope")?.as_deref() {
        None if body.flag("admin")? == Some(true) => Some("read"),
        None => None,
        Some("read") => Some("read"),
        Some("full") => Some("full"),
        Some(_) => return Err(Refused::invalid("adminScope must be read or full")),
    };
    Ok(Grant {
        label: Some(label.ok_or_else(|| Refused::invalid("label is required"))?.into_owned()),
        scopes: body.words("scope")?.unwrap_or_default(),
        enterprise: body.word("enterprise")?,
        ip_restrict: body.words("ipRestrict")?.unwrap_or_default(),
        permitted_wallets: body.words("permittedWallets")?,
        permitted_enterprises: body.words("permittedEnterprises")?,
        admin_scope,
        limits: limits(body)?,
        extension_address: None,
    })
}

fn limits(body: &Object<'_>) -> Result<Limits, Refused> {
    let list = body.objects("spendingLimits")?.unwrap_or_default();
    let mut coins = BTreeMap::new();
    for entry in list {
        let coin = entry.text("coin")?;
        let coin = coin.and_then(|name| Coin::new(&name).ok());
        let coin = coin.ok_or_else(|| Refused::invalid("spendingLimits[].coin is required"))?;
        coins.insert(coin, cap(&entry)?);
    }
    let erc20 = match body.object("allErc20TokensLimit")? {
        Some(pool) if pool.flag("enabled")? == Some(true) => {
            Some(Pool { enabled: true, cap: cap(&pool)? })
        }
        Some(_) => Some(Pool { enabled: false, cap: None }),
        None => None,
    };
    Ok(Limits { coins, erc20 })
}

fn cap(limit: &Object<'_>) -> Result<Cap, Refused> {
    if limit.flag("maxLimit")? == Some(true) {
        return Ok(None);
    }
    let value = limit.amount("txValueLimit")?;
    value.map(Some).ok_or_else(|| Refused::invalid("txValueLimit is required"))
}

fn check_scopes(grant: &Grant, as_prod: bool) -> Result<(), Refused> {
    let manages = |scope: &Scope| scope.to_string() == "user_manage";
    if grant.scopes.iter().any(manages) {
        return Err(Refused::invalid("user_manage is for short-lived sessions"));
    }
    match as_prod && grant.scopes.contains(&Scope::All) {
        true => Err(Refused::invalid("the scope all exists in the test environment only")),
        false => Ok(()),
    }
}

fn check_blocks(grant: &Grant, as_prod: bool) -> Result<(), Refused> {
    let blocks: Result<Vec<IpBlock>, _> =
        grant.ip_restrict.iter().map(|text| text.parse()).collect();
    let blocks = blocks.map_err(|_| Refused::invalid("ipRestrict holds no address or block"))?;
    let fits = !blocks.is_empty() && blocks.iter().all(|block| block.fits_prod());
    match as_prod && !fits {
        true => Err(Refused::invalid("ipRestrict is required: /24 to /32")),
        false => Ok(()),
    }
}
