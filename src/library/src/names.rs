//! Names that clients give to tracks: labels to show, made harmless, never part of a path of ours.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_security::confusable_detection::skeleton;

/// Longest name in characters, the number that makes it unique not counted.
pub const NAME_CHARS_MAX: usize = 100;

/// Longest name in bytes of UTF-8: leaves room for a number within the 255 of common file systems.
pub const NAME_BYTES_MAX: usize = 200;

/// What a nameless track is called.
const NAME_DEFAULT: &str = "track";

/// Longest extension that survives shortening, its dot included.
const EXTENSION_BYTES_MAX: usize = 8;

/// Makes a label of whatever a client sent: valid as a file name everywhere, one line, no invisible or reordering
/// characters, NFC. Applying it twice changes nothing.
#[must_use]
pub fn sanitize_name(name: &str) -> String {
    let visible = name.nfc().filter(|character| !is_invisible(*character));
    let mut clean = String::new();
    for character in visible.map(replacement) {
        // Runs of spaces would make two names that look alike; a mark must have something to sit on.
        let doubled = character == ' ' && clean.ends_with(' ');
        let floating = is_combining_mark(character) && (clean.is_empty() || clean.ends_with(' '));
        if !doubled && !floating {
            clean.push(character);
        }
    }
    // Characters have gone, so neighbours may now compose.
    let clean: String = clean.nfc().collect();
    let short = shorten(trim(&clean), NAME_CHARS_MAX, NAME_BYTES_MAX);
    let short = trim(&short);
    if short.is_empty() {
        NAME_DEFAULT.to_owned()
    } else if is_reserved(short) {
        sanitize_name(&format!("_{short}"))
    } else {
        short.to_owned()
    }
}

/// Two names with the same key would be taken for one another: case, compatibility forms and look-alike letters of
/// other scripts (Unicode TS 39) are folded.
#[must_use]
pub fn name_key(name: &str) -> String {
    let folded: String = name.nfkc().flat_map(char::to_lowercase).collect();
    skeleton(&folded).flat_map(char::to_lowercase).collect()
}

/// The name itself, or with the first number that makes it unlike every other: `song.mp3`, `song (2).mp3`.
/// `is_taken` is asked with [`name_key`]s.
#[must_use]
pub fn unique_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let name = sanitize_name(name);
    if !is_taken(&name_key(&name)) {
        return name;
    }
    let (stem, extension) = split_extension(&name);
    let mut number = 2_u64;
    loop {
        let suffix = format!(" ({number}){extension}");
        let stem = shorten(
            stem,
            NAME_CHARS_MAX - suffix.chars().count(),
            NAME_BYTES_MAX - suffix.len(),
        );
        let candidate = format!("{}{suffix}", stem.trim_end_matches(is_edge));
        if !is_taken(&name_key(&candidate)) {
            return candidate;
        }
        number += 1;
    }
}

fn replacement(character: char) -> char {
    match character {
        character if character.is_whitespace() => ' ',
        // What separates or matches in some file system or shell, and the forms that look like a slash or dot.
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        '\u{2044}' | '\u{2215}' | '\u{2216}' | '\u{29f8}' | '\u{29f5}' | '\u{ff0f}' | '\u{ff3c}' | '\u{fe68}'
        | '\u{2024}' | '\u{2025}' | '\u{fe52}' | '\u{ff0e}' | '\u{ff1a}' | '\u{fffd}' => '_',
        character => character,
    }
}

/// Characters without a look of their own: controls, reordering, joiners, fillers, tags, private ones.
fn is_invisible(character: char) -> bool {
    (character.is_control() && !character.is_whitespace())
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffc}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}

/// What no name begins or ends with: hidden files, and the ends that Windows drops.
fn is_edge(character: char) -> bool {
    character == ' ' || character == '.'
}

/// Takes the edges off, and marks that have lost what they sat on.
fn trim(name: &str) -> &str {
    let name = name.trim_start_matches(|character| is_edge(character) || is_combining_mark(character));
    name.trim_end_matches(is_edge)
}

/// Device names of Windows, with any extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let stem: String = stem.nfkc().flat_map(char::to_uppercase).collect();
    let numbered = |prefix| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest: &str| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || numbered("COM") || numbered("LPT")
}

