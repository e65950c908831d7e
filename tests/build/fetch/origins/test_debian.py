"""Finding the Debian mirror in apt's files, and one file on it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from build.errors import IntegrityError, UsageError
from build.fetch.cache import ContentCache
from build.fetch.download import Transfer
from build.fetch.http import HttpOptions, TransferError
from build.fetch.origins.apt_sources import (
    AptEntry,
    apt_proxies,
    debian_mirrors,
    is_main_archive,
    parse_apt_conf,
    parse_deb822,
    parse_one_line,
)
from build.fetch.origins.debian import DebianMirrors, fetch_debian, file_url, find_mirrors
from build.recipe.format import DebianOrigin

DEB822 = """\
# See sources.list(5)
Types: deb deb-src
# the address in a comment: http://comment.invalid/debian
URIs: http://mirror.invalid/debian/
Suites: trixie trixie-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.invalid/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
Enabled: no
URIs: http://switched-off.invalid/debian
Suites: trixie
Components: main
"""


def apt(root: Path, **files: str) -> Path:
    """Write apt's files; ``__`` in a name stands for a folder, ``_`` before the end for a dot."""
    for name, text in files.items():
        path = root / "etc" / "apt" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_deb822(tmp_path: Path) -> None:
    apt(tmp_path, sources_DOT_list_DOT_d__debian_DOT_sources=DEB822)
    assert debian_mirrors(tmp_path) == ("http://mirror.invalid/debian",)


def test_deb822_fields() -> None:
    first, second, *_ = parse_deb822(DEB822)
    assert first.uri == "http://mirror.invalid/debian/"
    assert (first.suite, second.suite) == ("trixie", "trixie-updates")
    assert first.components == ("main", "contrib")


@pytest.mark.parametrize(
    "line",
    [
        "deb http://m.invalid/debian bookworm main",
        "deb http://m.invalid/debian/ bookworm main contrib # a comment",
        "deb [arch=amd64] http://m.invalid/debian bookworm main",
        "deb [ arch=amd64 signed-by=/usr/share/keyrings/x.gpg ] http://m.invalid/debian sid main",
        "deb-src\thttp://m.invalid/debian\tbookworm-updates\tnon-free main",
        "  deb http://m.invalid/debian stable-backports main",
    ],
)
def test_one_line(tmp_path: Path, line: str) -> None:
    apt(tmp_path, sources_DOT_list=f"# head\n\n{line}\nnonsense\n")
    assert debian_mirrors(tmp_path) == ("http://m.invalid/debian",)


@pytest.mark.parametrize(
    "line",
    [
        "# deb http://m.invalid/debian bookworm main",
        "deb http://m.invalid/debian-security bookworm-security main",
        "deb http://m.invalid/debian bookworm contrib",
        "deb http://m.invalid/linux/debian bookworm stable",
        "deb http://m.invalid/repos/apt bookworm main",
        "deb http://m.invalid/ubuntu noble main",
        "deb http://m.invalid/debian nodistro main",
        "deb cdrom:[Debian]/debian bookworm main",
        "deb http://m.invalid/debian",
    ],
)
def test_what_is_not_the_main_archive(tmp_path: Path, line: str) -> None:
    apt(tmp_path, sources_DOT_list=line + "\n")
    assert debian_mirrors(tmp_path) == ()


def test_the_archives_own_key_comes_first(tmp_path: Path) -> None:
    third = "deb [signed-by=/k/tool.gpg] https://third.invalid/tool/debian/ trixie main\n"
    apt(
        tmp_path,
        sources_DOT_list=third,
        sources_DOT_list_DOT_d__z_DOT_sources=DEB822,
        sources_DOT_list_DOT_d__a_DOT_list="deb https://plain.invalid/debian trixie main\n",
    )
    assert debian_mirrors(tmp_path) == (
        "http://mirror.invalid/debian",
        "https://plain.invalid/debian",
        "https://third.invalid/tool/debian",
    )


