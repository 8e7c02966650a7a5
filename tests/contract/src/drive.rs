//! Every call our client makes and every way the emulator answers, once or more.

use crate::desk::{Desk, auth, client, token};
use bitgo_vault::api::wire::AdminScope;
use bitgo_vault::api::{Endpoint, LoginOptions, OauthClient, Page, Sort};
use bitgo_vault::crypto::{EnvelopeVersion, ExtensionKey};
use bitgo_vault::emulator::{Emulator, Exchange, Fault, FaultKind};
use bitgo_vault::{Amount, ClientSecret, Coin, EnterpriseId, LoginPassword, Otp, RefreshToken};
use getrandom::SysRng;
use serde_json::{Value, json};
use std::error::Error;
use std::time::Duration;

type Done = Result<Vec<Exchange>, Box<dyn Error>>;

pub(crate) async fn everything() -> Done {
    let mut exchanges = Vec::new();
    for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
        exchanges.extend(sessions(version).await?);
    }
    exchanges.extend(tokens().await?);
    exchanges.extend(spends().await?);
    exchanges.extend(refusals().await?);
    exchanges.extend(in_clear().await?);
    Ok(exchanges)
}

/// Login, session, extension, unlock, lock, logout, OAuth and what the SDK asks besides.
async fn sessions(version: EnvelopeVersion) -> Done {
    let extension = ExtensionKey::generate(&mut SysRng)?;
    let options = LoginOptions::default().extensible(&extension.address());
    let desk = Desk::new(Emulator::builder().envelope_version(version), &options).await?;
    let (bitgo, client) = (&desk.bitgo, &desk.client);
    for (session, path) in [("/api/v2/user/login", "v2"), ("/api/v1/user/login", "v1")] {
        let [unlock, lock, logout, read, me] = ["unlock", "lock", "logout", "session", "me"]
            .map(|call| format!("/api/{path}/user/{call}"));
        let paths = [
            (Endpoint::Login, session),
            (Endpoint::Unlock, &unlock),
            (Endpoint::Lock, &lock),
            (Endpoint::Logout, &logout),
            (Endpoint::Session, &read),
            (Endpoint::Me, &me),
        ];
        let other = crate::desk::client(bitgo, &paths)?;
        other.login(bitgo.email(), &bitgo.password(), &bitgo.otp(), &options).await?;
        let bot = desk.mint(client, &token(path)?.ip_restrict("127.0.0.1")).await?;
        other.session(auth(&bot)).await?;
        other.me(auth(&bot)).await?;
        let minute = Duration::from_secs(60);
        other.dangerous_unlock_removing_limits(auth(&bot), &bitgo.otp(), minute).await?;
        other.session(auth(&bot)).await?;
        other.lock(auth(&bot)).await?;
        other.logout(auth(&bot)).await?;
    }
    let at_ms = client.now().timestamp_millis();
    let signature = extension.sign(at_ms, &desk.session, "7200");
    client.extend_token(desk.auth(), at_ms, &signature, "7200").await?;
    client.session(desk.auth()).await?;
    client.ping().await?;
    client.client_constants().await?;
    for spoofed in [false, true] {
        bitgo.spoof(spoofed);
        client.scoped_session(desk.auth(), spoofed).await?;
    }
    let grant = bitgo.grant_oauth()?;
    let oauth = OauthClient::new(grant.client_id, ClientSecret::new(grant.client_secret));
    let refresh_token = RefreshToken::new(grant.refresh_token);
    client.refresh_oauth(&oauth, &refresh_token).await?.kept_by(|_| Ok::<_, ()>(())).ok();
    client.refresh_oauth(&oauth, &refresh_token).await.map(drop).unwrap_err();
    Ok(bitgo.traffic())
}

/// Long-lived tokens with everything that can be asked for, under each path; the internal one.
async fn tokens() -> Done {
    let desk = Desk::new(Emulator::builder(), &LoginOptions::default()).await?;
    let (coin, erc20) = (Coin::new("tbtc")?, Coin::new("tusdc")?);
    let wallet = desk.bitgo.wallet(&coin);
    let enterprise = EnterpriseId::from_bytes([7; 16]);
    let plain = token("plain")?.scope("wallet_view_all".parse()?);
    let full = token("full")?
        .scope(format!("wallet_spend:{wallet}").parse()?)
        .scope("trade_trade".parse()?)
        .spending_limit(&coin, Amount::new((1 << 53) + 1))
        .dangerous_uncapped(&erc20)
        .all_erc20_tokens_limit(Amount::new(10_u128.pow(21)))
        .ip_restrict("127.0.0.0/8")
        .enterprise(enterprise)
        .permitted_wallet(wallet)
        .permitted_enterprise(enterprise)
        .admin(AdminScope::Read);
    let uncapped = token("uncapped")?.dangerous_uncapped_erc20_tokens();
    for path in ["/api/v2/user/accesstoken", "/api/auth/v1/accesstoken", "/api/v1/user/accesstoken"]
    {
        let client = client(&desk.bitgo, &[(Endpoint::AccessToken, path)])?;
        for asked in [&plain, &full, &uncapped] {
            let minted = desk.mint(&client, asked).await?;
            client.session(auth(&minted)).await?;
        }
        for sort in [Sort::Ascending, Sort::Descending] {
            let mut page = Page { limit: 2, prev_id: None, sort };
            let mut last = None;
            loop {
                let answer = client.list_tokens(desk.auth(), &page).await?;
                last = answer.records.last().map(|record| record.id).or(last);
                page.prev_id = answer.next;
                if page.prev_id.is_none() {
                    break;
                }
            }
            client.delete_token(desk.auth(), last.ok_or("no token was listed")?).await?;
        }
    }
    let issued = desk.client.internal_access_token(desk.auth()).await?;
    desk.client.session(auth(&*desk.opened(&issued)?)).await?;
    Ok(desk.bitgo.traffic())
}

