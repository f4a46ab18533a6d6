//! Call stacks: a line for each frame, and JSON.

use crate::escape;
use crate::json;
use crate::lang::Lang;
use crate::run::LineOptions;
use crate::style::Paint;
use crate::table::width;
use crate::texts;
use serde_json::{Map, Value};
use std::fmt::Write;
use vmatlas_event::{FoundBy, Frame, Module, Place, StackEnd, Symbol};

/// A frame with what its numbers stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownFrame {
    /// The frame.
    pub frame: Frame,
    /// How it was found; `None` for the innermost one, and where that is not known.
    pub found: Option<FoundBy>,
    /// Its module; `None` where its memory belongs to none that is known.
    pub module: Option<Module>,
    /// The functions it is in, the innermost of inlined ones first; none where no names are known.
    pub symbols: Vec<Symbol>,
}

/// A stack with what its numbers stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownStack {
    /// Innermost first.
    pub frames: Vec<ShownFrame>,
    /// Where it ends.
    pub end: StackEnd,
}

/// Frames stand below what their call did, further in.
pub const INDENT: usize = 25;

/// What a line begins with.
const AT: &str = "at";
/// The same of a frame that was found by the frame pointer alone: callers can be missing between it and the one above.
const AT_BY_FRAME_POINTER: &str = "at [fp]";

/// Adds a line for each frame, and one for callers that are missing, each moved in by `indent` columns.
pub fn push_lines(out: &mut String, stack: &ShownStack, indent: usize, options: &LineOptions) {
    let style = options.style;
    let mut line = |text: &str, paint: Paint| {
        let text = match options.columns.map(|columns| columns.saturating_sub(indent)) {
            Some(room) if width(text) > room => cut(text, room),
            _ => text.to_owned(),
        };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{:indent$}{}", "", style.paint(paint, &text));
    };
    for shown in &stack.frames {
        let place = place(shown, options.lang);
        let at = if shown.found == Some(FoundBy::FramePointer) { AT_BY_FRAME_POINTER } else { AT };
        match shown.symbols.as_slice() {
            [] => line(&format!("{at} {place}"), Paint::Plain),
            symbols => {
                for symbol in symbols {
                    line(&format!("{at} {}", function(symbol, &place, options.lang)), Paint::Plain);
                }
            }
        }
    }
    if stack.end.is_truncated() {
        line(missing(stack.end).get(options.lang), Paint::Faint);
    }
}

/// The end of a text that does not fit is the least of it.
fn cut(text: &str, room: usize) -> String {
    let mut out = String::new();
    let mut columns = 0;
    for c in text.chars() {
        columns += unicode_width(c);
        if columns >= room {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

fn unicode_width(c: char) -> usize {
    width(c.encode_utf8(&mut [0; 4]))
}

/// The file's name and the address in it.
fn place(shown: &ShownFrame, lang: Lang) -> String {
    match (shown.frame.place, &shown.module) {
        (Place::Module(_, addr), Some(module)) => {
            let name = module.name.as_ref().map(|name| name.as_bytes()).unwrap_or_default();
            let name = name.rsplit(|b| *b == b'/').next().unwrap_or_default();
            format!("{}+{addr}", escape::terminal(name))
        }
        (Place::Module(_, addr) | Place::Unknown(addr), _) => texts::NO_MODULE.fill(lang, &[("addr", &addr)]),
    }
}

fn function(symbol: &Symbol, place: &str, lang: Lang) -> String {
    let name =
        symbol.function.as_ref().map_or_else(|| "?".to_owned(), |name| escape::terminal(name.as_bytes()));
    let mut text = format!("{name} ");
    if let Some(file) = &symbol.file {
        let file = file.as_bytes().rsplit(|b| *b == b'/').next().unwrap_or_default();
        text.push_str(&escape::terminal(file));
        if let Some(line) = symbol.line {
            let _ = write!(text, ":{line}");
        }
        text.push(' ');
    }
    if symbol.is_inlined {
        text.push_str(texts::INLINED.get(lang));
    } else {
        let _ = write!(text, "({place})");
    }
    text
}

fn missing(end: StackEnd) -> &'static crate::Text {
    match end {
        StackEnd::Start => &texts::STACK_START,
        StackEnd::Bound => &texts::STACK_BOUND,
        StackEnd::Depth => &texts::STACK_DEPTH,
        StackEnd::NoRule => &texts::STACK_NO_RULE,
        StackEnd::Unreadable => &texts::STACK_UNREADABLE,
        StackEnd::Code32 => &texts::STACK_CODE_32,
    }
}

/// What JSON says of the end.
pub fn end_id(end: StackEnd) -> &'static str {
    match end {
        StackEnd::Start => "start",
        StackEnd::Bound => "bound",
        StackEnd::Depth => "depth",
        StackEnd::NoRule => "no-rule",
        StackEnd::Unreadable => "unreadable",
        StackEnd::Code32 => "32-bit",
    }
}

/// What JSON says of how a frame was found.
fn found_id(found: Option<FoundBy>, is_innermost: bool) -> Option<&'static str> {
    match found {
        None => is_innermost.then_some("registers"),
        Some(FoundBy::Tables) => Some("tables"),
        Some(FoundBy::Code) => Some("code"),
        Some(FoundBy::FramePointer) => Some("frame-pointer"),
    }
}

