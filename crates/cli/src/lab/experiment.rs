//! The experiments as commands of `vmatlas lab`, each with its own options.

use crate::context::{columns_of_help, lang_of_help};
use crate::texts;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand};
use vmatlas_lab::{Info, Param, Takes, experiments};
use vmatlas_view::Lang;
use vmatlas_view::picture::wrap::wrap;

/// An experiment that was asked for, with the values that were given.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    name: String,
    given: Vec<(String, String)>,
}

impl Chosen {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn given(&self) -> &[(String, String)] {
        &self.given
    }

    /// The experiment; `None` when there is none of this name.
    pub(super) fn info(&self) -> Option<&'static Info> {
        experiments().find(|info| info.name == self.name)
    }
}

impl FromArgMatches for Chosen {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Chosen, clap::Error> {
        let Some((name, matches)) = matches.subcommand() else {
            return Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand));
        };
        let params = experiments().find(|info| info.name == name).map_or(&[][..], |info| info.params);
        let value = |param: &Param| match param.takes {
            Takes::Flag => matches.get_flag(param.name).then(String::new),
            _ => matches.get_one::<String>(param.name).cloned(),
        };
        let given = params.iter().filter_map(|param| Some((param.name.to_owned(), value(param)?)));
        Ok(Chosen { name: name.to_owned(), given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Chosen::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Chosen {
    fn augment_subcommands(command: Command) -> Command {
        let lang = lang_of_help();
        experiments().fold(command.allow_external_subcommands(true), |command, info| {
            command.subcommand(info.params.iter().fold(
                Command::new(info.name).about(info.title().get(lang)).after_help(notes(info, lang)),
                |command, param| command.arg(option(info, param)),
            ))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Chosen::augment_subcommands(command)
    }

    /// Any name: one that we do not have is told in the person's language.
    fn has_subcommand(_: &str) -> bool {
        true
    }
}

/// The question, with what is usual in place of parameters, and what to try. A question that needs what only a run
/// knows is left out.
fn notes(info: &'static Info, lang: Lang) -> String {
    let mut question = info.section("question", lang).to_owned();
    for param in info.params {
        question = question.replace(&format!("{{{}}}", param.name), param.usual);
    }
    let question = if question.contains('{') { String::new() } else { question + "\n\n" };
    let next = info.section("next", lang).replace('`', "");
    let text = format!("{question}{}\n{next}", texts::TRY_NEXT.get(lang));
    match lang {
        Lang::En => text,
        // clap breaks lines at blanks, and here are none.
        Lang::Ja => text.lines().map(in_lines).collect::<Vec<_>>().join("\n"),
    }
}

/// A paragraph in lines of a terminal.
fn in_lines(text: &str) -> String {
    const MOST: usize = 100;
    wrap(text, columns_of_help().unwrap_or(MOST).min(MOST)).join("\n")
}

fn option(info: &'static Info, param: &'static Param) -> Arg {
    let mut help = info.section(&format!("param {}", param.name), Lang::En).to_owned();
    if !param.usual.is_empty() {
        help.push_str(&format!(" [usually: {}]", param.usual));
    }
    let arg = Arg::new(param.name).long(param.name).help(help).help_heading("What you can change");
    match param.value_name() {
        None => arg.action(ArgAction::SetTrue),
        Some(name) => {
            let check = |text: &str| param.check(text).map(|()| text.to_owned());
            arg.value_name(name).value_parser(check).allow_negative_numbers(true)
        }
    }
}
