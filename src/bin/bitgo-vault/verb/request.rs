//! A request as it is named on the command line: `LABEL METHOD PATH [--body FILE]`.

use crate::failure::Failure;
use crate::words::Money;
use bitgo_vault::{Method, Request};
use clap::Args;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The longest body, in bytes; the library takes no longer one.
const BODY_MAX: u64 = 1 << 20;

#[derive(Args)]
pub(crate) struct RequestArgs {
    /// What the token is kept as
    pub(crate) label: String,
    /// GET, POST, PUT or DELETE
    #[arg(value_parser = method)]
    method: Method,
    /// The path with its query, such as /api/v2/user/session
    path: String,
    /// The file that holds the body; - is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// What a transaction that was made elsewhere moves, and where to: COIN=AMOUNT@ADDRESS; once for each
    #[arg(long = "declare", value_name = "COIN=AMOUNT@ADDRESS", value_parser = declared)]
    declared: Vec<(Money, String)>,
}

impl RequestArgs {
    /// The request, with the body as it stands in its file.
    pub(crate) fn read(&self) -> Result<Request, Failure> {
        let body = self.body.as_ref().map(read).transpose()?;
        let draft = match self.method {
            Method::Get if body.is_some() => {
                return Err(Failure::usage("a GET has no body"));
            }
            Method::Get => {
                return Ok(Request::get(&self.path).map_err(bitgo_vault::Error::from)?);
            }
            Method::Post => Request::post(&self.path),
            Method::Put => Request::put(&self.path),
            _ => Request::delete(&self.path),
        };
        let body = body.map(|mut body| std::mem::take(&mut *body)).unwrap_or_default();
        let mut request = draft.bytes(body).map_err(bitgo_vault::Error::from)?;
        for (Money { coin, amount }, address) in &self.declared {
            request = request.declaring(coin, *amount, address);
        }
        Ok(request)
    }
}

/// All of a file, up to what a request may hold.
fn read(path: &PathBuf) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut body = Zeroizing::new(Vec::new());
    let read = match path.as_os_str() == "-" {
        true => stdin().lock().take(BODY_MAX + 1).read_to_end(&mut body),
        false => File::open(path).and_then(|file| file.take(BODY_MAX + 1).read_to_end(&mut body)),
    };
    read.map_err(Failure::at_file("read the body of", path))?;
    Ok(body)
}

fn method(text: &str) -> Result<Method, String> {
    [Method::Get, Method::Post, Method::Put, Method::Delete]
        .into_iter()
        .find(|method| method.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| "want GET, POST, PUT or DELETE".into())
}

fn declared(text: &str) -> Result<(Money, String), String> {
    let (money, address) = text.split_once('@').ok_or("want COIN=AMOUNT@ADDRESS")?;
    Ok((Money::read(money)?, address.to_owned()))
}
