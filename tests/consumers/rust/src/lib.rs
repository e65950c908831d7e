//! Sentence embeddings from a prepared graph, behind a trait object.

mod error;
mod library;
mod provider;
mod vector;
mod words;

pub use error::EmbedError;
pub use library::{Library, library};
pub use provider::{OrtProvider, Runs};
pub use vector::finish;
pub use words::Words;

/// What a server holds: `Box<dyn EmbeddingProvider>`, shared by its threads.
pub trait EmbeddingProvider: Send + Sync {
    /// One vector of length 1 for each text, in the order given.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;
}
