"""One file of a Debian archive, from the mirror that this machine's apt is set up with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ...errors import FetchError, UsageError
from ...recipe.format import DebianOrigin
from ..download import Transfer, copy_local, download
from ..http import TransferError, redact
from ..integrity import Pin
from .apt_sources import apt_proxies, debian_mirrors

_VARIABLE = "ORTMILL_DEBIAN_MIRROR"


@dataclass(frozen=True, kw_only=True)
class DebianMirrors:
    """Where the archive is: addresses in order, without a final slash, and apt's proxies."""

    addresses: tuple[str, ...]
    proxies: Mapping[str, str]


def find_mirrors(env: Mapping[str, str], root: Path = Path("/")) -> DebianMirrors:
    """Return the mirrors to ask.

    ``ORTMILL_DEBIAN_MIRROR`` (http, https or file) wins; apt's proxies are not used with it.

    Raises
    ------
    UsageError
        The variable holds something else than an address.
    TransferError
        It is not set, and apt is not set up here.
    """
    if chosen := env.get(_VARIABLE, "").strip():
        if urlsplit(chosen).scheme not in ("http", "https", "file"):
            raise UsageError(
                f"{_VARIABLE} is {chosen!r}, which is no address",
                hint="it takes an address like http://HOST/debian or file:///srv/debian",
            )
        return DebianMirrors(addresses=(chosen.rstrip("/"),), proxies={})
    addresses = debian_mirrors(root)
    if not addresses:
        raise TransferError(
            "no Debian mirror is known: apt is not set up on this machine",
            brief="no Debian mirror is known",
            hint=f"set {_VARIABLE} to the address of a Debian mirror, "
            "like http://HOST/debian (the folder that holds pool/)",
            context={"looked in": str(root / "etc" / "apt")},
        )
    return DebianMirrors(addresses=addresses, proxies=apt_proxies(root))


def file_url(mirror: str, path: str) -> str:
    """Return the address of an archive's file; ``+`` and ``~`` stand as they are."""
    return f"{mirror}/{quote(path, safe='/+~')}"


def fetch_debian(
    origin: DebianOrigin, *, mirrors: DebianMirrors, transfer: Transfer, label: str
) -> Path:
    """Fetch one file of the archive, by its path below the mirror's root.

    Mirrors are asked in order until one has the file.

    Raises
    ------
    IntegrityError
        A mirror holds another file of this name.
    TransferError
        No mirror delivered the file.
    """
    pin = Pin(size=origin.size, sha256=origin.sha256)
    failures: list[TransferError] = []
    if mirrors.proxies:
        transfer = replace(transfer, options=replace(transfer.options, proxies=mirrors.proxies))
    for mirror in mirrors.addresses:
        try:
            if mirror.startswith("file:"):
                path = Path(unquote(urlsplit(mirror).path)) / origin.path
                return copy_local(path, pin=pin, transfer=transfer, label=label)
            url = file_url(mirror, origin.path)
            return download(url, pin=pin, transfer=transfer, label=label)
        except TransferError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if not failures:
        raise FetchError(f"{label}: there is no mirror to ask", hint=f"set {_VARIABLE}")
    raise TransferError(
        f"{label}: none of {len(failures)} mirrors delivered {origin.path}",
        brief=failures[0].brief,
        hint=failures[0].hint,
        context={
            redact(mirror): error.brief
            for mirror, error in zip(mirrors.addresses, failures, strict=True)
        },
    )