/// An event as JSON, its call stack in it where there is one.
pub fn with_stack(mut event: Value, stack: Option<&ShownStack>) -> Value {
    if let (Some(object), Some(stack)) = (event.as_object_mut(), stack) {
        object.insert("stack".to_owned(), stack_json(stack));
    }
    event
}

/// A stack as JSON.
pub fn stack_json(stack: &ShownStack) -> Value {
    let frame = |(n, shown): (usize, &ShownFrame)| {
        let mut object = frame_json(shown);
        let found = found_id(shown.found, n == 0);
        object.insert("found_by".into(), found.into());
        if found.is_none() {
            object.insert("found_by_why".into(), "not-recorded".into());
        }
        Value::Object(object)
    };
    let frames: Vec<Value> = stack.frames.iter().enumerate().map(frame).collect();
    let mut object = Map::new();
    object.insert("end".into(), end_id(stack.end).into());
    object.insert("truncated".into(), stack.end.is_truncated().into());
    object.insert("frames".into(), frames.into());
    Value::Object(object)
}

fn frame_json(shown: &ShownFrame) -> Map<String, Value> {
    let mut object = Map::new();
    let (Place::Module(_, addr) | Place::Unknown(addr)) = shown.frame.place;
    match &shown.module {
        Some(module) => {
            json::put_name(&mut object, "module", module.name.as_ref().map_or(&[], |name| name.as_bytes()));
            let id: String = module.build_id.iter().map(|b| format!("{b:02x}")).collect();
            object.insert("build_id".into(), if id.is_empty() { Value::Null } else { id.into() });
        }
        None => {
            object.insert("module".into(), Value::Null);
            object.insert("module_why".into(), "unknown".into());
        }
    }
    object.insert("address".into(), json::addr(addr));
    object.insert("is_return".into(), shown.frame.is_return.into());
    let symbols: Vec<Value> = shown.symbols.iter().map(symbol_json).collect();
    if !symbols.is_empty() {
        object.insert("symbols".into(), symbols.into());
    }
    object
}

