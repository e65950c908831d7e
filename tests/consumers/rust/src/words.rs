use std::path::Path;

use tokenizers::{Tokenizer, TruncationParams};

use crate::EmbedError;

/// The tokenizer, cut where the encoder is cut and not where the file says.
pub struct Words(Tokenizer);

impl Words {
    pub fn open(file: &Path, longest: usize) -> Result<Self, EmbedError> {
        let wrong = |error| EmbedError::Input(format!("{}: {error}", file.display()));
        let mut tokenizer = Tokenizer::from_file(file).map_err(wrong)?;
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: longest,
                ..Default::default()
            }))
            .map_err(wrong)?
            .with_padding(None);
        Ok(Self(tokenizer))
    }

    pub fn ids(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        let encoded = self.0.encode_fast(text, true);
        let encoded = encoded.map_err(|error| EmbedError::Input(error.to_string()))?;
        Ok(encoded.get_ids().to_vec())
    }
}
