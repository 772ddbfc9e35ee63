//! ACE-Step 1.5 as the live generator.
#![forbid(unsafe_code)]
