//! What holds for every experiment: its texts, parameters and quiz.

use super::experiments;
use crate::say::sections;
use vmatlas_view::Lang;

/// Checks that both languages have a title and the same sections in the same order, none of them empty, and that every
/// experiment has the sections that all have.
#[test]
fn both_languages_have_the_same_sections() {
    for info in experiments() {
        let name = info.name;
        assert!(info.en.starts_with("# ") && info.ja.starts_with("# "), "{name}: no title");
        let names = sections(info.en);
        assert_eq!(names, sections(info.ja), "{name}");
        for section in &names {
            let text = info.text(section);
            assert!(!text.en.is_empty() && !text.ja.is_empty(), "{name}: section '{section}' is empty");
        }
        for section in ["question", "expect", "practice", "next"] {
            assert!(info.section(section, Lang::Ja).len() > 20, "{name} {section}");
        }
        let twice = names.iter().find(|section| names.iter().filter(|s| s == section).count() > 1);
        assert_eq!(twice, None, "{name}");
    }
}

/// Checks that both languages of a section show the same values.
#[test]
fn both_languages_show_the_same_values() {
    for info in experiments() {
        let texts: Vec<(String, vmatlas_view::Text)> = sections(info.en)
            .into_iter()
            // Commands to try are the same in both languages, and that is right.
            .map(|section| (format!("{} {section}", info.name), info.text(section)))
            .collect();
        let table: Vec<(&str, vmatlas_view::Text)> = texts.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        assert_eq!(vmatlas_view::gaps(&table), Vec::<String>::new());
    }
}

/// Checks that the quiz of every experiment has two questions, each with an explanation, in both languages.
#[test]
fn every_quiz_has_two_questions() {
    for info in experiments() {
        let asked: Vec<&str> = info.quizzed().collect();
        assert_eq!(asked.len(), 2, "{}: {asked:?}", info.name);
        for id in asked {
            let (question, explanation) = info.head_and_rest(&format!("quiz {id}"));
            for text in [question.en, question.ja, explanation.en, explanation.ja] {
                assert!(text.len() > 15, "{} quiz {id}", info.name);
            }
        }
    }
}

/// Checks that every parameter has help in both languages, and a usual value that it takes.
#[test]
fn every_parameter_has_help() {
    for info in experiments() {
        for param in info.params {
            let help = info.text(&format!("param {}", param.name));
            assert!(!help.en.is_empty() && !help.ja.is_empty(), "{} {}", info.name, param.name);
            assert!(
                param.usual.is_empty() || param.check(param.usual).is_ok(),
                "{} {}",
                info.name,
                param.name
            );
        }
    }
}

/// Checks that names are unique, since they are commands.
#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = experiments().map(|info| info.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
