"""pip installs from the index that is written, over a file system and over HTTP."""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.errors import UsageError, WheelError
from build.index import read_offers, write_index

VERSION = "1.0+ours.1a2b"


def demo(folder: Path, version: str = VERSION, requires: str = ">=3.8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"De_mo-{version}-py3-none-any.whl"
    info = f"de_mo-{version}.dist-info"
    requires = f"Requires-Python: {requires}\n" if requires else ""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("de_mo.py", f"version = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: de-mo\nVersion: {version}\n{requires}",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return file


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def pip_download(index: str, into: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--index-url", index,
         "--dest", str(into), "de-mo"],
        check=False, capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
        | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"},
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.integration
def test_pip_takes_the_newest_wheel_that_fits_and_checks_its_hash(
    tmp_path: Path, served: str
) -> None:
    demo(tmp_path / "wheels/macos-arm64")
    demo(tmp_path / "wheels", version="2.0", requires=">=3.99")
    folder = tmp_path / "wheels/simple"
    written = write_index(read_offers(tmp_path / "wheels"), folder)
    assert {file.relative_to(folder).as_posix() for file in written} == {
        "index.html", "index.json", "de-mo/index.html", "de-mo/index.json",
    }  # fmt: skip
    for number, index in enumerate((f"{served}/wheels/simple", folder.as_uri())):
        into = tmp_path / f"got{number}"
        said = pip_download(index, into)
        assert [file.name for file in into.iterdir()] == [f"De_mo-{VERSION}-py3-none-any.whl"], said
    target = tmp_path / f"wheels/macos-arm64/De_mo-{VERSION}-py3-none-any.whl"
    target.write_bytes(target.read_bytes() + b"changed")
    assert "DO NOT MATCH THE HASHES" in pip_download(f"{served}/wheels/simple", tmp_path / "no")


def test_the_json_names_what_the_page_names(tmp_path: Path) -> None:
    file = demo(tmp_path)
    (offer,) = read_offers(tmp_path)
    write_index([offer], tmp_path / "simple")
    project = json.loads((tmp_path / "simple/de-mo/index.json").read_text())
    assert project["meta"] == {"api-version": "1.0"}
    assert project["name"] == "de-mo"
    assert project["files"] == [
        {
            "filename": file.name,
            "url": "../../De_mo-1.0%2Bours.1a2b-py3-none-any.whl",
            "hashes": {"sha256": offer.sha256},
            "size": file.stat().st_size,
            "requires-python": ">=3.8",
        }
    ]
    page = (tmp_path / "simple/de-mo/index.html").read_text()
    assert f"#sha256={offer.sha256}" in page
    assert 'data-requires-python="&gt;=3.8"' in page
    before = {each: each.read_bytes() for each in (tmp_path / "simple").rglob("*.*")}
    write_index(read_offers(tmp_path), tmp_path / "simple")
    assert before == {each: each.read_bytes() for each in (tmp_path / "simple").rglob("*.*")}


def test_an_empty_folder_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no wheel below"):
        read_offers(tmp_path)
    (tmp_path / "broken-1.0-py3-none-any.whl").write_bytes(b"not a zip")
    with pytest.raises(WheelError, match=r"broken-1\.0.* is no wheel"):
        read_offers(tmp_path)
