//! What conditions ACE-Step 1.5: Qwen3 text encoder with its tokenizer, condition encoder, semantic tokenizer and detokenizer.
#![forbid(unsafe_code)]
