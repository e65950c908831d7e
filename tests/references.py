"""Write the reference embeddings of a model recipe, in float64: `nox -s references`.

The forward passes are written from the encoders' definitions and share no code with the graph
builder, so that a mistake in one shows against the other: ``tests/kit/float64_encoder.py`` in numpy
for every architecture, and one in torch for BERT with a mean, which all-MiniLM-L6-v2's stored
vectors come from and which the numpy one is held against.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.kit.float64_encoder import Float64Encoder
from verify.encoder import reference
from verify.encoder.model_recipe import EncoderSpec, file_sha256, load_model_recipe, recipe_path
from verify.encoder.number_types import DOUBLE, FLOAT, retyped
from verify.encoder.onnx_encoder import adopted
from verify.encoder.sessions import load_tokenizer
from verify.encoder.weights import Array, read_safetensors
from verify.errors import VerifyError

Vectors = Callable[[Sequence[int]], Any]
"""Takes a text's token ids, returns its float64 vector ``[hidden]`` of length 1."""


def torch_vectors(weights: Mapping[str, Array], encoder: EncoderSpec) -> Vectors:
    """Return the embedding of one text by torch.

    Raises
    ------
    SystemExit
        The encoder is no BERT with a mean.
    """
    import torch

    if (encoder.architecture, encoder.pooling) != ("bert", "mean"):
        raise SystemExit("torch knows BERT with a mean alone here; leave --with out")
    tensors = {
        name: torch.from_numpy(np.asarray(value, dtype=np.float64))
        for name, value in weights.items()
        if value.dtype.kind == "f"
    }

    def embed(ids: Sequence[int]) -> Any:
        with torch.inference_mode():
            return _forward(tensors, encoder, ids).numpy()

    return embed


