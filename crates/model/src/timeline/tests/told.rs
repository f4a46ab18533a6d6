//! Recordings of a few events whose story is known.
