//! The diffusion transformer of ACE-Step 1.5.
