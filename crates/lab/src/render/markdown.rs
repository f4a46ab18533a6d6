//! A report as a handout in Markdown: the words as prose, what a terminal shows as code.

use super::text::{self, Look};
use crate::quiz::quiz;
use crate::report::{Part, Report, Step};
use crate::texts;
use std::fmt::{self, Write};
use vmatlas_view::{Lang, Style, Text};

/// Columns of what is shown as code.
const COLUMNS: usize = 100;

/// A handout; `picture` is the name of an SVG file beside it.
///
/// # Errors
/// Those of `out`.
pub fn markdown(out: &mut dyn Write, report: &Report, picture: Option<&str>, look: &Look) -> fmt::Result {
    let lang = look.lang;
    let look = &Look { style: Style::default(), columns: COLUMNS, ..*look };
    let info = report.info;
    writeln!(out, "# {}", escaped(info.title().get(lang)))?;
    let section = |out: &mut dyn Write, title: &Text, name: &str| {
        writeln!(out, "\n## {}\n\n{}", title.get(lang), report.words(info.text(name)).get(lang))
    };
    section(out, &texts::QUESTION, "question")?;
    section(out, &texts::EXPECT, "expect")?;
    for (number, made) in report.steps.iter().enumerate() {
        step(out, number, made, look)?;
    }
    if let Some(figure) = &report.figure {
        writeln!(out, "\n## {}\n", texts::PICTURE.get(lang))?;
        match picture {
            Some(file) => {
                writeln!(out, "![{}](<{}>)", texts::PICTURE.get(lang), file.replace(['<', '>', '\n'], ""))?
            }
            None => code(out, &text::figure_lines(figure, look).join("\n"))?,
        }
    }
    writeln!(out, "\n## {}\n", texts::FACTS.get(lang))?;
    facts(out, report, lang)?;
    section(out, &texts::PRACTICE, "practice")?;
    if let Some(program) = &report.program {
        writeln!(out, "\n## {}\n\n```c\n{}\n```", texts::PROGRAM.get(lang), program.source.trim_end())?;
    }
    section(out, &texts::NEXT, "next")?;
    writeln!(out, "\n## {}", texts::QUIZ.get(lang))?;
    for (question, number) in quiz(report).iter().zip(1..) {
        let mut answer = String::new();
        super::answer(&mut answer, question, None, look)?;
        writeln!(
            out,
            "\n{number}. {}\n\n   {}",
            question.text.get(lang),
            answer.trim_end().replace('\n', "\n   ")
        )?;
    }
    let made = texts::MADE_ON.fill(lang, &[("name", &info.name), ("kernel", &report.machine.kernel)]);
    writeln!(out, "\n---\n\n{made}")
}

fn step(out: &mut dyn Write, number: usize, step: &Step, look: &Look) -> fmt::Result {
    let title = step.title.get(look.lang);
    let values: [(&str, &dyn fmt::Display); 2] = [("n", &number), ("title", &title)];
    writeln!(out, "\n## {}", escaped(&texts::STEP.fill(look.lang, &values)))?;
    let mut block = String::new();
    for part in &step.parts {
        let prose = match part {
            Part::Para(say) => say.get(look.lang),
            Part::Warning(say) => format!("**{}**", say.get(look.lang)),
            other => {
                let mut lines = String::new();
                text::part(&mut lines, other, look)?;
                // Lines of what was done stand together.
                if !matches!(other, Part::Did(_)) && !block.is_empty() {
                    block.push('\n');
                }
                block.push_str(&lines);
                continue;
            }
        };
        code(out, &std::mem::take(&mut block))?;
        if !prose.is_empty() {
            writeln!(out, "\n{prose}")?;
        }
    }
    code(out, &block)
}

/// A block of code; nothing for an empty one. Longer fences than any inside.
fn code(out: &mut dyn Write, text: &str) -> fmt::Result {
    let text = text.trim_end().trim_start_matches('\n');
    if text.is_empty() {
        return Ok(());
    }
    let fence = if text.contains("```") { "``````" } else { "```" };
    writeln!(out, "\n{fence}text\n{text}\n{fence}")
}

fn facts(out: &mut dyn Write, report: &Report, lang: Lang) -> fmt::Result {
    let heads = [texts::FACT, texts::PREDICTED, texts::MEASURED].map(|text| text.get(lang));
    writeln!(out, "| | {} | {} | {} |\n|---|---|---|---|", heads[0], heads[1], heads[2])?;
    for fact in &report.facts {
        let sign = match fact.holds() {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "·",
        };
        let cells = [fact.text.get(lang), fact.predicted.text(lang), fact.measured.text(lang)];
        let [what, predicted, measured] = cells.map(|cell| escaped(&cell).replace('|', "\\|"));
        writeln!(out, "| {sign} | {what} | {predicted} | {measured} |")?;
    }
    Ok(())
}

/// Text that is not to be taken for markup.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, '<' | '>' | '*' | '_' | '`' | '#' | '[' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
