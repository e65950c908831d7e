"""Another version's recipe from its tag, and pins that hold no longer, against an own upstream."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from build import cli
from build.recipe.load import load_recipe
from tests.build.pins.upstream import COMMIT, DAY, LISTS, Upstream
from tests.rehearsal.repositories import git
from tests.rehearsal.web import serving

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="NOT RUN: there is no git")


class World:
    """A checkout with one recipe, and an upstream behind a mirror."""

    def __init__(self, upstream: Upstream, base: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.upstream, self.base, self._capsys = upstream, base, capsys
        folder = upstream.folder
        (folder / "wheels").mkdir(exist_ok=True)
        self.env = {
            "HOME": str(folder),
            "PATH": "/usr/bin:/bin",
            "ORTMILL_CACHE": str(folder / "cache"),
            "ORTMILL_MIRROR": f"https://forge.invalid/={base}forge/,"
            f"https://old.invalid/={base}old/",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder / "wheels"),
        }

    def __call__(self, *argv: str) -> tuple[int, str]:
        self.upstream.serve(self.base)
        code = cli.main(list(argv), self.env)
        said = self._capsys.readouterr().err
        assert "Traceback" not in said
        return code, said

    def new(self, version: str, *more: str) -> tuple[int, str, str]:
        file = self.upstream.folder / "new.toml"
        file.unlink(missing_ok=True)
        code, said = self("recipe", "new", version, "--output", str(file), *more)
        return code, said, file.read_text() if file.exists() else ""


@pytest.fixture
def world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    upstream = Upstream(tmp_path)
    upstream.write_recipe(upstream.publish("1.0.0"))
    monkeypatch.setattr(cli, "working_folder", lambda: tmp_path)
    with serving(upstream.site) as port:
        yield World(upstream, f"http://127.0.0.1:{port}/", capsys)


def without(text: str, *lines: str) -> list[str]:
    """Return a recipe's lines without its first comment, blank lines and some that may differ."""
    kept = [line for line in text.splitlines() if line.strip() and not line.startswith("# ONNX")]
    return [line for line in kept if not line.startswith(lines)]


def test_what_it_writes_is_what_was_written_by_hand(world: World) -> None:
    """Every pin of the recipe that it is written after is spoilt: none may be copied."""
    by_hand = (world.upstream.recipes / "onnxruntime-1.0.0.toml").read_text()
    zeros = {"sha1": "0" * 40, "sha256": "0" * 64, "commit": "0" * 40}
    spoilt = re.sub(
        r'(?m)^(sha1|sha256|commit) = "[0-9a-f]+"$',
        lambda match: f'{match[1]} = "{zeros[match[1]]}"',
        by_hand,
    )
    # The one whose address in deps.txt is dead: only somebody's recipe knows another.
    known = re.compile(r'url = "https://forge.invalid/m/.*\nsha256 = .*\nsha1 = .*\n')
    spoilt = known.sub(known.findall(by_hand)[0], spoilt)
    like = world.upstream.folder / "spoilt.toml"
    like.write_text(spoilt)
    code, said, text = world.new("1.0.0", "--like", str(like))
    assert code == 0, said
    # What no tag tells, a registry's pin, comes from the recipe that it is written after.
    registry = re.compile(r'(path = "pool/main/t/tiny.tar.gz"\nsize = 10\nsha256 = )".*"')
    expected = registry.sub(rf'\1"{zeros["sha256"]}"', by_hand)
    assert without(text, "summary") == without(expected, "summary")


def test_each_difference_is_named(world: World) -> None:
    world.upstream.publish(
        "1.1.0",
        tiny="2.0",
        flags='    parser.add_argument("--no_telemetry")\n    parser.add_argument("--no_kleidiai")',
        **{"cmake/CMakeLists.txt": LISTS.format(cmake="3.30")},
    )
    world.upstream.wheel("1.1.0", "cp311-cp311-macosx_14_0_arm64", minos="14.0")
    world.upstream.wheel("1.1.0", "cp314-cp314-manylinux_2_27_x86_64.manylinux_2_28_x86_64")
    code, said, text = world.new("1.1.0")
    assert code == 0, said
    for line in (
        f"source: 1.0.0 -> 1.1.0, commit {git(world.upstream.repository, 'rev-parse', 'v1.1.0')}",
        "tools.cmake_minimum: 3.28 -> 3.30",
        "build.py: new: --no_kleidiai, --no_telemetry",
        "build_args: --no_telemetry",
        "tiny: 1.0 -> 2.0; its registries' origins are dropped",
        "kleidiai: new: this version asks for it",
        "kleidiai: read its licence",
        "python: 3.11 -> 3.11, 3.14",
        "macos-arm64: minimum_os: 13.3 -> 14.0",
    ):
        assert line in said, line
    assert "json:" not in said
    recipe = load_recipe(world.upstream.folder / "new.toml")
    assert recipe.source.date == DAY
    found = {each.name: each for each in recipe.dependencies}
    assert [each.kind for each in found["tiny"].origins] == ["archive"]
    assert len(found["tiny"].patches) == 2
    assert found["kleidiai"].platforms == ("macos-arm64",)
    assert found["kleidiai"].licence_files == ("LICENSES/Apache-2.0.txt",)
    mac = recipe.platforms["macos-arm64"]
    assert mac.environment == {"_PYTHON_HOST_PLATFORM": "macosx-14.0-arm64"}
    assert mac.official
    assert mac.official.file.endswith("macosx_14_0_arm64.whl")
    assert mac.compiler_minimum == {"apple-clang": "13.3"}
    assert "# no version of macOS" in text


