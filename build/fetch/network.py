"""What stands between this machine and an origin: authorities, mirrors, pages for people."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from ..errors import UsageError

MIRROR = "ORTMILL_MIRROR"
_PREFIX = re.compile(r"[a-z][a-z0-9+.-]*://[^\s=,]+", re.IGNORECASE)
HEAD = 1 << 14
SIGN_IN_HINT = (
    "the address wants a name and a password (or a token): put them into ~/.netrc as "
    "`machine HOST login NAME password SECRET`, or take the input from another origin (--origin)"
)
POINTER = "a Git LFS pointer, not the file that it points to"
POINTER_HINT = (
    "take the address that delivers the file itself (a hub's `resolve`, not its `raw`), "
    "or a mirror that holds the big files too"
)
PAGE_HINT = (
    "a proxy or a network may want you to sign in first: open the address in a browser, and check "
    "HTTPS_PROXY and NO_PROXY"
)

Mirrors = tuple[tuple[str, str], ...]


def read_mirrors(env: Mapping[str, str]) -> Mirrors:
    """Return ``ORTMILL_MIRROR``: pairs of what an address begins with and what replaces that.

    Raises
    ------
    UsageError
        The variable holds something else than ``from=to``, comma separated.
    """
    pairs = []
    for entry in filter(None, map(str.strip, env.get(MIRROR, "").split(","))):
        old, _, new = entry.partition("=")
        if not (_PREFIX.fullmatch(old) and _PREFIX.fullmatch(new)) or not new.lower().startswith(
            ("https://", "http://", "file://", "ssh://")
        ):
            raise UsageError(
                f"{MIRROR} holds {entry!r}, which does not replace one address by another",
                hint="it takes pairs, comma separated, such as "
                f"{MIRROR}=https://github.com/=https://mirror.example.org/github/",
            )
        pairs.append((old, new))
    return tuple(pairs)


def mirrored(url: str, mirrors: Mirrors) -> str:
    """Return the address to ask in place of ``url``; the longest beginning that fits counts."""
    fitting = [pair for pair in mirrors if url.startswith(pair[0])]
    if not fitting:
        return url
    old, new = max(fitting, key=lambda pair: len(pair[0]))
    return new + url.removeprefix(old)


def page_instead(content: bytes) -> str:
    """Say what something is that came in place of a file, by its beginning, or return nothing.

    Proxies and hotel networks answer any request with a page to sign in; a model hub answers with
    a pointer where its big files are elsewhere.
    """
    text = content[:HEAD].decode("utf-8", "replace")
    if text.startswith("version https://git-lfs.github.com/spec/"):
        return POINTER
    if not re.match(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype html|html|head)\b", text,
                    re.IGNORECASE | re.DOTALL):  # fmt: skip
        return ""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join(html.unescape(title[1]).split()) if title else ""
    return f"an HTML page, titled “{words[:100]}”" if words else "an HTML page without a title"
