//! What a person sees of an experiment while it is made.

use crate::output;
use crate::texts;
use anyhow::Result;
use std::fmt::Write;
use std::io::{self, BufRead, IsTerminal};
use vmatlas_lab::render::{self, Look};
use vmatlas_lab::{Audience, Question, Report, Sample, Say, Step};
use vmatlas_view::Paint;

/// A person at a terminal, or a pipe: sees each step as it is made.
pub(super) struct Stage {
    look: Look,
    waits: bool,
    shown: usize,
    /// Whether a line stands that the next one writes over.
    line_open: bool,
}

impl Stage {
    pub(super) fn new(look: Look, waits: bool) -> Stage {
        Stage { look, waits, shown: 0, line_open: false }
    }

    fn say(&mut self, write: impl FnOnce(&mut dyn Write) -> std::fmt::Result) {
        if std::mem::take(&mut self.line_open) {
            let _ = output::print(|out| out.write_str("\n"));
        }
        // A reader that went away does not stop the experiment; the last line tells whether all was written.
        let _ = output::print(write);
    }

    /// A line of a person; `None` when nobody is there any more.
    fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => {
                self.waits = false;
                None
            }
            Ok(_) => Some(line),
        }
    }

    /// The quiz: a person is asked, checked and told; for a pipe, question and answer.
    pub(super) fn quiz(&mut self, questions: &[Question]) -> Result<()> {
        let look = self.look;
        output::print(|out| render::quiz_heading(out, &look))?;
        for (question, number) in questions.iter().zip(1..) {
            output::print(|out| render::question(out, number, question, &look))?;
            let mut right = None;
            while self.waits && question.answer.is_some() && right.is_none() {
                let hint = format!("({}) > ", question.hint().get(look.lang));
                output::print(|out| out.write_str(&look.style.paint(Paint::Faint, &hint)))?;
                // What cannot be understood is asked again; an empty line is "tell me".
                match self.read_line() {
                    None => break,
                    Some(line) if line.trim().is_empty() => break,
                    Some(line) => right = question.is_right(&line),
                }
            }
            output::print(|out| render::answer(out, question, right, &look))?;
        }
        Ok(())
    }
}

impl Audience for Stage {
    fn begin(&mut self, report: &Report) {
        let look = self.look;
        self.say(|out| render::beginning(out, report, &look));
        self.pause();
    }

    fn step(&mut self, _report: &Report, step: &Step) {
        let (look, number) = (self.look, self.shown);
        self.shown += 1;
        self.say(|out| render::step(out, number, step, &look));
    }

    fn sample(&mut self, sample: &Sample) {
        if self.waits {
            let line = render::sample(sample, &self.look);
            let _ = output::print(|out| write!(out, "\r\x1b[K{line}"));
            self.line_open = true;
        }
    }

    fn warn(&mut self, warning: &Say) {
        let text = self.look.style.paint(Paint::Changed, &format!("! {}", warning.get(self.look.lang)));
        self.say(|out| writeln!(out, "\n{text}"));
    }

    fn pause(&mut self) {
        if !self.waits {
            return;
        }
        let prompt = self.look.style.paint(Paint::Faint, texts::PRESS_ENTER.get(self.look.lang));
        // Where nobody's Enter ends the line, we do.
        let end = if io::stdin().is_terminal() { " " } else { "\n" };
        self.say(|out| write!(out, "\n{prompt}{end}"));
        // The end of input is as good as Enter, and nobody is there to wait for after it.
        self.read_line();
    }

    fn wants_time(&self) -> bool {
        self.waits
    }
}
