"""What this machine's apt is set up with: the mirrors of the main archive, and its proxies.

Formats: sources.list(5), both the one-line style and deb822, and apt.conf(5). Only files are
read; apt itself need not be there, and no right of root is needed.
"""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_SUITES = frozenset(
    (
        *("oldoldstable", "oldstable", "stable", "testing", "unstable", "sid", "experimental"),
        *("buster", "bullseye", "bookworm", "trixie", "forky", "duke"),
    )
)
_POCKETS = re.compile(r"-(updates|proposed-updates|backports(-sloppy)?)$")
_SCHEMES = ("http", "https", "file", "copy", "mirror+file")
_TOKEN = re.compile(r'//[^\n]*|#[^\n]*|/\*.*?\*/|"([^"]*)"|([{};])|([^\s{};"]+)', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class AptEntry:
    """One address of a package archive in apt's settings."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


def parse_one_line(text: str) -> Iterator[AptEntry]:
    """Yield the entries of a ``.list`` file; lines that make no sense are passed over."""
    for line in text.splitlines():
        match = re.match(
            r"\s*deb(?:-src)?\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<rest>\S.*)", line.split("#")[0]
        )
        if not match:
            continue
        words = match["rest"].split()
        signed = re.search(r"signed-by=(\S+)", match["options"] or "", re.IGNORECASE)
        if len(words) > 1:
            yield AptEntry(
                uri=words[0],
                suite=words[1],
                components=tuple(words[2:]),
                signed_by=signed[1] if signed else "",
            )


def parse_deb822(text: str) -> Iterator[AptEntry]:
    """Yield the enabled entries of a ``.sources`` file, one for each address and suite."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n(?:[ \t]*\n)+", "\n".join(lines)):
        # Fields of the form that mail has, with its folded lines.
        fields = email.message_from_string(stanza.lstrip("\n"))
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield AptEntry(
                    uri=uri,
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                    signed_by=fields.get("signed-by", ""),
                )


def is_main_archive(entry: AptEntry) -> bool:
    """Return whether an entry looks like the main Debian archive.

    It does where its component ``main`` belongs to a Debian suite (no security suite) and its
    address ends in ``/debian``, or it is signed with the Debian archive's own key ring.
    """
    suite = _POCKETS.sub("", entry.suite.rstrip("/"))
    path = urlsplit(entry.uri).path.rstrip("/")
    if "main" not in entry.components or suite not in _SUITES or "security" in path:
        return False
    listed = entry.uri.startswith("mirror+")
    return path.endswith("/debian") or listed or "debian-archive-keyring" in entry.signed_by


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _entries(root: Path) -> Iterator[AptEntry]:
    apt = root / "etc" / "apt"
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        yield from parse_deb822(_read(path))
    yield from parse_one_line(_read(apt / "sources.list"))
    for path in sorted((apt / "sources.list.d").glob("*.list")):
        yield from parse_one_line(_read(path))


def _expand(uri: str, root: Path) -> Iterator[str]:
    """Yield the plain addresses that an entry stands for: mirror lists are read."""
    scheme, _, rest = uri.partition(":")
    if scheme not in _SCHEMES:
        return
    if scheme == "mirror+file":
        for line in _read(root / rest.lstrip("/")).splitlines():
            words = line.split("#")[0].split()
            if words:
                yield from _expand(words[0], root)
    elif scheme in ("file", "copy"):
        yield "file:///" + rest.lstrip("/")
    else:
        yield uri


def debian_mirrors(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the addresses of the main Debian archive, best first, without a final slash.

    Entries signed with the Debian archive's key ring come first, then addresses whose path is
    just ``/debian``: third parties also name a folder so. Equal ones keep apt's order. ``root``
    holds ``etc/apt``.
    """
    found: list[tuple[tuple[bool, bool], str]] = []
    for entry in filter(is_main_archive, _entries(root)):
        for uri in _expand(entry.uri, root):
            plain = uri.rstrip("/")
            rank = (
                "debian-archive-keyring" not in entry.signed_by,
                urlsplit(plain).path != "/debian",
            )
            found.append((rank, plain))
    return tuple(dict.fromkeys(uri for _, uri in sorted(found, key=lambda pair: pair[0])))


def parse_apt_conf(text: str) -> dict[str, str]:
    """Return the settings of an apt.conf file: lower-case names joined by ``::`` to values.

    Both ways of writing are understood: ``A::B "x";`` and ``A { B "x"; };``.
    """
    settings: dict[str, str] = {}
    scopes: list[str] = []
    name, value = "", None
    for match in _TOKEN.finditer(text):
        quoted, mark, word = match.groups()
        if mark == "{":
            scopes.append(name)
        elif mark == "}":
            scopes[-1:] = []
        elif mark == ";" and name and value is not None:
            settings["::".join([*filter(None, scopes), name]).lower()] = value
        elif quoted is not None:
            value = quoted
        elif word and not name:
            name = word
        elif word:
            value = word
        if mark:
            name, value = "", None
    return settings


def apt_proxies(root: Path = Path("/")) -> dict[str, str]:
    """Return the proxies that apt is set up with, as requests wants them.

    Keys are ``http``, ``https`` or ``http://host`` for one host; the value ``DIRECT`` of apt
    (no proxy for this host) becomes an empty text.
    """
    apt = root / "etc" / "apt"
    settings: dict[str, str] = {}
    for path in [*sorted((apt / "apt.conf.d").glob("*")), apt / "apt.conf"]:
        if path.suffix in ("", ".conf"):
            settings |= parse_apt_conf(_read(path))
    proxies: dict[str, str] = {}
    for name, value in settings.items():
        match = re.fullmatch(r"acquire::(https?)::proxy(?:::(.+))?", name)
        if match:
            key = f"{match[1]}://{match[2]}" if match[2] else match[1]
            proxies[key] = "" if value.upper() in ("DIRECT", "FALSE") else value
    return {key: value for key, value in proxies.items() if value or "://" in key}
