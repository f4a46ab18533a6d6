//! Statements with what was predicted, what was measured, and whether the two agree.

use crate::say::Say;
use crate::texts;
use serde_json::{Value as Json, json};
use vmatlas_event::{Addr, Bytes};
use vmatlas_view::{Lang, units};

/// A quantity that a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A size.
    Bytes(u64),
    /// A number of things.
    Count(u64),
    /// A number of pages.
    Pages(u64),
    /// An address.
    Addr(u64),
    /// Yes or no.
    Yes(bool),
    /// A name that is the same in every language: EINVAL, SIGSEGV, rw-p.
    Word(String),
}

/// What was predicted.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Exactly this.
    Is(Value),
    /// This or more.
    AtLeast(Value),
    /// Something from the first to the last.
    Between(Value, Value),
    /// It cannot be known beforehand, with the reason.
    Unknown(Say),
}

/// What was measured.
#[derive(Clone, Debug)]
pub enum Measured {
    /// This.
    Is(Value),
    /// It could not be read, with the reason.
    NotRead(Say),
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its name for programs; stays the same.
    pub id: &'static str,
    /// What it says.
    pub text: Say,
    /// What was predicted.
    pub predicted: Expected,
    /// What was measured.
    pub measured: Measured,
}

impl Fact {
    /// Whether prediction and measurement agree; `None` when there is nothing to compare.
    pub fn holds(&self) -> Option<bool> {
        let Measured::Is(measured) = &self.measured else { return None };
        match &self.predicted {
            Expected::Is(value) => Some(value == measured),
            Expected::AtLeast(low) => Some(low.number()? <= measured.number()?),
            Expected::Between(low, high) => {
                Some((low.number()?..=high.number()?).contains(&measured.number()?))
            }
            Expected::Unknown(_) => None,
        }
    }

    /// As JSON; the text in English, since programs read it.
    pub fn to_json(&self) -> Json {
        let (predicted, predicted_why) = match &self.predicted {
            Expected::Is(value) => (value.to_json(), None),
            Expected::AtLeast(low) => (json!({ "at_least": low.to_json() }), None),
            Expected::Between(low, high) => (json!({ "from": low.to_json(), "to": high.to_json() }), None),
            Expected::Unknown(why) => (Json::Null, Some(("unknown", why))),
        };
        let (measured, measured_why) = match &self.measured {
            Measured::Is(value) => (value.to_json(), None),
            Measured::NotRead(why) => (Json::Null, Some(("not-read", why))),
        };
        let mut fact = json!({
            "id": self.id,
            "text": self.text.get(Lang::En),
            "predicted": predicted,
            "measured": measured,
            "holds": self.holds(),
        });
        for (name, why) in [("predicted", predicted_why), ("measured", measured_why)] {
            if let Some((word, reason)) = why {
                fact[format!("{name}_why")] = word.into();
                fact[format!("{name}_reason")] = reason.get(Lang::En).into();
            }
        }
        fact
    }
}

/// Whether all facts hold that could be compared.
pub(crate) fn all_hold(facts: &[Fact]) -> bool {
    facts.iter().all(|fact| fact.holds() != Some(false))
}

impl Value {
    fn number(&self) -> Option<u64> {
        match self {
            Value::Bytes(n) | Value::Count(n) | Value::Pages(n) | Value::Addr(n) => Some(*n),
            Value::Yes(_) | Value::Word(_) => None,
        }
    }

    /// For a person.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            Value::Bytes(n) => units::size(Bytes(*n)),
            Value::Count(n) => units::count(*n),
            Value::Pages(1) => texts::ONE_PAGE.get(lang).to_owned(),
            Value::Pages(n) => texts::PAGES.fill(lang, &[("n", &units::count(*n))]),
            Value::Addr(n) => Addr(*n).to_string(),
            Value::Yes(yes) => if *yes { texts::YES } else { texts::NO }.get(lang).to_owned(),
            Value::Word(word) => word.clone(),
        }
    }

    fn to_json(&self) -> Json {
        match self {
            Value::Bytes(n) | Value::Count(n) | Value::Pages(n) => json!(n),
            Value::Addr(n) => json!(Addr(*n).to_string()),
            Value::Yes(yes) => json!(yes),
            Value::Word(word) => json!(word),
        }
    }
}

impl Expected {
    /// For a person.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            Expected::Is(value) => value.text(lang),
            Expected::AtLeast(low) => texts::AT_LEAST.fill(lang, &[("low", &low.text(lang))]),
            Expected::Between(low, high) => {
                texts::BETWEEN.fill(lang, &[("low", &low.text(lang)), ("high", &high.text(lang))])
            }
            Expected::Unknown(_) => texts::UNKNOWN.get(lang).to_owned(),
        }
    }

    /// Why it could not be predicted.
    pub fn why(&self) -> Option<&Say> {
        if let Expected::Unknown(why) = self { Some(why) } else { None }
    }
}

impl Measured {
    /// For a person.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            Measured::Is(value) => value.text(lang),
            Measured::NotRead(_) => texts::NOT_READ.get(lang).to_owned(),
        }
    }

    /// Why it could not be measured.
    pub fn why(&self) -> Option<&Say> {
        if let Measured::NotRead(why) = self { Some(why) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(predicted: Expected, measured: Measured) -> Fact {
        Fact { id: "x", text: Say::new(texts::YES), predicted, measured }
    }

    /// Checks when a fact holds, does not, and cannot be told; only the second is a failure.
    #[test]
    fn facts_hold_or_not() {
        let four = || Measured::Is(Value::Bytes(4));
        let cases = [
            (Expected::Is(Value::Bytes(4)), Some(true)),
            (Expected::Is(Value::Bytes(5)), Some(false)),
            (Expected::AtLeast(Value::Bytes(4)), Some(true)),
            (Expected::AtLeast(Value::Bytes(5)), Some(false)),
            (Expected::Between(Value::Bytes(1), Value::Bytes(4)), Some(true)),
            (Expected::Between(Value::Bytes(1), Value::Bytes(3)), Some(false)),
            (Expected::Unknown(Say::new(texts::NO)), None),
        ];
        for (predicted, holds) in cases {
            let fact = fact(predicted, four());
            assert_eq!(fact.holds(), holds, "{fact:?}");
            assert_eq!(all_hold(&[fact]), holds != Some(false));
        }
        let unread = fact(Expected::Is(Value::Bytes(4)), Measured::NotRead(Say::new(texts::NO)));
        assert_eq!(unread.holds(), None);
        let json = unread.to_json();
        assert_eq!((json["measured"].is_null(), json["measured_why"].as_str()), (true, Some("not-read")));
        assert_eq!(json["predicted"], 4);
    }
}
