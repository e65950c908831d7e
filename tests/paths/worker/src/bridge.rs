//! Path B: the model in a Python process, asked over pipes in binary frames (docs/bridge.md).

use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use embedding::{EmbedError, EmbeddingProvider};

const JSON: u8 = 0;
const EMBED: u8 = 1;
const VECTORS: u8 = 2;

struct Pipes {
    // Held so that it lives as long as the pipes; it ends when its input does.
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: u64,
}

pub struct Bridge(Mutex<Pipes>);

fn said(error: impl std::fmt::Display) -> EmbedError {
    EmbedError::Runtime(format!("the bridge: {error}"))
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| (sum << 8) | usize::from(*byte))
}

impl Pipes {
    /// Send the body of a frame and return the body of the next one.
    fn ask(&mut self, body: &[u8]) -> Result<Vec<u8>, EmbedError> {
        let length = u32::try_from(body.len()).map_err(said)?;
        let frame = [&length.to_le_bytes()[..], body].concat();
        self.to.write_all(&frame).map_err(said)?;
        self.to.flush().map_err(said)?;
        let mut length = [0; 4];
        self.from.read_exact(&mut length).map_err(said)?;
        let mut answer = vec![0; number(&length)];
        self.from.read_exact(&mut answer).map_err(said)?;
        Ok(answer)
    }
}

impl Bridge {
    pub fn open(program: &str, words: &[String]) -> Result<Self, EmbedError> {
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(said)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(said("it has no pipes"));
        };
        let from = BufReader::new(from);
        let mut pipes = Pipes {
            _child: child,
            to,
            from,
            next: 1,
        };
        let hello = serde_json::json!({"op": "hello", "versions": [1]}).to_string();
        let answer = pipes.ask(&[&[JSON][..], hello.as_bytes()].concat())?;
        let greeted: serde_json::Value = serde_json::from_slice(&answer[1..]).map_err(said)?;
        if greeted["ok"] != true {
            return Err(said(greeted));
        }
        Ok(Self(Mutex::new(pipes)))
    }
}

impl EmbeddingProvider for Bridge {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = pipes.next;
        pipes.next += 1;
        let mut body = vec![EMBED];
        body.extend(id.to_le_bytes());
        body.extend(u32::try_from(texts.len()).map_err(said)?.to_le_bytes());
        for text in texts {
            body.extend(u32::try_from(text.len()).map_err(said)?.to_le_bytes());
            body.extend(text.as_bytes());
        }
        let answer = pipes.ask(&body)?;
        // Kind, id, count, width, tokens; then the rows.
        const HEAD: usize = 1 + 8 + 3 * 4;
        if answer.len() < HEAD || answer[0] != VECTORS || answer[1..9] != id.to_le_bytes() {
            return Err(said(String::from_utf8_lossy(&answer)));
        }
        let width = number(&answer[13..17]);
        let values: Vec<f32> = answer[HEAD..]
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        if number(&answer[9..13]) != texts.len() || values.len() != texts.len() * width {
            return Err(said("an answer of another size"));
        }
        Ok(values.chunks_exact(width).map(<[f32]>::to_vec).collect())
    }
}
