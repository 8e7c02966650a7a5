//! How many instructions a lease takes, a signature, and the opening of a record: what a busy machine
//! does not change. More than a twentieth above what `benches/instructions.tsv` has for this compiler
//! fails; a compiler it does not know is written down there.
//!
//! Callgrind counts, which runs this program once more for each of them. It knows no SHA extensions, so
//! that hashes weigh more in it than they do outside.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it tells what it measured")]

mod desk;

use bitgo_vault::crypto::{DataKey, VaultId};
use bitgo_vault::test_util::wiped_record;
use desk::Desk;
use getrandom::SysRng;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

const CASES: [&str; 6] = [
    "lease a view, and give back",
    "lease a spend, and give back",
    "lease and sign a view",
    "lease and sign a spend",
    "lease and hand out",
    "open a record of 256 bytes",
];
const OPS: u64 = 1000;
/// Until threads have what they keep, and enough is allotted.
const WARM_UP: u64 = 100;
/// How many percent more than before is a regression.
const TOLERANCE: u64 = 5;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.tsv");
/// Set for the program that callgrind runs: which case.
const COUNTED: &str = "BITGO_VAULT_COUNTED";
/// Set by whoever wants the baseline of this compiler written anew.
const RECORD: &str = "BITGO_VAULT_RECORD";

/// What callgrind counts: this function and what it calls.
#[inline(never)]
fn counted(op: &dyn Fn()) {
    for _ in 0..OPS {
        op();
    }
    black_box(());
}

fn run(case: usize) {
    let desk = Desk::new();
    let vault = VaultId::random(&mut SysRng).unwrap();
    let cipher = DataKey::generate(&mut SysRng).unwrap().record_cipher(&vault, 0, "tokens");
    let (name, plaintext) = ([1; 16], [0x5a; 256]);
    let record = cipher.seal(&name, &plaintext, &mut SysRng).unwrap();
    let cases: [&dyn Fn(); CASES.len()] = [
        &|| desk.give_back(&desk.view),
        &|| desk.give_back(&desk.spend),
        &|| desk.sign("a", &desk.view),
        &|| desk.sign("a", &desk.spend),
        &|| desk.hand_out("a"),
        &|| drop(black_box(wiped_record(|| cipher.open(&name, black_box(&record))).unwrap())),
    ];
    (0..WARM_UP).for_each(|_| cases[case]());
    counted(cases[case]);
}

/// Instructions of one operation; `None` where there is no valgrind, or it does not run this.
fn count(case: usize) -> Option<u64> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .args(["--toggle-collect=instructions::counted*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .env(COUNTED, case.to_string())
        // It knows no memory that is locked as the vault's is, and says so.
        .stderr(Stdio::null());
    if !valgrind.status().ok()?.success() {
        return None;
    }
    let told = fs::read_to_string(out).unwrap();
    let total = told.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    Some(total.trim().parse::<u64>().unwrap() / OPS)
}

/// The compiler and the processor's kind.
fn compiler() -> String {
    let output = Command::new(env::var("RUSTC").unwrap_or("rustc".into())).arg("-V").output();
    let version = String::from_utf8(output.unwrap().stdout).unwrap();
    format!("{} {}", version.trim(), env::consts::ARCH)
}

fn main() -> ExitCode {
    if let Ok(case) = env::var(COUNTED) {
        run(case.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let (compiler, kept) = (compiler(), fs::read_to_string(BASELINE).unwrap_or_default());
    let Some(counts) = (0..CASES.len()).map(count).collect::<Option<Vec<_>>>() else {
        println!("SKIPPED: valgrind is not here, or does not run this");
        return ExitCode::SUCCESS;
    };
    let baseline = |case: &str| {
        let row = |line: &str| Some(line.strip_prefix(&compiler)?.strip_prefix('\t')?.to_owned());
        kept.lines().filter_map(row).find_map(|row| {
            let (count, of) = row.split_once('\t')?;
            (of == case).then(|| count.parse::<u64>().unwrap())
        })
    };
    let is_recording = env::var_os(RECORD).is_some();
    let (mut fails, mut rows) = (false, String::new());
    println!("{:<36} {:>12} {:>12}", "instructions", "now", "before");
    for (case, count) in CASES.into_iter().zip(counts) {
        let before = baseline(case).filter(|_| !is_recording);
        let verdict = match before {
            None => {
                writeln!(rows, "{compiler}\t{count}\t{case}").unwrap();
                "recorded"
            }
            Some(before) if count * 100 > before * (100 + TOLERANCE) => {
                fails = true;
                "MORE"
            }
            Some(before) if count * 100 < before * (100 - TOLERANCE) => "less: record it",
            Some(_) => "",
        };
        println!("{case:<36} {count:>12} {:>12} {verdict}", before.unwrap_or_default());
    }
    if !rows.is_empty() {
        let others = kept.lines().filter(|line| !is_recording || !line.starts_with(&compiler));
        let others: String = others.flat_map(|line| [line, "\n"]).collect();
        fs::write(Path::new(BASELINE), others + &rows).unwrap();
    }
    if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