/// Cuts at a dot that begins a short plain extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot)
            if dot > 0
                && name.len() - dot <= EXTENSION_BYTES_MAX
                && name[dot + 1..].bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            name.split_at(dot)
        }
        _ => (name, ""),
    }
}

/// Cuts the middle out of a name that is too long, so that its extension stays.
fn shorten(name: &str, chars_max: usize, bytes_max: usize) -> String {
    if name.chars().count() <= chars_max && name.len() <= bytes_max {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    let mut short = String::new();
    for character in stem.chars().take(chars_max - extension.len()) {
        if short.len() + character.len_utf8() + extension.len() > bytes_max {
            break;
        }
        short.push(character);
    }
    format!("{}{extension}", short.trim_end_matches(is_edge))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_become_harmless_labels() {
        for (hostile, label) in [
            ("", "track"),
            ("...", "track"),
            ("  \t\n", "track"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..\\..\\boot.ini", "_.._boot.ini"),
            ("\0", "track"),
            ("so\0ng.mp3", "song.mp3"),
            ("CON", "_CON"),
            ("con.mp3", "_con.mp3"),
            ("nul .wav", "_nul .wav"),
            ("COM1.wav", "_COM1.wav"),
            ("com\u{b9}", "_com\u{b9}"),
            ("console.mp3", "console.mp3"),
            (".hidden.mp3", "hidden.mp3"),
            ("song.mp3. .", "song.mp3"),
            ("a  \u{a0} b.mp3", "a b.mp3"),
            ("gpj.\u{202e}3pm.exe", "gpj.3pm.exe"),
            ("so\u{200b}ng.mp3", "song.mp3"),
            ("C:song?.mp3", "C_song_.mp3"),
            ("e\u{301}t\u{e9}.flac", "\u{e9}t\u{e9}.flac"),
            ("\u{301}x", "x"),
            ("\u{ff0e}\u{ff0e}\u{ff0f}x", "___x"),
            ("日本の歌.ogg", "日本の歌.ogg"),
        ] {
            assert_eq!(sanitize_name(hostile), label, "from {hostile:?}");
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let name = sanitize_name(&format!("{}.mp3", "x".repeat(300)));
        assert_eq!(name.chars().count(), NAME_CHARS_MAX);
        assert!(name.ends_with("x.mp3"));
        let wide = sanitize_name(&format!("{}.flac", "歌".repeat(300)));
        assert!(wide.len() <= NAME_BYTES_MAX && wide.ends_with("歌.flac"));
    }

    #[test]
    fn names_that_look_alike_are_numbered() {
        let taken = [name_key("song.mp3"), name_key("song (2).mp3"), name_key("track")];
        let unique = |name: &str| unique_name(name, |key| taken.iter().any(|other| other == key));
        assert_eq!(unique("song.mp3"), "song (3).mp3");
        assert_eq!(unique("SONG.mp3"), "SONG (3).mp3");
        assert_eq!(unique("s\u{43e}ng.mp3"), "s\u{43e}ng (3).mp3", "a Cyrillic o");
        assert_eq!(unique("\u{ff53}ong.mp3"), "\u{ff53}ong (3).mp3", "a full-width s");
        assert_eq!(unique(""), "track (2)");
        assert_eq!(unique("other.mp3"), "other.mp3");
    }

    proptest! {
        #[test]
        fn every_label_is_safe_and_stays_as_it_is(name in "\\PC{0,40}|[./\\\\ a-c\\x00-\\x1f\u{300}\u{e9}]{0,30}|.{0,400}") {
            let label = sanitize_name(&name);
            prop_assert_eq!(&sanitize_name(&label), &label);
            prop_assert!(!label.is_empty() && label.len() <= NAME_BYTES_MAX);
            prop_assert!(label.chars().count() <= NAME_CHARS_MAX);
            prop_assert!(!label.starts_with(is_edge) && !label.ends_with(is_edge));
            let forbidden = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c) || is_invisible(c);
            prop_assert!(!label.contains(forbidden));
            prop_assert!(!is_reserved(&label));
        }

        #[test]
        fn unique_names_are_safe_too(name in ".{0,300}") {
            let first = unique_name(&name, |_| false);
            let second = unique_name(&name, |key| key == name_key(&first));
            prop_assert_ne!(name_key(&first), name_key(&second));
            prop_assert_eq!(&sanitize_name(&second), &second);
        }
    }
}
