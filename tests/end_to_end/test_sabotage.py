"""Wheels and models that were tampered with, each caught by the check that is there for it.

The checks are the real ones, each in a process of its own as in a real run. The wheel is the
official one that the tests' environment holds, copied and edited; the model is a tiny encoder with
random weights, its references come from numpy. No network and no real model is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from tests.kit.tiny_model import SIGNS, word_tokenizer
from tests.kit.verify_examples import TINY, numpy_states, policy, tiny_weights
from tests.references import save as save_references
from verify.checks.table import CHECKS
from verify.encoder.weights import write_safetensors
from verify.environment.context import TargetContext
from verify.policy.limits import Policy
from verify.run.carry_out import run_checks

pytestmark = pytest.mark.integration

WORDS = [*SIGNS, *"abcdefghijklmnopqrstuvwxyz"]
TEXTS = ["", "a", "b c", "c b", "h e l l o", "w o r l d", "z " * 14, "z " * 30, "x y z a b c d"]

LISTED = """
_real_list = get_available_providers
def get_available_providers():
    return ["CoreMLExecutionProvider", *(n for n in _real_list() if n[:6] != "CoreML")]
"""
UNLISTED = """
_real_list = get_available_providers
def get_available_providers():
    return [name for name in _real_list() if name != "CoreMLExecutionProvider"]
"""
LYING = (
    LISTED
    + """
_RealSession = InferenceSession
class InferenceSession(_RealSession):
    def __init__(self, path, sess_options=None, providers=None, **rest):
        quiet = SessionOptions()
        quiet.enable_profiling = bool(sess_options and sess_options.enable_profiling)
        if quiet.enable_profiling:
            quiet.profile_file_prefix = sess_options.profile_file_prefix
        super().__init__(path, sess_options=quiet, providers=["CPUExecutionProvider"])
    def get_providers(self):
        return ["CoreMLExecutionProvider", "CPUExecutionProvider"]
"""
)
REFUSING = (
    LYING
    + """
    def run(self, *arguments, **rest):
        raise RuntimeError("Executing a CoreML model is not supported on this platform.")
"""
)
WRONG = (
    LYING
    + """
    def run(self, *arguments, **rest):
        return [value * 0 for value in super().run(*arguments, **rest)]
"""
)
CRASHING = (
    LISTED
    + """
def InferenceSession(*arguments, **rest):
    import os, signal
    os.kill(os.getpid(), signal.SIGSEGV)
