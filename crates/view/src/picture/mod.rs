//! Pictures as SVG, and the same for a terminal.
