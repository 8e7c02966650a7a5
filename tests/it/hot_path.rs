//! What a lease and its signature do not cost, and that what makes them cheap forgets in time.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, told};
use crate::memory::keeping::allocations;
use bitgo_vault::api::{Client, ClientSettings};
use bitgo_vault::{Error, Outcome, Request, Signed};
use std::thread;

/// The map of headers (two), its values: id, bearer with HMAC (two), time.
const HEADERS: u64 = 6;
/// What reading a view's path takes.
const PATH: u64 = 1;

#[tokio::test]
async fn a_lease_and_its_signature_allocate_their_headers_alone() {
    let desk = Desk::new().await;
    let view = desk.view();
    let sign = || drop(desk.vault.lease("desk", &view).unwrap().sign().unwrap());
    // The first of a thread finds its token, keys it, and draws what request ids are made from.
    sign();
    let before = allocations();
    sign();
    let taken = allocations() - before;
    assert!(taken <= HEADERS + PATH, "{taken} allocations");
}

/// Each thread leases from what it has at hand.
#[tokio::test]
async fn a_token_that_was_removed_is_gone_from_every_thread() {
    let desk = Desk::new().await;
    let (vault, spend) = (&desk.vault, &desk.withdrawal(1));
    let by_four_threads = || {
        thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| vault.lease("bot", spend).map(drop).map_err(|error| told(&error)))
            });
            threads.map(|thread| thread.join().unwrap())
        })
    };
    let gone = "no token is kept as bot: issue it, or list the labels";
    for _ in 0..2 {
        desk.issue("bot", 1000).await;
        // Twice: some of the threads have it at hand then.
        for _ in 0..2 {
            assert_eq!(by_four_threads(), [(); 4].map(Ok));
        }
        vault.remove("bot").await.unwrap();
        assert_eq!(by_four_threads(), [(); 4].map(|()| Err(gone.to_owned())));
    }
}

async fn answered(desk: &Desk, request: &Request, signed: Signed<'_>) -> Result<Outcome, Error> {
    let (clock, settings) = (desk.clock.clone(), ClientSettings::default());
    let client = Client::new(desk.bitgo.environment(), clock, settings).unwrap();
    let (headers, body) = (signed.headers(), request.body().to_vec());
    let (method, id) = (http::Method::GET, signed.request_id());
    let raw = client.dispatch(method, request.target(), headers, body, id).await.unwrap();
    signed.finish(raw.status, &raw.headers, &raw.body)
}

/// A signed request keeps no key: what checks its answer is readied again, whatever came between.
#[tokio::test]
async fn an_answer_is_verified_after_the_key_was_wiped() {
    let desk = Desk::new().await;
    let view = desk.view();
    let signed = desk.vault.lease("desk", &view).unwrap().sign().unwrap();
    desk.vault.forbid_raw_exposure("desk").await.unwrap();
    assert_eq!(answered(&desk, &view, signed).await.unwrap(), Outcome::Accepted);

    let signed = desk.vault.lease("desk", &view).unwrap().sign().unwrap();
    let closing = desk.vault.clone().close().await;
    assert!(matches!(closing, Err(Error::StillInUse)));
    assert_eq!(answered(&desk, &view, signed).await.unwrap(), Outcome::Accepted);
}
