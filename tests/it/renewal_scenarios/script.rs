//! What a scenario's file says.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    pub(super) shows: String,
    pub(super) way: Way,
    pub(super) lifetime: u64,
    /// How long the session lives that an internal token is fetched with; it stays if it is named.
    pub(super) session: Option<u64>,
    /// Played in a process of its own, whose files stay small.
    #[serde(default)]
    pub(super) small_files: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    Extend,
    Internal,
    Oauth,
    Reissue,
    Manual,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Step {
    /// So many seconds pass.
    Pass(f64),
    /// The wall clock jumps by so many seconds.
    Jump(i64),
    /// The server's clock goes ahead by so many.
    Skew(i64),
    Fault {
        on: Call,
        kind: Kind,
        times: Option<u32>,
    },
    Clear {},
    /// The vault is closed, and opened after so many seconds.
    Restart(f64),
    /// The server refuses every connection for so many seconds.
    Down(f64),
    /// Another host revokes the token.
    Revoke {},
    /// The enterprise wants a single sign-on, or no more.
    Sso(bool),
    /// Seconds for which the token is unlocked at BitGo.
    Unlock(u64),
    /// The login that mints the next token is given.
    Login {},
    /// A human has it renewed now.
    Renew {},
    /// Writes until the disk takes no more.
    FillDisk {},
    /// A request is signed; its answer comes with `Late`.
    Sign {},
    /// The answer to what was signed: 401, with an HMAC of nobody's.
    Late {},
    /// A request is sent: `ok`, or what is told of the error.
    Send(String),
    /// A lease is taken at once: `ok`, or what is told of the error.
    Lease(String),
    /// So many readers at once; all get a lease within so many seconds, or none does.
    Readers {
        count: usize,
        within: f64,
        get: Option<bool>,
    },
    /// What is seen now.
    Expect(Seen),
    /// What is seen soon.
    Soon(Seen),
    /// An alarm came since the last step that named it.
    Alarm(String),
    /// No such alarm did.
    NoAlarm(String),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Call {
    Renewal,
    OwnRecord,
    Use,
    Login,
    Mint,
    List,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Status(u16),
    Unsigned(u16),
    RetryAfter(u32),
    Delay(u64),
    Dead,
    Unauthorized,
    Otp,
    Sso,
    Forbidden,
    Html,
    BadHmac,
    DropBefore,
    DropAfter,
    Expired,
    /// The token that it answered last, again.
    Same,
    /// The token's own record, without its end.
    Endless,
}

/// What is seen of the token; what is not named may be anything.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Seen {
    pub(super) phase: Option<String>,
    pub(super) standing: Option<String>,
    pub(super) need: Option<String>,
    pub(super) renewals: Option<u64>,
    pub(super) failures: Option<[u32; 2]>,
    pub(super) error: Option<String>,
    /// Calls that renew, from and to.
    pub(super) calls: Option<[usize; 2]>,
    /// Whether the token is the first one still.
    pub(super) same: Option<bool>,
    /// Seconds until it is tried next, from and to.
    pub(super) renewal_in: Option<[f64; 2]>,
    /// Long-lived tokens of its label that live at BitGo.
    pub(super) living: Option<usize>,
}
