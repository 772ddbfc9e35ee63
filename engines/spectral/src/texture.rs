//! What a prompt means to a generator without a text model: each tag colours the texture in a way that only its spelling decides.

use greenroom_generator::Prompt;
use sha2::{Digest, Sha256};

/// The colour of the resynthesis; every part is in −1..1 and 0 is neutral.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Texture {
    /// Dark (−1) to bright (1).
    pub(crate) tilt: f32,
    /// Weight of the voice an octave up.
    pub(crate) octave: f32,
    /// Weight of the voice a twelfth up.
    pub(crate) twelfth: f32,
    /// Weight of the noise that stays where the structure is kept.
    pub(crate) breath: f32,
    /// How strongly single partials stand out.
    pub(crate) grain: f32,
}

impl Texture {
    /// The colour of a list of comma-separated tags. Order, case and spaces do not matter, so prompts that share tags share colour;
    /// no tags are neutral.
    pub(crate) fn of_tags(tags: &str) -> Self {
        let mut sum = [0.0_f32; 5];
        let mut count = 0_u16;
        for tag in tags
            .split(',')
            .map(|tag| tag.trim().to_lowercase())
            .filter(|tag| !tag.is_empty())
        {
            let digest = Sha256::digest(tag.as_bytes());
            for (part, bytes) in sum.iter_mut().zip(digest.chunks_exact(2)) {
                *part += f32::from(u16::from_le_bytes([bytes[0], bytes[1]])) / 32_767.5 - 1.0;
            }
            count += 1;
        }
        if count == 0 {
            return Self::default();
        }
        // Independent colours add up like noise, so the root keeps long prompts as strong as short ones.
        let scale = f32::from(count).sqrt().recip();
        let [tilt, octave, twelfth, breath, grain] = sum.map(|part| (part * scale).clamp(-1.0, 1.0));
        Self {
            tilt,
            octave,
            twelfth,
            breath,
            grain,
        }
    }

    /// The colour on the way from `self` (0) to `other` (1).
    pub(crate) fn towards(self, other: Self, way: f32) -> Self {
        let mix = |from: f32, to: f32| from + (to - from) * way;
        Self {
            tilt: mix(self.tilt, other.tilt),
            octave: mix(self.octave, other.octave),
            twelfth: mix(self.twelfth, other.twelfth),
            breath: mix(self.breath, other.breath),
            grain: mix(self.grain, other.grain),
        }
    }

    /// The colour at another strength: 0 is neutral, 1 is unchanged, and no part leaves −1..1.
    pub(crate) fn at_strength(self, strength: f32) -> Self {
        let scale = |part: f32| (part * strength).clamp(-1.0, 1.0);
        Self {
            tilt: scale(self.tilt),
            octave: scale(self.octave),
            twelfth: scale(self.twelfth),
            breath: scale(self.breath),
            grain: scale(self.grain),
        }
    }
}

/// A prompt as this generator keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PromptTexture {
    /// Prompt A's colour.
    pub(crate) a: Texture,
    /// Prompt B's, where one was given.
    pub(crate) b: Option<Texture>,
}

impl PromptTexture {
    /// Reads a prompt; key, time signature and tempo have no effect here.
    pub(crate) fn of(prompt: &Prompt) -> Self {
        Self {
            a: Texture::of_tags(&prompt.tags),
            b: prompt.tags_b.as_deref().map(Texture::of_tags),
        }
    }

    /// The colour at a blend of A (0) and B (1).
    pub(crate) fn at_blend(&self, blend: f32) -> Texture {
        self.b.map_or(self.a, |b| self.a.towards(b, blend.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_set_of_tags_counts() {
        assert_eq!(
            Texture::of_tags("House, acoustic"),
            Texture::of_tags("  acoustic ,house,,")
        );
        assert_ne!(Texture::of_tags("house"), Texture::of_tags("techno"));
        assert_eq!(Texture::of_tags(" , "), Texture::default());
    }

    #[test]
    fn blend_goes_from_a_to_b_and_needs_b() {
        let both = PromptTexture::of(&Prompt {
            tags: "house".into(),
            tags_b: Some("techno".into()),
            ..Prompt::default()
        });
        assert_eq!(both.at_blend(0.0), Texture::of_tags("house"));
        let end = both.at_blend(1.0);
        assert!((end.tilt - Texture::of_tags("techno").tilt).abs() < 1e-6);
        let alone = PromptTexture::of(&Prompt {
            tags: "house".into(),
            ..Prompt::default()
        });
        assert_eq!(alone.at_blend(1.0), Texture::of_tags("house"));
    }
}
