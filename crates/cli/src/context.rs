//! What every command needs to know of the person and the terminal.

use clap::ValueEnum;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use vmatlas_event::MonoNs;
use vmatlas_proc::ProcRoot;
use vmatlas_view::run::LineOptions;
use vmatlas_view::{Lang, Style};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The language and look that were asked for, or that the environment asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) lang: Lang,
    pub(crate) color: Color,
    /// Whether PROCMAP_QUERY may be used.
    may_query: bool,
    /// Whether a person may be told how far a long piece of work is.
    pub(crate) shows_progress: bool,
}

/// A stream that text goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Context {
    pub(crate) fn new(lang: Option<Lang>, color: Color, may_query: bool) -> Context {
        let get = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        Context {
            lang: lang.unwrap_or_else(|| Lang::from_environment(get)),
            color,
            may_query,
            shows_progress: true,
        }
    }

    /// The same for a command that may write for another program: nobody waits then.
    pub(crate) fn for_program(&self, is_json: bool) -> Context {
        Context { shows_progress: self.shows_progress && !is_json, ..*self }
    }

    /// The /proc that commands read.
    pub(crate) fn proc_root(&self) -> ProcRoot {
        if self.may_query { ProcRoot::system() } else { ProcRoot::system().without_query() }
    }

    /// The look of text on this stream.
    pub(crate) fn style(&self, stream: Stream) -> Style {
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
                is_terminal(stream)
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").as_deref() != Some(OsStr::new("dumb"))
            }
        };
        Style { color }
    }

    /// The width of the terminal this stream goes to; `None` when it is none.
    pub(crate) fn columns(&self, stream: Stream) -> Option<usize> {
        size(stream).map(|(columns, _)| usize::from(columns))
    }

    /// How lines of calls are written to this stream; `start` is the time that theirs count from.
    pub(crate) fn lines(&self, stream: Stream, start: MonoNs) -> LineOptions {
        LineOptions {
            lang: self.lang,
            style: self.style(stream),
            start,
            columns: self.columns(stream),
            errno_name: vmatlas_sys::errno_name,
            signal_name: vmatlas_sys::signal::name,
        }
    }

    /// The height of the terminal this stream goes to.
    pub(crate) fn rows(&self, stream: Stream) -> Option<usize> {
        size(stream).map(|(_, rows)| usize::from(rows))
    }
}

pub(crate) fn is_terminal(stream: Stream) -> bool {
    match stream {
        Stream::Stdout => io::stdout().is_terminal(),
        Stream::Stderr => io::stderr().is_terminal(),
    }
}

fn size(stream: Stream) -> Option<(u16, u16)> {
    match stream {
        Stream::Stdout => vmatlas_sys::tty::size(io::stdout().as_fd()),
        Stream::Stderr => vmatlas_sys::tty::size(io::stderr().as_fd()),
    }
}
