//! A pod in miniature.
#![forbid(unsafe_code)]
