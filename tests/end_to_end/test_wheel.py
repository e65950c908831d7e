"""A wheel with an extension module compiled here, finished with the real auditwheel."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from build.binary.elf import inspect_elf
from build.binary.rules import elf_weaknesses
from build.errors import WheelError
from build.package.archive import read_wheel, write_wheel
from build.package.licences import LicenceText
from build.package.metadata import with_record
from build.package.release import Release
from build.package.repair import Repair
from build.package.wheel import FinishedWheel, finish_wheel
from build.tree.workspace import host_platform
from tests.kit.programs import run
from verify.elf.library import read_library
from verify.elf.promises import newest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="auditwheel repairs Linux wheels only"),
]

VERSION = "1.21.0+ortmill.0b5e77aa"
PYTHON = f"cp3{sys.version_info.minor}"
MACHINE = sysconfig.get_platform().removeprefix("linux-")
STATE = "onnxruntime/capi/onnxruntime_pybind11_state.so"
SOURCE = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>
#ifdef WITH_HELPER
int helper(void);
#endif
static const char compiled_for[] = "3.{minor}";
static PyObject* answer(PyObject* self, PyObject* text) {{
  char buffer[32];
  strcpy(buffer, PyUnicode_AsUTF8(text));
#ifdef WITH_HELPER
  buffer[0] += helper();
#endif
  strcat(buffer, compiled_for);
  return PyUnicode_FromString(buffer);
}}
static PyMethodDef methods[] = {{{{"answer", answer, METH_O, 0}}, {{0, 0, 0, 0}}}};
/* NUL, the version, NUL, as a table of strings holds it. */
__attribute__((used)) static const char table[] = "\\0003.{minor}\\0";
static struct PyModuleDef module = {{
  PyModuleDef_HEAD_INIT, "onnxruntime_pybind11_state", 0, -1, methods, 0, 0, 0, 0}};
PyMODINIT_FUNC PyInit_onnxruntime_pybind11_state(void) {{ return PyModule_Create(&module); }}
"""
FLAGS = (
    *("-O2", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-shared", "-fPIC"),
    *("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,--strip-all"),
)


def compile_module(folder: Path, *extra: str) -> bytes:
    compiler = shutil.which("cc")
    assert compiler, "the tests need a compiler, as the build does"
    source, target = folder / "state.c", folder / "state.so"
    source.write_text(SOURCE.format(minor=sys.version_info.minor))
    include = sysconfig.get_path("include")
    run([compiler, *FLAGS, f"-I{include}", str(source), "-o", str(target), *extra])
    return target.read_bytes()


def raw_wheel(folder: Path, module: bytes) -> Path:
    info = "onnxruntime-1.21.0.dist-info"
    files = {
        "onnxruntime/__init__.py": b'__version__ = "1.21.0"\n',
        "onnxruntime/capi/__init__.py": b"",
        "onnxruntime/capi/build_and_package_info.py": b"__version__ = '1.21.0'\n",
        STATE: module,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.21.0\n\n",
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n"
            f"Tag: {PYTHON}-{PYTHON}-linux_{MACHINE}\n\n"
        ).encode(),
    }
    path = folder / f"onnxruntime-1.21.0-{PYTHON}-{PYTHON}-linux_{MACHINE}.whl"
    write_wheel(with_record(files), path, source_date_epoch=0)
    return path


def finish(raw: Path, into: Path, epoch: int = 1_700_000_000) -> FinishedWheel:
    release = Release(
        into=into,
        version=VERSION,
        platform=host_platform(),
        source_date_epoch=epoch,
        licences=[LicenceText(name="re2", file="LICENSE", text=b"BSD\n")],
        forbidden_paths=(str(raw.parent),),
    )
    repair = Repair(kind="auditwheel", python=Path(sys.executable))
    return finish_wheel(raw, release, sbom=b"{}\n", repair=repair, run=run)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedWheel:
    folder = tmp_path_factory.mktemp("raw")
    return finish(raw_wheel(folder, compile_module(folder)), tmp_path_factory.mktemp("out"))


def test_it_gets_an_honest_manylinux_tag(finished: FinishedWheel) -> None:
    *_, tags = parse_wheel_filename(finished.path.name)
    platforms = {tag.platform for tag in tags}
    assert all(name.startswith("manylinux") for name in platforms)
    _, asked = newest([read_library(read_wheel(finished.path)[STATE], STATE)], "GLIBC")
    promised = [int(name.split("_")[2]) for name in platforms if name.startswith("manylinux_")]
    assert promised
    assert max(promised) >= asked


def test_the_binary_is_untouched_and_sound(finished: FinishedWheel) -> None:
    facts = inspect_elf(read_wheel(finished.path)[STATE])
    assert elf_weaknesses(facts) == []
    assert facts.rpath in ((), ("$ORIGIN",))


def test_pip_installs_it_and_python_imports_it(finished: FinishedWheel, tmp_path: Path) -> None:
    run(
        [
            *(sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet"),
            *("--target", str(tmp_path / "site"), str(finished.path)),
        ]
    )
    code = (
        "import onnxruntime; from importlib.metadata import version;"
        "from onnxruntime.capi import build_and_package_info as b;"
        "from onnxruntime.capi import onnxruntime_pybind11_state as s;"
        "print(onnxruntime.__version__, version('onnxruntime'), b.__version__, s.answer('py'))"
    )
    env = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    said = run([sys.executable, "-c", code], env=env, cwd=tmp_path).split()
    assert said == [VERSION, VERSION, VERSION, f"py3.{sys.version_info.minor}"]


def test_it_is_deterministic_and_idempotent(finished: FinishedWheel, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    again = finish(raw_wheel(raw, read_wheel(finished.path)[STATE]), tmp_path / "again")
    assert again.path.read_bytes() == finished.path.read_bytes()
    twice = finish(finished.path, tmp_path / "twice")
    assert twice.path.name == finished.path.name
    assert twice.path.read_bytes() == finished.path.read_bytes()


def test_a_library_of_this_machine_ends_the_build(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler
    (tmp_path / "helper.c").write_text("int helper(void) { return 1; }\n")
    helper = tmp_path / "libhelper.so"
    run([compiler, "-shared", "-fPIC", str(tmp_path / "helper.c"), "-o", str(helper)])
    module = compile_module(tmp_path, "-DWITH_HELPER", f"-L{tmp_path}", "-lhelper")
    with pytest.raises(WheelError, match="auditwheel says linux_") as caught:
        finish(raw_wheel(tmp_path, module), tmp_path / "out")
    assert caught.value.context["libraries"] == "libhelper.so"


def test_a_weak_binary_is_not_shipped(tmp_path: Path) -> None:
    module = compile_module(tmp_path, "-Wl,-z,execstack")
    with pytest.raises(WheelError, match="its stack is executable") as caught:
        finish(raw_wheel(tmp_path, module), tmp_path / "out")
    assert "linker flags" in caught.value.hint
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wheel_for_another_python_is_not_shipped(tmp_path: Path) -> None:
    module = compile_module(tmp_path)
    minor = f"3.{sys.version_info.minor}".encode()
    with pytest.raises(WheelError, match="contradicts itself"):
        finish(raw_wheel(tmp_path, module.replace(minor, b"3.99")), tmp_path / "out")