def _forward(tensors: Mapping[str, Any], encoder: EncoderSpec, ids: Sequence[int]) -> Any:
    """Embed one text, given as token ids: a torch float64 vector ``[hidden]`` of length 1."""
    import torch
    from torch.nn import functional

    def get(name: str) -> Any:
        return tensors[encoder.tensor_prefix + name]

    def norm(x: Any, name: str) -> Any:
        return functional.layer_norm(
            x, (encoder.hidden,), get(f"{name}.weight"), get(f"{name}.bias"), encoder.layer_norm_eps
        )

    def linear(x: Any, name: str) -> Any:
        return functional.linear(x, get(f"{name}.weight"), get(f"{name}.bias"))

    def heads(x: Any) -> Any:
        return x.view(len(ids), encoder.heads, -1).transpose(0, 1)

    state = get("embeddings.word_embeddings.weight")[torch.tensor(ids)]
    state = state + get("embeddings.position_embeddings.weight")[: len(ids)]
    state = norm(state + get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    for number in range(encoder.layers):
        layer = f"encoder.layer.{number}"
        query, key, value = (
            heads(linear(state, f"{layer}.attention.self.{part}"))
            for part in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        joined = mixed.transpose(0, 1).reshape(len(ids), encoder.hidden)
        out = linear(joined, f"{layer}.attention.output.dense")
        state = norm(state + out, f"{layer}.attention.output.LayerNorm")
        wide = functional.gelu(linear(state, f"{layer}.intermediate.dense"))
        state = norm(state + linear(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return functional.normalize(state.mean(dim=0), dim=0)


def onnx_vectors(path: Path, encoder: EncoderSpec) -> Vectors:
    """Return the embedding of one text by ONNX's own evaluator of the encoder's graph, widened.

    It shows what the runtime makes of the graph, not whether the graph is the model that it was
    exported from.
    """
    from onnx.reference import ReferenceEvaluator

    model = retyped(adopted(path, encoder, static=None, half=False), FLOAT, DOUBLE)
    evaluator = ReferenceEvaluator(model)

    def embed(ids: Sequence[int]) -> Any:
        row = np.asarray([ids], dtype=np.int64)
        given = {"input_ids": row, "attention_mask": row * 0 + 1, "token_type_ids": row * 0}
        found = evaluator.run(["last_hidden_state"], {n: given[n] for n in encoder.inputs})
        states = np.asarray(found[0])[0]
        vector = states[0] if encoder.pooling == "cls" else states.mean(0)
        return vector / np.linalg.norm(vector)

    return embed


def vectors(path: Path, encoder: EncoderSpec, engine: str) -> tuple[Vectors, str]:
    """Return who embeds, and its name and version."""
    if encoder.architecture == "onnx":
        import onnx

        return onnx_vectors(
            path, encoder
        ), f"onnx {onnx.__version__} ReferenceEvaluator, own graph,"
    tensors = read_safetensors(path)
    if engine == "torch":
        import torch

        return torch_vectors(tensors, encoder), f"torch {torch.__version__}"
    return Float64Encoder(tensors, encoder).embed, f"numpy {np.__version__}"


def compute(
    embed: Vectors, tokenizer_file: Path, encoder: EncoderSpec, folder: Path
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Embed every reference text, cut to the encoder's length.

    Returns
    -------
    tuple
        Vectors ``[texts, hidden]``, and the checksum of each text's token ids.
    """
    tokenizer = load_tokenizer(tokenizer_file, encoder)
    texts = reference.load_texts(folder)[0]
    kinds = reference.kinds_of(encoder, len(texts))
    encoded = [
        tokenizer.encode(encoder.prefixed(entry.text, kind)).ids
        for entry, kind in zip(texts, kinds, strict=True)
    ]
    rows = np.stack([embed(ids) for ids in encoded]).astype(np.float32)
    return rows, np.asarray([reference.tokens_digest(ids) for ids in encoded], dtype=np.uint32)


def save(
    folder: Path,
    name: str,
    *,
    embeddings: Mapping[int, NDArray[np.float32]],
    weights_sha256: str,
    made_with: str,
    tokens: Mapping[int, NDArray[np.uint32]] | None = None,
) -> Path:
    """Write the references of the texts in ``folder``; return the file's path.

    ``embeddings`` maps the number of tokens that texts were cut to, to ``[texts, hidden]``,
    ``tokens`` the same number to the checksums of their token ids.
    """
    digest = reference.load_texts(folder)[2]
    path = folder / f"{name}.npz"
    np.savez_compressed(
        path,
        allow_pickle=False,
        **{f"embeddings_{length}": rows for length, rows in embeddings.items()},
        **{f"tokens_{length}": rows for length, rows in (tokens or {}).items()},
        texts_sha256=np.asarray(digest),
        weights_sha256=np.asarray(weights_sha256),
        made_with=np.asarray(made_with),
    )
    return path


def main(argv: list[str]) -> int:
    """Generate the references; 0 when the file was written, 3 when it could not be."""
    parser = argparse.ArgumentParser(prog="nox -s references --", description=__doc__)
    parser.add_argument("--model", default="all-minilm-l6-v2", help="name or path of the recipe")
    parser.add_argument("--models", type=Path, help="folder with the weights and the tokenizer")
    parser.add_argument(
        "--with", dest="engine", choices=("numpy", "torch"), default="numpy", help="who computes"
    )
    parser.add_argument(
        "--lengths",
        type=int,
        nargs="+",
        metavar="TOKENS",
        help="lengths that texts are cut to (default: the recipe's max_length, and 128)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to (default: beside the package's own)"
    )
    arguments = parser.parse_args(argv)
    if min(arguments.lengths or [1]) < 1:
        parser.error("--lengths are numbers from 1 on")
    try:
        path, lengths = write(arguments)
    except VerifyError as error:
        print("\n  hint: ".join(filter(None, (error.problem, error.hint))), file=sys.stderr)
        return error.exit_code
    print(f"{path}: cut to {lengths}, {path.stat().st_size} bytes", file=sys.stderr)
    return 0


def write(arguments: argparse.Namespace) -> tuple[Path, str]:
    """Compute and write the references; return the file, and the lengths that texts are cut to."""
    import tokenizers

    recipe = load_model_recipe(recipe_path(arguments.model))
    folder = arguments.models or Path(".work/models") / recipe.name
    recipe.check_files(folder)
    embed, engine = vectors(folder / recipe.encoder.weights_file, recipe.encoder, arguments.engine)
    home = arguments.output or reference.default_folder()
    home.mkdir(parents=True, exist_ok=True)
    found = {
        length: compute(embed, folder / "tokenizer.json", recipe.encoder.cut_to(length), home)
        for length in arguments.lengths or sorted({recipe.encoder.max_length, 128})
    }
    path = save(
        home,
        recipe.name,
        embeddings={length: rows for length, (rows, _) in found.items()},
        tokens={length: digests for length, (_, digests) in found.items()},
        weights_sha256=file_sha256(folder / recipe.encoder.weights_file),
        made_with=f"{engine} float64, tokenizers {tokenizers.__version__}",
    )
    return path, ", ".join(map(str, found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
