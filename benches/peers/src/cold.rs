//! A bot that starts: from a new process to its first signed request.

use crate::peers::vault::{VIEW, label, passphrase, runtime, vault};
use crate::promise::Promise;
use crate::turns::{Failure, median};
use crate::{Scale, table};
use bitgo_vault::Request;
use bitgo_vault::crypto::{Salt, key_encryption_key};
use bitgo_vault::test_util::ManyTokens;
use getrandom::SysRng;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

pub fn section(scale: &Scale) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("vault");
    ManyTokens::create(&path, &passphrase())?.add(scale.few, 1)?;
    let starts = (0..scale.slow_turns).map(|_| start(&path)).collect::<Result<Vec<_>, _>>()?;
    let [whole, kdf, left] = [
        |(whole, _): &(f64, f64)| *whole,
        |(_, kdf): &(f64, f64)| *kdf,
        |(whole, kdf): &(f64, f64)| whole - kdf,
    ]
    .map(|part| median(starts.iter().map(part).collect()));
    println!("## from a new process to its first signed request\n");
    println!(
        "How long a bot is away when it is restarted, but for the passphrase's derivation, which \
         stands in the table above. A process is started, unlocks a vault of {} tokens, leases \
         one and signs a view; the median of {} starts. The derivation costs next to nothing \
         here, and is taken off.\n",
        scale.few, scale.slow_turns
    );
    println!("| | median |\n|---|--:|");
    for (what, seconds) in [("start to signature", whole), ("its key derivation", kdf)] {
        println!("| {what} | {} |", table::time(seconds));
    }
    println!();
    table::verdicts();
    let what = format!("new process to first signed request, {} tokens", scale.few);
    Promise::at_most(25.0, what).in_unit(" ms").judge(left * 1e3);
    println!();
    Ok(())
}

/// Seconds from the start of a process to its first signature, and those of its key derivation.
fn start(path: &Path) -> Result<(f64, f64), Failure> {
    let begin = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["measure", "cold"])
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let signed = lines.next().ok_or("nothing was signed")??;
    let whole = begin.elapsed().as_secs_f64();
    let kdf = lines.next().ok_or("no key derivation was timed")??;
    if signed != "signed" || !child.wait()?.success() {
        return Err("a process failed that was to sign".into());
    }
    Ok((whole, kdf.parse()?))
}

/// That process. What is measured besides comes after the signature.
pub fn measure(path: &Path) -> Result<(), Failure> {
    let runtime = runtime()?;
    let opened = runtime.block_on(vault(path).unlock(passphrase()))?;
    let request = Request::get(VIEW)?;
    let signed = opened.lease(&label(0), &request)?.sign()?;
    let mut out = stdout().lock();
    writeln!(out, "signed")?;
    out.flush()?;
    drop(signed);
    let salt = Salt::random(&mut SysRng)?;
    let begin = Instant::now();
    black_box(key_encryption_key(&passphrase(), &salt, opened.kdf())?);
    writeln!(out, "{}", begin.elapsed().as_secs_f64())?;
    runtime.block_on(opened.close())?;
    Ok(())
}