@pytest.mark.parametrize(("protoc", "held"), [("no licence", True), ("another one", False)])
def test_what_versions_share_stays_shared_where_it_holds(
    world: World, protoc: str, held: bool
) -> None:
    file = world.upstream.recipes / "onnxruntime-1.0.0.toml"
    text = file.read_text()
    at = text.index('[[dependencies]]\nname = "protoc_mac"')
    script = re.search(r"\[build_script\](\n.+)+\n", text)
    assert script
    shared = world.upstream.recipes / "shared"
    shared.mkdir()
    (shared / "protoc.toml").write_text(text[at:])
    (shared / "script.toml").write_text(script[0])
    include = 'schema = 1\ninclude = ["shared/protoc.toml", "shared/script.toml"]'
    file.write_text(text[:at].replace(script[0], "").replace("schema = 1", include))
    flags = "" if held else '    parser.add_argument("--another")'
    world.upstream.publish("1.1.0", protoc=protoc, flags=flags)
    code, said, written = world.new("1.1.0")
    assert code == 0, said
    recipe = load_recipe(world.upstream.folder / "new.toml", recipes=world.upstream.recipes)
    assert recipe.include == (("shared/protoc.toml", "shared/script.toml") if held else ())
    assert ("include: shared/protoc.toml is not for this version" in said) is not held
    assert recipe.dependencies[-1].name == "protoc_mac"
    assert recipe.dependencies[-1].hosts == ("macos-arm64",)
    assert recipe.build_script
    assert ("--another" in recipe.build_script.flags) is not held
    assert written.count("protoc_mac") == (0 if held else 1)


def test_an_archive_that_is_another_one_is_refused(world: World) -> None:
    world.upstream.publish("1.1.0", tiny="2.0")
    (world.upstream.folder / "tiny2.0.zip").write_bytes(b"moved")
    code, said, text = world.new("1.1.0")
    assert (code, text) == (5, "")
    assert "tiny: what http://127.0.0.1" in said
    assert "its sha1 is" in said


def test_an_address_that_is_dead_is_said(world: World) -> None:
    code, said, text = world.new("1.0.0")
    assert code == 0
    assert f"moved: taken from https://forge.invalid/m/moved/archive/moved-{COMMIT}.zip" in said
    assert "/old/moved/" in said
    assert "answered 404" in said
    assert "the mirror whose bytes stayed" in text


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [
        ("9.9.9", 4, "has no tag v9.9.9"),
        ("latest", 2, "'latest' is no version"),
    ],
)
def test_no_such_version(world: World, version: str, code: int, said: str) -> None:
    found, message, text = world.new(version)
    assert (found, text) == (code, "")
    assert said in message


def test_a_recipe_is_not_overwritten(world: World) -> None:
    code, said = world("recipe", "new", "1.0.0")
    assert code == 2
    assert "is there already" in said


def test_pins_that_hold(world: World) -> None:
    code, said = world("recipe", "pins", "onnxruntime-1.0.0", "--origin", "upstream")
    assert code == 0, said
    assert "6 pins hold" in said


def test_pins_that_hold_no_longer_are_named(world: World) -> None:
    later = world.upstream.publish("1.1.0")
    git(world.upstream.repository, "tag", "--force", "v1.0.0", later)
    world.upstream.archives["json"].write_bytes(b"repacked")
    world.upstream.archives["moved"].unlink()
    code, said = world("recipe", "pins", "onnxruntime-1.0.0", "--origin", "upstream")
    assert code == 5
    assert "changed: onnxruntime: git+https://forge.invalid/onnxruntime.git" in said
    assert f"tag v1.0.0 moved: it points at {later}" in said
    assert "changed: json" in said
    assert "gone: moved" in said
