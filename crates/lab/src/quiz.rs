//! Two questions at the end: the answers are what the experiment itself has measured.

use crate::facts::{Measured, Value};
use crate::report::Report;
use crate::say::Say;
use crate::texts;
use vmatlas_view::{Lang, units};

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    /// The fact that answers it.
    pub id: &'static str,
    /// The question.
    pub text: Say,
    /// The answer; `None` when this run could not measure it.
    pub answer: Option<Value>,
    /// Why it is so.
    pub why: Say,
}

/// The questions about a report: section `quiz FACT` of the texts has the question in its first line, then the reason.
pub fn quiz(report: &Report) -> Vec<Question> {
    let question = |id: &'static str| {
        let fact = report.facts.iter().find(|fact| fact.id == id);
        let (text, why) = report.info.head_and_rest(&format!("quiz {id}"));
        let say = |text| fact.map_or_else(|| Say::new(text), |fact| fact.text.retell(text));
        // What could not be predicted may be measured wrongly too: it is no answer.
        let answer = fact.filter(|fact| fact.holds().is_some()).and_then(|fact| match &fact.measured {
            Measured::Is(value) => Some(value.clone()),
            Measured::NotRead(_) => None,
        });
        Question { id, text: say(text), answer, why: say(why) }
    };
    report.info.quizzed().map(question).collect()
}

impl Question {
    /// How the answer is to be given.
    pub fn hint(&self) -> Say {
        Say::new(match &self.answer {
            Some(Value::Yes(_)) => texts::HINT_YES,
            Some(Value::Bytes(_)) => texts::HINT_SIZE,
            Some(Value::Word(_)) => texts::HINT_WORD,
            _ => texts::HINT_NUMBER,
        })
    }

    /// Whether this is the answer; `None` when it cannot be understood.
    pub fn is_right(&self, given: &str) -> Option<bool> {
        let given = given.trim();
        let is_word = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(given));
        match self.answer.as_ref()? {
            Value::Yes(yes) => {
                let said_yes = is_word(&["y", "yes", "true", texts::YES.get(Lang::Ja)]);
                let said_no = is_word(&["n", "no", "false", texts::NO.get(Lang::Ja)]);
                (said_yes || said_no).then_some(said_yes == *yes)
            }
            // A signal is known by its short name too, as to kill(1).
            Value::Word(word) => (!given.is_empty()).then(|| {
                word.eq_ignore_ascii_case(given)
                    || word.strip_prefix("SIG").is_some_and(|word| word.eq_ignore_ascii_case(given))
            }),
            Value::Bytes(n) => units::parse_size(given).map(|size| size.0 == *n),
            Value::Addr(n) => {
                u64::from_str_radix(given.trim_start_matches("0x"), 16).ok().map(|addr| addr == *n)
            }
            Value::Count(n) | Value::Pages(n) => {
                // "5", "5 pages", "1,024", full-width digits too.
                let digit = |c: char| match c {
                    '\u{ff10}'..='\u{ff19}' => char::from_digit(c as u32 - 0xff10, 10),
                    c => c.is_ascii_digit().then_some(c),
                };
                let plain = given.replace(',', "");
                let digits: String = plain.chars().map_while(digit).collect();
                digits.parse::<u64>().ok().map(|answer| answer == *n)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(answer: Value) -> Question {
        let say = || Say::new(texts::YES);
        Question { id: "x", text: say(), answer: Some(answer), why: say() }
    }

    /// Checks how answers may be written, and that what cannot be understood is not wrong.
    #[test]
    fn answers_are_understood() {
        let pages = question(Value::Pages(1024));
        for right in ["1024", "1,024", " 1024 pages", "１０２４"] {
            assert_eq!(pages.is_right(right), Some(true), "{right}");
        }
        assert_eq!((pages.is_right("5"), pages.is_right("many")), (Some(false), None));
        let yes = question(Value::Yes(true));
        assert_eq!(
            (yes.is_right("Y"), yes.is_right("はい"), yes.is_right("いいえ")),
            (Some(true), Some(true), Some(false))
        );
        assert_eq!(yes.is_right("perhaps"), None);
        assert_eq!(question(Value::Bytes(4096)).is_right("4 KiB"), Some(true));
        let signal = question(Value::Word("SIGSEGV".to_owned()));
        for (given, is_right) in
            [("sigsegv", true), ("SEGV", true), ("Segv", true), ("SIG", false), ("BUS", false)]
        {
            assert_eq!(signal.is_right(given), Some(is_right), "{given}");
        }
        assert_eq!(question(Value::Word("EINVAL".to_owned())).is_right("INVAL"), Some(false));
    }
}
