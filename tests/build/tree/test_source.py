"""The tree that is configured: every file verified, and told where one is missing."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import IntegrityError, ResourceError, SourceError
from build.fetch.fetched import Fetched
from build.fetch.wanted import AnyOrigin
from build.recipe.format import OverlayOrigin
from build.recipe.load import load_recipe
from build.tree.source import lay_out_source
from build.tree.workspace import Tree
from tests.build.tree.test_unpack import tar_of
from tests.kit.recipe_examples import SHA256, shipped, small

UPSTREAM = {
    "o/VERSION_NUMBER": b"9.9.9\n",
    "o/LICENSE": b"MIT",
    "o/cmake/deps.txt": b"tiny;https://forge.invalid/tiny.zip;0\n",
}
MODEL = b"a model"
DATA = """
[[data]]
into = "models"
licence = "MIT"
[data.origin]
kind = "pypi"
project = "onnxruntime"
release = "9.9.9"
file = "onnxruntime.whl"
size = 1
sha256 = "{archive}"
[data.members]
"a/m.onnx" = "{member}"
"""


def fetched(path: Path, content: bytes, origin: AnyOrigin) -> Fetched:
    path.write_bytes(content)
    return Fetched(
        name=path.name,
        version="1",
        origin=origin,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def lay_out(
    folder: Path,
    *,
    upstream: Mapping[str, bytes] = UPSTREAM,
    member: str = "a/m.onnx",
    model: bytes = MODEL,
    more: str = "",
) -> Tree:
    file = small(folder)
    pin = hashlib.sha256(MODEL).hexdigest()
    file.write_text(file.read_text() + DATA.format(archive=SHA256, member=pin) + more)
    recipe = load_recipe(file)
    tree = Tree(root=folder / "tree")
    wheel = folder / "onnxruntime.whl"
    with zipfile.ZipFile(wheel, "w") as zipped:
        zipped.writestr(member, model)
    tiny = fetched(folder / "tiny", tar_of({"t/tiny.h": b"1"}), recipe.dependencies[0].origins[0])
    lay_out_source(
        recipe,
        tree,
        source=fetched(folder / "source", tar_of(upstream), recipe.source.origins[1]),
        dependencies={"tiny": tiny},
        data=[fetched(wheel, wheel.read_bytes(), recipe.data[0].origin)],
        recipes=folder,
    )
    return tree


def test_the_tree_has_sources_licences_data_and_local_files_alone(tmp_path: Path) -> None:
    tree = lay_out(tmp_path)
    assert (tree.deps / "tiny" / "tiny.h").read_bytes() == b"1"
    assert (tree.licences / "onnxruntime" / "LICENSE").read_bytes() == b"MIT"
    assert (tree.source / "models" / "m.onnx").read_bytes() == MODEL
    lines = (tree.source / "cmake" / "deps.txt").read_text().splitlines()
    content = (tmp_path / "tiny").read_bytes()
    sha1 = hashlib.sha1(content).hexdigest()  # upstream's format asks for it
    assert lines[1:] == [f"tiny;{tmp_path / 'tiny'};{sha1}"]
    assert "://" not in "".join(lines)


def test_whatever_stood_there_is_replaced(tmp_path: Path) -> None:
    stale = lay_out(tmp_path).source / "stale.txt"
    stale.write_text("from another build")
    lay_out(tmp_path)
    assert not stale.exists()


@pytest.mark.parametrize(
    ("upstream", "said"),
    [
        ({**UPSTREAM, "o/VERSION_NUMBER": b"9.9.8\n"}, "calls itself 9.9.8, the recipe builds 9"),
        ({**UPSTREAM, "o/VERSION_NUMBER": b"\xff\xfe"}, "the recipe builds 9.9.9"),
        ({k: v for k, v in UPSTREAM.items() if "VERSION" not in k}, "has no VERSION_NUMBER"),
        ({k: v for k, v in UPSTREAM.items() if "LICENSE" not in k}, "licence file LICENSE is not"),
    ],
)
def test_another_tree_than_the_recipes(
    tmp_path: Path, upstream: dict[str, bytes], said: str
) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        lay_out(tmp_path, upstream=upstream)
    assert caught.value.hint


def test_a_member_that_the_wheel_lacks_and_one_that_is_another(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"onnxruntime\.whl holds no a/m\.onnx"):
        lay_out(tmp_path, member="b/m.onnx")
    with pytest.raises(IntegrityError, match="is not the pinned one"):
        lay_out(tmp_path, model=b"another")


def test_what_is_unpacked_in_part_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of no use, and it may be what has filled the disk."""

    def full(archive: Path, into: Path, **_: object) -> None:
        into.mkdir(parents=True)
        (into / "half").touch()
        raise ResourceError("the disk is full")

    monkeypatch.setattr("build.tree.source.unpack", full)
    with pytest.raises(ResourceError):
        lay_out(tmp_path)
    assert not list((tmp_path / "tree").rglob("half"))


