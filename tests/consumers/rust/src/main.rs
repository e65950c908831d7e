//! `embed [--coreml] TOKENIZER TEXTS OUT GRAPH...`: a JSON list of texts to raw float32 rows.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use embedding::{EmbeddingProvider, OrtProvider, Runs};

/// Where the encoder cuts a text; recipes/models says it.
const LONGEST: usize = 256;
const THREADS: usize = 4;

fn work() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).peekable();
    let runs = match words.next_if_eq("--coreml") {
        Some(_) => Runs::CoreMl,
        None => Runs::Cpu,
    };
    let places: Vec<PathBuf> = words.map(PathBuf::from).collect();
    let [tokenizer, texts, out, graphs @ ..] = &places[..] else {
        return Err("embed [--coreml] TOKENIZER TEXTS OUT GRAPH...".into());
    };
    let opened = OrtProvider::open(tokenizer, graphs, LONGEST, runs, 1)?;
    println!("ONNX Runtime {}", opened.version);
    let provider: Box<dyn EmbeddingProvider> = Box::new(opened);
    let texts: Vec<String> = serde_json::from_slice(&fs::read(texts)?)?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // As a server would: several threads share the one object.
    let parts = std::thread::scope(|scope| {
        let started: Vec<_> = texts
            .chunks(texts.len().div_ceil(THREADS).max(1))
            .map(|part| scope.spawn(|| provider.embed(part)))
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked"))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(part?.concat().iter().flat_map(|value| value.to_le_bytes()));
    }
    fs::write(out, bytes)?;
    Ok(())
}

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
