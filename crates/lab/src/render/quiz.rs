//! The quiz, for a person who answers and for a reader.

use super::text::Look;
use crate::quiz::Question;
use crate::texts;
use std::fmt::{self, Write};
use vmatlas_view::Paint;

/// The heading of the quiz.
///
/// # Errors
/// Those of `out`.
pub fn quiz_heading(out: &mut dyn Write, look: &Look) -> fmt::Result {
    writeln!(out, "\n{}", look.heading(texts::QUIZ.get(look.lang)))
}

/// A question, with how to answer it.
///
/// # Errors
/// Those of `out`.
pub fn question(out: &mut dyn Write, number: usize, question: &Question, look: &Look) -> fmt::Result {
    let text = question.text.get(look.lang);
    let values: [(&str, &dyn fmt::Display); 2] = [("n", &number), ("text", &text)];
    writeln!(out)?;
    look.prose(out, &texts::QUIZ_QUESTION.fill(look.lang, &values))
}

/// The answer and its reason; `given` is whether a person was right.
///
/// # Errors
/// Those of `out`.
pub fn answer(out: &mut dyn Write, question: &Question, given: Option<bool>, look: &Look) -> fmt::Result {
    let lang = look.lang;
    match given {
        Some(true) => writeln!(out, "{}", look.style.paint(Paint::Added, texts::QUIZ_RIGHT.get(lang)))?,
        Some(false) => writeln!(out, "{}", look.style.paint(Paint::Changed, texts::QUIZ_WRONG.get(lang)))?,
        None => {}
    }
    match &question.answer {
        Some(value) => {
            look.prose(out, &texts::QUIZ_ANSWER.fill(lang, &[("answer", &value.text(lang))]))?;
            look.prose(out, &question.why.get(lang))
        }
        None => look.prose(out, texts::QUIZ_OPEN.get(lang)),
    }
}
