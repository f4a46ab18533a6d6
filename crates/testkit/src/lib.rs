//! Helpers for the tests of vmatlas; never part of the product.

#![forbid(unsafe_code)]
