//! Scenarios of renewal: files in `tests/renewal` that say what happens to one token and what must be
//! seen, played with a real vault and the emulator in virtual time. A test for each file.
//!
//! ```text
//! shows      the fact, in a sentence
//! way        how the token kept as `token` is renewed: extend, internal, oauth, reissue, manual
//! lifetime   of the token, in seconds
//! steps      in their order; each an object of one name (`Step`)
//! ```
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod script;
mod stage;

use script::Scenario;
use stage::Stage;
use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// Set in the process whose files stay small.
const CHILD: &str = "BITGO_VAULT_SMALL_FILES";

async fn play(name: &str) {
    let text = fs::read_to_string(directory().join(format!("{name}.json"))).unwrap();
    let scenario: Scenario = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    if scenario.small_files && env::var_os(CHILD).is_none() {
        return play_with_small_files();
    }
    let mut stage = Stage::set(&scenario).await;
    for (number, step) in scenario.steps.iter().enumerate() {
        let _place = Place { name, number, shows: &scenario.shows };
        stage.take(step).await;
    }
}

/// Tells where a scenario failed: dropped while a step panics.
struct Place<'a> {
    name: &'a str,
    number: usize,
    shows: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Self { name, number, shows } = self;
        if thread::panicking() {
            let _ = writeln!(stderr(), "{name}, step {number}: it does not show that {shows}");
        }
    }
}

/// The test again, as a process that may let no file grow beyond a MiB: a write that reaches further
/// fails, as on a full disk.
fn play_with_small_files() {
    let name = thread::current().name().unwrap().to_owned();
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ && ulimit -f 1024 && exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, "")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/renewal")
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                play(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_file_is_played() {
            let names: BTreeSet<_> = [$(stringify!($name).to_owned()),*].into();
            let files = fs::read_dir(directory()).unwrap().map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".json").unwrap_or_else(|| panic!("{name} is none")).to_owned()
            });
            assert_eq!(files.collect::<BTreeSet<_>>(), names);
            assert!(names.len() >= 25);
        }
    };
}

scenarios! {
    an_outage_over_the_whole_advisory_window
    an_outage_past_expiry
    a_storm_of_429
    a_401_for_an_old_token
    a_401_for_the_current_token
    an_answer_that_has_expired
    an_answer_without_an_end
    a_clock_that_jumps_ahead
    a_clock_that_jumps_back
    a_clock_of_the_host_that_runs_ahead
    a_death_that_nobody_vouches_for
    a_one_time_password_refused
    a_revocation_by_another_host
    a_restart_while_fresh
    a_restart_while_advisory
    a_restart_while_mandatory
    a_restart_after_the_end
    a_restart_while_suspect
    a_restart_while_revoked
    a_restart_while_a_human_is_needed
    a_restart_without_the_login
    a_thundering_herd_at_the_start
    a_server_that_is_down_at_the_start
    the_same_token_again
    an_endpoint_that_is_gone
    an_unsigned_401_of_a_token_that_is_fine
    an_unsigned_401_of_a_token_that_is_dead
    a_suspect_whom_nobody_answers_for
    a_single_sign_on_that_is_wanted
    a_disk_that_fills_while_renewing
    an_unlocking_that_draws_to_its_end
    an_answer_to_create_that_is_lost
    a_token_that_nobody_renews
    readers_while_renewal_is_urgent
    readers_just_before_the_end
    readers_while_renewal_is_advised
    a_crash_loop_on_what_is_final
    a_crash_loop_on_tokens_that_die
    a_refresh_token_that_is_spent
}
