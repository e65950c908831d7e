"""Rust with ort: opened at run time, linked when compiled, and with the wrong library."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from build.package.exports import exports, read_sdk
from build.tree.workspace import host_platform
from tests.consumers.sample import TOLERANCE, Sample, unpacked_sdk
from tests.consumers.standin import newer_library, older_library
from tests.consumers.test_go import library
from tests.consumers.toolchains import HERE, ROOT, compiled, run, tool
from verify.encoder.prepared.choice import Precision

# Compiling the tokenizer's crates takes minutes the first time.
pytestmark = [pytest.mark.integration, pytest.mark.network, pytest.mark.timeout(1800)]
LONGEST = 256
SOON = 100


def cargo(verb: str, *words: str | Path, env: dict[str, str] | None = None) -> None:
    """Run Cargo on the crate; the crates that it uses are compiled once for all checkouts."""
    run(
        [tool("cargo"), verb, "--locked", *words],
        cwd=HERE / "rust",
        env={"CARGO_TARGET_DIR": str(compiled() / "cargo"), **(env or {})},
        timeout=1700,
    )


def built(into: Path, profile: str, *words: str | Path, env: dict[str, str] | None = None) -> Path:
    """Build the program and return a copy, which the next build does not replace."""
    cargo("build", "--profile", profile, *words, env=env)
    folder = "debug" if profile == "dev" else profile
    return Path(shutil.copy2(compiled() / "cargo" / folder / "embed", into / "embed"))


def without_ort(**given: str) -> dict[str, str]:
    """Return the variables that the crate reads, those not given empty."""
    return {"ORT_DYLIB_PATH": "", "LD_LIBRARY_PATH": "", "DYLD_LIBRARY_PATH": "", **given}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("rust"), "release")


def embed(program: Path, sample: Sample, out: Path, *graphs: Path) -> list[Path]:
    return [program, sample.tokenizer, sample.texts_file, out, *graphs]


@pytest.mark.parametrize("widths", [(0,), (32, 64, 128, 256)])
def test_the_references(
    widths: tuple[int, ...], program: Path, sdk: Path, sample: Sample, tmp_path: Path
) -> None:
    graphs = [sample.graph(width) for width in widths]
    said = run(
        embed(program, sample, tmp_path / "out", *graphs),
        env=without_ort(ORT_DYLIB_PATH=str(library(sdk))),
    )
    assert said.startswith("ONNX Runtime 1.")
    assert sample.difference(tmp_path / "out", cut=LONGEST) <= TOLERANCE


@pytest.mark.parametrize(("precision", "least"), [("int8", 0.999), ("int8-fast", 0.99)])
def test_graphs_in_eight_bits(
    precision: Precision, least: float, program: Path, sdk: Path, sample: Sample, tmp_path: Path
) -> None:
    for widths in ((0,), (32, 64, 128, 256)):
        graphs = [sample.graph(width, precision) for width in widths]
        run(
            embed(program, sample, tmp_path / "out", *graphs),
            env=without_ort(ORT_DYLIB_PATH=str(library(sdk))),
        )
        assert least <= sample.worst_cosine(tmp_path / "out", cut=LONGEST) < 0.99999


@pytest.mark.parametrize("crate", ["tests/consumers/rust", "tests/paths/worker"])
def test_it_is_written_as_rustfmt_writes(crate: str) -> None:
    run([tool("cargo"), "fmt", "--check"], cwd=ROOT / crate)


def test_coreml_is_no_silent_fallback(
    program: Path, sdk: Path, sample: Sample, tmp_path: Path
) -> None:
    first, *rest = embed(program, sample, tmp_path / "out", sample.graph(128))
    said = run(
        [first, "--coreml", *rest],
        env=without_ort(ORT_DYLIB_PATH=str(library(sdk))),
        # Here the provider leaves the converted model in the current folder.
        cwd=tmp_path,
        fails=sys.platform != "darwin",
    )
    # On Linux the provider registers, takes the graph and converts it, and cannot run it.
    if sys.platform != "darwin":
        assert "Executing a CoreML model is not supported on this platform" in said


def test_its_own_tests() -> None:
    cargo("test", "--release", "--lib")


def test_linked_when_compiled(sdk: Path, sample: Sample, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(exports(read_sdk(sdk), "cargo"), "utf-8")
    program = built(tmp_path, "dev", "--no-default-features", "--config", config)
    run(embed(program, sample, tmp_path / "out", sample.graph(0)), env=without_ort())
    assert sample.difference(tmp_path / "out", cut=LONGEST) <= TOLERANCE


def test_linked_statically(sample: Sample, tmp_path: Path) -> None:
    lib = unpacked_sdk(host_platform(), "static-sdk") / "lib"
    env = without_ort(ORT_LIB_PATH=str(lib), ORT_PREFER_DYNAMIC_LINK="")
    program = built(tmp_path, "release", "--no-default-features", env=env)
    run(embed(program, sample, tmp_path / "out", sample.graph(0)), env=without_ort())
    assert sample.difference(tmp_path / "out", cut=LONGEST) <= TOLERANCE
    if sys.platform == "linux":
        assert "libonnxruntime" not in run(["ldd", program])


def test_an_older_library_is_explained(program: Path, sample: Sample, tmp_path: Path) -> None:
    older = older_library(tmp_path)
    said = run(
        embed(program, sample, tmp_path / "out", sample.graph(0)),
        env=without_ort(ORT_DYLIB_PATH=str(older)),
        fails=True,
        timeout=SOON,
    )
    assert "is ONNX Runtime 1.20.1, and this program was compiled for API 21" in said
    assert "panicked" not in said


def test_a_newer_library_serves(program: Path, sdk: Path, sample: Sample, tmp_path: Path) -> None:
    newer = newer_library(library(sdk), tmp_path)
    said = run(
        embed(program, sample, tmp_path / "out", sample.graph(0)),
        env=without_ort(ORT_DYLIB_PATH=str(newer)),
    )
    assert said.startswith("ONNX Runtime 1.30.0")
    assert sample.difference(tmp_path / "out", cut=LONGEST) <= TOLERANCE


def test_a_program_for_a_newer_api_is_explained(sdk: Path, sample: Sample, tmp_path: Path) -> None:
    program = built(tmp_path, "release", "--features", "too-new")
    said = run(
        embed(program, sample, tmp_path / "out", sample.graph(0)),
        env=without_ort(ORT_DYLIB_PATH=str(library(sdk))),
        fails=True,
        timeout=SOON,
    )
    assert "compiled for API 22" in said
    assert "with the feature api-N" in said
    assert "panicked" not in said


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("", "ORT_DYLIB_PATH is not set"),
        # With the loader's own reason: one of Linux and one of macOS for each.
        ("/nowhere/libonnxruntime.so", "does not load: .*(cannot open|no such file)"),
        ("/etc", "does not load: .*(cannot read file data|not a file|no such file)"),
        ("/etc/passwd", "does not load: .*(invalid ELF header|file too short|not a mach-o file)"),
        ("libm.so.6", "is no ONNX Runtime"),
    ],
)
def test_no_library_is_explained(
    given: str, problem: str, program: Path, sample: Sample, tmp_path: Path
) -> None:
    said = run(
        embed(program, sample, tmp_path / "out", sample.graph(0)),
        env=without_ort(ORT_DYLIB_PATH=given),
        fails=True,
        timeout=SOON,
    )
    assert re.search(problem, said)
    assert "panicked" not in said
