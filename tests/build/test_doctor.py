"""The doctor says what is there, what is not, and how each lack is mended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from build.doctor import Finding, examine
from build.fetch.wanted import plan_fetch
from build.recipe.load import load_recipe
from build.request import Request
from build.tree.workspace import Workspace
from tests.kit.recipe_examples import ROOT, SHA256, small


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    (tmp_path / "recipes").mkdir()
    return Request(
        recipe=load_recipe(small(tmp_path / "recipes")),
        recipe_file="recipes/small.toml",
        platform="linux-x86_64",
        workspace=Workspace(root=tmp_path, cache=tmp_path / "cache", recipes=tmp_path / "recipes"),
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        host="linux-x86_64",
    )


def found(request: Request) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(request)}


def test_a_machine_that_has_all_of_it_is_ready(request_: Request, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/debian/", method="HEAD").respond_with_data("")
    mirror = {"ORTMILL_DEBIAN_MIRROR": httpserver.url_for("/debian")}
    seen = found(replace(request_, env={**request_.env, **mirror}))
    assert seen["compiler"].state == "ready"
    assert seen["disk"].found.endswith(f"free for {request_.workspace.cache}")
    assert seen["inputs"].found.startswith("0 of ")
    server = f"localhost:{httpserver.port}"
    assert seen["Debian mirror"] == Finding(
        name="Debian mirror", state="ready", found=f"{server} answers"
    )
    assert not [name for name, finding in seen.items() if finding.state == "lacking"]


def test_a_lack_is_named_with_its_mend(request_: Request, tmp_path: Path) -> None:
    seen = found(replace(request_, env={**request_.env, "PATH": str(tmp_path)}))
    assert seen["compiler"].state == "lacking"
    assert "g++" in seen["compiler"].mend
    assert seen["git"].state == "optional"
    assert seen["git"].mend == "install git"
    old = replace(request_.recipe, python=("3.8",))
    assert found(replace(request_, recipe=old))["Python"].state == "lacking"


@pytest.mark.parametrize(("code", "state"), [(0, "ready"), (1, "optional")])
def test_a_builder_of_containers_is_ready_where_it_answers(
    request_: Request, tmp_path: Path, code: int, state: str
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\nexit {code}\n")
    docker.chmod(0o755)
    seen = found(replace(request_, env={**request_.env, "PATH": str(tmp_path)}))
    assert seen["docker"].state == state
    assert ("start its service" in seen["docker"].mend) == bool(code)


def test_no_origin_that_answers_is_a_lack_until_every_input_is_there(
    request_: Request, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/debian/").respond_with_data("", status=403)
    mirror = {"ORTMILL_DEBIAN_MIRROR": httpserver.url_for("/debian")}
    request = replace(request_, env={**request_.env, **mirror})
    assert found(request)["Debian mirror"].state == "lacking"
    assert "answers 403" in found(request)["Debian mirror"].found
    place = request.workspace.cache / "files/sha256" / SHA256[:2] / SHA256[2:]
    place.parent.mkdir(parents=True)
    place.touch()
    assert found(request)["Debian mirror"].state == "optional"


def test_what_comes_with_the_recipe_is_not_missing_from_the_cache(request_: Request) -> None:
    recipe = load_recipe(ROOT / "recipes" / "onnxruntime-1.21.0.toml")
    cache = request_.workspace.cache
    for item in plan_fetch(recipe, "linux-x86_64", "registry"):
        for origin in item.origins:
            if digest := getattr(origin, "sha256", None):
                place = cache / "files/sha256" / digest[:2] / digest[2:]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
    nowhere = {
        "ORTMILL_DEBIAN_MIRROR": "http://127.0.0.1:9/",
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
    }
    request = replace(request_, recipe=recipe, env={**request_.env, **nowhere})
    seen = found(request)
    here, _, wanted = seen["inputs"].found.removesuffix(" sources are in the cache").split()
    assert here == wanted
    # So a build needs nobody's answer.
    assert not [name for name, finding in seen.items() if finding.state == "lacking"]
