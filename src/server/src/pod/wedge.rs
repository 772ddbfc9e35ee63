//! For tests on sockets alone: the event loop stands still as long as there is a file that `GREENROOM_WEDGE_FILE` names. What is served to
//! people is built without.

use std::{path::PathBuf, sync::LazyLock, thread::sleep, time::Duration};

static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("GREENROOM_WEDGE_FILE").map(PathBuf::from));

/// Comes back once the file is gone.
pub(super) fn stand_still() {
    while FILE.as_ref().is_some_and(|file| file.exists()) {
        sleep(Duration::from_millis(20));
    }
}