def test_mirror_list_and_file_addresses(tmp_path: Path) -> None:
    apt(
        tmp_path,
        sources_DOT_list=(
            "deb mirror+file:/etc/apt/mirrors/debian.list trixie main\n"
            "deb file:/srv/debian trixie main\n"
        ),
        mirrors__debian_DOT_list=(
            "# best first\nhttp://one.invalid/debian\tpriority:1\nhttp://two.invalid/debian/\n"
        ),
    )
    assert set(debian_mirrors(tmp_path)) == {
        "http://one.invalid/debian",
        "http://two.invalid/debian",
        "file:///srv/debian",
    }


words = st.text('abcdefgh-/.:[]#=" \t', max_size=30)


@given(st.lists(words, max_size=8))
def test_no_sources_text_makes_the_parsers_fail(lines: list[str]) -> None:
    text = "\n".join(lines)
    for entry in [*parse_deb822(text), *parse_one_line(text), *parse_one_line("deb " + text)]:
        assert entry.uri.strip() == entry.uri
        is_main_archive(entry)


hosts = st.from_regex(r"[a-z]{1,8}\.invalid", fullmatch=True)
suites = st.sampled_from(["sid", "trixie", "bookworm-updates", "stable-backports"])


@given(host=hosts, suite=suites, extra=st.lists(st.sampled_from(["contrib", "non-free"])))
def test_both_formats_say_the_same(host: str, suite: str, extra: list[str]) -> None:
    components = ("main", *extra)
    entry = AptEntry(uri=f"http://{host}/debian", suite=suite, components=components)
    line = f"deb {entry.uri} {suite} {' '.join(components)}"
    stanza = f"Types: deb\nURIs: {entry.uri}\nSuites: {suite}\nComponents: {' '.join(components)}"
    assert list(parse_one_line(line)) == [entry] == list(parse_deb822(stanza))
    assert is_main_archive(entry)


@pytest.mark.parametrize(
    "text",
    [
        'Acquire::http::Proxy "http://proxy.invalid:3142";',
        'Acquire { http { Proxy "http://proxy.invalid:3142"; }; };',
        'acquire::HTTP { Pipeline-Depth 0; Proxy "http://proxy.invalid:3142"; };',
        '// a comment "x";\n/* Acquire::http::Proxy "no"; */\n# more\n'
        "Acquire::http::Proxy http://proxy.invalid:3142;",
    ],
)
def test_apt_proxy(tmp_path: Path, text: str) -> None:
    apt(tmp_path, apt_DOT_conf_DOT_d__99proxy=text + '\nAPT::Install-Recommends "false";\n')
    assert apt_proxies(tmp_path) == {"http": "http://proxy.invalid:3142"}


def test_apt_proxy_for_one_host_and_direct(tmp_path: Path) -> None:
    conf = (
        'Acquire::http::Proxy "http://p.invalid";Acquire::http::Proxy::near.invalid "DIRECT";'
        'Acquire::https::Proxy "DIRECT";'
    )
    apt(tmp_path, apt_DOT_conf=conf)
    assert apt_proxies(tmp_path) == {"http": "http://p.invalid", "http://near.invalid": ""}


@given(st.text('Aa:;{}"/*# \n\\', max_size=40))
def test_no_apt_conf_makes_the_parser_fail(text: str) -> None:
    assert all(isinstance(value, str) for value in parse_apt_conf(text).values())


def test_variable_wins_over_apt(tmp_path: Path) -> None:
    apt(tmp_path, sources_DOT_list_DOT_d__debian_DOT_sources=DEB822)
    env = {"ORTMILL_DEBIAN_MIRROR": "https://mine.invalid/debian/"}
    assert find_mirrors(env, tmp_path).addresses == ("https://mine.invalid/debian",)
    with pytest.raises(UsageError, match="no address"):
        find_mirrors({"ORTMILL_DEBIAN_MIRROR": "mine.invalid/debian"}, tmp_path)


