use greenroom_sync::SliceBuffer;
use loom::thread;

use crate::explore;

/// Takes what is new into the client's copy, at most `frames` at once, and looks at it after each piece.
fn take(buffer: &SliceBuffer, client: &mut [f32], frames: usize, look: impl Fn(&[f32])) {
    while let Some(region) = buffer.take(0, frames) {
        assert!(!region.samples.is_empty() && region.samples.len() <= frames);
        client[region.start..region.start + region.samples.len()].copy_from_slice(&region.samples);
        look(client);
    }
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
        let whole = |client: &[f32]| {
            let written = [[1.0, 1.0, 0.0, 0.0], [1.0, 2.0, 2.0, 0.0]];
            assert!(
                written.iter().any(|written| written[..] == *client),
                "{client:?} was never written"
            );
        };
        take(&buffer, &mut client, 4, whole);
        writer.join().unwrap();
        take(&buffer, &mut client, 4, whole);
        assert_eq!(client, buffer.snapshot(), "the client holds what the server holds");
        assert!(!buffer.is_fresh());
    });
}

#[test]
fn taking_in_pieces_loses_nothing_between_two_writers() {
    explore(|| {
        let buffer = SliceBuffer::new(vec![0.0; 3], 1);
        let writers = [(0, 1.0), (1, 2.0)].map(|(start, value)| {
            let theirs = buffer.clone();
            thread::spawn(move || theirs.write(start, 2, |region| region.fill(value)))
        });
        let mut client = vec![0.0; 3];
        if let Some(region) = buffer.take(0, 1) {
            client[region.start..=region.start].copy_from_slice(&region.samples);
        }
        for writer in writers {
            writer.join().unwrap();
        }
        assert!(buffer.is_fresh());
        take(&buffer, &mut client, 1, |_| {});
        assert_eq!(client, buffer.snapshot());
    });
}
