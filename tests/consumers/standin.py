"""Stand-ins for an ONNX Runtime of another version: the two functions that a program asks first."""

from __future__ import annotations

from pathlib import Path

from tests.consumers.toolchains import run, tool

_OLDER = """\
#include <stddef.h>
#include <stdint.h>
struct Base { const void* (*api)(uint32_t); const char* (*version)(void); };
static char table[1];
static const void* api(uint32_t wanted) { return wanted <= 20 ? table : NULL; }
static const char* version(void) { return "1.20.1"; }
static const struct Base base = {api, version};
const struct Base* OrtGetApiBase(void) { return &base; }
"""
# A newer one serves the older API as well, which the real library does for it.
_NEWER = """\
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
struct Base { const void* (*api)(uint32_t); const char* (*version)(void); };
static const void* api(uint32_t wanted) {
  void* real = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
  const struct Base* (*get)(void) = (const struct Base* (*)(void))dlsym(real, "OrtGetApiBase");
  return get()->api(wanted);
}
static const char* version(void) { return "1.30.0"; }
static const struct Base base = {api, version};
const struct Base* OrtGetApiBase(void) { return &base; }
"""


def _compiled(source: str, into: Path, *flags: str) -> Path:
    library = into / "libonnxruntime.so"
    (into / "standin.c").write_text(source)
    run([tool("cc"), "-shared", "-fPIC", into / "standin.c", "-o", library, *flags])
    return library


def older_library(into: Path) -> Path:
    """Compile a library that says 1.20.1 and has no API 21."""
    return _compiled(_OLDER, into)


def newer_library(real: Path, into: Path) -> Path:
    """Compile a library that says 1.30.0 and gives the API of a real one."""
    return _compiled(_NEWER, into, f'-DREAL="{real}"', "-ldl")
