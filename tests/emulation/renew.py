"""Write the pins again from the suite's own index: ``python -m tests.emulation.run --pin``."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from build.fetch.cache import ContentCache
from build.fetch.download import Transfer
from build.fetch.http import DeadHosts, HttpOptions, make_session, request_arguments
from build.fetch.origins.debian import DebianMirrors, fetch_debian, file_url, find_mirrors
from build.recipe.format import DebianOrigin
from tests.emulation.errors import EmulationError
from tests.emulation.pins import Pins, parse_index, release_hashes, renewed

Say = Callable[[str], None]
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_OK = 200


def pin_again(pins: Pins, cache: ContentCache, env: Mapping[str, str], say: Say) -> Pins:
    """Return the pins that the suite's index gives now.

    The index is checked against the suite's InRelease file, and that file's signature against
    Debian's key ring where the machine has both the key ring and gpgv.

    Raises
    ------
    EmulationError
        The index cannot be had, or its signature is wrong.
    """
    mirrors = find_mirrors(env)
    base = f"dists/{pins.suite}"
    content = _release(mirrors, f"{base}/InRelease")
    _check_signature(content, cache, say)
    hashes = release_hashes(content.decode("utf-8"))
    indexes = {}
    for architecture in sorted({package.architecture for package in pins.packages}):
        path = f"main/binary-{architecture}/Packages.xz"
        if path not in hashes:
            raise EmulationError(
                f"Debian's {pins.suite} lists no {path}", hint="name another suite in pins.toml"
            )
        size, sha256 = hashes[path]
        index = fetch_debian(
            DebianOrigin(kind="debian", path=f"{base}/{path}", size=size, sha256=sha256),
            mirrors=mirrors,
            transfer=Transfer(cache=cache),
            label=f"the index of {architecture}",
        )
        text = lzma.decompress(index.read_bytes()).decode("utf-8")
        indexes[architecture] = parse_index(text)
    return renewed(pins, indexes)


def _release(mirrors: DebianMirrors, path: str) -> bytes:
    """Return the file that names the hashes of all others; it has no pin of its own."""
    address = mirrors.addresses[0]
    if address.startswith("file:"):
        try:
            return Path(unquote(urlsplit(address).path), path).read_bytes()
        except OSError as error:
            raise EmulationError(f"the mirror has no {path}: {error.strerror}") from None
    options = HttpOptions(proxies=dict(mirrors.proxies))
    with make_session(DeadHosts(), options) as session:
        answer = session.get(file_url(address, path), **request_arguments(options))
    if answer.status_code != _OK:
        raise EmulationError(
            f"the mirror has no {path} (status {answer.status_code})",
            hint="set ORTMILL_DEBIAN_MIRROR to another mirror",
        )
    return answer.content


def _check_signature(content: bytes, cache: ContentCache, say: Say) -> None:
    gpgv = shutil.which("gpgv")
    if gpgv is None or not _KEYRING.is_file():
        say("the index's signature was NOT checked: this machine has no gpgv or no key ring")
        return
    copy = cache.scratch_file()
    try:
        copy.write_bytes(content)
        done = subprocess.run(
            [gpgv, "--quiet", "--keyring", str(_KEYRING), str(copy)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    finally:
        copy.unlink(missing_ok=True)
    if done.returncode:
        raise EmulationError(
            "the signature of the suite's InRelease file is not Debian's",
            hint="do not use this mirror; set ORTMILL_DEBIAN_MIRROR to another",
            context={"gpgv said": done.stderr.strip().replace("\n", " | ")},
        )
    say("the index's signature is Debian's")
