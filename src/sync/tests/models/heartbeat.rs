use greenroom_sync::Heartbeat;
use loom::thread;

use crate::explore;

#[test]
fn it_never_goes_back_whoever_beats() {
    explore(|| {
        let heartbeat = Heartbeat::new();
        let theirs = heartbeat.clone();
        let beater = thread::spawn(move || theirs.beat(5));
        heartbeat.beat(3);
        let (first, second) = (heartbeat.last(), heartbeat.last());
        assert!([3, 5].contains(&first) && second >= first);
        beater.join().unwrap();
        assert_eq!(heartbeat.last(), 5);
    });
}

#[test]
fn a_reader_sees_what_was_done_before_the_beat() {
    use std::sync::atomic::Ordering;

    use loom::sync::{Arc, atomic::AtomicUsize};

    explore(|| {
        let (heartbeat, rounds) = (Heartbeat::new(), Arc::new(AtomicUsize::new(0)));
        let (theirs, theirs_rounds) = (heartbeat.clone(), Arc::clone(&rounds));
        let beater = thread::spawn(move || {
            theirs_rounds.store(1, Ordering::Relaxed);
            theirs.beat(1);
        });
        if heartbeat.last() == 1 {
            assert_eq!(rounds.load(Ordering::Relaxed), 1);
        }
        beater.join().unwrap();
    });
}
