//! How much of what was sent a client has not acknowledged: judged by the kernel's own count, since a program's pings mislead.

use std::os::fd::AsFd;

/// The count of bytes that the client has not acknowledged, sent or not; none where the system has no such count.
#[cfg(target_os = "linux")]
pub(super) fn unacknowledged(socket: impl AsFd) -> Option<u64> {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// `SIOCOUTQ` has the number of `TIOCOUTQ` (linux/sockios.h).
    const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
    // SAFETY: `SIOCOUTQ` on a socket writes one `int` and nothing else (man tcp(7)), which is what the getter holds.
    #[allow(unsafe_code, reason = "no library offers this call")]
    let count = unsafe { ioctl(socket, Getter::<SIOCOUTQ, libc::c_int>::new()) };
    count.ok().and_then(|bytes| u64::try_from(bytes).ok())
}

/// Elsewhere nobody is held to be stuck: the network's own time-outs must do.
#[cfg(not(target_os = "linux"))]
pub(super) fn unacknowledged(_socket: impl AsFd) -> Option<u64> {
    None
}

/// Whether a client gets on.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    acknowledged: u64,
    is_stuck: bool,
}

/// A change of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Something is unacknowledged and nothing more was acknowledged since the last look.
    Stuck,
    /// It gets on again.
    Moving,
}

impl Backlog {
    /// Looks at the counts of a moment: bytes that the kernel took so far, and those of them that are unacknowledged. A slow client keeps
    /// its backlog full, so it is what was acknowledged that counts.
    pub(super) fn look(&mut self, taken: u64, unacknowledged: u64) -> Option<Change> {
        let acknowledged = taken.saturating_sub(unacknowledged);
        let is_stuck = unacknowledged > 0 && acknowledged <= self.acknowledged;
        self.acknowledged = self.acknowledged.max(acknowledged);
        let change = match (self.is_stuck, is_stuck) {
            (false, true) => Some(Change::Stuck),
            (true, false) => Some(Change::Moving),
            _ => None,
        };
        self.is_stuck = is_stuck;
        change
    }

    /// The last change could not be told: the next look finds it again, if it still is one.
    pub(super) fn look_again(&mut self) {
        self.is_stuck = !self.is_stuck;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_that_is_worked_off_is_moving_and_one_that_is_not_is_stuck() {
        let mut backlog = Backlog::default();
        assert_eq!(
            backlog.look(1_000, 1_000),
            Some(Change::Stuck),
            "nothing acknowledged yet"
        );
        assert_eq!(
            backlog.look(1_500, 1_000),
            Some(Change::Moving),
            "the backlog is as long, and half of it is new"
        );
        assert_eq!(backlog.look(2_500, 1_990), None);
        assert_eq!(backlog.look(2_500, 1_990), Some(Change::Stuck));
        assert_eq!(
            backlog.look(3_000, 2_490),
            None,
            "more was written, nothing acknowledged"
        );
        assert_eq!(backlog.look(3_000, 2_480), Some(Change::Moving));
        assert_eq!(backlog.look(3_000, 0), None);
        assert_eq!(backlog.look(3_000, 0), None, "nothing to acknowledge");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_counts_what_a_client_does_not_read_and_not_what_it_reads() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&server), Some(0));
        server.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(bytes) = server.write(&[0; 65_536]) {
            taken += bytes;
        }
        assert!(unacknowledged(&server).is_some_and(|bytes| bytes > 0), "a full window");
        client.read_exact(&mut vec![0; taken]).unwrap();
        let begun = std::time::Instant::now();
        while unacknowledged(&server) != Some(0) {
            assert!(begun.elapsed().as_secs() < 10, "everything is read and acknowledged");
            std::thread::yield_now();
        }
    }
}
