//! Bodies of fuzz targets: ordinary functions that panic where an invariant breaks.

use crate::{Manifest, sanitize_name};

/// Whatever is read as a manifest is safe to use, and comes back the same when it is written and read again.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::from_bytes(bytes) else {
        return;
    };
    assert_eq!(sanitize_name(&manifest.name), manifest.name);
    for sidecar in &manifest.sidecars {
        let name = sidecar.file_name();
        assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.'));
    }
    // Escapes and indentation may make it larger than it came.
    if let Ok(written) = manifest.to_bytes() {
        let again = Manifest::from_bytes(&written).expect("what is written can be read");
        assert_eq!(again, manifest);
    }
}

/// Whatever a client calls a track, its label is safe and stable.
pub fn name(bytes: &[u8]) {
    let label = sanitize_name(&String::from_utf8_lossy(bytes));
    assert!(!label.is_empty() && label.len() <= crate::NAME_BYTES_MAX);
    assert!(!label.contains(['/', '\\', '\0']) && !label.starts_with('.'));
    assert_eq!(sanitize_name(&label), label);
}
