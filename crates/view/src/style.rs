//! Colour that means something: each [`Paint`] is a meaning, and this is the only place that knows its colour.

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Nothing special.
    Plain,
    /// A heading.
    Heading,
    /// Less important: gaps, zeros.
    Faint,
    /// Came, grew.
    Added,
    /// Went, shrank.
    Removed,
    /// Is different.
    Changed,
    /// Went wrong.
    Failed,
    /// Code: images and what was made at run time.
    Code,
    /// Heaps of every sort.
    Heap,
    /// Stacks.
    Stack,
    /// Files.
    File,
    /// Shared with others.
    Shared,
}

/// Whether to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Colours on or off.
    pub color: bool,
}

impl Style {
    /// What switches the colour of a meaning on; empty without colours.
    pub fn on(self, paint: Paint) -> &'static str {
        if !self.color {
            return "";
        }
        match paint {
            Paint::Plain => "",
            Paint::Heading => "\x1b[1m",
            Paint::Faint => "\x1b[2m",
            Paint::Added | Paint::Shared => "\x1b[32m",
            Paint::Removed => "\x1b[31m",
            Paint::Changed | Paint::Heap => "\x1b[33m",
            Paint::Failed => "\x1b[1;31m",
            Paint::Code => "\x1b[36m",
            Paint::Stack => "\x1b[35m",
            Paint::File => "\x1b[34m",
        }
    }

    /// What switches it off again.
    pub fn off(self, paint: Paint) -> &'static str {
        if self.on(paint).is_empty() { "" } else { "\x1b[0m" }
    }

    /// The text in the colour of its meaning, or as it is.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        format!("{}{text}{}", self.on(paint), self.off(paint))
    }
}
