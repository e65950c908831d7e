"""Go with onnxruntime_go, the release whose C API is that of the library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.consumers.sample import CUT, TOLERANCE, Sample
from tests.consumers.standin import older_library
from tests.consumers.toolchains import HERE, run, tool

pytestmark = [pytest.mark.integration, pytest.mark.network]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("go") / "embed"
    # What go.sum does not know is not taken.
    env = {"GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -mod=readonly".strip(), "CGO_ENABLED": "1"}
    run([tool("go"), "build", "-o", made, "."], cwd=HERE / "go", env=env)
    return made


def library(sdk: Path) -> Path:
    (found,) = [*sdk.glob("lib/libonnxruntime.so"), *sdk.glob("lib/libonnxruntime.dylib")]
    return found


def test_the_references(program: Path, sdk: Path, sample: Sample, tmp_path: Path) -> None:
    run([program, library(sdk), sample.graph(CUT), sample.ids_file, tmp_path / "out"])
    assert sample.difference(tmp_path / "out", cut=CUT) <= TOLERANCE
    run([program, library(sdk), sample.graph(CUT, "int8"), sample.ids_file, tmp_path / "out"])
    assert 0.999 <= sample.worst_cosine(tmp_path / "out", cut=CUT) < 0.99999


def test_an_older_library_is_an_error_and_no_crash(
    program: Path, sample: Sample, tmp_path: Path
) -> None:
    older = older_library(tmp_path)
    said = run(
        [program, older, sample.graph(CUT), sample.ids_file, tmp_path / "out"],
        fails=True,
        timeout=100,
    )
    assert "C API 21" in said
