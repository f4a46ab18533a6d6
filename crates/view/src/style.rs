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
    /// The text in the colour of its meaning, or as it is.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => "",
            Paint::Heading => "1",
            Paint::Faint => "2",
            Paint::Added => "32",
            Paint::Removed => "31",
            Paint::Changed => "33",
            Paint::Failed => "1;31",
            Paint::Code => "36",
            Paint::Heap => "33",
            Paint::Stack => "35",
            Paint::File => "34",
            Paint::Shared => "32",
        };
        if self.color && !code.is_empty() && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
