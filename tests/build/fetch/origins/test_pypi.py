"""Finding one exact file where pip would look, without pip installing anything."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from build.errors import IntegrityError
from build.fetch.cache import ContentCache
from build.fetch.download import Transfer
from build.fetch.http import HttpOptions, TransferError
from build.fetch.origins.pip_settings import (
    PipSettings,
    parse_pip_config,
    read_pip_settings,
    settings_from_config,
)
from build.fetch.origins.pypi import fetch_pypi, http_options, is_trusted
from build.recipe.format import PypiOrigin
from build.system.environment import network_environment

FILE = "demo_pkg-1.0.tar.gz"
DATA = b"an sdist" * 50
SHA256 = hashlib.sha256(DATA).hexdigest()
ORIGIN = PypiOrigin(
    kind="pypi", project="demo-pkg", release="1.0", file=FILE, size=len(DATA), sha256=SHA256
)


@pytest.fixture
def transfer(tmp_path: Path) -> Transfer:
    options = HttpOptions(attempts=2, backoff=0.01, connect_timeout=2)
    return Transfer(cache=ContentCache(tmp_path / "cache"), options=options)


def serve(server: HTTPServer, data: bytes = DATA, *, fragment: str = "", index: str = "i") -> str:
    """Serve a simple index (PEP 503) with one project; return the index's address."""
    page = (
        "<!DOCTYPE html><html><body>"
        '<a href="/files/demo_pkg-0.9.tar.gz">demo_pkg-0.9.tar.gz</a>'
        f'<a href="/files/{index}/{FILE}{fragment}" data-requires-python="&lt;3">{FILE}</a>'
        "</body></html>"
    )
    server.expect_request(f"/{index}/demo-pkg/").respond_with_data(page, content_type="text/html")
    server.expect_request(f"/files/{index}/{FILE}").respond_with_data(data)
    return server.url_for(f"/{index}/")


def test_simple_index(httpserver: HTTPServer, transfer: Transfer) -> None:
    settings = PipSettings(index_urls=(serve(httpserver),))
    got = fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo")
    assert got.read_bytes() == DATA
    paths = [request.path for request, _ in httpserver.log]
    assert paths == ["/i/demo-pkg/", f"/files/i/{FILE}"]


def test_json_index(httpserver: HTTPServer, transfer: Transfer) -> None:
    """The JSON form of the index is PEP 691; a yanked release (PEP 592) is still pinned."""
    entry = {
        "filename": FILE,
        "url": f"../../files/{FILE}",
        "hashes": {"sha256": SHA256},
        "yanked": "a reason",
    }
    page = json.dumps({"meta": {"api-version": "1.0"}, "name": "demo-pkg", "files": [entry]})
    httpserver.expect_request("/simple/demo-pkg/").respond_with_data(
        page, content_type="application/vnd.pypi.simple.v1+json"
    )
    httpserver.expect_request(f"/files/{FILE}").respond_with_data(DATA)
    settings = PipSettings(index_urls=(httpserver.url_for("/simple"),))
    assert (
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo").read_bytes() == DATA
    )


def test_find_links_comes_first(tmp_path: Path, httpserver: HTTPServer, transfer: Transfer) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / FILE).write_bytes(DATA)
    (folder / "README").write_text("not a package")
    settings = PipSettings(index_urls=(httpserver.url_for("/i/"),), find_links=(str(folder),))
    assert (
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo").read_bytes() == DATA
    )
    assert not httpserver.log
    assert (folder / FILE).read_bytes() == DATA


def test_local_places_without_the_project_are_passed_over(
    tmp_path: Path, httpserver: HTTPServer, transfer: Transfer
) -> None:
    (tmp_path / "empty").mkdir()
    settings = PipSettings(
        find_links=(str(tmp_path / "empty"), str(tmp_path / "not-there")),
        index_urls=(
            (tmp_path / "empty").as_uri(),
            (tmp_path / "neither").as_uri(),
            serve(httpserver),
        ),
    )
    assert (
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo").read_bytes() == DATA
    )


def test_local_index(tmp_path: Path, transfer: Transfer) -> None:
    project = tmp_path / "simple" / "demo-pkg"
    project.mkdir(parents=True)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / FILE).write_bytes(DATA)
    (project / "index.html").write_text(f'<a href="../../files/{FILE}#sha256={SHA256}">{FILE}</a>')
    settings = PipSettings(index_urls=((tmp_path / "simple").as_uri(),))
    assert (
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo").read_bytes() == DATA
    )


def test_dead_index_does_not_hide_the_next(httpserver: HTTPServer, transfer: Transfer) -> None:
    settings = PipSettings(index_urls=("https://nowhere.invalid/simple", serve(httpserver)))
    assert (
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo").read_bytes() == DATA
    )


def test_other_file_of_the_same_name_does_not_hide_the_pinned_one(
    tmp_path: Path, httpserver: HTTPServer, transfer: Transfer
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / FILE).write_bytes(b"rebuilt")
    other = serve(httpserver, b"other", fragment=f"#sha256={'1' * 64}", index="other")
    settings = PipSettings(
        find_links=(str(tmp_path / "links"),), index_urls=(other, serve(httpserver))
    )
    assert (
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo").read_bytes() == DATA
    )
    assert f"/files/other/{FILE}" not in [request.path for request, _ in httpserver.log]


def test_only_other_files_is_an_integrity_error(
    tmp_path: Path, httpserver: HTTPServer, transfer: Transfer
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / FILE).write_bytes(b"rebuilt")
    settings = PipSettings(
        find_links=(str(tmp_path / "links"),), index_urls=(httpserver.url_for("/none"),)
    )
    with pytest.raises(IntegrityError) as caught:
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo")
    assert caught.value.context["expected sha256"] == SHA256
    assert (tmp_path / "links" / FILE).read_bytes() == b"rebuilt"


