//! Words as the text encoder takes them, and the exact sentences that the model was trained on.

use std::{fs, io, path::Path};

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

/// Ends every text.
const END: &str = "<|endoftext|>";
/// What the model is told to do with a source.
const COVER: &str = "Generate audio semantic tokens based on the given conditions:";

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is not there, or is no tokenizer.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text has none.
    #[error("this text has no tokens: {0}")]
    Text(String),
}

/// The tokenizer of Qwen3.
pub struct TextTokenizer(Tokenizer);

impl TextTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// `File`.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        let file = |reason: String| TokenizerError::File {
            path: path.display().to_string(),
            reason,
        };
        let tokenizer = Tokenizer::from_file(path).map_err(|error| file(error.to_string()))?;
        if tokenizer.token_to_id(END).is_none() {
            return Err(file(format!("it does not know {END}: it is not Qwen3's")));
        }
        Ok(Self(tokenizer))
    }

    /// The tokens of a text, in which special ones are taken as such; none is added.
    ///
    /// # Errors
    /// `Text`.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.0.encode(text, false);
        let encoding = encoding.map_err(|error| TokenizerError::Text(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// What the text encoder reads of a prompt for a source of so many seconds.
#[must_use]
pub fn prompt_text(tags: &str, bpm: u32, time_signature: &str, key: &str, seconds: f64) -> String {
    format!(
        "# Instruction\n{COVER}\n\n# Caption\n{tags}\n\n# Metas\n- bpm: {bpm}\n- timesignature: {time_signature}\n- keyscale: {key}\n- duration: {seconds:?}\n{END}\n"
    )
}

/// What it reads of lyrics.
#[must_use]
pub fn lyric_text(language: &str, lyrics: &str) -> String {
    format!("# Languages\n{language}\n\n# Lyric\n{lyrics}{END}{END}")
}

/// Writes a tokenizer that gives every byte a token of its own, and knows Qwen3's end of a text: enough for random weights.
///
/// # Errors
/// If the file cannot be written, or a vocabulary of that size has no room for it.
pub fn write_tiny_tokenizer(path: &Path, vocabulary: usize) -> io::Result<()> {
    let bytes = byte_characters();
    if vocabulary <= bytes.len() {
        let reason = format!(
            "a vocabulary of {vocabulary} has no room for {} bytes and an end",
            bytes.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let end = bytes.len();
    let tokens: Map<String, Value> = bytes
        .into_iter()
        .enumerate()
        .map(|(id, character)| (character.to_string(), id.into()))
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [{
            "id": end, "content": END, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
        }],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": tokens, "merges": []},
    });
    fs::write(path, tokenizer.to_string())
}

/// The character that stands for each byte in byte-level vocabularies: itself where it is printable, else the next one beyond all bytes.
fn byte_characters() -> Vec<char> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut beyond = (0x100_u32..).filter_map(char::from_u32);
    (0..=u8::MAX)
        .map(|byte| {
            if printable(byte) {
                char::from(byte)
            } else {
                beyond.next().unwrap_or(char::REPLACEMENT_CHARACTER)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_sentences_are_those_of_the_reference() {
        assert_eq!(
            prompt_text("deep house", 124, "4", "G# minor", 60.0),
            "# Instruction\nGenerate audio semantic tokens based on the given conditions:\n\n# Caption\ndeep house\n\n# Metas\n- bpm: 124\n- timesignature: 4\n- keyscale: G# minor\n- duration: 60.0\n<|endoftext|>\n"
        );
        assert_eq!(
            lyric_text("en", "[Instrumental]"),
            "# Languages\nen\n\n# Lyric\n[Instrumental]<|endoftext|><|endoftext|>"
        );
    }

    #[test]
    fn every_byte_has_a_token_and_the_end_is_one() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tokenizer.json");
        write_tiny_tokenizer(&path, 512).unwrap();
        let tokenizer = TextTokenizer::open(&path).unwrap();
        assert_eq!(tokenizer.ids("a b\n").unwrap(), [97, 32, 98, 10]);
        assert_eq!(tokenizer.ids("é<|endoftext|>\0").unwrap(), [0xc3, 0xa9, 256, 0]);
        assert!(write_tiny_tokenizer(&path, 256).is_err());
    }

    #[test]
    fn what_is_no_tokenizer_is_named() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tokenizer.json");
        let refused = |path: &Path| TextTokenizer::open(path).map(|_| ()).unwrap_err().to_string();
        assert!(refused(&path).contains("tokenizer.json"));
        fs::write(&path, "{}").unwrap();
        assert!(refused(&path).contains("tokenizer.json"));
    }
}
