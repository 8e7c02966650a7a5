//! What the vault tells by spans, events and metrics: as it is documented, and nothing secret.

#[cfg(all(feature = "emulator", feature = "metrics", feature = "test-util", target_os = "linux"))]
mod busy;
#[cfg(all(feature = "emulator", feature = "metrics", feature = "test-util", target_os = "linux"))]
mod capture;
#[cfg(all(feature = "emulator", feature = "metrics", feature = "test-util", target_os = "linux"))]
mod day;
mod names;
#[cfg(all(feature = "emulator", feature = "metrics", feature = "test-util", target_os = "linux"))]
mod search;