SCRIPT = 'parser.add_argument("--use_coreml")\nparser.add_argument("--config")\n'
LISTED = '[build_script]\npath = "tools/build.py"\nflags = ["--config", "--use_coreml"]\n'


def test_the_flags_that_the_recipe_lists_are_the_scripts(tmp_path: Path) -> None:
    same = {**UPSTREAM, "o/tools/build.py": SCRIPT.encode()}
    lay_out(tmp_path, upstream=same, more=LISTED)
    other = {**UPSTREAM, "o/tools/build.py": SCRIPT.replace("config", "configs").encode()}
    with pytest.raises(SourceError, match="does not list the flags of this tree's tools") as no:
        lay_out(tmp_path, upstream=other, more=LISTED)
    assert no.value.context == {
        "only in the script": "--configs",
        "only in the recipe": "--config",
    }
    for script in (None, b"def"):
        with pytest.raises(SourceError, match=r"tools/build\.py cannot be read"):
            lay_out(
                tmp_path,
                upstream=UPSTREAM if script is None else {**UPSTREAM, "o/tools/build.py": script},
                more=LISTED,
            )


COREMLTOOLS = """
diff --git a/mlmodel/FileWriter.hpp b/mlmodel/FileWriter.hpp
--- a/mlmodel/FileWriter.hpp
+++ b/mlmodel/FileWriter.hpp
@@ -1,1 +1,2 @@
+#include <cstdint>
 #include <fstream>
"""


@pytest.mark.parametrize("kind", ["archive", "overlay"])
def test_upstreams_patch_of_coremltools_is_for_upstreams_archive(tmp_path: Path, kind: str) -> None:
    coremltools = next(each for each in shipped().dependencies if each.name == "coremltools")
    origin = next(each for each in coremltools.origins if each.kind == kind)
    recipe = replace(
        load_recipe(small(tmp_path)),
        dependencies=(replace(coremltools, content=coremltools.name, licence_files=()),),
    )
    upstream = {**UPSTREAM, f"o/{coremltools.patches[0].file}": COREMLTOOLS.encode()}
    files = {"c/mlmodel/FileWriter.hpp": b"#include <fstream>\n"}
    got = fetched(tmp_path / "coremltools", tar_of(files), replace(origin, licence_files=()))
    if isinstance(origin, OverlayOrigin):
        folder = tmp_path / "overlay"
        (folder / "mlmodel").mkdir(parents=True)
        (folder / "mlmodel" / "FileWriter.hpp").write_bytes(b"#include <fstream>\n")
        got = replace(got, path=folder)
    tree = Tree(root=tmp_path / "tree")
    applied = lay_out_source(
        recipe,
        tree,
        source=fetched(tmp_path / "source", tar_of(upstream), recipe.source.origins[1]),
        dependencies={"coremltools": got},
        data=[],
        recipes=tmp_path,
    )
    header = (tree.deps / "coremltools" / "mlmodel" / "FileWriter.hpp").read_text()
    assert ("<cstdint>" in header) == (kind == "archive")
    assert applied == [coremltools.patches[0].file] * (kind == "archive")
