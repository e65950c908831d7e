"""The four paths on this host: what serves each of them, and what it takes to deploy it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.package.exports import Sdk, variables
from tests.paths.measure import Route
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.prepared.choice import AUTO_LEAST, Precision, chosen, ensure_form

MAC = sys.platform == "darwin"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the paths are made of.

    Parameters
    ----------
    worker : Path
        The compiled program of tests/paths/worker.
    sdk : Sdk
        The unpacked SDK.
    model : Path
        Folder of the weights and the tokenizer.
    encoder : EncoderSpec
    graphs : Path
        Where prepared graphs are kept.
    threads : int
        Of every path.
    python : Path
        An environment with the wheel and the project, for path B.
    work : Path
        The folder of the model's files and graphs, as path B wants it.
    """

    worker: Path
    sdk: Sdk
    model: Path
    encoder: EncoderSpec
    graphs: Path
    threads: int
    python: Path
    work: Path

    def graph(self, width: int, precision: Precision = "fp32") -> Path:
        """Return a prepared graph: static for a width, with dynamic axes for 0."""
        static = (1, width) if width else None
        return ensure_form(
            self.model, self.encoder, self.graphs, static=static, precision=precision
        )

    @property
    def best(self) -> Precision:
        """The fastest form for this host's CPU that keeps the policies' agreement."""
        return chosen("auto", "cpu", self.model / "model.safetensors", AUTO_LEAST).precision


def routes(parts: Parts) -> list[Route]:
    """Return the paths A to D; each is timed inside the process that would serve."""
    tokenizer = parts.model / "tokenizer.json"
    weights = parts.model / "model.safetensors"
    library = Path(variables(parts.sdk)["ORT_DYLIB_PATH"])
    env = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ
    }
    native = {**env, "ORT_DYLIB_PATH": str(library)}
    in_rust = {"program": parts.worker, "tokenizer": tokenizer}
    static = [parts.graph(width) for width in parts.encoder.buckets]
    whole = parts.graph(0)
    program, threads = str(parts.worker), str(parts.threads)
    return [
        Route(
            key="A",
            name="ONNX Runtime in the process, prepared graphs",
            provider="CoreML" if MAC else "CPU (CoreML on a Mac)",
            claimed="10",
            argv=[
                program,
                "ort-coreml" if MAC else "ort",
                str(tokenizer),
                threads,
                *map(str, static),
            ],
            env=native,
            deployed={**in_rust, "library": library.resolve()}
            | {
                f"graph {width}": file
                for width, file in zip(parts.encoder.buckets, static, strict=True)
            },
        ),
        Route(
            key="B",
            name="bridge to a Python process",
            provider="CoreML" if MAC else "CPU (CoreML on a Mac)",
            claimed="15",
            argv=[
                *(program, "bridge", str(parts.python / "bin" / "ortmill"), "bridge"),
                *("--wire", "frames", "--threads", threads, "--work", str(parts.work)),
                *("--provider", "coreml" if MAC else "cpu"),
            ],
            env=env,
            deployed={"program": parts.worker, "weights": weights, "tokenizer": tokenizer}
            | {"graph": whole, "Python environment without Python": parts.python / "lib"},
        ),
        Route(
            key="C",
            name="Candle, float32",
            provider="CPU (Rust)",
            claimed="10 to 15",
            argv=[program, "candle", str(tokenizer), str(weights), _config(parts.encoder)],
            env={**env, "RAYON_NUM_THREADS": threads},
            deployed={**in_rust, "weights": weights},
        ),
        *(_alone(parts, form, env=native) for form in dict.fromkeys((parts.best, "fp32"))),
    ]


def _alone(parts: Parts, form: Precision, *, env: Mapping[str, str]) -> Route:
    """Return path D in one form: the CPU provider alone, nothing padded."""
    tokenizer, graph = parts.model / "tokenizer.json", parts.graph(0, form)
    library = Path(variables(parts.sdk)["ORT_DYLIB_PATH"])
    return Route(
        key="D" if form == parts.best else f"D {form}",
        name=f"ONNX Runtime on the CPU alone, dynamic graph, {form}",
        provider="CPU",
        claimed="30 to 35",
        argv=[str(parts.worker), "ort", str(tokenizer), str(parts.threads), str(graph)],
        env=env,
        deployed={
            "program": parts.worker,
            "tokenizer": tokenizer,
            "library": library.resolve(),
            "graph": graph,
        },
        exact=form == "fp32",
    )


def _config(encoder: EncoderSpec) -> str:
    """Return the encoder's shape as Candle reads it: the keys of Hugging Face's config.json."""
    return json.dumps(
        {
            "vocab_size": encoder.vocab,
            "hidden_size": encoder.hidden,
            "num_hidden_layers": encoder.layers,
            "num_attention_heads": encoder.heads,
            "intermediate_size": encoder.intermediate,
            "hidden_act": encoder.activation,
            "hidden_dropout_prob": 0.0,
            "max_position_embeddings": encoder.positions,
            "type_vocab_size": encoder.token_types,
            "initializer_range": 0.02,
            "layer_norm_eps": encoder.layer_norm_eps,
            "pad_token_id": encoder.pad_token_id,
        }
    )
