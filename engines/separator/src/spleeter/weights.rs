//! The weights of both networks, from the host image to modules.

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::network::Network;

/// Why modules could not be built from a host image.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Not a safetensors file.
    #[error("the weights are no safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    /// A tensor is of another type or shape than the network needs.
    #[error("tensor {name} is {found}, where the network needs {needed}")]
    Shape {
        /// The tensor.
        name: String,
        /// Type and shape found.
        found: String,
        /// Type and shape needed.
        needed: String,
    },
}

/// The tensors of one instrument: names are looked up behind its prefix.
pub(crate) struct Tensors<'a> {
    pub(crate) file: &'a SafeTensors<'a>,
    pub(crate) instrument: &'a str,
}

impl Tensors<'_> {
    /// The values of a tensor of exactly this shape.
    pub(crate) fn filters(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let view = self.view(name)?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(self.misfit(name, &view, &format!("F32 {shape:?}")));
        }
        Ok(values(&view))
    }

    /// The values of a tensor of one dimension and any length but 0.
    pub(crate) fn vector(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let view = self.view(name)?;
        if view.dtype() != Dtype::F32 || view.shape().len() != 1 || view.shape()[0] == 0 {
            return Err(self.misfit(name, &view, "F32 of one dimension"));
        }
        Ok(values(&view))
    }

    fn view(&self, name: &str) -> Result<TensorView<'_>, WeightsError> {
        Ok(self.file.tensor(&format!("{}.{name}", self.instrument))?)
    }

    fn misfit(&self, name: &str, view: &TensorView<'_>, needed: &str) -> WeightsError {
        WeightsError::Shape {
            name: format!("{}.{name}", self.instrument),
            found: format!("{:?} {:?}", view.dtype(), view.shape()),
            needed: needed.into(),
        }
    }
}

fn values(view: &TensorView<'_>) -> Vec<f32> {
    let (words, _) = view.data().as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// The modules of the weight group: one network for the singing, one for everything else.
///
/// Plain vectors, no tensor library: every layer reads its weights in an order of its own, so there is nothing left for one to do.
#[derive(Debug)]
pub struct SpleeterNets {
    pub(crate) vocals: Network,
    pub(crate) accompaniment: Network,
}

impl SpleeterNets {
    /// Builds both networks from the bytes of a safetensors file.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn build(image: &[u8]) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(image)?;
        let network = |instrument| {
            Network::build(&Tensors {
                file: &file,
                instrument,
            })
        };
        Ok(Self {
            vocals: network("vocals")?,
            accompaniment: network("accompaniment")?,
        })
    }
}
