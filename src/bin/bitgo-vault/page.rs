//! What is printed: for people on a terminal, or one object of JSON for a script.
//!
//! What a verb answers goes to standard output; complaints, questions and spinners to standard error.

use crate::failure::Failure;
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use std::error::Error as _;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write as _};
use std::iter;
use std::process::ExitCode;
use std::time::Duration;

/// What takes longer than this shows that it lives.
const PATIENCE: Duration = Duration::from_millis(500);
/// How wide a page is that no terminal shows: a script reads it by the line, so that nothing is folded.
const WIDTH: u16 = 1000;

/// What a verb answers: by its fields for a script, and told to people.
pub(crate) trait Tell: Serialize {
    fn tell(&self, page: &mut Page);
}

/// Where answers and failures go.
pub(crate) struct Printer {
    json: bool,
    verbose: bool,
}

/// Text for people.
#[derive(Default)]
pub(crate) struct Page(String);

/// How good it is what a word says.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Doubtful,
    Bad,
}

impl Page {
    /// One line, whoever wrote what is in it.
    pub(crate) fn line(&mut self, line: impl Display) {
        self.0 += &harmless(&line.to_string());
        self.0.push('\n');
    }

    /// As many lines as there are.
    pub(crate) fn text(&mut self, text: impl Display) {
        text.to_string().lines().for_each(|line| self.line(line));
    }

    /// What was asked for to the byte.
    pub(crate) fn raw(&mut self, text: &str) {
        self.0 += text;
        self.0.push('\n');
    }

    /// A name and what it stands for, below each other in columns.
    pub(crate) fn pair(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name:<16} {value}"));
    }

    /// Rows under a head, as wide as the terminal is.
    pub(crate) fn table<const N: usize>(&mut self, head: [&str; N], rows: Vec<[String; N]>) {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width())
            .set_header(head.map(str::to_uppercase))
            .add_rows(rows.into_iter().map(|row| row.map(|cell| harmless(&cell))));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.line(line.trim_end());
        }
    }
}

/// A word in its colour. Where no terminal takes it, or `NO_COLOR` is set, the colour is left out.
pub(crate) fn toned(tone: Tone, word: impl Display) -> impl Display {
    struct Toned<D>(Style, D);
    impl<D: Display> Display for Toned<D> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}{}{}", self.0.render(), self.1, self.0.render_reset())
        }
    }
    let colour = match tone {
        Tone::Good => AnsiColor::Green,
        Tone::Doubtful => AnsiColor::Yellow,
        Tone::Bad => AnsiColor::Red,
    };
    Toned(colour.on_default(), word)
}

impl Printer {
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        Self { json, verbose }
    }

    /// For arguments that cannot be read: whether they ask for JSON is seen all the same. What stands
    /// behind `--` is said to another program.
    pub(crate) fn of_arguments() -> Self {
        let mut own = std::env::args_os().take_while(|argument| argument != "--");
        Self::new(own.any(|argument| argument == "--json"), false)
    }

    /// Prints an answer.
    pub(crate) fn say(&self, told: &impl Tell) -> Result<(), Failure> {
        self.is_heard(told).map(drop)
    }

    /// Prints one answer of several, and answers whether somebody still reads.
    pub(crate) fn is_heard(&self, told: &impl Tell) -> Result<bool, Failure> {
        let text = match self.json {
            true => {
                let mut line =
                    serde_json::to_string(told).map_err(Failure::could_not("write the answer"))?;
                line.push('\n');
                line
            }
            false => {
                let mut page = Page::default();
                told.tell(&mut page);
                page.0
            }
        };
        put(anstream::stdout(), text.as_bytes())
    }

    /// Begins at the top of an empty terminal, for what is shown again and again. A script, or a file,
    /// gets one answer after the other.
    pub(crate) fn clear(&self) {
        if !self.json && io::stdout().is_terminal() {
            let _ = put(io::stdout(), b"\x1b[H\x1b[2J");
        }
    }

    /// Tells people something beside the answer; a script gets the answer alone.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.json {
            let _ = writeln!(anstream::stderr(), "{}", harmless(&line.to_string()));
        }
    }

    /// Does what may take a while, and shows on a terminal that it lives.
    pub(crate) async fn busy<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        if self.json || !io::stderr().is_terminal() {
            return work.await;
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        let done = work.await;
        bar.finish_and_clear();
        done
    }

    /// Waits for as many seconds, and tells people how many are left.
    pub(crate) async fn wait(&self, what: &str, time: Duration) {
        if self.json || !io::stderr().is_terminal() {
            self.note(format_args!("{what}: waiting {} s", time.as_secs()));
            return tokio::time::sleep(time).await;
        }
        let bar = ProgressBar::new_spinner();
        for left in (1..=time.as_secs()).rev() {
            bar.set_message(format!("{what}: {}:{:02} left", left / 60, left % 60));
            bar.tick();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bar.finish_and_clear();
    }

    /// Prints what went wrong and what to do; the exit code says it to scripts.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        let code = failure.exit_code();
        if self.json {
            let _ = put(
                anstream::stdout(),
                format!("{}\n", json!({"error": failure.to_json()})).as_bytes(),
            );
            return ExitCode::from(code);
        }
        let mut page = Page::default();
        page.line(format_args!("{} {failure}", toned(Tone::Bad, "bitgo-vault:")));
        let remedy = failure.remedy();
        // Where nobody knows what to do, the cause may say it.
        let told = match (self.verbose, &remedy, failure) {
            (true, ..) => usize::MAX,
            (false, None, _) | (false, _, Failure::File { .. }) => 1,
            _ => 0,
        };
        if let Some(remedy) = remedy {
            page.line(format_args!("{} {remedy}", toned(Tone::Good, "  do:")));
        }
        page.line(format_args!("  see: {}", failure.see()));
        let causes = iter::successors(failure.source(), |&error| error.source());
        causes.take(told).for_each(|cause| page.line(format_args!("  because: {cause}")));
        let _ = put(anstream::stderr(), page.0.as_bytes());
        ExitCode::from(code)
    }

    /// What was said wrongly, or asked for of the command itself: its help, its version.
    pub(crate) fn usage(&self, error: &clap::Error) -> ExitCode {
        if error.use_stderr() && self.json {
            // What is missing may stand in lines of its own, up to the first that is empty.
            let error = error.to_string();
            let lines = error.lines().map(str::trim).take_while(|line| !line.is_empty());
            let line = lines.collect::<Vec<_>>().join(" ");
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            return self.failure(&Failure::usage(format!("{line}: see VERB --help")));
        }
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { 2 } else { 0 })
    }
}

