use std::fmt;

/// Why there is no vector.
#[derive(Debug)]
pub enum EmbedError {
    /// The library is missing, is none, or is too old for this program.
    Library(String),
    /// ONNX Runtime refused the graph or the run.
    Runtime(String),
    /// The tokenizer or an input file.
    Input(String),
    /// The graph gave NaN or an infinity for the text at this place.
    NotFinite(usize),
}

impl fmt::Display for EmbedError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(what) | Self::Runtime(what) | Self::Input(what) => to.write_str(what),
            Self::NotFinite(row) => write!(
                to,
                "text {row}: the model gave NaN or an infinity; normalised it would look like a vector"
            ),
        }
    }
}

impl std::error::Error for EmbedError {}

impl<R> From<ort::Error<R>> for EmbedError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(error.message().to_owned())
    }
}
