"""What our patches of the CoreML provider mend, asked of the built wheel; fails without them.

``-k NAME`` runs the tests of one patch, by its name as in ``--without-patch NAME``.
The wait of ProfileComputePlan is Apple's side alone: ``tests/build/recipe/test_patches.py`` reads
it.
"""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.end_to_end.test_conversion import make_context, proven
from tests.kit.commands import WHEELS, Run, python, run
from verify.conversion.package import find_packages

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python", "run"]  # the fixtures with the built wheel

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
value, node = helper.make_tensor_value_info, helper.make_node
LARGE = 20000


def model(
    nodes: list[Any], inputs: list[Any], output: Any, key: str = "", **constants: Any
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(np.asarray(given), name) for name, given in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, [output], held),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    if key:
        helper.set_model_props(made, {"COREML_CACHE_KEY": key})
    onnx.checker.check_model(made, full_check=True)
    return made


def drawn(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def look_up(table: Any, **metadata: str) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(table.dtype)
    nodes = [node("Gather", ["table", "ids"], ["found"], name="words")]
    nodes += [node("Mul", ["found", "two"], ["y"], name="mul")]
    ids, y = value("ids", INT64, [2, 3]), value("y", kind, [2, 3, table.shape[1]])
    made = model(nodes, [ids], y, table=table, two=np.asarray(2, table.dtype))
    helper.set_model_props(made, metadata)
    return made


def picked(indices: Any, shape: list[int], *, axis: int = 0) -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [node("Gather", ["r", "i"], ["y"], name="pick", axis=axis)]
    return model(nodes, [value("x", FLOAT, [4, 5, 6])], value("y", FLOAT, shape), i=indices)


def one_token() -> onnx.ModelProto:
    """A scalar that is an input of the graph."""
    nodes = [node("Gather", ["x", "i"], ["p"], name="pick", axis=1)]
    nodes += [node("Relu", ["p"], ["y"], name="relu")]
    inputs = [value("x", FLOAT, [4, 5, 6]), value("i", INT64, [])]
    return model(nodes, inputs, value("y", FLOAT, [4, 6]))


def whole_numbers() -> onnx.ModelProto:
    """A table of int64, by indices of int64, into a second table."""
    nodes = [node("Gather", ["order", "ids"], ["row"], name="order_of")]
    nodes += [node("Gather", ["table", "row"], ["y"], name="words")]
    order = np.array([3, -1, 0, 2])
    y = value("y", FLOAT, [2, 4])
    return model(nodes, [value("ids", INT64, [2])], y, order=order, table=drawn(4, 4))


IDS = ["--range", "ids=0:10"]
GATHERS: dict[str, tuple[Callable[[], onnx.ModelProto], int, list[str]]] = {
    "look-up": (lambda: look_up(drawn(11, 8)), 2, IDS),
    "look-up, counted from the end": (lambda: look_up(drawn(11, 8)), 2, ["--range", "ids=-11:10"]),
    "look-up in half": (lambda: look_up(drawn(11, 8).astype(np.float16)), 2, IDS),
    "a list": (lambda: picked(np.array([[0, 3], [1, 1]]), [2, 2, 5, 6]), 2, []),
    "a list of int32": (lambda: picked(np.array([2, 0], np.int32), [2, 5, 6]), 2, []),
    "negative places": (lambda: picked(np.array([-1, 0, -4]), [3, 5, 6]), 2, []),
    "negative axis": (lambda: picked(np.array([5, 0]), [4, 5, 2], axis=-1), 2, []),
    "scalar": (lambda: picked(np.int64(2), [5, 6]), 2, []),
    "negative scalar, negative axis": (lambda: picked(np.int64(-1), [4, 6], axis=-2), 2, []),
    "scalar of the graph": (one_token, 2, ["--range", "i=-5:4"]),
    "whole numbers": (whole_numbers, 2, ["--range", "ids=-4:3"]),
}


@pytest.mark.parametrize("name", GATHERS)
def test_coreml_gather(run: Run, tmp_path: Path, name: str) -> None:
    make, nodes, options = GATHERS[name]
    path = tmp_path / "gather.onnx"
    onnx.save(make(), path)
    found = run("conversion", "--model", path, *options)
    assert found.code == 0, found.text
    assert f"all {nodes} nodes are CoreML's" in found.text
    assert "conversion.exact: passed" in found.text


def test_coreml_gather_leaves_a_look_up_to_the_cpu_where_the_model_says_so(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "said.onnx"
    onnx.save(look_up(drawn(11, 8), COREML_LOOK_UP="CPU"), path)
    found = run("coverage", path, "--format", "MLProgram")
    assert "1 of 2" in found.text
    assert "which the model's COREML_LOOK_UP leaves to the CPU" in found.text
    assert "--look-up inside" in found.text
    inside = picked(np.array([1, 2]), [2, 5, 6])
    helper.set_model_props(inside, {"COREML_LOOK_UP": "CPU"})
    onnx.save(inside, path)
    assert run("coverage", path, "--format", "MLProgram").code == 0, "no look-up of an input"


def test_coreml_gather_takes_the_encoders_look_up(python: Path, tmp_path: Path) -> None:
    context = make_context(tmp_path, python)
    inside = replace(context, encoder=replace(context.encoder, look_up="inside"))
    counts = []
    for each in (context, inside):
        measured, results = proven(each)
        assert {result.status for result in results.values()} == {"passed"}
        assert all(entry["label"].endswith(each.encoder.form) for entry in measured)
        counts.append([entry["facts"]["operations"] for entry in measured])
    # Each of the two look-ups: what makes negative places positive, three operations, and itself.
    assert [more - less for less, more in zip(*counts, strict=True)] == [8] * 4


def head() -> onnx.ModelProto:
    """A language model's last layer."""
    nodes = [node("MatMul", ["x", "w"], ["m"], name="mm"), node("Add", ["m", "b"], ["y"], name="a")]
    y = value("y", FLOAT, [1, 2, LARGE])
    return model(
        nodes, [value("x", FLOAT, [1, 2, 8])], y, w=drawn(8, LARGE), b=drawn(LARGE, seed=1)
    )


def test_coreml_large_axes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "head.onnx"
    onnx.save(head(), path)
    found = run("conversion", "--model", path)
    assert found.code == 0, found.text
    assert "all 3 nodes are CoreML's" in found.text  # as a Gemm between two shapes


def test_coreml_large_axes_are_no_images(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wide.onnx"
    nodes = [node("Conv", ["x", "w"], ["y"], name="conv")]
    x, y = value("x", FLOAT, [1, 1, 1, LARGE]), value("y", FLOAT, [1, 1, 1, LARGE])
    onnx.save(model(nodes, [x], y, w=drawn(1, 1, 1, 1)), path)
    found = run("coverage", path, "--format", "MLProgram")
    assert "does not support input dim > 16384" in found.text


@pytest.mark.parametrize("kind", [FLOAT, HALF])
def test_coreml_reciprocal(run: Run, tmp_path: Path, kind: int) -> None:
    path = tmp_path / "inverse.onnx"
    nodes = [node("Reciprocal", ["x"], ["y"], name="inverse")]
    onnx.save(model(nodes, [value("x", kind, [1, 64])], value("y", kind, [1, 64])), path)
    found = run("conversion", "--model", path, "--range", "x=0.001:0.01")
    assert found.code == 0, found.text
    assert "conversion.exact: passed" in found.text
    assert "known fault" not in run("coverage", path, "--format", "MLProgram").text


def test_coreml_reciprocal_of_a_root(run: Run, tmp_path: Path) -> None:
    """torch.rsqrt as it is exported; of variances as small as a layer's epsilon."""
    path = tmp_path / "rsqrt.onnx"
    nodes = [node("Sqrt", ["x"], ["r"], name="root"), node("Reciprocal", ["r"], ["y"], name="inv")]
    onnx.save(model(nodes, [value("x", FLOAT, [1, 64])], value("y", FLOAT, [1, 64])), path)
    found = run("conversion", "--model", path, "--range", "x=1e-6:1e-4")
    assert found.code == 0, found.text
    assert "all 2 nodes are CoreML's" in found.text


@pytest.mark.parametrize("auto", ["NOTSET", ""])
@pytest.mark.parametrize("shape", [[1, 2, 5, 5], [1, 2, 9]])
def test_coreml_conv_transpose_without_pads(
    run: Run, tmp_path: Path, auto: str, shape: list[int]
) -> None:
    path, places = tmp_path / "up.onnx", len(shape) - 2
    given = {"auto_pad": auto} if auto else {}
    nodes = [node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2] * places, **given)]
    y = value("y", FLOAT, [1, 3, *(2 * size + 1 for size in shape[2:])])
    onnx.save(model(nodes, [value("x", FLOAT, shape)], y, w=drawn(2, 3, *[3] * places)), path)
    found = run("conversion", "--model", path)
    assert found.code == 0, found.text
    assert "conversion.exact: passed" in found.text
    assert "all 1 nodes are CoreML's" in found.text


MAKE_SESSION = """
import resource, signal, sys
model, cache, limit, death = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
import onnxruntime
onnxruntime.set_default_logger_severity(3)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if death == "killed":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
options = {"ModelFormat": "MLProgram", "ModelCacheDirectory": cache}
onnxruntime.InferenceSession(model, providers=[("CoreMLExecutionProvider", options)])
"""


def started(
    python: Path, path: Path, cache: Path, limit: int = 0, death: str = ""
) -> subprocess.Popen[str]:
    words = [str(python), "-c", MAKE_SESSION, str(path), str(cache), str(limit), death]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def session(python: Path, path: Path, cache: Path, limit: int = 0, death: str = "") -> int:
    process = started(python, path, cache, limit, death)
    _, said = process.communicate(timeout=120)
    assert limit or process.returncode == 0, said
    return process.returncode


def product(seed: int, key: str = "") -> onnx.ModelProto:
    nodes = [node("MatMul", ["x", "w"], ["y"], name="mm")]
    shapes = [value("x", FLOAT, [1, 512])], value("y", FLOAT, [1, 512])
    return model(nodes, *shapes, key=key, w=drawn(512, 512, seed=seed))


def weights(cache: Path) -> list[bytes]:
    """Return the weights of every package that a session would take."""
    whole = [folder for folder in find_packages(cache) if folder.name == "model"]
    return [next((folder / "Data").rglob("weight.bin")).read_bytes() for folder in whole]


def holds(stored: bytes, seed: int) -> bool:
    return drawn(512, 512, seed=seed).tobytes() in stored


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "a cache"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("key", ["", "mine"])
def test_coreml_model_cache_knows_the_content(
    python: Path, tmp_path: Path, cache: Path, key: str
) -> None:
    path = tmp_path / "model.onnx"
    for seed in (1, 2):
        onnx.save(product(seed, key), path)
        session(python, path, cache)
    stored = weights(cache)
    assert len(stored) == 2
    assert {holds(each, 2) for each in stored} == {True, False}
    before = sorted(file.stat().st_mtime_ns for file in cache.rglob("*.bin"))
    session(python, path, cache)
    assert sorted(file.stat().st_mtime_ns for file in cache.rglob("*.bin")) == before, "a hit"


@pytest.mark.parametrize("death", ["killed", "full"])
def test_coreml_model_cache_takes_no_half_model(
    python: Path, tmp_path: Path, cache: Path, death: str
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(product(1), path)
    assert session(python, path, cache, limit=300_000, death=death) != 0
    assert list(cache.rglob("*.part.*")) if death == "killed" else not list(cache.rglob("*.part.*"))
    session(python, path, cache)
    (stored,) = weights(cache)
    assert holds(stored, 1)


def test_coreml_model_cache_is_one_for_processes_at_once(
    python: Path, tmp_path: Path, cache: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(product(1), path)
    running = [started(python, path, cache) for _ in range(4)]
    said = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    (stored,) = weights(cache)
    assert holds(stored, 1)
    assert not list(cache.rglob("*.part.*"))


def test_coreml_model_cache_knows_the_build() -> None:
    if not WHEELS:
        pytest.skip("NOT SHOWN: there is no wheel in wheels/ (`nox -s build` makes one)")
    version = WHEELS[-1].name.split("-")[1].encode()
    with zipfile.ZipFile(WHEELS[-1]) as archive:
        (library,) = [name for name in archive.namelist() if "pybind11_state" in name]
        assert version in archive.read(library)
