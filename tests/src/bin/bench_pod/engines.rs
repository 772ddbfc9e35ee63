//! Slices beside compiled engines, which come, change and fail: those of the tiny checkpoint, which are its own modules.

use std::{path::Path, time::Duration};

use greenroom_acestep::Outcome;
use greenroom_compiled::Component::{self, Decoder, VaeDecode, VaeEncode};
use greenroom_tests::{Program, module_engine, song, tiny_checkpoint, upload};
use tempfile::TempDir;

use crate::{
    figures::Figures,
    play::Listener,
    steps::{listen, raw, session},
};

/// What a session of a minute meets while somebody listens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// Tracks of two minutes, uploaded one after the other.
    Uploads,
    /// Swaps from one minute to two and back.
    Swaps,
    /// Swaps, where the longer one has no engine: the shorter one's stays on the device.
    AnotherLength,
    /// Swaps, where the longer one's engine gives no context, again and again.
    NullContext,
    /// The same, where memory runs out.
    OutOfMemory,
    /// The same, where its file has gone since the pod looked.
    Missing,
}

/// A scenario, and the keys of its figures: slices, those that were late, and loads that failed.
const SCENARIOS: [(Meets, &str, [&str; 3]); 6] = [
    (
        Meets::Uploads,
        "uploads",
        [
            "engines_upload_slices",
            "engines_upload_slices_late",
            "engines_upload_loads_failed",
        ],
    ),
    (
        Meets::Swaps,
        "swaps",
        [
            "engines_swap_slices",
            "engines_swap_slices_late",
            "engines_swap_loads_failed",
        ],
    ),
    (
        Meets::AnotherLength,
        "swaps to what no engine takes",
        [
            "engines_another_length_slices",
            "engines_another_length_slices_late",
            "engines_another_length_loads_failed",
        ],
    ),
    (
        Meets::NullContext,
        "swaps to an engine without a context",
        [
            "engines_null_context_slices",
            "engines_null_context_slices_late",
            "engines_null_context_loads_failed",
        ],
    ),
    (
        Meets::OutOfMemory,
        "swaps to an engine that finds no memory",
        [
            "engines_out_of_memory_slices",
            "engines_out_of_memory_slices_late",
            "engines_out_of_memory_loads_failed",
        ],
    ),
    (
        Meets::Missing,
        "swaps to an engine whose file has gone",
        [
            "engines_missing_slices",
            "engines_missing_slices_late",
            "engines_missing_loads_failed",
        ],
    ),
];

/// Every scenario on a pod of its own, a session of a minute that is listened to for `seconds`.
pub(crate) async fn engines(figures: &mut Figures, seconds: u64) -> anyhow::Result<()> {
    for (meets, name, keys) in SCENARIOS {
        figures.say(&format!("listening with engines: {name}"));
        let (checkpoint, folder) = (tiny_checkpoint()?, TempDir::new()?);
        meets.build(folder.path(), checkpoint.path())?;
        let (models, built) = (checkpoint.path().to_string_lossy(), folder.path().to_string_lossy());
        let program = Program::start(&[
            "--generator",
            "acestep",
            "--acestep-models-dir",
            &models,
            "--engines-dir",
            &built,
            "--tracks-max",
            "200",
        ])?;
        if meets == Meets::Missing {
            std::fs::remove_file(folder.path().join("decoder-120.engine"))?;
        }
        let mut listener = Listener::new(session(&program, 60.0).await?)?;
        listener.play(Duration::from_secs(5), raw("denoise", 0.6)).await?;
        meets.listen(&program, &mut listener, seconds).await?;
        let failed = ["jobs_ended_total", r#"task="load_engine""#, r#"outcome="failed""#];
        let account = listener.account;
        // Where nothing failed there is no such line, and the sum of none is -0.
        let failed = program.metric(&failed)? + 0.0;
        let values = [account.slices as f64, account.late as f64, failed];
        for (key, value) in keys.into_iter().zip(values) {
            figures.take(key, value);
        }
    }
    Ok(())
}

impl Meets {
    fn build(self, engines: &Path, checkpoint: &Path) -> anyhow::Result<()> {
        let build = |component: Component, seconds, loads: &[Outcome]| {
            module_engine(engines, checkpoint, component, seconds, loads)
        };
        // More often than a bench asks.
        let fails = |outcome| vec![outcome; 1000];
        for component in [Decoder, VaeEncode, VaeDecode] {
            build(component, 60, &[])?;
        }
        let longer = match self {
            Self::AnotherLength => return Ok(()),
            Self::NullContext => fails(Outcome::NullContext),
            Self::OutOfMemory => fails(Outcome::OutOfMemory),
            Self::Uploads | Self::Swaps | Self::Missing => Vec::new(),
        };
        build(Decoder, 120, &longer)?;
        build(VaeEncode, 120, &longer)?;
        Ok(())
    }

    async fn listen(self, program: &Program, listener: &mut Listener, seconds: u64) -> anyhow::Result<()> {
        let address = program.address().to_owned();
        if self == Self::Uploads {
            let uploads = tokio::spawn(async move {
                let audio = song(120.0);
                for number in 0.. {
                    if upload(&address, &format!("long{number}.wav"), &audio).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(10)).await;
                }
            });
            listen(listener, seconds).await?;
            uploads.abort();
            return Ok(());
        }
        for (name, length) in [("short.wav", 60.0), ("long.wav", 120.0)] {
            upload(&address, name, &song(length))
                .await?
                .map_err(|refused| anyhow::anyhow!(refused.error))?;
        }
        // The uploads' backlog is nothing of the scenario.
        listener.play(Duration::from_secs(2), raw("denoise", 0.6)).await?;
        listener.forget();
        for turn in 0..seconds / 10 {
            listener
                .swap(if turn % 2 == 0 { "long.wav" } else { "short.wav" })
                .await?;
            listener.play(Duration::from_secs(10), raw("denoise", 0.6)).await?;
        }
        Ok(())
    }
}