/// Writes all of it, and answers whether somebody reads. That nobody does any more is no failure.
pub(crate) fn put(mut to: impl io::Write, text: &[u8]) -> Result<bool, Failure> {
    match to.write_all(text).and_then(|()| to.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).map_err(Failure::could_not("write the answer")),
    }
}

/// What somebody else wrote, such as BitGo, as a part of one line: without what would steer a terminal,
/// begin a line of its own or turn its letters around. Our own colours stay.
pub(crate) fn harmless(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            )
    };
    let mut rest = text;
    let mut harmless = String::with_capacity(text.len());
    while let Some(next) = rest.chars().next() {
        let taken = colour(rest).unwrap_or(next.len_utf8());
        let (part, after) = rest.split_at(taken);
        match taken == next.len_utf8() && is_harmful(next) {
            true => harmless.push(char::REPLACEMENT_CHARACTER),
            false => harmless.push_str(part),
        }
        rest = after;
    }
    harmless
}

/// How long the sequence is that begins here and sets a colour that is read on every ground, bold or faint,
/// or none of it again: others hide what they are set on.
fn colour(text: &str) -> Option<usize> {
    let (numbers, _) = text.strip_prefix("\x1b[")?.split_once('m')?;
    let is_read =
        |number: &str| matches!(number.as_bytes(), [b'0'..=b'2'] | [b'3', b'0'..=b'7' | b'9']);
    numbers.split(';').all(is_read).then_some(numbers.len() + 3)
}

fn width() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok().map(|size| size.ws_col).filter(|width| *width > 0).unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_left_out_and_colours_stay() {
        for (text, expect) in [
            ("plain, ä, €", "plain, ä, €"),
            ("\x1b[32mgood\x1b[0m", "\x1b[32mgood\x1b[0m"),
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("\x1b[2J\x1b[", "\u{fffd}[2J\u{fffd}["),
            ("\u{9b}2J\r\x08", "\u{fffd}2J\u{fffd}\u{fffd}"),
            ("abc\u{202e}cba", "abc\u{fffd}cba"),
            ("\x1b", "\u{fffd}"),
            ("one\ntwo\u{2028}three\x7f", "one\u{fffd}two\u{fffd}three\u{fffd}"),
            ("\x1b[1;31mbold\x1b[39m", "\x1b[1;31mbold\x1b[39m"),
            ("\x1b[8mhidden", "\u{fffd}[8mhidden"),
            ("\x1b[31;8mhidden", "\u{fffd}[31;8mhidden"),
            ("\x1b[38;5;0mdark", "\u{fffd}[38;5;0mdark"),
            ("\x1b[+1m\x1b[m", "\u{fffd}[+1m\u{fffd}[m"),
        ] {
            assert_eq!(harmless(text), expect, "{text:?}");
        }
    }

    #[test]
    fn a_page_has_the_lines_that_it_is_told_and_no_others() {
        let mut page = Page::default();
        page.line("one\nforged");
        page.pair("name", "two\nforged");
        page.table(["head"], vec![["three\nforged".into()]]);
        page.text("four\n\u{9b}2J\u{7f}");
        page.line(toned(Tone::Good, "five"));
        let lines: Vec<_> = page.0.lines().collect();
        let name = format!("{:<16} two\u{fffd}forged", "name");
        let good = "\x1b[32mfive\x1b[0m";
        let told = ["one\u{fffd}forged", &name, "HEAD", "three\u{fffd}forged", "four"];
        assert_eq!(lines, [&told[..], &["\u{fffd}2J\u{fffd}", good]].concat());
    }
}
