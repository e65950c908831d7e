//! Path C: the same model in Rust alone, float32, from the weights' own file.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use embedding::{EmbedError, EmbeddingProvider, Words, finish};

pub struct Candle {
    words: Words,
    model: BertModel,
    hidden: usize,
}

fn said(error: candle_core::Error) -> EmbedError {
    EmbedError::Runtime(error.to_string())
}

impl Candle {
    pub fn open(
        tokenizer: &Path,
        weights: &Path,
        config: &str,
        longest: usize,
    ) -> Result<Self, EmbedError> {
        let wrong = |error| EmbedError::Input(format!("the encoder's shape: {error}"));
        let config: Config = serde_json::from_str(config).map_err(wrong)?;
        // SAFETY: nobody writes to the file while it is mapped.
        let variables =
            unsafe { VarBuilder::from_mmaped_safetensors(&[weights], DType::F32, &Device::Cpu) }
                .map_err(said)?;
        Ok(Self {
            words: Words::open(tokenizer, longest)?,
            model: BertModel::load(variables, &config).map_err(said)?,
            hidden: config.hidden_size,
        })
    }

    fn one(&self, text: &str, row: usize) -> Result<Vec<f32>, EmbedError> {
        let ids = self.words.ids(text)?;
        let run = || {
            let input = Tensor::new(&ids[..], &Device::Cpu)?.unsqueeze(0)?;
            let states = self.model.forward(&input, &input.zeros_like()?, None)?;
            states.flatten_all()?.to_vec1::<f32>()
        };
        finish(&run().map_err(said)?, self.hidden, ids.len(), row)
    }
}

impl EmbeddingProvider for Candle {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let rows = texts.iter().enumerate();
        rows.map(|(row, text)| self.one(text, row)).collect()
    }
}