fn symbol_json(symbol: &Symbol) -> Value {
    let mut object = Map::new();
    for (key, name) in [("function", &symbol.function), ("file", &symbol.file)] {
        match name {
            Some(name) => json::put_name(&mut object, key, name.as_bytes()),
            None => {
                object.insert(key.into(), Value::Null);
            }
        }
    }
    object.insert("line".into(), symbol.line.into());
    object.insert("inlined".into(), symbol.is_inlined.into());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;
    use vmatlas_event::{Addr, ModuleId, MonoNs, Name};

    fn options(lang: Lang, columns: Option<usize>) -> LineOptions {
        LineOptions {
            lang,
            style: Style::default(),
            start: MonoNs(0),
            columns,
            errno_name: |_| None,
            signal_name: |n| n.to_string(),
        }
    }

    fn stack() -> ShownStack {
        let module = Module { name: Some(Name::new(b"/usr/lib/lib\x1bc.so")), ..Module::default() };
        let place = Place::Module(ModuleId(0), Addr(0x1234));
        let symbol = |name: &[u8], line, is_inlined| Symbol {
            function: Some(Name::new(name)),
            file: Some(Name::new(b"/src/a.c")),
            line,
            is_inlined,
        };
        let frame = |place, is_return| Frame { place, is_return };
        ShownStack {
            frames: vec![
                ShownFrame {
                    frame: frame(place, false),
                    found: None,
                    module: Some(module.clone()),
                    symbols: Vec::new(),
                },
                ShownFrame {
                    frame: frame(place, true),
                    found: Some(FoundBy::Tables),
                    module: Some(module),
                    symbols: vec![symbol(b"inner", Some(7), true), symbol(b"outer", None, false)],
                },
                ShownFrame {
                    frame: frame(Place::Unknown(Addr(0x7000)), true),
                    found: Some(FoundBy::FramePointer),
                    module: None,
                    symbols: Vec::new(),
                },
            ],
            end: StackEnd::NoRule,
        }
    }

    /// Checks the lines of frames with and without names, with and without a module, and of a stack that is cut; nothing
    /// in them acts on a terminal.
    #[test]
    fn frames_have_lines() {
        let mut text = String::new();
        push_lines(&mut text, &stack(), 2, &options(Lang::En, None));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "  at lib\\x1bc.so+0x1234");
        assert_eq!(lines[1], "  at inner a.c:7 (inlined)");
        assert_eq!(lines[2], "  at outer a.c (lib\\x1bc.so+0x1234)");
        assert!(lines[3].starts_with("  at [fp] 0x7000"), "{}", lines[3]);
        assert_eq!(lines.len(), 5);
        let mut whole = stack();
        whole.end = StackEnd::Start;
        let mut text = String::new();
        push_lines(&mut text, &whole, 2, &options(Lang::Ja, None));
        assert_eq!(text.lines().count(), 4);
    }

    /// Checks that lines keep to the width of a terminal.
    #[test]
    fn lines_fit() {
        for lang in [Lang::En, Lang::Ja] {
            let mut text = String::new();
            push_lines(&mut text, &stack(), 25, &options(lang, Some(50)));
            assert!(text.lines().all(|line| width(line) <= 50), "{text}");
        }
    }

    /// Checks what JSON says of a frame without a module, and that a cut stack says so.
    #[test]
    fn json_says_what_is_missing() {
        let value = stack_json(&stack());
        assert_eq!(value["truncated"], true);
        assert_eq!(value["end"], "no-rule");
        assert_eq!(value["frames"][2]["module"], Value::Null);
        assert_eq!(value["frames"][2]["address"], "0x7000");
        let found = |n: usize| value["frames"][n]["found_by"].as_str();
        assert_eq!([0, 1, 2].map(found), ["registers", "tables", "frame-pointer"].map(Some));
        let mut old = stack();
        old.frames[1].found = None;
        old.end = StackEnd::Code32;
        let old = stack_json(&old);
        assert_eq!((&old["frames"][1]["found_by"], &old["end"]), (&Value::Null, &"32-bit".into()));
        assert_eq!(old["frames"][1]["found_by_why"], "not-recorded");
        assert_eq!(value["frames"][1]["symbols"][0]["inlined"], true);
        assert!(value["frames"][0].get("symbols").is_none());
    }
}
