//! Writing to a person: through a pager where it is long, and quietly ending when nobody reads any more.

use crate::context::{Context, Stream, is_terminal};
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::process::{Child, Command, Stdio};

/// Text for a `fmt::Write`, kept in a buffer that goes to an `io::Write`; the first error stays.
pub(crate) struct Pen<W: Write> {
    out: BufWriter<W>,
    error: Option<io::Error>,
}

impl<W: Write> Pen<W> {
    pub(crate) fn new(out: W) -> Pen<W> {
        Pen { out: BufWriter::with_capacity(64 * 1024, out), error: None }
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// The first error of all writes.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

impl<W: Write> fmt::Write for Pen<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.error.get_or_insert(error);
            fmt::Error
        })
    }
}

/// Writes a text to standard output. A reader that went away (`| head`) is no error.
pub(crate) fn print(write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) -> anyhow::Result<()> {
    let mut pen = Pen::new(io::stdout().lock());
    let _ = write(&mut pen);
    quiet(pen.finish())
}

/// Writes a text to standard output, through a pager when it is longer than the terminal.
pub(crate) fn page(
    context: &Context,
    write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result,
) -> anyhow::Result<()> {
    if !is_terminal(Stream::Stdout) {
        return print(write);
    }
    let mut text = String::new();
    let _ = write(&mut text);
    let fits = context.rows(Stream::Stdout).is_none_or(|rows| text.lines().count() < rows);
    if fits || !text_to_pager(&text) {
        return print(|out| out.write_str(&text));
    }
    Ok(())
}

/// Writes a text to standard output, through a pager unless none is wanted.
pub(crate) fn show(
    context: &Context,
    no_pager: bool,
    write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result,
) -> anyhow::Result<()> {
    if no_pager { print(write) } else { page(context, write) }
}

/// Whether a pager took the text.
fn text_to_pager(text: &str) -> bool {
    let Some(mut pager) = start_pager() else { return false };
    if let Some(mut input) = pager.stdin.take() {
        // The reader may leave before the end.
        let _ = input.write_all(text.as_bytes());
    }
    let _ = pager.wait();
    true
}

/// Starts PAGER, or less. With another user's rights the environment is not trusted to name a program.
fn start_pager() -> Option<Child> {
    let borrowed_rights =
        vmatlas_sys::effective_uid() != vmatlas_sys::real_uid() || std::env::var_os("SUDO_UID").is_some();
    let named = std::env::var("VMATLAS_PAGER").or_else(|_| std::env::var("PAGER")).ok();
    let command = match named {
        Some(command) if !borrowed_rights => command,
        _ => "less".to_owned(),
    };
    let mut words = command.split_ascii_whitespace();
    let mut start = Command::new(words.next()?);
    start.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Leave the text on the screen, show colours, end at once when it fits.
        start.env("LESS", "FRX");
    }
    start.spawn().ok()
}

/// A closed pipe is how a reader says that it has seen enough.
pub(crate) fn quiet(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
