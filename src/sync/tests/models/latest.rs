use greenroom_sync::Latest;
use loom::thread;

use crate::explore;

#[test]
fn the_newest_value_is_never_lost_and_none_is_seen_twice() {
    explore(|| {
        let cell = Latest::new();
        let theirs = cell.clone();
        let writer = thread::spawn(move || {
            theirs.put(1);
            theirs.put(2);
        });
        let early = cell.take();
        writer.join().unwrap();
        let late = cell.take();
        assert!(early == Some(2) || late == Some(2));
        assert!(early.is_none() || early != late);
        assert_eq!(cell.take(), None);
    });
}

#[test]
fn what_adds_up_loses_no_part() {
    explore(|| {
        let cell = Latest::new();
        let writers = [1, 2].map(|value| {
            let cell = cell.clone();
            thread::spawn(move || cell.merge(|waiting: Option<u32>| waiting.unwrap_or(0) + value))
        });
        let early = cell.take().unwrap_or(0);
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(early + cell.take().unwrap_or(0), 3);
    });
}

#[test]
fn a_look_leaves_the_value_and_never_sees_an_older_one_again() {
    explore(|| {
        let cell = Latest::new();
        cell.put(1);
        let theirs = cell.clone();
        let writer = thread::spawn(move || theirs.put(2));
        let (first, second) = (cell.peek(), cell.peek());
        assert!(first.is_some() && second >= first);
        writer.join().unwrap();
        assert_eq!((cell.peek(), cell.take(), cell.peek()), (Some(2), Some(2), None));
    });
}
