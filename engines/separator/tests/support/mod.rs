//! What tests and measurements need from outside: trained weights and music with known stems. Fetched once, kept in the target folder.
#![allow(dead_code, reason = "every test uses a part")]

use std::{
    fs,
    io::{Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use greenroom_audio::{Pcm, SAMPLE_RATE, resample};
use greenroom_separator::{
    BatchOutcome, Rip, Separator, Spleeter, SpleeterOptions, Stems,
    checkpoint::{CheckpointState, SPLEETER, download_package},
};
use greenroom_stage::{Home, Tenant};
use greenroom_sync::CancelFlag;
use symphonia::core::{
    codecs::{CodecParameters, audio::AudioDecoderOptions},
    formats::{FormatOptions, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
};

const STEMS_PACKAGE: &str = "stempeg==0.2.6";
const STEMS_PACKAGE_SHA256: &str = "aa5d5dcdfba10abf0c76b502c00808a6dedd86a14e64b298615249294e522bee";

/// Where fetched things are kept.
pub(crate) fn test_data() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-data");
    fs::create_dir_all(&dir).expect("the target folder can be written");
    dir
}

/// The models directory of the tests, with the separator's weights in it.
pub(crate) fn models() -> PathBuf {
    static FETCHED: std::sync::Once = std::sync::Once::new();
    let dir = test_data().join("models");
    FETCHED.call_once(|| {
        if SPLEETER.state(&dir) != CheckpointState::Present {
            SPLEETER
                .fetch(&dir, |_| {})
                .unwrap_or_else(|error| panic!("this test needs the separator's weights: {error}"));
        }
    });
    dir
}

/// A pool of so many threads.
pub(crate) fn pool(threads: usize) -> Arc<rayon::ThreadPool> {
    Arc::new(
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads can be started"),
    )
}

/// The separator with its weights resident.
pub(crate) fn resident_separator(threads: usize) -> Arc<Spleeter> {
    let options = SpleeterOptions {
        ram_cache: true,
        pool: pool(threads),
    };
    let separator = Spleeter::open(&models(), options).unwrap_or_else(|error| panic!("{error}"));
    separator.attach(&Home::Ram).expect("the networks can be built");
    separator
}

/// Runs a rip to its end.
pub(crate) fn separate(separator: &Spleeter, track: &Arc<Pcm>) -> Stems {
    let mut rip = separator.begin(Arc::clone(track)).expect("the track is suitable");
    let flag = CancelFlag::new();
    run_out(rip.as_mut(), &flag);
    rip.finish().expect("all batches are done")
}

/// Runs all batches that are left.
pub(crate) fn run_out(rip: &mut dyn Rip, flag: &CancelFlag) {
    while rip.progress().0 < rip.progress().1 {
        assert_eq!(rip.run_batch(flag).expect("a batch runs"), BatchOutcome::Done);
    }
}

/// A song and what it is made of, at 48 kHz: the mixture is the sum of the stems.
pub(crate) struct Song {
    pub(crate) mixture: Arc<Pcm>,
    pub(crate) vocals: Pcm,
    pub(crate) instruments: Pcm,
}

/// 6 s of "Falcon 69" by The Easton Ellises (CC BY-NC-SA): to measure by, never to keep or to ship.
pub(crate) fn song_with_stems() -> Song {
    let streams = decode_streams(fs::read(song_path()).expect("the song can be read"));
    let [_, drums, bass, other, vocals] = streams.as_slice() else {
        panic!(
            "the song has {} streams and not 5: mixture, drums, bass, other, vocals",
            streams.len()
        )
    };
    let at_rate =
        |samples: Vec<f32>| resample(&Pcm::new(44_100, 2, samples), SAMPLE_RATE).expect("44.1 kHz is a known rate");
    let instruments = drums.iter().zip(bass).zip(other).map(|((a, b), c)| a + b + c).collect();
    let (instruments, vocals) = (at_rate(instruments), at_rate(vocals.clone()));
    let mixture = instruments
        .samples()
        .iter()
        .zip(vocals.samples())
        .map(|(a, b)| a + b)
        .collect();
    Song {
        mixture: Arc::new(Pcm::new(SAMPLE_RATE, 2, mixture)),
        vocals,
        instruments,
    }
}

/// The song's file. Tests of one program fetch it once, and other programs never see half of it.
fn song_path() -> PathBuf {
    static FETCHED: std::sync::Once = std::sync::Once::new();
    let path = test_data().join("falcon69.stem.mp4");
    FETCHED.call_once(|| {
        if !path.is_file() {
            let package = download_package(STEMS_PACKAGE, STEMS_PACKAGE_SHA256, &test_data())
                .unwrap_or_else(|error| panic!("this test needs a song with known stems: {error}"));
            let file = tempfile::NamedTempFile::new_in(test_data()).expect("the target folder can be written");
            fs::write(file.path(), stem_file(package)).expect("the target folder can be written");
            file.persist(&path).expect("the target folder can be written");
        }
    });
    path
}

fn stem_file(package: Vec<u8>) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(package)).expect("the package is an archive");
    let name = archive
        .file_names()
        .flatten()
        .find(|name| name.ends_with(".stem.mp4"))
        .expect("the package holds a song")
        .into_owned();
    let mut content = Vec::new();
    archive
        .by_name(&name)
        .expect("listed files are there")
        .read_to_end(&mut content)
        .expect("the song unpacks");
    content
}

/// Interleaved samples of every audio stream of an mp4 file.
fn decode_streams(file: Vec<u8>) -> Vec<Vec<f32>> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .expect("the song is an mp4 file");
    let mut streams: Vec<_> = format
        .tracks()
        .iter()
        .filter_map(|track| {
            let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
                return None;
            };
            let decoder =
                symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default());
            Some((track.id, decoder.expect("AAC is known"), Vec::new()))
        })
        .collect();
    let mut samples = Vec::new();
    while let Ok(Some(packet)) = format.next_packet() {
        if let Some((_, decoder, stream)) = streams.iter_mut().find(|(id, ..)| *id == packet.track_id) {
            decoder
                .decode(&packet)
                .expect("the song decodes")
                .copy_to_vec_interleaved(&mut samples);
            stream.extend_from_slice(&samples);
        }
    }
    streams.into_iter().map(|(_, _, stream)| stream).collect()
}

/// Energy SDR of a stem over both channels, in decibels.
pub(crate) fn sdr(reference: &Pcm, estimate: &Pcm) -> f64 {
    greenroom_audio::sdr_db(reference.samples(), estimate.samples())
}