"""
)


def tiny_references(folder: Path, tokenizer: Tokenizer) -> Path:
    folder.mkdir()
    texts = [{"id": f"t{number}", "text": text} for number, text in enumerate(TEXTS)]
    ranks = [{"anchor": "a b c", "neighbours": ["a b d", "x y", "q"]}]
    content = {"schema": 1, "texts": texts, "ranks": ranks}
    (folder / "texts.json").write_text(json.dumps(content), encoding="utf-8")
    tokenizer.enable_truncation(max_length=TINY.max_length)
    rows = []
    for text in TEXTS:
        ids = np.array([tokenizer.encode(text).ids])
        pooled = numpy_states(tiny_weights(), ids, np.ones_like(ids), np.zeros_like(ids)).mean(1)[0]
        rows.append(pooled / np.linalg.norm(pooled))
    save_references(
        folder,
        TINY.name,
        embeddings={TINY.max_length: np.stack(rows).astype(np.float32)},
        weights_sha256="0" * 64,
        made_with="numpy float64",
    )
    return folder


@pytest.fixture
def context(tmp_path: Path) -> TargetContext:
    model = tmp_path / "model"
    model.mkdir()
    tokenizer = word_tokenizer(WORDS)
    tokenizer.save(str(model / "tokenizer.json"))
    write_safetensors(model / "model.safetensors", tiny_weights())
    work = tmp_path / "work"
    work.mkdir()
    return TargetContext(
        role="candidate",
        work=work,
        model_dir=model,
        encoder=TINY,
        policy=policy(),
        targets={"candidate": Path(sys.executable)},
        host="linux-x86_64",
        references=tiny_references(tmp_path / "references", tokenizer),
    )


def check(context: TargetContext, name: str) -> dict[str, Any]:
    entry = next(entry for entry in CHECKS if entry.id == name)
    answer = run_checks(context, [entry], logs=context.work / "logs", say=lambda *_: None)
    (result,) = answer["results"]
    assert set(result["evidence"].get("judged", ())) <= set(entry.limits)
    return dict(result)


def sabotage_model(context: TargetContext, change: Any) -> None:
    tensors = tiny_weights()
    change(tensors)
    write_safetensors(context.model_dir / "model.safetensors", tensors)


def sabotage_wheel(context: TargetContext, code: str, **changes: Any) -> TargetContext:
    """Return the context with an environment whose onnxruntime was edited."""
    home = context.work / "sabotaged"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = home / "lib" / version / "site-packages"
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    package = Path(onnxruntime.__file__).parent
    shutil.copytree(package, site / "onnxruntime", copy_function=_link)
    edited = site / "onnxruntime" / "__init__.py"
    text = edited.read_text(encoding="utf-8")
    edited.unlink()  # it may be a hard link to the real one
    edited.write_text(text + code, encoding="utf-8")
    fields = {**vars(context), "targets": {"candidate": home / "bin" / "python"}, **changes}
    return TargetContext(**fields)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def requiring_execution() -> Policy:
    return policy({"provider.registered": True, "provider.executes": True})


def not_requiring_execution() -> Policy:
    return policy({"provider.registered": True, "provider.executes": False})


def test_the_untouched_model_passes(context: TargetContext) -> None:
    found = check(context, "embedding.reference")
    assert found["status"] == "passed", found
    assert found["measured"] > 0.9999999
    assert check(context, "embedding.agreement")["status"] == "passed"


def test_nan_is_caught_before_normalising(context: TargetContext) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors["encoder.layer.1.output.dense.weight"][3, 5] = np.nan

    sabotage_model(context, change)
    found = check(context, "embedding.reference")
    assert found["status"] == "failed"
    assert "NaN or infinity before normalising in 9 of 9 texts" in found["summary"]
    assert found["measured"] == "nan"


def test_zero_vectors_are_caught_before_normalising(context: TargetContext) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors["encoder.layer.1.output.LayerNorm.weight"][:] = 0
        tensors["encoder.layer.1.output.LayerNorm.bias"][:] = 0

    sabotage_model(context, change)
    found = check(context, "embedding.reference")
    assert found["status"] == "failed"
    assert "zero vectors before normalising in 9 of 9 texts" in found["summary"]


def test_swapped_weights_of_one_layer_are_caught(context: TargetContext) -> None:
    def change(tensors: dict[str, Any]) -> None:
        one, two = (f"encoder.layer.0.attention.self.{name}.weight" for name in ("query", "key"))
        tensors[one], tensors[two] = tensors[two], tensors[one]

    sabotage_model(context, change)
    found = check(context, "embedding.reference")
    assert found["status"] == "failed"
    assert -1 <= found["measured"] < 0.99999
    assert found["evidence"]["degenerate"] == 0
    assert "min_cosine" in found["summary"]


def test_a_truncated_weights_file_is_a_failure_and_no_crash(context: TargetContext) -> None:
    path = context.model_dir / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    found = check(context, "embedding.reference")
    assert found["status"] == "failed"
    assert "cut short" in found["summary"]


def test_provider_not_listed(context: TargetContext) -> None:
    sabotaged = sabotage_wheel(context, UNLISTED, policy=requiring_execution())
    found = check(sabotaged, "provider.registered")
    assert found["status"] == "failed"
    assert "not listed" in found["summary"]
    assert check(sabotaged, "provider.executes")["status"] == "failed"
    assert check(sabotaged, "coverage.partitions")["status"] == "not-run"


def test_listed_but_the_library_knows_nothing_of_it(context: TargetContext) -> None:
    sabotaged = sabotage_wheel(context, LISTED, policy=requiring_execution())
    if "CoreMLExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("LOUD: this environment's onnxruntime has CoreML, so nothing is missing here")
    assert check(sabotaged, "provider.registered")["status"] == "failed"
    assert check(sabotaged, "provider.executes")["status"] == "failed"


def test_a_stub_that_lies_about_its_session_is_caught_by_the_profile(
    context: TargetContext,
) -> None:
    sabotaged = sabotage_wheel(context, LYING, policy=requiring_execution())
    found = check(sabotaged, "provider.executes")
    assert found["status"] == "failed"
    assert "silent fallback" in found["summary"]
    assert set(found["evidence"]["nodes_by_provider"]) == {"CPUExecutionProvider"}


def test_a_lying_stub_is_caught_even_where_execution_is_not_required(
    context: TargetContext,
) -> None:
    sabotaged = sabotage_wheel(context, LYING, policy=not_requiring_execution())
    assert check(sabotaged, "provider.executes")["status"] == "failed"


@pytest.mark.parametrize(
    ("host", "required", "status"),
    [
        ("linux-x86_64", False, "not-run"),
        ("linux-x86_64", True, "failed"),
        ("macos-arm64", False, "failed"),
        ("macos-arm64", True, "failed"),
    ],
)
def test_a_provider_that_cannot_run_is_excused_only_where_nobody_expects_it(
    context: TargetContext, host: str, required: bool, status: str
) -> None:
    chosen = requiring_execution() if required else not_requiring_execution()
    found = check(sabotage_wheel(context, REFUSING, policy=chosen, host=host), "provider.executes")
    assert found["status"] == status
    assert "not supported on this platform" in found["summary"]


def test_a_provider_that_computes_nonsense(context: TargetContext) -> None:
    sabotaged = sabotage_wheel(context, WRONG, policy=requiring_execution())
    found = check(sabotaged, "provider.executes")
    assert found["status"] == "failed"
    assert "off by" in found["summary"]


def test_a_crash_of_the_process_is_a_failed_check(context: TargetContext) -> None:
    sabotaged = sabotage_wheel(context, CRASHING)
    found = check(sabotaged, "provider.registered")
    assert found["status"] == "failed"
    assert "SIGSEGV" in found["summary"]