def test_index_that_lies_is_an_integrity_error(httpserver: HTTPServer, transfer: Transfer) -> None:
    index = serve(httpserver, b"X" * len(DATA), fragment=f"#sha256={SHA256}")
    with pytest.raises(IntegrityError):
        fetch_pypi(
            ORIGIN, settings=PipSettings(index_urls=(index,)), transfer=transfer, label="demo"
        )


def test_not_found_tells_where_was_looked(httpserver: HTTPServer, transfer: Transfer) -> None:
    index = httpserver.url_for("/i/")
    httpserver.expect_request("/i/demo-pkg/").respond_with_data("no", status=404)
    with pytest.raises(TransferError, match="none of the 1 places") as caught:
        fetch_pypi(
            ORIGIN, settings=PipSettings(index_urls=(index,)), transfer=transfer, label="demo"
        )
    assert caught.value.host is None
    assert caught.value.context[index + "demo-pkg/"] == "answered 404"


def test_index_out_of_reach_is_told_apart(transfer: Transfer) -> None:
    settings = PipSettings(index_urls=("https://me:secret@nowhere.invalid/simple",))
    with pytest.raises(TransferError) as caught:
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo")
    assert caught.value.host == "nowhere.invalid"
    assert "secret" not in f"{caught.value.problem} {caught.value.context}"


def test_plain_http_index_is_passed_over_as_pip_does(transfer: Transfer) -> None:
    settings = PipSettings(index_urls=("http://nowhere.invalid/simple",))
    with pytest.raises(TransferError) as caught:
        fetch_pypi(ORIGIN, settings=settings, transfer=transfer, label="demo")
    assert "trusted-host" in caught.value.context["http://nowhere.invalid/simple"]


def test_password_of_the_index_goes_with_its_own_files(
    httpserver: HTTPServer, transfer: Transfer
) -> None:
    seen: list[bool] = []

    def guarded(request: Request) -> Response:
        seen.append(request.authorization is not None)
        return Response(DATA)

    base = httpserver.url_for("")
    page = f'<a href="{base}/files/{FILE}">{FILE}</a>'
    httpserver.expect_request("/i/demo-pkg/").respond_with_data(page, content_type="text/html")
    httpserver.expect_request(f"/files/{FILE}").respond_with_handler(guarded)
    index = base.replace("http://", "http://me:secret@") + "/i/"
    fetch_pypi(ORIGIN, settings=PipSettings(index_urls=(index,)), transfer=transfer, label="demo")
    assert seen == [True]


def test_trusted_hosts_and_certificates() -> None:
    settings = PipSettings(
        index_urls=(), trusted_hosts=("a.invalid", "b.invalid:8443"), cert="/c.pem", proxy="p:1"
    )
    assert is_trusted("https://a.invalid/x", settings)
    assert is_trusted("https://b.invalid:8443/x", settings)
    assert not is_trusted("https://b.invalid/x", settings)
    options = http_options(settings, HttpOptions())
    assert options.verify == "/c.pem"
    assert options.proxies == {"http": "p:1", "https": "p:1"}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(), max_size=5))
def test_config_list_round_trip(config: dict[str, str]) -> None:
    """`pip config list` prints each value as Python's repr of a text."""
    text = "\n".join(f"global.{key}={value!r}" for key, value in config.items())
    assert parse_pip_config(text) == config


def test_config_sections_weigh_as_in_pip() -> None:
    text = (
        ":env:.cert='env'\nglobal.cert='file'\nglobal.proxy='global'\ndownload.proxy='download'\n"
        "install.proxy='not ours'\n"
    )
    assert parse_pip_config(text) == {"cert": "env", "proxy": "download"}


def test_settings_from_config() -> None:
    settings = settings_from_config(
        {
            "index-url": "https://one.invalid/simple",
            "extra-index-url": "\nhttps://two.invalid/simple\nfile:///three",
            "find-links": "/wheels ~/mine",
        }
    )
    assert settings.index_urls == (
        "https://one.invalid/simple",
        "https://two.invalid/simple",
        "file:///three",
    )
    assert settings.find_links == ("/wheels", str(Path("~/mine").expanduser()))
    assert settings_from_config({"no-index": "true", "index-url": "x"}).index_urls == ()
    # Without any setting the default index is asked, as pip does.
    assert len(settings_from_config({}).index_urls) == 1


def test_pip_itself_is_asked(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://from-file.invalid/simple\n"
        "extra-index-url =\n  https://a.invalid/simple\n  https://b.invalid/simple\n"
    )
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(config),
        "PIP_FIND_LINKS": "/from/env",
    }
    settings = read_pip_settings(env)
    assert settings.index_urls[0] == "https://from-file.invalid/simple"
    assert "/from/env" in settings.find_links


def test_python_without_pip_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TransferError) as caught:
        read_pip_settings({}, python=str(tmp_path / "no-python"))
    assert "install pip" in caught.value.hint


def test_network_environment_lets_nothing_else_through() -> None:
    env = {
        "PATH": "/bin",
        "https_proxy": "p",
        "PYTHONPATH": "x",
        "PYTHONHOME": "x",
        "VIRTUAL_ENV": "x",
        "GIT_DIR": "x",
        "PIP_CERT": "c",
        "CMAKE_PREFIX_PATH": "x",
    }
    assert network_environment(env) == {"PATH": "/bin", "https_proxy": "p"}
    assert network_environment(env, prefixes=("PIP_",))["PIP_CERT"] == "c"
