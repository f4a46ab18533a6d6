//! Pictures as SVG, and the same for a terminal.
//!
//! An SVG here is one self-contained document: no script, no external font or image, every text escaped, a light
//! background of its own.

pub mod chart;
pub mod frames;
pub mod space;
pub mod spread;
pub mod strip;
pub mod svg;
pub mod talk;
pub mod texts;
pub mod wrap;
