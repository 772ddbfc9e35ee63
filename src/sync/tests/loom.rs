//! Every interleaving of small uses of each primitive: run with `RUSTFLAGS="--cfg loom" cargo test -p greenroom-sync --test loom --release`.
#![cfg(loom)]

use std::time::Duration;

use greenroom_sync::{CancelFlag, Heartbeat, Latest, LeaseGate, ReceiveError, SendError, SliceBuffer, Waited, mailbox};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// loom has no time: waiting ends by notice alone, so this is forever.
const PATIENCE: Duration = Duration::from_secs(1);

fn explore(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(body);
}

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
fn a_closing_is_drained_exactly_once_and_never_while_a_tick_runs() {
    explore(|| {
        let gate = LeaseGate::new();
        let running = Arc::new(AtomicUsize::new(0));
        gate.open();
        let (theirs, theirs_running) = (gate.clone(), Arc::clone(&running));
        let ticking = thread::spawn(move || {
            let mut told = 0;
            for _ in 0..2 {
                let Some(pass) = theirs.enter() else { break };
                theirs_running.fetch_add(1, Ordering::SeqCst);
                theirs_running.fetch_sub(1, Ordering::SeqCst);
                if let Some(closing) = pass.leave() {
                    assert_eq!(closing, 1);
                    told += 1;
                }
            }
            told
        });
        let at_once = gate.close(1);
        if at_once.is_some() {
            assert_eq!(
                running.load(Ordering::SeqCst),
                0,
                "drained, so nothing runs and nothing begins"
            );
            assert!(gate.enter().is_none());
        }
        let told = ticking.join().unwrap();
        assert_eq!(told + usize::from(at_once.is_some()), 1, "told exactly once");
    });
}

#[test]
fn a_waiter_hears_of_the_opening_and_of_a_wake() {
    explore(|| {
        let gate = LeaseGate::new();
        let theirs = gate.clone();
        let opener = thread::spawn(move || theirs.open());
        assert_eq!(gate.wait_open(PATIENCE), Waited::Open);
        opener.join().unwrap();
        let _ = gate.close(1);
        let theirs = gate.clone();
        let waker = thread::spawn(move || theirs.wake());
        assert_eq!(gate.wait_open(PATIENCE), Waited::Woken);
        waker.join().unwrap();
    });
}

#[test]
fn a_mailbox_loses_nothing_and_tells_full_from_closed() {
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
        let mut received = Vec::new();
        loop {
            match ours.receive(PATIENCE) {
                Ok(message) => received.push(message),
                Err(ReceiveError::Closed) => break,
                Err(ReceiveError::TimedOut) => unreachable!("nobody measures time here"),
            }
        }
        let both = sender.join().unwrap();
        assert_eq!(received, if both { vec![1, 2] } else { vec![1] });
    });
}

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
    });
}

#[test]
fn a_region_is_never_torn_and_never_lost() {
    explore(|| {
        let buffer = SliceBuffer::new(vec![0.0; 4], 1);
        let theirs = buffer.clone();
        let writer = thread::spawn(move || {
            theirs.write(0, 2, |region| region.fill(1.0));
            theirs.write(1, 2, |region| region.fill(2.0));
        });
        let mut client = vec![0.0; 4];
        let mut take = |buffer: &SliceBuffer| {
            while let Some(region) = buffer.take(0, 4) {
                assert!(region.samples.len() <= 3);
                client[region.start..region.start + region.samples.len()].copy_from_slice(&region.samples);
            }
        };
        take(&buffer);
        writer.join().unwrap();
        take(&buffer);
        assert_eq!(client, buffer.snapshot(), "the client holds what the server holds");
    });
}

#[test]
fn a_heartbeat_never_goes_back() {
    explore(|| {
        let heartbeat = Heartbeat::new();
        let theirs = heartbeat.clone();
        let beater = thread::spawn(move || theirs.beat(5));
        heartbeat.beat(3);
        let seen = heartbeat.last();
        assert!(seen == 3 || seen == 5);
        beater.join().unwrap();
        assert_eq!(heartbeat.last(), 5);
    });
}
