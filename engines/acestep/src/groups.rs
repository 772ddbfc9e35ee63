//! The four weight groups: what is in each, and how its image is made.

use std::{path::Path, sync::Arc};

use candle_core::DType;
use greenroom_conditioning::{Conditioner, Semantic, TextEncoder, pack_conditioner, pack_text_encoder};
use greenroom_dit::{AdaptedWeights, Dit, LoraSet};
use greenroom_oobleck::Oobleck;
use greenroom_stage::Tenant;
use greenroom_weights::{BuildError, ImageBuilder, ImageKey, PackedImage, WeightSource};

use crate::{
    checkpoint::{Configs, Values},
    error::AcestepError,
    generator::Acestep,
    group::{Both, Group, Lanes},
    worn::Worn,
};

/// The condition encoder, and the tokenizer that hints come from.
pub(crate) struct Conditioning {
    pub(crate) encoder: Conditioner,
    pub(crate) semantic: Semantic,
}

/// All groups of the generator.
pub(crate) struct Groups {
    pub(crate) dit: Arc<Group<Dit>>,
    pub(crate) conditioner: Arc<Group<Both<Conditioning>>>,
    pub(crate) text_encoder: Arc<Group<TextEncoder>>,
    pub(crate) vae: Arc<Group<Both<Oobleck>>>,
}

/// Where images come from: kept in a folder under a stamp, or made for this run alone.
pub(crate) enum Images<'a> {
    Kept { folder: &'a Path, stamp: &'a str },
    InMemory,
}

impl Groups {
    /// Makes or opens the images; every group begins parked.
    pub(crate) fn open(
        configs: &Configs,
        values: &Values,
        images: &Images<'_>,
        dtype: DType,
        lanes: Option<&Lanes>,
    ) -> Result<Self, AcestepError> {
        let image = |group, version, pack: &dyn Fn(&mut ImageBuilder<'_>) -> Result<(), BuildError>| {
            images.image(group, version, dtype, pack)
        };
        let lanes = || lanes.cloned();
        let shapes = Arc::new(configs.clone());
        let dit = image("dit", greenroom_dit::LAYOUT_VERSION, &|builder| {
            greenroom_dit::pack(&configs.dit, &*values.acestep, dtype, builder)
        })?;
        let conditioner = image("conditioner", greenroom_conditioning::LAYOUT_VERSION, &|builder| {
            pack_conditioner(&configs.conditioner, &*values.acestep, dtype, builder)
        })?;
        let text_encoder = image("text_encoder", greenroom_conditioning::LAYOUT_VERSION, &|builder| {
            pack_text_encoder(&configs.text_encoder, &*values.text_encoder, dtype, builder)
        })?;
        let vae = image("vae", greenroom_oobleck::LAYOUT_VERSION, &|builder| {
            greenroom_oobleck::pack(&configs.vae, &*values.vae, dtype, builder)
        })?;
        let config = Arc::clone(&shapes);
        let worn = Arc::new(Worn::default());
        let enabled = Arc::clone(&worn);
        let dit = Group::with_loras("dit", dit, lanes(), Some(worn), move |sources| {
            // On a device they are put into the weights themselves, whenever those are restored.
            let set = if sources.on_device() {
                LoraSet::default()
            } else {
                enabled.enabled()
            };
            let weights = AdaptedWeights::new(sources.live, &set);
            Dit::new(&config.dit, &weights, Acestep::frames_max()).map_err(words)
        });
        let config = Arc::clone(&shapes);
        let conditioner = Group::new("conditioner", conditioner, lanes(), move |sources| {
            let build = |weights: &dyn WeightSource| {
                Ok(Conditioning {
                    encoder: Conditioner::new(&config.conditioner, weights)?,
                    semantic: Semantic::new(&config.conditioner, weights)?,
                })
            };
            Both::build(sources, build).map_err(|error: BuildError| error.to_string())
        });
        let config = Arc::clone(&shapes);
        let text_encoder = Group::new("text_encoder", text_encoder, lanes(), move |sources| {
            TextEncoder::new(&config.text_encoder, sources.live).map_err(words)
        });
        let vae = Group::new("vae", vae, lanes(), move |sources| {
            Both::build(sources, |weights| Oobleck::new(&shapes.vae, weights)).map_err(words)
        });
        Ok(Self {
            dit,
            conditioner,
            text_encoder,
            vae,
        })
    }

    /// As the stage wants them.
    pub(crate) fn tenants(&self) -> Vec<Arc<dyn Tenant>> {
        vec![
            Arc::clone(&self.dit) as _,
            Arc::clone(&self.conditioner) as _,
            Arc::clone(&self.text_encoder) as _,
            Arc::clone(&self.vae) as _,
        ]
    }
}

impl Images<'_> {
    fn image(
        &self,
        group: &'static str,
        layout_version: u32,
        dtype: DType,
        pack: &dyn Fn(&mut ImageBuilder<'_>) -> Result<(), BuildError>,
    ) -> Result<Arc<PackedImage>, AcestepError> {
        let image = match self {
            Self::InMemory => PackedImage::in_memory(pack),
            Self::Kept { folder, stamp } => {
                let key = ImageKey {
                    group: group.into(),
                    checkpoint: (*stamp).into(),
                    layout_version,
                    dtype,
                };
                PackedImage::open_or_build(folder, &key, pack)
            }
        };
        image.map_err(|source| AcestepError::Image { group, source })
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
