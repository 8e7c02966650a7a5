//! A request from check to settlement with the vault's own HTTP client.

use super::credential::Sender;
use super::hands::Hands;
use super::lease;
use super::signed::Signed;
use crate::api::{ApiError, DispatchError, RawAnswer, RequestId};
use crate::error::Error;
use crate::policy::{Action, Denied, Outcome, Request, Rule};
use std::fmt;
use zeroize::Zeroizing;

/// An answer, verified if the token can sign.
pub struct Answer {
    status: u16,
    outcome: Outcome,
    is_verified: bool,
    request_id: RequestId,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What became of the request.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The id the request was sent with, for BitGo's support.
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Whether its HMAC was verified. `false` for a token that cannot sign: then the connection
    /// alone vouches for the answer, and no spend is proven by it.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// The body, whole; as the server signed it where [`Answer::is_verified`].
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} {:?}, {} bytes)", self.status, self.outcome, self.body.len())
    }
}

pub(super) async fn send(hands: &Hands, label: &str, request: &Request) -> Result<Answer, Error> {
    let core = hands.core();
    if Action::is_for_express(request) && !core.environment.is_loopback() {
        return Err(Denied::new(
            Rule::UnknownCall,
            "this is a call of BitGo Express, and its body may hold a wallet's passphrase (yours if \
             you made token and wallet, else your BitGo login's): Express signs by itself and wants the \
             token, which expose_token hands out where raw exposure is allowed; custodial wallets take tx/initiate",
        )
        .into());
    }
    let signed = sign(hands, label, request).await?;
    if let Err(frozen) = core.store.freeze().check() {
        signed.never_left();
        return Err(frozen.into());
    }
    let (method, headers) = (signed.method().clone(), signed.headers());
    let (body, id) = (request.body().to_vec(), signed.request_id());
    match core.client.dispatch(method, request.target(), headers, body, id).await {
        Ok(raw) => {
            let is_verified = signed.is_verifiable();
            let outcome = signed.finish(raw.status, &raw.headers, &raw.body)?;
            let RawAnswer { status, body, request_id, .. } = raw;
            Ok(Answer { status, outcome, is_verified, request_id, body })
        }
        Err(error) => {
            // Nothing but these two proves that no byte left; else dropping `signed` counts it.
            if let DispatchError::NotSent { .. } | DispatchError::Unsendable(_) = &error {
                signed.never_left();
            }
            Err(ApiError::from(error).into())
        }
    }
}

/// Leases and signs; once more where a renewal came in between.
async fn sign<'r>(hands: &Hands, label: &str, request: &'r Request) -> Result<Signed<'r>, Error> {
    let lease = async || lease::take_wait(hands, label, request, Sender::Vault).await;
    match lease().await?.sign() {
        Err(Error::LeaseVoid { .. }) => lease().await?.sign(),
        signed => signed,
    }
}
