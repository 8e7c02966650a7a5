//! A request from check to settlement with the vault's own HTTP client.

use super::core::Core;
use super::lease;
use super::signed::Signed;
use crate::api::{ApiError, DispatchError, RequestId};
use crate::error::Error;
use crate::policy::{Action, Denied, Outcome, Request, Rule};
use crate::token::Label;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A verified answer.
pub struct Answer {
    status: u16,
    outcome: Outcome,
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

    /// The body, as the server signed it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} {:?}, {} bytes)", self.status, self.outcome, self.body.len())
    }
}

pub(super) async fn send(
    core: &Arc<Core>,
    label: &Label,
    request: &Request,
) -> Result<Answer, Error> {
    if Action::of(request)?.is_for_express && !core.environment.is_loopback() {
        return Err(Denied::new(
            Rule::UnknownCall,
            "sendcoins is a call of BitGo Express, and its body may hold a wallet's passphrase: \
             lease it, and send it to your Express with a client of your own",
        )
        .into());
    }
    let signed = sign(core, label, request).await?;
    let (method, headers) = (signed.method().clone(), signed.headers().clone());
    let (body, id) = (request.body().to_vec(), signed.request_id());
    match core.client.dispatch(method, request.target(), headers, body, id).await {
        Ok(raw) => {
            let outcome = signed.finish(raw.status, &raw.headers, &raw.body)?;
            Ok(Answer { status: raw.status, outcome, request_id: raw.request_id, body: raw.body })
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
async fn sign<'r>(
    core: &Arc<Core>,
    label: &Label,
    request: &'r Request,
) -> Result<Signed<'r>, Error> {
    match lease::take_wait(core, label, request).await?.sign() {
        Err(Error::LeaseVoid { .. }) => lease::take_wait(core, label, request).await?.sign(),
        signed => signed,
    }
}