/// Wallets, from each route that spends, with and without approval; orders.
async fn spends() -> Done {
    let desk = Desk::new(Emulator::builder(), &LoginOptions::default()).await?;
    let coin = Coin::new("tbtc")?;
    let (open, guarded) = (desk.bitgo.add_wallet(&coin), desk.bitgo.add_wallet(&coin));
    desk.bitgo.require_approval(guarded);
    let asked = ["wallet_spend_all", "wallet_view_all", "trade_trade"]
        .iter()
        .try_fold(token("spender")?, |token, scope| scope.parse().map(|scope| token.scope(scope)))?
        .spending_limit(&coin, Amount::new(1000));
    let spender = desk.mint(&desk.client, &asked).await?;
    let recipients = json!([{"address": "tb1qexample", "amount": "20"}]);
    let many = json!({"recipients": recipients});
    let one = json!({"address": "tb1qexample", "amount": 20});
    let recipient =
        json!({"address": {"address": "tb1q"}, "amount": {"value": "1", "symbol": "tbtc"}});
    let intent = json!({"intent": {"intentType": "payment", "recipients": [recipient]}});
    for wallet in [open, guarded] {
        let base = format!("/api/v2/tbtc/wallet/{wallet}");
        for (call, body) in [
            (format!("GET {base}"), &Value::Null),
            (format!("POST {base}/tx/build"), &many),
            (format!("POST {base}/tx/initiate"), &many),
            (format!("POST {base}/tx/send"), &many),
            (format!("POST {base}/sendcoins"), &one),
            (format!("POST {base}/sendmany"), &many),
            (format!("POST /api/v2/wallet/{wallet}/txrequests"), &intent),
        ] {
            desk.execute(&spender, &call, body).await?;
        }
    }
    let order = json!({
        "type": "market", "side": "buy", "product": "TBTC-TUSD*",
        "quantity": "0.5", "quantityCurrency": "TBTC",
    });
    let orders = "POST /api/prime/trading/v1/accounts/5cac19404c274f2a8b7a1b3de6a1d33f/orders";
    desk.execute(&spender, orders, &order).await?;
    let beyond = json!({"address": "tb1qexample", "amount": 1001});
    let call = format!("POST /api/v2/tbtc/wallet/{open}/sendcoins");
    desk.execute(&spender, &call, &beyond).await.unwrap_err();
    Ok(desk.bitgo.traffic())
}

/// Every way to be refused.
async fn refusals() -> Done {
    let desk = Desk::new(Emulator::builder().as_prod(), &LoginOptions::default()).await?;
    let (bitgo, client) = (&desk.bitgo, &desk.client);
    let wrong = LoginPassword::new("wrong");
    for (password, otp) in
        [(&wrong, "0000000"), (&bitgo.password(), "1111111"), (&bitgo.password(), "")]
    {
        let options = LoginOptions::default();
        client.login(bitgo.email(), password, &Otp::new(otp), &options).await.unwrap_err();
    }
    let near = token("near")?.ip_restrict("127.0.0.1");
    let far = desk.mint(client, &token("far")?.ip_restrict("203.0.113.0/28")).await?;
    let near = desk.mint(client, &near).await?;
    client.session(auth(&far)).await.unwrap_err();
    client.list_tokens(auth(&near), &Page::default()).await.unwrap_err();
    client.create_token(auth(&near), &token("other")?, &bitgo.otp()).await.map(drop).unwrap_err();
    client.create_token(desk.auth(), &token("bare")?, &bitgo.otp()).await.map(drop).unwrap_err();
    let unknown = "5941b202b42fcbc707170d5b597491d9".parse()?;
    client.delete_token(desk.auth(), unknown).await.map(drop).unwrap_err();
    for kind in [
        FaultKind::RetryAfter(1),
        FaultKind::RetryAfterDate(1),
        FaultKind::DeadToken,
        FaultKind::Unauthorized,
        FaultKind::NeedsOtp,
        FaultKind::NeedsUnlock,
        FaultKind::NeedsSso,
        FaultKind::IpNotAllowed,
        FaultKind::Forbidden,
    ] {
        bitgo.inject(Fault::new(kind));
        client.session(desk.auth()).await.map(drop).unwrap_err();
    }
    bitgo.require_sso(true);
    client.session(desk.auth()).await.map(drop).unwrap_err();
    bitgo.require_sso(false);
    client.logout(desk.auth()).await?;
    client.session(desk.auth()).await.map(drop).unwrap_err();
    Ok(bitgo.traffic())
}

/// An account without an ECDH key, whose tokens come in clear.
async fn in_clear() -> Done {
    let bitgo = Emulator::builder().without_ecdh_keychain().start().await?;
    let client = client(&bitgo, &[])?;
    let options = LoginOptions::default();
    let login = client.login(bitgo.email(), &bitgo.password(), &bitgo.otp(), &options).await?;
    let bitgo_vault::api::wire::Issued::Clear(session) = login.issued else {
        return Err("a token came sealed".into());
    };
    let bearer = bitgo_vault::api::Auth::Bearer(&session);
    client.create_token(bearer, &token("old")?, &bitgo.otp()).await?;
    client.session(bearer).await?;
    Ok(bitgo.traffic())
}
