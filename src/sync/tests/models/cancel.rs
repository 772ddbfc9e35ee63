use std::sync::atomic::Ordering;

use greenroom_sync::CancelFlag;
use loom::{
    sync::{Arc, atomic::AtomicUsize},
    thread,
};

use crate::explore;

#[test]
fn what_was_written_before_a_flag_was_raised_is_seen_after() {
    explore(|| {
        let (flag, data) = (CancelFlag::new(), Arc::new(AtomicUsize::new(0)));
        let (theirs, theirs_data) = (flag.clone(), Arc::clone(&data));
        let raiser = thread::spawn(move || {
            theirs_data.store(7, Ordering::Relaxed);
            theirs.raise();
        });
        if flag.is_raised() {
            assert_eq!(data.load(Ordering::Relaxed), 7);
        }
        raiser.join().unwrap();
        assert!(flag.is_raised());
    });
}

#[test]
fn once_raised_it_stays_raised_whoever_raises() {
    explore(|| {
        let flag = CancelFlag::new();
        let raisers = [flag.clone(), flag.clone()].map(|flag| thread::spawn(move || flag.raise()));
        let (first, second) = (flag.is_raised(), flag.is_raised());
        assert!(second || !first, "it never comes down");
        for raiser in raisers {
            raiser.join().unwrap();
        }
        assert!(flag.is_raised());
    });
}
