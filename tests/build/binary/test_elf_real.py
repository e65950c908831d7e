"""Facts of shared objects that the system's compiler makes here, weak and strong on purpose."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build.binary.elf import ElfFacts, inspect_elf
from build.binary.machine_paths import find_path
from build.binary.rules import compare_elf, elf_weaknesses
from build.errors import WheelError

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="makes ELF files with a Linux toolchain"),
]

SOURCE = r"""
#include <stdio.h>
#include <string.h>
extern "C" int tiny(const char *text) {
  char buffer[64];
  int n = snprintf(buffer, sizeof buffer, "%s at %s", text, __FILE__);
  strcat(buffer, text);
  return n + buffer[1];
}
extern "C" int another(void) { return 1; }
static int hidden(void) { return 2; }
int (*use)(void) = hidden;
"""
STRONG = (
    *("-O2", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-Wl,-z,relro", "-Wl,-z,now"),
    *("-Wl,-z,noexecstack", "-Wl,--strip-all", "-Wl,--build-id=sha1", "-Wl,-rpath,$ORIGIN"),
)


def build(folder: Path, *flags: str, name: str = "libtiny.so") -> Path:
    compiler = shutil.which("c++")
    assert compiler, "the tests need a C++ compiler, as the build does"
    source, library = folder / "tiny.cc", folder / name
    source.write_text(SOURCE)
    argv = [compiler, "-shared", "-fPIC", *flags, "-Wl,-soname,libtiny.so.1"]
    subprocess.run([*argv, "-o", str(library), str(source)], check=True)
    return library


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> ElfFacts:
    return inspect_elf(build(tmp_path_factory.mktemp("strong"), *STRONG))


def test_facts_of_a_hardened_library(strong: ElfFacts) -> None:
    assert "libc.so.6" in strong.needed
    assert strong.rpath == ("$ORIGIN",)
    assert strong.relro == "full"
    assert strong.bind_now
    assert strong.stripped
    assert strong.has_stack_protector
    assert "__strcat_chk" in strong.fortified_symbols
    assert "__stack_chk_fail" not in strong.fortified_symbols
    assert not strong.gnu_stack_executable
    assert not strong.text_relocations
    assert len(strong.build_id) == 40
    assert strong.exports_count == 3
    assert elf_weaknesses(strong) == []


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ((*STRONG, "-Wl,-z,execstack"), "stack is executable"),
        ((*STRONG, "-Wl,-z,lazy"), "RELRO is partial"),
        ((*STRONG, "-Wl,-z,norelro"), "RELRO is none"),
        (tuple(flag for flag in STRONG if "strip" not in flag), "not stripped"),
        ((*STRONG, "-fno-stack-protector"), "stack protector"),
        ((*STRONG, "-U_FORTIFY_SOURCE"), "fortified"),
        ((*STRONG, "-Wl,-rpath,/opt/somewhere"), "/opt/somewhere"),
        ((*STRONG, "-Wl,--build-id=none"), "build id"),
    ],
)
def test_each_weakness_is_seen_in_a_real_file(
    tmp_path: Path, strong: ElfFacts, flags: tuple[str, ...], part: str
) -> None:
    found = compare_elf(inspect_elf(build(tmp_path, *flags)), strong)
    assert any(part in line for line in found)


def test_a_path_of_the_machine_is_in_the_binary_until_it_is_mapped(tmp_path: Path) -> None:
    plain = build(tmp_path, *STRONG).read_bytes()
    assert find_path(plain, [str(tmp_path)]).text == str(tmp_path / "tiny.cc")
    mapped = build(tmp_path, *STRONG, f"-ffile-prefix-map={tmp_path}=/src").read_bytes()
    assert find_path(mapped, [str(tmp_path)]) is None


@pytest.mark.parametrize("part", [0.02, 0.5])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, part: float) -> None:
    content = build(tmp_path, *STRONG).read_bytes()
    with pytest.raises(WheelError, match="no ELF file that can be read"):
        inspect_elf(content[: int(len(content) * part)])
