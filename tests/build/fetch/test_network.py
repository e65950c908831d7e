"""Behind a proxy, a private authority, a login, a mirror: the same for files and for git."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from build.errors import FetchError, IntegrityError, UsageError
from build.fetch.cache import ContentCache
from build.fetch.context import FetchContext
from build.fetch.fetched import Fetched
from build.fetch.http import HttpOptions, TransferError
from build.fetch.models import fetch_model
from build.fetch.origins import kinds
from build.fetch.wanted import Wanted
from build.recipe.format import ArchiveOrigin, GitOrigin, HubOrigin, ModelFile, ModelRecipe
from build.recipe.load import load_model_recipe
from build.system.digest import file_sha256
from tests.kit.recipe_examples import ROOT
from tests.rehearsal.proxy import Proxy, proxying
from tests.rehearsal.repositories import publish
from tests.rehearsal.web import Site, make_certificate, serving

pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("openssl")), reason="NOT RUN: no git or no openssl"
)
FORGE, STORE = "forge.test", "store.test"
ARCHIVE = f"https://{FORGE}/someone/tool/archive/refs/tags/v1.zip"
REPOSITORY = f"https://{FORGE}/someone/tool.git"
HUB_FILE = f"https://{FORGE}/someone/model/resolve/main/model.bin"
VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy"),
    *("all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NETRC"),
    *("GIT_SSL_CAINFO", "ORTMILL_MIRROR"),
)


@dataclass(frozen=True)
class World:
    """A forge that has no name service: a proxy alone knows where it is."""

    site: Site
    port: int
    certificate: Path
    folder: Path
    commit: str
    file: Path

    def archive(self) -> ArchiveOrigin:
        return ArchiveOrigin(kind="archive", url=ARCHIVE, sha256=file_sha256(self.file))

    def git(self) -> GitOrigin:
        return GitOrigin(kind="git", url=REPOSITORY, commit=self.commit, tag="v1")

    def model(self) -> ModelRecipe:
        size, sha256 = self.file.stat().st_size, file_sha256(self.file)
        hub = HubOrigin(
            kind="hub",
            url=HUB_FILE.removesuffix("/main/model.bin"),
            revision="main",
            paths={"model.bin": "model.bin"},
        )
        shipped = load_model_recipe(ROOT / "recipes" / "models" / "all-minilm-l6-v2.toml")
        files = (ModelFile(name="model.bin", size=size, sha256=sha256),)
        return replace(shipped, files=files, origins=(hub,))

    def context(self, monkeypatch: pytest.MonkeyPatch, **variables: str) -> FetchContext:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        home = {"HOME": str(self.folder / "home"), **variables}
        for name, value in home.items():
            monkeypatch.setenv(name, value)
        return FetchContext(
            cache=ContentCache(self.folder / "cache"),
            recipes_dir=self.folder,
            env=dict(os.environ),
            choice="upstream",
            options=HttpOptions(attempts=3, backoff=0.01, connect_timeout=2, read_timeout=5),
        )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"), [FORGE, STORE])


@pytest.fixture
def world(tmp_path: Path, certificate: Path) -> Iterator[World]:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "VERSION").write_text("1\n")
    commit = publish(tree, tmp_path / "tool.git", tag="v1", day="2025-01-02")
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "home").mkdir()
    site = Site(
        archives={ARCHIVE: file},
        files={HUB_FILE: file},
        repositories={REPOSITORY: tmp_path / "tool.git"},
        storage={FORGE: STORE},
    )
    with serving(site, certificate=certificate) as port:
        yield World(site, port, certificate, tmp_path, commit, file)


@pytest.fixture
def proxy(world: World) -> Iterator[tuple[Proxy, str]]:
    routes = dict.fromkeys((FORGE, STORE), f"127.0.0.1:{world.port}")
    there = Proxy(routes=routes, user="you:secret")
    with proxying(there) as address:
        yield there, f"http://you:secret@{address}"


def obtain(origin: ArchiveOrigin | GitOrigin, context: FetchContext, name: str) -> Fetched:
    wanted = Wanted(name=name, role="dependency", choice="upstream", origins=(origin,))
    return kinds.obtain(wanted, origin, context)


def obtain_all(world: World, context: FetchContext) -> None:
    got = obtain(world.archive(), context, "tool")
    assert got.path.read_bytes() == world.file.read_bytes()
    assert obtain(world.git(), context, "source").size
    assert fetch_model(world.model(), world.folder / "model", context).files


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_a_proxy_and_a_private_authority(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    settings = {"https_proxy": proxy[1], variable: str(world.certificate)}
    obtain_all(world, world.context(monkeypatch, **settings))
    assert {path.split(":")[0] for path in proxy[0].seen} == {FORGE, STORE}


def test_an_authority_that_nobody_named_is_not_trusted(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for origin in (world.archive(), world.git()):
        context = world.context(monkeypatch, https_proxy=proxy[1])
        with pytest.raises(TransferError, match="certificate was not accepted") as caught:
            obtain(origin, context, "tool")
        assert "REQUESTS_CA_BUNDLE" in caught.value.hint


def test_the_proxys_password_is_in_no_message(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy[0].user = "somebody:else"
    for origin in (world.archive(), world.git()):
        context = world.context(
            monkeypatch, https_proxy=proxy[1], SSL_CERT_FILE=str(world.certificate)
        )
        with pytest.raises(TransferError) as caught:
            obtain(origin, context, "tool")
        assert "secret" not in f"{caught.value} {caught.value.hint} {caught.value.context}"
        assert "proxy" in f"{caught.value}"


@pytest.mark.parametrize("answers", ["moody", ""])
def test_a_server_that_is_busy_or_down_for_a_moment(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    world.site.mood = answers
    context = world.context(monkeypatch, https_proxy=proxy[1], SSL_CERT_FILE=str(world.certificate))
    obtain_all(world, context)
    assert (502 in {each.status for each in world.site.asked}) == bool(answers)


@pytest.mark.parametrize("kind", ["archive", "git"])
def test_a_connection_that_breaks_off_while_it_is_secured(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    origin = world.archive() if kind == "archive" else world.git()
    settings = {"https_proxy": proxy[1], "SSL_CERT_FILE": str(world.certificate)}
    proxy[0].drops = 2
    assert obtain(origin, world.context(monkeypatch, **settings), "tool").size
    shutil.rmtree(world.folder / "cache")
    proxy[0].drops = 99
    context = world.context(monkeypatch, **settings)
    with pytest.raises(TransferError) as caught:
        obtain(origin, context, "tool")
    assert "certificate" not in caught.value.problem
    # It is not the host that is dead.
    proxy[0].drops = 0
    assert obtain(origin, context, "tool").size


def test_certificates_that_are_not_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"there is no /no/ca\.pem"):
        world.context(monkeypatch, SSL_CERT_FILE="/no/ca.pem")


@pytest.mark.parametrize("base", ["/mirror/forge", ""])
def test_a_mirror_by_one_setting(world: World, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    mirror = f"https://127.0.0.1:{world.port}"
    moved = {
        name: {f"{mirror}{base}{urlsplit(url).path}": path for url, path in table.items()}
        for name, table in (
            ("archives", world.site.archives),
            ("files", world.site.files),
            ("repositories", world.site.repositories),
        )
    }
    world.site.archives, world.site.files = moved["archives"], moved["files"]
    world.site.repositories = moved["repositories"]
    world.site.storage = {urlsplit(mirror).netloc: f"127.0.0.1:{world.port}"}
    world.site.direct = True
    context = world.context(
        monkeypatch,
        SSL_CERT_FILE=str(world.certificate),
        ORTMILL_MIRROR=f"https://elsewhere.test/=https://nowhere.test/, "
        f"https://{FORGE}/={mirror}{base}/",
    )
    obtain_all(world, context)
    assert {each.host for each in world.site.asked} == {f"127.0.0.1:{world.port}"}


@pytest.mark.parametrize(
    "value", ["https://forge.test/", "=https://m.test/", "forge=m", "a=ftp://m"]
)
def test_a_mirror_that_says_nothing_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    with pytest.raises(UsageError, match="ORTMILL_MIRROR"):
        world.context(monkeypatch, ORTMILL_MIRROR=value)


def test_netrc_opens_what_wants_a_name(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.site.user = "me:pass"
    settings = {"https_proxy": proxy[1], "SSL_CERT_FILE": str(world.certificate)}
    for origin in (world.archive(), world.git()):
        with pytest.raises(TransferError) as caught:
            obtain(origin, world.context(monkeypatch, **settings), "tool")
        assert "netrc" in caught.value.hint
    netrc = world.folder / "home" / ".netrc"
    netrc.write_text(f"machine {FORGE} login me password pass\n")
    netrc.chmod(0o600)
    obtain_all(world, world.context(monkeypatch, **settings))
    # The other host, to which the forge redirects, never sees the password.
    assert {each.host: each.user for each in world.site.asked}[STORE] == ""


def test_a_login_page_is_called_what_it_is(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.site.mood = "login"
    settings = {"https_proxy": proxy[1], "SSL_CERT_FILE": str(world.certificate)}
    title = "Example Corp – sign in to go on"
    for origin in (world.archive(), world.git()):
        with pytest.raises((FetchError, IntegrityError)) as caught:
            obtain(origin, world.context(monkeypatch, **settings), "tool")
        assert "HTML page" in caught.value.problem
        assert title in caught.value.problem
        assert "proxy" in caught.value.hint
    with pytest.raises(IntegrityError, match=f"an HTML page, titled “{title}”"):
        fetch_model(world.model(), world.folder / "model", world.context(monkeypatch, **settings))


def test_a_pointer_and_a_gate_of_the_hub(
    world: World, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"https_proxy": proxy[1], "SSL_CERT_FILE": str(world.certificate)}
    world.site.mood = "pointer"
    with pytest.raises(IntegrityError, match="a Git LFS pointer") as pointed:
        fetch_model(world.model(), world.folder / "model", world.context(monkeypatch, **settings))
    assert "resolve" in pointed.value.hint
    world.site.mood = "gated"
    with pytest.raises(FetchError, match="answered 401") as caught:
        fetch_model(world.model(), world.folder / "model", world.context(monkeypatch, **settings))
    assert "netrc" in caught.value.hint
