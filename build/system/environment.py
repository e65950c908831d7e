"""The environments that programs get: what they need, and nothing else of the caller's."""

from __future__ import annotations

from collections.abc import Mapping

_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_NETWORK = frozenset(
    {
        *("ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        *("NETRC", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
        *_AUTHORITIES,
    }
)
_KEPT = _NETWORK | frozenset(
    {
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "SSH_AUTH_SOCK",
        "TMPDIR",
        "USER",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_DIRS",
        "XDG_CONFIG_HOME",
    }
)


def network_environment(
    env: Mapping[str, str], *, prefixes: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return the part of ``env`` that may reach a program that uses the network.

    Kept are the names needed to find programs, a home, proxies and certificates, in either case
    of letters, and every name that begins with one of ``prefixes``. So no PYTHONPATH,
    PYTHONHOME, VIRTUAL_ENV or GIT_DIR gets through.
    """
    return {
        name: value
        for name, value in env.items()
        if name.upper() in _KEPT or name.startswith(prefixes)
    }


def plain_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that is only asked something: PATH, answers in C.

    A Mac's programs in ``/usr/bin`` answer for the Xcode that ``DEVELOPER_DIR`` names.
    """
    chosen = {"DEVELOPER_DIR": env["DEVELOPER_DIR"]} if env.get("DEVELOPER_DIR") else {}
    return {"PATH": env.get("PATH", ""), "LC_ALL": "C", **chosen}


def authorities(env: Mapping[str, str]) -> str:
    """Return the file of certificates that the user trusts, or nothing for the system's own.

    One variable is enough for downloads and for git, whichever of the three usual ones it is.
    """
    return next((env[name] for name in _AUTHORITIES if env.get(name)), "")


def network_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Return what a program needs to reach the network as this one does, and nothing else."""
    kept = {name: value for name, value in env.items() if is_network(name)}
    if trusted := authorities(env):
        for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO"):
            kept.setdefault(name, trusted)
    return kept


def is_network(name: str) -> bool:
    """Return whether a variable says how the network is reached, and so decides no bytes."""
    return name.upper() in _NETWORK
