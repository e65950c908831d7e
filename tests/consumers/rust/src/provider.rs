use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::ep::coreml::{CoreML, ModelFormat};
use ort::session::Session;
use ort::value::{Tensor, ValueType};

use crate::{EmbedError, EmbeddingProvider, Words, finish, library};

/// Who runs the graph. There is no silent fallback from the first to the second.
#[derive(Clone, Copy)]
pub enum Runs {
    CoreMl,
    Cpu,
}

/// One graph; `width` is 0 where the graph takes every length.
struct Graph {
    width: usize,
    session: Mutex<Session>,
}

/// Texts to vectors through ONNX Runtime: static graphs by length, or one with dynamic axes.
pub struct OrtProvider {
    words: Words,
    graphs: Vec<Graph>,
    // The sessions live in it.
    _environment: ort::environment::Environment,
    pub version: String,
}

impl OrtProvider {
    /// Open the library, the tokenizer and every graph.
    pub fn open(
        tokenizer: &Path,
        graphs: &[PathBuf],
        longest: usize,
        runs: Runs,
        threads: usize,
    ) -> Result<Self, EmbedError> {
        let (found, builder) = library()?;
        let environment = builder.build()?;
        let mut opened = Vec::new();
        for file in graphs {
            let mut options = Session::builder(&environment)?.with_intra_threads(threads)?;
            if let Runs::CoreMl = runs {
                let provider = CoreML::default()
                    .with_model_format(ModelFormat::MLProgram)
                    .with_static_input_shapes(true);
                options =
                    options.with_execution_providers([provider.build().error_on_failure()])?;
            }
            let session = options.commit_from_file(file)?;
            let width = match session.inputs()[0].dtype() {
                ValueType::Tensor { shape, .. } => usize::try_from(shape[1]).unwrap_or(0),
                other => return Err(EmbedError::Input(format!("an input is {other}"))),
            };
            let session = Mutex::new(session);
            opened.push(Graph { width, session });
        }
        opened.sort_by_key(|graph| graph.width);
        Ok(Self {
            words: Words::open(tokenizer, longest)?,
            graphs: opened,
            _environment: environment,
            version: found.version,
        })
    }

    fn run(
        &self,
        graph: &Graph,
        texts: &[Vec<u32>],
        first: usize,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let width = if graph.width == 0 {
            longest
        } else {
            graph.width
        };
        let shape = [texts.len(), width];
        let mut ids = vec![0i64; texts.len() * width];
        let mut mask = ids.clone();
        for (row, tokens) in texts.iter().enumerate() {
            for (column, token) in tokens.iter().enumerate() {
                ids[row * width + column] = i64::from(*token);
                mask[row * width + column] = 1;
            }
        }
        let types = vec![0i64; ids.len()];
        // A panic of another thread leaves no half state in a session.
        let mut session = graph.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![
            "input_ids" => Tensor::from_array((shape, ids))?,
            "attention_mask" => Tensor::from_array((shape, mask))?,
            "token_type_ids" => Tensor::from_array((shape, types))?,
        ])?;
        let (shape, states) = outputs["last_hidden_state"].try_extract_tensor::<f32>()?;
        let hidden = usize::try_from(shape[2]).unwrap_or(0);
        states
            .chunks_exact(width * hidden)
            .zip(texts)
            .enumerate()
            .map(|(row, (states, tokens))| finish(states, hidden, tokens.len(), first + row))
            .collect()
    }
}

impl EmbeddingProvider for OrtProvider {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let ids = texts.iter().map(|text| self.words.ids(text));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        if let [graph @ Graph { width: 0, .. }, ..] = &self.graphs[..]
            && !ids.is_empty()
        {
            return self.run(graph, &ids, 0);
        }
        let mut vectors = Vec::with_capacity(ids.len());
        for (row, tokens) in ids.iter().enumerate() {
            let graph = self.graphs.iter().find(|graph| graph.width >= tokens.len());
            let graph = graph.ok_or_else(|| {
                EmbedError::Input(format!(
                    "text {row}: no graph holds {} tokens",
                    tokens.len()
                ))
            })?;
            vectors.extend(self.run(graph, std::slice::from_ref(tokens), row)?);
        }
        Ok(vectors)
    }
}
