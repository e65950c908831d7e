"""The environments that programs get: what they need, and nothing else of the caller's."""

from __future__ import annotations

from collections.abc import Mapping

_KEPT = frozenset(
    {
        "ALL_PROXY",
        "CURL_CA_BUNDLE",
        "FTP_PROXY",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "LOGNAME",
        "NETRC",
        "NO_PROXY",
        "PATH",
        "REQUESTS_CA_BUNDLE",
        "SSH_AUTH_SOCK",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
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
    """Return the environment of a program that is only asked something: PATH, answers in C."""
    return {"PATH": env.get("PATH", ""), "LC_ALL": "C"}
