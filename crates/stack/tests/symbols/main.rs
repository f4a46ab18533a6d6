//! Names of real programs, compared with what binutils say of them, and of damaged ones.

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

mod build;
mod damage;
mod oracle;
mod separate;
