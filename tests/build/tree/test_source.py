"""The tree that is configured: every file verified, and told where one is missing."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from build.errors import IntegrityError, SourceError
from build.fetch.fetched import Fetched
from build.fetch.wanted import AnyOrigin
from build.recipe.load import load_recipe
from build.tree.source import lay_out_source
from build.tree.workspace import Tree
from tests.build.tree.test_unpack import tar_of
from tests.kit.recipe_examples import SHA256, small

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
) -> Tree:
    file = small(folder)
    pin = hashlib.sha256(MODEL).hexdigest()
    file.write_text(file.read_text() + DATA.format(archive=SHA256, member=pin))
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
