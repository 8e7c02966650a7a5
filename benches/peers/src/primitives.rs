//! AES-256-GCM and HMAC-SHA256, beside other libraries of them.

use crate::peer::{AAD, Library, SUBJECT};
use crate::peers::aws_lc::AwsLc;
use crate::peers::libsodium::Libsodium;
use crate::peers::ring::Ring;
use crate::peers::rust_crypto::RustCrypto;
use crate::peers::vault::Crypto;
use crate::promise::Promise;
use crate::turns::{Failure, Side, Times};
use crate::{Scale, table};
use std::hint::black_box;

const SIZES: [usize; 6] = [64, 256, 1024, 4096, 16_384, 65_536];
/// Bytes of a turn, so that turns of all sizes last about as long.
const TURN: usize = 1 << 20;
/// The most calls of a turn.
const CALLS: usize = 1000;
const OURS: usize = 0;
const CRATES: usize = 1;

pub fn section(scale: &Scale) -> Result<(), Failure> {
    let libraries: [Box<dyn Library>; 5] = [
        Box::new(Crypto::new()?),
        Box::new(RustCrypto::new()?),
        Box::new(Ring::new()?),
        Box::new(AwsLc::new()?),
        Box::new(Libsodium::new()?),
    ];
    println!("## seal and open a record, beside other libraries\n");
    println!(
        "What each record costs that is read or written, {} bytes of associated data to each and a \
         nonce drawn for each that is sealed: the median of {} turns, and by the vault's. The \
         vault's framing and checks are in its column; ring is the floor.\n",
        AAD.len(),
        scale.turns
    );
    let names: String = libraries.iter().map(|library| format!(" {} |", library.name())).collect();
    println!("| |{names}\n|---|{}", "--:|".repeat(libraries.len()));
    let mut worst = [("open", 0.0, 0), ("seal", 0.0, 0)];
    for size in SIZES {
        let (plaintext, _above) = (vec![0x5a; size], free_blocks(size));
        let sealed = libraries
            .iter()
            .map(|library| library.seal(&plaintext))
            .collect::<Result<Vec<_>, _>>()?;
        for (what, worst, at) in &mut worst {
            let mut sides: Vec<_> = libraries
                .iter()
                .zip(&sealed)
                .map(|(library, sealed)| {
                    let (plaintext, is_open) = (&plaintext, *what == "open");
                    Side::new(library.name(), move |_| {
                        if is_open {
                            library.open(black_box(sealed)).map(drop)
                        } else {
                            black_box(library.seal(black_box(plaintext))?);
                            Ok(())
                        }
                    })
                })
                .collect();
            let times = Times::take(&mut sides, scale.turns, (TURN / size).min(CALLS), 0..)?;
            let ratio = times.ratio(OURS, CRATES);
            if ratio > *worst {
                (*worst, *at) = (ratio, size);
            }
            println!("| {what} {size} B |{}", cells(&times, libraries.len()));
        }
    }
    println!();
    table::verdicts();
    for (what, worst, at) in worst {
        Promise::at_most(1.15, format!("{what} 64 B to 64 KiB, by the aes-gcm crate, at worst"))
            .missed_because(format!("that is at {at} B"))
            .judge(worst);
    }

    println!("\n## sign {SUBJECT} bytes, beside other libraries\n");
    println!(
        "What is left to pay for each request once its token is at hand: HMAC-SHA256, keyed once. The \
         vault's signs a request in its five parts, dates it and writes hexadecimal digits.\n"
    );
    let mut sides: Vec<_> = libraries
        .iter()
        .map(|library| {
            Side::new(library.name(), |_| {
                library.authenticate();
                Ok(())
            })
        })
        .collect();
    let times = Times::take(&mut sides, scale.turns, CALLS, 0..)?;
    table::print("HMAC-SHA256", &sides, &times, &[("the vault's", OURS)]);
    table::verdicts();
    Promise::at_most(1.1, "sign a request, by the hmac and sha2 crates, keyed once")
        .missed_because("five parts instead of one, a date and hexadecimal digits")
        .judge(times.ratio(OURS, CRATES));
    println!();
    Ok(())
}

fn cells(times: &Times, libraries: usize) -> String {
    let cell = |i| {
        let ratio = table::digits(times.ratio(i, OURS));
        format!(" {} ({ratio}) |", table::time(times.median(i)))
    };
    (0..libraries).map(cell).collect()
}

/// Leaves free blocks of a record's size below one that is kept, so that each side finds one:
/// else whoever comes first pays for a heap that grows and is trimmed with every record.
fn free_blocks(size: usize) -> Box<[u8]> {
    let blocks = [(); 4].map(|()| vec![1_u8; size + 64]);
    let above = vec![1; 2048].into_boxed_slice();
    drop(black_box(blocks));
    above
}
