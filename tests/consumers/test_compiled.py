"""C with pkg-config, C++ with find_package, and a program that names CoreML's function."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.consumers.sample import CUT, TOLERANCE, Sample
from tests.consumers.toolchains import HERE, run, tool

pytestmark = pytest.mark.integration
STRICT = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")


def compile_c(source: str, sdk: Path, program: Path) -> Path:
    words = run(
        [tool("pkg-config"), "--cflags", "--libs", "libonnxruntime"],
        env={"PKG_CONFIG_PATH": str(sdk / "lib" / "pkgconfig")},
    )
    flags = [*shlex.split(words), f"-Wl,-rpath,{sdk / 'lib'}", "-lm"]
    run([tool("cc"), *STRICT, HERE / "c" / source, "-o", program, *flags])
    return program


def test_c_with_pkg_config(sdk: Path, sample: Sample, tmp_path: Path) -> None:
    program = compile_c("embed.c", sdk, tmp_path / "embed")
    said = run([program, sample.graph(CUT), sample.ids_file, tmp_path / "out"])
    assert said.startswith("ONNX Runtime 1.")
    assert sample.difference(tmp_path / "out", cut=CUT) <= TOLERANCE
    run([program, sample.graph(CUT, "int8"), sample.ids_file, tmp_path / "out"])
    assert 0.999 <= sample.worst_cosine(tmp_path / "out", cut=CUT) < 0.99999


@pytest.mark.parametrize("kind", ["Debug", "Release"])
def test_cpp_with_find_package(kind: str, sdk: Path, sample: Sample, tmp_path: Path) -> None:
    cmake, folder = tool("cmake"), tmp_path / "a build"
    run(
        [
            *(cmake, "-S", HERE / "cpp", "-B", folder),
            *(f"-DCMAKE_PREFIX_PATH={sdk}", f"-DCMAKE_BUILD_TYPE={kind}"),
        ]
    )
    run([cmake, "--build", folder, "--config", kind])
    run([folder / "embed", sample.graph(CUT), sample.ids_file, tmp_path / "out"])
    assert sample.difference(tmp_path / "out", cut=CUT) <= TOLERANCE


def test_a_program_that_names_coremls_function_links_and_registers_it(
    sdk: Path, tmp_path: Path
) -> None:
    program = compile_c("coreml.c", sdk, tmp_path / "coreml")
    assert run([program]) == "registered\n"


def test_wrong_input_is_said(sdk: Path, sample: Sample, tmp_path: Path) -> None:
    program = compile_c("embed.c", sdk, tmp_path / "embed")
    long = tmp_path / "long.txt"
    long.write_text("101 " * (CUT + 1))
    said = run([program, sample.graph(CUT), long, tmp_path / "out"], fails=True)
    assert "more than 128 tokens" in said
    said = run([program, tmp_path / "none.onnx", sample.ids_file, tmp_path / "out"], fails=True)
    assert "none.onnx" in said
