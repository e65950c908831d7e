"""Where pip looks for packages on this machine, asked of pip itself."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unearth import PackageFinder

from ...system.environment import network_environment
from ...system.process import Outcome, ask
from ..http import TransferError

_SECTIONS = ("global", "download", ":env:")
_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class PipSettings:
    """What pip would use to find a file; ``cert`` and ``proxy`` are empty where not set."""

    index_urls: tuple[str, ...]
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""
    proxy: str = ""


def pip_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a pip subprocess: its own settings, proxies, certificates."""
    return network_environment(env, prefixes=("PIP_",)) | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def parse_pip_config(text: str) -> dict[str, str]:
    """Return the settings that ``pip config list`` prints.

    Sections in pip's own order of weight: ``global``, then ``download``, then the environment.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.partition(".")
        if equals and section in found:
            try:
                plain = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                plain = value
            found[section][key.replace("_", "-")] = str(plain)
    return {key: value for section in _SECTIONS for key, value in found[section].items()}


def settings_from_config(config: Mapping[str, str]) -> PipSettings:
    """Turn pip's configuration into the places that it would search, in order."""
    indexes: list[str] = []
    if config.get("no-index", "").lower() not in ("1", "true", "yes", "on", "y", "t"):
        # The address of the default index is the finder's to know.
        default = PackageFinder().sources[0]["url"]
        indexes = [config.get("index-url") or default, *config.get("extra-index-url", "").split()]
    links = (
        str(Path(link).expanduser()) if link.startswith("~") else link
        for link in config.get("find-links", "").split()
    )
    return PipSettings(
        index_urls=tuple(dict.fromkeys(indexes)),
        find_links=tuple(links),
        trusted_hosts=tuple(config.get("trusted-host", "").split()),
        cert=config.get("cert", ""),
        proxy=config.get("proxy", ""),
    )


def read_pip_settings(env: Mapping[str, str], *, python: str = sys.executable) -> PipSettings:
    """Ask pip how it is set up.

    Raises
    ------
    TransferError
        ``python -m pip`` does not work.
    """
    answer = run_module(python, "pip", "config", "list", env=pip_environment(env), seconds=_SECONDS)
    if answer.code:
        raise TransferError(
            f"pip cannot be asked where it looks for packages: {last_error(answer)}",
            brief="pip does not work here",
            hint="install pip into the environment that runs the build "
            "(python -m ensurepip, or uv pip install pip)",
            context={"python": python},
        )
    return settings_from_config(parse_pip_config(answer.out))


def run_module(
    python: str,
    *words: str,
    env: Mapping[str, str],
    seconds: float = 3600,
    cancel: threading.Event | None = None,
) -> Outcome:
    """Run ``python -m`` with these words; a program that cannot be run has failed.

    Raises
    ------
    Interrupted
        ``cancel`` was set.
    """
    return ask([python, "-m", *words], env=env, seconds=seconds, cancel=cancel)


def last_error(outcome: Outcome) -> str:
    """Return the last error that pip reported, or else the last line."""
    lines = [line.strip() for line in outcome.err.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no message"]
    return errors[-1].removeprefix("ERROR: ")


def last_lines(outcome: Outcome) -> str:
    """Return the end of what a program reported, in one line."""
    return " | ".join(line.strip() for line in outcome.err.strip().splitlines()[-4:])
