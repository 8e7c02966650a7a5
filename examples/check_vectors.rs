//! Runs the vector files of a directory against this build, one line a file.
//!
//! ```text
//! cargo run --release --example check_vectors -- tests/vectors
//! ```
//!
//! Exits 0 if every case passed, 1 if one did not or there was none, 2 if called wrongly.

use bitgo_vault::test_util::vectors::check_dir;
use std::env;
use std::path::Path;
use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "this program's purpose is its output")]
fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let (Some(dir), None) = (args.next(), args.next()) else {
        eprintln!("usage: check_vectors DIR");
        return ExitCode::from(2);
    };
    let dir = Path::new(&dir);
    let reports = match check_dir(dir) {
        Ok(reports) => reports,
        Err(error) => {
            eprintln!("{}: {error}", dir.display());
            return ExitCode::FAILURE;
        }
    };
    if reports.is_empty() {
        eprintln!("{}: no vector file of a known kind", dir.display());
        return ExitCode::FAILURE;
    }
    for report in &reports {
        println!("{report}");
        for miss in &report.misses {
            eprintln!("{}: {miss}", report.file);
        }
    }
    if reports.iter().all(|report| report.misses.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
