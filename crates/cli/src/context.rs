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

/// The language for what is said while the words of the command are still being understood: a help.
pub(crate) fn lang_of_help() -> Lang {
    lang_of(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
        .unwrap_or_else(|| Lang::from_environment(variable))
}

/// The width of the terminal that a help goes to; `None` where it goes to none.
pub(crate) fn columns_of_help() -> Option<usize> {
    size(Stream::Stdout).map(|(columns, _)| usize::from(columns))
}

/// What --lang says among these words, those of a program to be run not counted.
fn lang_of(words: impl Iterator<Item = String>) -> Option<Lang> {
    let words: Vec<String> = words.take_while(|word| word != "--").collect();
    let next = words.iter().skip(1).map(Some).chain([None]);
    words.iter().zip(next).find_map(|(word, next)| match word.strip_prefix("--lang") {
        Some("") => Lang::from_locale(next?),
        Some(value) => Lang::from_locale(value.strip_prefix('=')?),
        None => None,
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Context {
    pub(crate) fn new(lang: Option<Lang>, color: Color, may_query: bool) -> Context {
        Context {
            lang: lang.unwrap_or_else(|| Lang::from_environment(variable)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the language of a help is what --lang says in either form, but not what a program to be run is told.
    #[test]
    fn the_language_is_found_before_the_rest() {
        let of = |line: &str| lang_of(line.split(' ').map(str::to_owned));
        assert_eq!(of("vmatlas --lang ja lab mmap --help"), Some(Lang::Ja));
        assert_eq!(of("vmatlas lab mmap --help --lang=en"), Some(Lang::En));
        for none in
            ["vmatlas lab --help", "vmatlas lab --lang", "vmatlas --lang xx", "vmatlas run -- ls --lang ja"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