def test_machine_without_apt_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(TransferError) as caught:
        find_mirrors({}, tmp_path)
    assert "ORTMILL_DEBIAN_MIRROR" in caught.value.hint
    assert caught.value.exit_code == 4


PATH = "pool/main/p/psimd/psimd_0.0~git20200517+dfsg.orig.tar.xz"
DATA = b"the archive" * 100
ORIGIN = DebianOrigin(
    kind="debian", path=PATH, size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest()
)


@pytest.fixture
def transfer(tmp_path: Path) -> Transfer:
    options = HttpOptions(attempts=2, backoff=0.01, connect_timeout=2)
    return Transfer(cache=ContentCache(tmp_path / "cache"), options=options)


def test_plus_and_tilde_stay_literal() -> None:
    assert file_url("http://m.invalid/debian", PATH) == f"http://m.invalid/debian/{PATH}"
    assert file_url("http://m.invalid", "a b#c") == "http://m.invalid/a%20b%23c"


def test_fetch_over_http(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request(f"/debian/{PATH}").respond_with_data(DATA)
    mirrors = DebianMirrors(addresses=(httpserver.url_for("/debian"),), proxies={})
    got = fetch_debian(ORIGIN, mirrors=mirrors, transfer=transfer, label="psimd")
    assert got.read_bytes() == DATA


def test_fetch_from_a_folder(tmp_path: Path, transfer: Transfer) -> None:
    (tmp_path / "my mirror" / PATH).parent.mkdir(parents=True)
    (tmp_path / "my mirror" / PATH).write_bytes(DATA)
    env = {"ORTMILL_DEBIAN_MIRROR": (tmp_path / "my mirror").as_uri()}
    got = fetch_debian(ORIGIN, mirrors=find_mirrors(env), transfer=transfer, label="psimd")
    assert got.read_bytes() == DATA


def test_second_mirror_is_asked(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request(f"/two/{PATH}").respond_with_data(DATA)
    httpserver.expect_request(f"/one/{PATH}").respond_with_data("no", status=404)
    addresses = (httpserver.url_for("/one"), httpserver.url_for("/two"))
    mirrors = DebianMirrors(addresses=addresses, proxies={})
    assert (
        fetch_debian(ORIGIN, mirrors=mirrors, transfer=transfer, label="psimd").read_bytes() == DATA
    )


def test_no_mirror_has_it(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request("/one/" + PATH).respond_with_data("no", status=404)
    httpserver.expect_request("/two/" + PATH).respond_with_data("no", status=404)
    addresses = (httpserver.url_for("/one"), httpserver.url_for("/two"))
    mirrors = DebianMirrors(addresses=addresses, proxies={})
    with pytest.raises(TransferError, match="none of 2 mirrors"):
        fetch_debian(ORIGIN, mirrors=mirrors, transfer=transfer, label="psimd")


def test_wrong_file_on_the_mirror(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request("/one/" + PATH).respond_with_data(b"X" * len(DATA))
    mirrors = DebianMirrors(addresses=(httpserver.url_for("/one"),), proxies={})
    with pytest.raises(IntegrityError):
        fetch_debian(ORIGIN, mirrors=mirrors, transfer=transfer, label="psimd")


def test_apts_proxy_is_used(httpserver: HTTPServer, transfer: Transfer) -> None:
    """A request through a proxy names the whole address; the test server plays the proxy."""
    seen: list[str] = []

    def answer(request: Request) -> Response:
        seen.append(request.host)
        return Response(DATA)

    httpserver.expect_request(f"/debian/{PATH}").respond_with_handler(answer)
    mirrors = DebianMirrors(
        addresses=("http://behind.invalid/debian",), proxies={"http": httpserver.url_for("")}
    )
    assert (
        fetch_debian(ORIGIN, mirrors=mirrors, transfer=transfer, label="psimd").read_bytes() == DATA
    )
    assert seen == ["behind.invalid"]
