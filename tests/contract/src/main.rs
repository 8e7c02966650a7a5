//! Holds the emulator and our client against BitGo's OpenAPI file. `bitgo-user-api.json` is a copy of
//! `openapi/bitgo-user-api.json` of the project's specification: the structure, without its prose, of
//! the endpoints that PROTOCOL.md speaks of, as BitGo publishes them.
//!
//! Every request must fit, and every answer, whatever its status. It ends with an error if one does
//! not, or if a route of PROTOCOL section 2 was never answered with a success.

mod check;
mod desk;
mod drive;
mod openapi;
mod route;

use check::Check;
use openapi::OpenApi;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let api = OpenApi::read(include_str!("../bitgo-user-api.json"), include_str!("../ours.json"))?;
    let mut check = Check::new(api);
    for exchange in drive::everything().await? {
        check.exchange(&exchange)?;
    }
    println!(
        "contract: {} exchanges on {} of {} routes: {} requests and {} answers against {} schemas",
        check.exchanges,
        check.routes(),
        route::ROUTES.len(),
        check.requests,
        check.answers,
        check.schemas(),
    );
    let unasked = check.unasked();
    for line in check.wrong.iter().chain(&unasked) {
        println!("contract: {line}");
    }
    match check.wrong.is_empty() && unasked.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}
