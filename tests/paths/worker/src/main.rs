//! `paths ort TOKENIZER THREADS GRAPH...` (or `ort-coreml`), `paths candle TOKENIZER WEIGHTS CONFIG`,
//! or `paths bridge PROGRAM ARGUMENT...`.
//!
//! A line that it is ready; then a JSON string on standard input is a text, and the answer is
//! `{"ns": time of embed(), "vector": [...]}` on one line.

mod bridge;
mod candle;

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use embedding::{EmbeddingProvider, OrtProvider, Runs};

const LONGEST: usize = 256;

fn open(words: &[String]) -> Result<Box<dyn EmbeddingProvider>, Box<dyn Error>> {
    let [kind, first, rest @ ..] = words else {
        return Err("which path, and with what?".into());
    };
    let tokenizer = PathBuf::from(first);
    match (kind.as_str(), rest) {
        ("ort" | "ort-coreml", [threads, graphs @ ..]) => {
            let graphs: Vec<PathBuf> = graphs.iter().map(PathBuf::from).collect();
            let runs = if kind == "ort" {
                Runs::Cpu
            } else {
                Runs::CoreMl
            };
            let threads = threads.parse()?;
            let opened = OrtProvider::open(&tokenizer, &graphs, LONGEST, runs, threads)?;
            Ok(Box::new(opened))
        }
        ("bridge", words) => Ok(Box::new(bridge::Bridge::open(first, words)?)),
        ("candle", [weights, config]) => Ok(Box::new(candle::Candle::open(
            &tokenizer,
            &PathBuf::from(weights),
            config,
            LONGEST,
        )?)),
        _ => Err("unknown path".into()),
    }
}

fn serve(provider: &dyn EmbeddingProvider) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let started = Instant::now();
        let vectors = provider.embed(&[&text])?;
        let ns = u64::try_from(started.elapsed().as_nanos())?;
        let answer = serde_json::json!({"ns": ns, "vector": vectors[0]});
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match open(&words).and_then(|provider| serve(&*provider)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
