use std::time::Duration;

use greenroom_sync::{Latest, Mailbox, ReceiveError, SendError, mailbox};
use loom::thread;

use crate::explore;

/// loom has no time: waiting ends by notice alone, so this is forever.
const PATIENCE: Duration = Duration::from_secs(1);

/// All that comes until it is closed.
fn receive_all(mailbox: &Mailbox<u32>) -> Vec<u32> {
    let mut received = Vec::new();
    loop {
        match mailbox.receive(PATIENCE) {
            Ok(message) => received.push(message),
            Err(ReceiveError::Closed) => return received,
            Err(ReceiveError::Nudged | ReceiveError::TimedOut) => unreachable!("nobody nudges, nobody measures time"),
        }
    }
}

#[test]
fn it_loses_nothing_keeps_the_order_and_tells_full_from_closed() {
    explore(|| {
        let ours = mailbox::<u32>(1);
        let theirs = ours.clone();
        let sender = thread::spawn(move || {
            assert_eq!(theirs.send(1), Ok(()));
            let second = theirs.send(2);
            assert!(matches!(second, Ok(()) | Err(SendError::Full(2))));
            theirs.close();
            assert_eq!(theirs.send(3), Err(SendError::Closed(3)));
            second.is_ok()
        });
        let received = receive_all(&ours);
        let both = sender.join().unwrap();
        assert_eq!(received, if both { vec![1, 2] } else { vec![1] });
        assert_eq!(ours.try_receive(), None, "nothing comes after the end");
    });
}

#[test]
fn two_senders_keep_their_own_order() {
    explore(|| {
        let ours = mailbox::<u32>(4);
        let senders = [10, 20].map(|first| {
            let theirs = ours.clone();
            thread::spawn(move || {
                for message in [first, first + 1] {
                    assert_eq!(theirs.send(message), Ok(()));
                }
            })
        });
        let received: Vec<u32> = (0..4).map(|_| ours.receive(PATIENCE).unwrap()).collect();
        for sender in senders {
            sender.join().unwrap();
        }
        for first in [10, 20] {
            let from: Vec<u32> = received
                .iter()
                .copied()
                .filter(|message| message / 10 == first / 10)
                .collect();
            assert_eq!(from, [first, first + 1]);
        }
    });
}

#[test]
fn two_receivers_get_a_message_each_and_both_hear_the_end() {
    explore(|| {
        let ours = mailbox::<u32>(2);
        let receivers = [(); 2].map(|()| {
            let theirs = ours.clone();
            thread::spawn(move || receive_all(&theirs))
        });
        assert_eq!(ours.send(1), Ok(()));
        assert_eq!(ours.send(2), Ok(()));
        ours.close();
        let mut all: Vec<u32> = receivers
            .into_iter()
            .flat_map(|receiver| receiver.join().unwrap())
            .collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

#[test]
fn a_closing_that_finds_the_receiver_waiting_wakes_it() {
    explore(|| {
        let ours = mailbox::<u32>(1);
        let theirs = ours.clone();
        let closer = thread::spawn(move || theirs.close());
        assert_eq!(ours.receive(PATIENCE), Err(ReceiveError::Closed));
        closer.join().unwrap();
    });
}

/// What the live thread relies on: parameters lie beside its mailbox, which may be full.
#[test]
fn whoever_is_nudged_sees_what_was_new_even_where_the_mailbox_was_full() {
    explore(|| {
        let (ours, news) = (mailbox::<u32>(1), Latest::new());
        assert_eq!(ours.send(7), Ok(()));
        let tellers = [1, 2].map(|value| {
            let (theirs, news) = (ours.clone(), news.clone());
            thread::spawn(move || {
                news.merge(|before: Option<u32>| before.unwrap_or(0) + value);
                theirs.nudge();
            })
        });
        let (mut seen, mut orders) = (0, 0);
        while seen < 3 || orders < 1 {
            match ours.receive(PATIENCE) {
                Ok(order) => orders += u32::from(order == 7),
                Err(ReceiveError::Nudged) => {}
                Err(other) => unreachable!("{other:?}"),
            }
            seen += news.take().unwrap_or(0);
        }
        for teller in tellers {
            teller.join().unwrap();
        }
        assert_eq!((seen, orders), (3, 1));
    });
}

#[test]
fn a_receiver_without_patience_does_not_wait() {
    explore(|| {
        let ours = mailbox::<u32>(1);
        let theirs = ours.clone();
        let sender = thread::spawn(move || theirs.send(1).unwrap());
        let early = ours.receive(Duration::ZERO);
        assert!(matches!(early, Ok(1) | Err(ReceiveError::TimedOut)));
        sender.join().unwrap();
        assert_eq!(ours.try_receive().is_some(), early.is_err());
    });
}
