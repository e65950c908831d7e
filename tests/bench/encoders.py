"""Carry encoders through the verification with seeded random weights at their real size.

``python -m tests.bench.encoders [--model R …] [--json]``

Of most encoders the weights cannot be fetched everywhere. What the verification does with them
does not depend on what the weights mean: graph, tokenizer, pooling, prefixes, conversion. So each
is built with random weights from a seed, its references come from ``tests/kit/float64_encoder.py``,
and ``verify run`` judges the wheel by them. It proves nothing about the real weights, which is why
it is a tool of the tests: its recipes are called ``R-random`` and are written beside the results.

The spread of the weights is wider than that of an untrained model, so that a text's vector depends
on its words and their order: at 0.02 all texts have nearly the same vector, and a wrong attention
would go unseen.

The tokenizer is the recipe's own where it is at hand (``--tokenizers``), else one with the same
special tokens over the words of all-MiniLM-L6-v2, which BERT's and MPNet's encoders share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.kit.float64_encoder import Float64Encoder
from tests.references import compute, save
from verify.checks.policies import find_policy
from verify.encoder import reference
from verify.encoder.graph_family import random_weights
from verify.encoder.model_recipe import (
    EncoderSpec,
    ModelRecipe,
    PinnedFile,
    file_sha256,
    load_model_recipe,
    recipe_path,
)
from verify.encoder.weights import write_safetensors
from verify.report.document import Document
from verify.run import carry_out
from verify.run.selection import Selection

HERE = Path(__file__).resolve().parents[2]
MODELS = ("bge-small-en-v1.5", "multilingual-e5-small", "gte-small", "all-mpnet-base-v2")
WORDS = "all-minilm-l6-v2"
SEED, SPREAD = 7, 0.06
LEFT_OUT = ("latency.p95", "latency.cold", "latency.speedup", "memory.growth")


def mpnet_tokenizer(bert: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer with MPNet's special tokens and numbers over BERT's words.

    ``<s>``, ``<pad>``, ``</s>`` and ``<unk>`` come first, then BERT's whole vocabulary, and
    ``<mask>`` last: 30,527 in all. What is unknown stays BERT's ``[UNK]``.
    """
    made: dict[str, Any] = json.loads(json.dumps(bert))
    words = sorted(made["model"]["vocab"], key=made["model"]["vocab"].get)
    listed = ["<s>", "<pad>", "</s>", "<unk>", *words, "<mask>"]
    made["model"]["vocab"] = {word: number for number, word in enumerate(listed)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    made["added_tokens"] = [
        {"id": listed.index(word), "content": word, **flags, "special": True}
        for word in ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    ]
    ends = [{"SpecialToken": {"id": word, "type_id": 0}} for word in ("<s>", "</s>")]
    text = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    made["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [ends[0], text[0], ends[1]],
        "pair": [ends[0], text[0], ends[1], ends[1], text[1], ends[1]],
        "special_tokens": {
            word: {"id": word, "ids": [listed.index(word)], "tokens": [word]}
            for word in ("<s>", "</s>")
        },
    }
    made["padding"] = None
    return made


def tokenizer_for(recipe: ModelRecipe, folder: Path) -> str:
    """Return the text of a ``tokenizer.json`` for an encoder."""
    own = folder / recipe.name / "tokenizer.json"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    words = (folder / WORDS / "tokenizer.json").read_text(encoding="utf-8")
    if recipe.encoder.architecture == "mpnet":
        return json.dumps(mpnet_tokenizer(json.loads(words)), ensure_ascii=False)
    if recipe.encoder.vocab == 30522:
        return words
    raise SystemExit(f"{recipe.name} needs its own tokenizer: `build fetch-model {recipe.name}`")


def make(recipe: ModelRecipe, place: Path, tokenizers: Path) -> tuple[ModelRecipe, EncoderSpec]:
    """Write random weights, tokenizer and references of an encoder; return its recipe."""
    import tokenizers as library

    place.mkdir(parents=True, exist_ok=True)
    encoder = replace(recipe.encoder, name=f"{recipe.name}-random", tensor_prefix="")
    tensors = random_weights(encoder, seed=SEED, spread=SPREAD)
    write_safetensors(place / "model.safetensors", tensors)
    text = tokenizer_for(recipe, tokenizers)
    (place / "tokenizer.json").write_text(text, encoding="utf-8")
    files = [
        PinnedFile(name=path.name, size=path.stat().st_size, sha256=file_sha256(path))
        for path in (place / "model.safetensors", place / "tokenizer.json")
    ]
    embed = Float64Encoder(tensors, encoder).embed
    rows, digests = compute(embed, place / "tokenizer.json", encoder, reference.default_folder())
    save(
        place,
        encoder.name,
        embeddings={encoder.max_length: rows},
        tokens={encoder.max_length: digests},
        weights_sha256=files[0].sha256,
        made_with=f"numpy {np.__version__} float64 of random weights, "
        f"tokenizers {library.__version__}",
    )
    near = np.median((rows @ rows.T)[np.triu_indices(len(rows), 1)])
    print(f"{encoder.name}: median cosine of two texts {near:.3f}", file=sys.stderr)
    return ModelRecipe(name=encoder.name, files=tuple(files), encoder=encoder), encoder


def verify(recipe: ModelRecipe, place: Path, options: argparse.Namespace) -> Document:
    """Run every check of the verification but those of latency and memory."""
    policy = find_policy("linux")
    why = "random weights are about what is computed"
    return carry_out.run(
        carry_out.Options(
            wheel=options.wheel,
            manifest=options.manifest,
            policy=policy,
            selection=Selection(
                quick=options.quick, only=tuple(options.only), skip=dict.fromkeys(LEFT_OUT, why)
            ),
            recipe=recipe,
            models=place,
            work=options.work,
            official=False,
            references=place,
        ),
        say=lambda check, text: print(f"  {check} {text}", file=sys.stderr, flush=True),
    )


def time_128(options: argparse.Namespace, recipe: ModelRecipe, place: Path) -> float:
    """Return the 95th percentile in ms of 200 texts of 128 tokens on the wheel's CPU provider."""
    python = next((options.work / "venvs").glob("candidate*/bin/python"))
    spec = json.dumps(recipe.encoder.to_json())
    answer = subprocess.run(
        [str(python), "-m", "tests.bench.encoders_inside", str(place), spec],
        cwd=HERE,
        env={"PYTHONPATH": str(HERE)},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(answer.stdout)


def row(name: str, document: Document, p95: float | None) -> dict[str, Any]:
    """Return what the table has of one encoder."""
    found = {check.id: check for check in document.checks}
    failed = [c.id for c in document.checks if c.status == "failed" and c.required]
    worst = max(document.coverage, key=lambda graph: graph.partitions, default=None)
    return {
        "encoder": name,
        "failed": failed,
        "worst_cosine": found["embedding.reference"].measured,
        "max_abs": (found["embedding.reference"].evidence.get("judged") or {}).get("max_abs"),
        "agreement": found["embedding.agreement"].measured,
        "partitions": worst and worst.partitions,
        "nodes": worst and f"{worst.nodes_taken} of {worst.nodes_total}",
        "exact": found["conversion.exact"].measured,
        "half": found["conversion.half"].measured,
        "p95_ms_128": p95,
    }


def main(argv: Sequence[str]) -> int:
    """Run the encoders; 1 when a required check of one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.encoders", description=__doc__)
    parser.add_argument("--model", action="append", choices=MODELS, help="default: all four")
    parser.add_argument("--wheel", type=Path, help="default: the manifest's")
    parser.add_argument("--manifest", type=Path, default=Path("wheels/manifest.json"))
    parser.add_argument("--work", type=Path, default=Path(".work"))
    parser.add_argument("--tokenizers", type=Path, default=Path(".work/models"), metavar="DIR")
    parser.add_argument("--only", action="append", default=[], metavar="ID")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--time", action="store_true", help="measure the P95 at 128 tokens too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    rows = []
    for name in options.model or MODELS:
        with tempfile.TemporaryDirectory(prefix="ortmill-random-") as folder:
            place = Path(folder)
            recipe, _ = make(load_model_recipe(recipe_path(name)), place, options.tokenizers)
            document = verify(recipe, place, options)
            for check in document.checks:
                print(f"{check.status:<12} {check.id:<20} {check.summary}", file=sys.stderr)
            p95 = time_128(options, recipe, place) if options.time else None
            rows.append(row(name, document, p95))
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        for each in rows:
            print("  ".join(f"{key} {value}" for key, value in each.items()))
    return 1 if any(each["failed"] for each in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
