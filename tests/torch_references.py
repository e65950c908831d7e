"""Write the reference embeddings with torch in float64: ``python -m tests.torch_references``.

The forward pass is written here from the encoder's definition and shares no code with the graph
builder, so that a mistake in one shows against the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.encoder import reference
from verify.encoder.model_recipe import EncoderSpec, file_sha256, load_model_recipe, recipe_path
from verify.encoder.weights import read_safetensors


def forward(tensors: Mapping[str, Any], encoder: EncoderSpec, ids: Sequence[int]) -> Any:
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


def save(
    folder: Path,
    name: str,
    *,
    embeddings: Mapping[int, NDArray[np.float32]],
    weights_sha256: str,
    made_with: str,
) -> Path:
    """Write the references of the texts in ``folder``; return the file's path.

    ``embeddings`` maps the number of tokens that texts were cut to, to ``[texts, hidden]``.
    """
    digest = reference.load_texts(folder)[2]
    path = folder / f"{name}.npz"
    np.savez_compressed(
        path,
        allow_pickle=False,
        **{f"embeddings_{length}": rows for length, rows in embeddings.items()},
        texts_sha256=np.asarray(digest),
        weights_sha256=np.asarray(weights_sha256),
        made_with=np.asarray(made_with),
    )
    return path


def main(argv: list[str]) -> int:
    """Generate the references; 0 when the file was written."""
    import tokenizers
    import torch

    parser = argparse.ArgumentParser(prog="python -m tests.torch_references", description=__doc__)
    parser.add_argument("--model", default="all-minilm-l6-v2", help="name or path of the recipe")
    parser.add_argument("--models", type=Path, help="folder with the weights and the tokenizer")
    parser.add_argument(
        "--lengths",
        type=int,
        nargs="+",
        metavar="TOKENS",
        help="lengths that texts are cut to (default: the recipe's max_length, and 128)",
    )
    arguments = parser.parse_args(argv)
    recipe = load_model_recipe(recipe_path(arguments.model))
    folder = arguments.models or Path(".work/models") / recipe.name
    recipe.check_files(folder)
    weights = folder / "model.safetensors"
    tensors = {
        name: torch.from_numpy(np.asarray(value, dtype=np.float64))
        for name, value in read_safetensors(weights).items()
        if value.dtype.kind == "f"
    }
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    home = reference.default_folder()
    texts, _, _ = reference.load_texts(home)
    embeddings = {}
    for length in arguments.lengths or sorted({recipe.encoder.max_length, 128}):
        tokenizer.enable_truncation(max_length=length)
        with torch.inference_mode():
            rows = [
                forward(tensors, recipe.encoder, tokenizer.encode(entry.text).ids).numpy()
                for entry in texts
            ]
        embeddings[length] = np.stack(rows).astype(np.float32)
    path = save(
        home,
        recipe.name,
        embeddings=embeddings,
        weights_sha256=file_sha256(weights),
        made_with=f"torch {torch.__version__} float64, tokenizers {tokenizers.__version__}",
    )
    lengths = ", ".join(map(str, embeddings))
    print(
        f"{path}: {len(texts)} texts cut to {lengths}, {path.stat().st_size} bytes", file=sys.stderr
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
