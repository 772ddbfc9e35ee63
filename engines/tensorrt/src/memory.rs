//! What an engine takes on the device, read from what the library says while it builds it: on a machine without a GPU nothing else tells.

/// Device memory of an engine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Of its weights.
    pub weights_bytes: u64,
    /// Of its execution context, at the largest shape.
    pub workspace_bytes: u64,
}

/// What was said so far. Of an engine for several GPUs each is told: the largest counts.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(
    not(feature = "tensorrt"),
    allow(dead_code, reason = "only the library says anything")
)]
pub(crate) struct Said {
    weights: Option<u64>,
    activations: Option<u64>,
    persistent: u64,
}

#[cfg_attr(
    not(feature = "tensorrt"),
    allow(dead_code, reason = "only the library says anything")
)]
impl Said {
    /// Takes a line of the library's log.
    pub(crate) fn hear(&mut self, line: &str) {
        let bytes = |start: &str| -> Option<u64> { line.strip_prefix(start)?.strip_suffix(" bytes")?.parse().ok() };
        if let Some(bytes) = bytes("Total Weights Memory: ") {
            self.weights = self.weights.max(Some(bytes));
        } else if let Some(bytes) = bytes("Total Activation Memory: ") {
            self.activations = self.activations.max(Some(bytes));
        } else if let Some(bytes) = bytes("Total Device Persistent Memory: ") {
            self.persistent = self.persistent.max(bytes);
        }
    }

    /// What the engine takes, if all of it was said.
    pub(crate) fn memory(self) -> Option<DeviceMemory> {
        Some(DeviceMemory {
            weights_bytes: self.weights?,
            workspace_bytes: self.activations?.checked_add(self.persistent)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a build by version 1.7.1.116.
    const LINES: [&str; 6] = [
        "Compiler backend is used during engine build.",
        "Total Host Persistent Memory: 80 bytes",
        "Total Device Persistent Memory: 512 bytes",
        "Max Scratch Memory: 236160000 bytes",
        "Total Activation Memory: 236160000 bytes",
        "Total Weights Memory: 767328 bytes",
    ];

    fn heard(lines: &[&str]) -> Option<DeviceMemory> {
        let mut said = Said::default();
        lines.iter().for_each(|line| said.hear(line));
        said.memory()
    }

    #[test]
    fn an_engine_takes_what_the_library_says() {
        let memory = DeviceMemory {
            weights_bytes: 767_328,
            workspace_bytes: 236_160_512,
        };
        assert_eq!(heard(&LINES), Some(memory));
    }

    #[test]
    fn of_several_gpus_the_largest_counts() {
        let more = [
            "Total Activation Memory: 236160001 bytes",
            "Total Weights Memory: 5 bytes",
        ];
        let memory = heard(&[&LINES[..], &more].concat()).unwrap();
        assert_eq!((memory.weights_bytes, memory.workspace_bytes), (767_328, 236_160_513));
    }

    #[test]
    fn nothing_is_made_up_where_a_line_is_missing() {
        assert_eq!(heard(&LINES[..5]), None);
        assert_eq!(heard(&LINES[..4]), None);
        assert_eq!(heard(&["Total Weights Memory: many bytes", LINES[4]]), None);
    }
}
