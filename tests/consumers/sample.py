"""What every consumer is given, and what it must answer: the stored references of MiniLM."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build.package.exports import unpacked
from tests.consumers.toolchains import ROOT, compiled, not_shown
from verify.encoder import reference
from verify.encoder.model_recipe import EncoderSpec, load_model_recipe, recipe_path
from verify.encoder.prepared.choice import Precision, ensure_form
from verify.encoder.sessions import load_tokenizer

MODEL = "all-minilm-l6-v2"
CUT = 128
TOLERANCE = 1e-6


def unpacked_sdk(platform: str, kind: str = "sdk") -> Path:
    """Unpack the SDK that was built, into a folder with a blank in its name."""
    archives = sorted((ROOT / "wheels").glob(f"onnxruntime-{kind}-[0-9]*-{platform}.tar.gz"))
    if not archives:
        more = "" if kind == "sdk" else " -- --static-sdk"
        not_shown(f"there is no {kind} in wheels/; run `nox -s build{more}`")
    # One place for one archive: Cargo compiles everything anew when the library's path changes.
    return unpacked(archives[-1], compiled() / "any folder")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The texts, their token ids, the prepared graphs and the right vectors.

    Parameters
    ----------
    model : Path
        Folder of the weights and the tokenizer.
    work : Path
        Where graphs and inputs are written.
    """

    model: Path
    work: Path

    @cached_property
    def encoder(self) -> EncoderSpec:
        """The encoder's shape."""
        return load_model_recipe(recipe_path(MODEL)).encoder

    @cached_property
    def texts(self) -> list[str]:
        """The reference texts, in order."""
        return [each.text for each in reference.load_texts(reference.default_folder())[0]]

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.model / "tokenizer.json"

    @cached_property
    def texts_file(self) -> Path:
        """The texts as a JSON list."""
        file = self.work / "texts.json"
        file.write_text(json.dumps(self.texts), "utf-8")
        return file

    @cached_property
    def ids_file(self) -> Path:
        """Token ids for programs without a tokenizer: a line for each text, cut to 128."""
        tokenizer = load_tokenizer(self.tokenizer, self.encoder.cut_to(CUT))
        file = self.work / "ids.txt"
        with file.open("w", encoding="ascii") as lines:
            for text in self.texts:
                print(*tokenizer.encode(text).ids, file=lines)
        return file

    def graph(self, width: int, precision: Precision = "fp32") -> Path:
        """Return a prepared graph: static for a width, with dynamic axes for 0."""
        static = (1, width) if width else None
        folder = self.work / "graphs"
        return ensure_form(self.model, self.encoder, folder, static=static, precision=precision)

    def worst_cosine(self, out: Path, *, cut: int) -> float:
        """Return the least cosine of a vector with its stored reference."""
        expected = reference.load(self.encoder.cut_to(cut)).embeddings
        found = np.fromfile(out, dtype="<f4").reshape(expected.shape)
        return float((found * expected).sum(axis=1).min())

    def difference(self, out: Path, *, cut: int) -> float:
        """Return the largest difference of any component from the stored references."""
        expected = reference.load(self.encoder.cut_to(cut)).embeddings
        found: NDArray[np.float32] = np.fromfile(out, dtype="<f4")
        assert found.size == expected.size, f"{out.name}: {found.size} of {expected.size} numbers"
        return float(np.abs(found.reshape(expected.shape) - expected).max())


def model_folder() -> Path:
    """Return the folder of the model's files."""
    folder = ROOT / ".work" / "models" / MODEL
    if not (folder / "model.safetensors").is_file():
        not_shown("the model is not in .work/models; run `nox -s fetch`")
    return folder
