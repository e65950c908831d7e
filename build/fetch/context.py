"""What one run of fetching knows and remembers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..system.progress import Progress, Silent
from .cache import ContentCache
from .download import Transfer
from .http import DeadHosts, HttpOptions
from .origins.debian import DebianMirrors, find_mirrors
from .origins.pip_settings import PipSettings, read_pip_settings
from .wanted import Choice


@dataclass(kw_only=True)
class FetchContext:
    """The surroundings of a fetch: not frozen, for it learns while it is used.

    Parameters
    ----------
    cache : ContentCache
        Where everything is kept.
    recipes_dir : Path
        The folder of the recipes: paths of overlays and of the tools' lock file start there.
    env : Mapping[str, str]
        The environment to read settings from and to give to git and pip.
    progress : Progress, optional
        Called from several threads at once.
    choice : {"auto", "upstream", "registry", "cache"}, optional
        Which kinds of origin :func:`build.fetch.models.fetch_model` may use; a plan's items carry
        their own.
    offline : bool, optional
        Use the cache alone.
    options : HttpOptions, optional
        Time-outs and retries.
    apt_root : Path, optional
        The folder that holds ``etc/apt``.
    python : str, optional
        The interpreter whose pip is asked.
    """

    cache: ContentCache
    recipes_dir: Path
    env: Mapping[str, str]
    progress: Progress = field(default_factory=Silent)
    choice: Choice = "auto"
    offline: bool = False
    options: HttpOptions = field(default_factory=HttpOptions)
    apt_root: Path = Path("/")
    python: str = sys.executable
    hosts: DeadHosts = field(default_factory=DeadHosts)
    cancel: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _pip: PipSettings | None = field(default=None, repr=False)
    _mirrors: DebianMirrors | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.options = self.options.of(self.env)

    @property
    def transfer(self) -> Transfer:
        """What a download needs to know."""
        return Transfer(
            cache=self.cache,
            hosts=self.hosts,
            progress=self.progress,
            options=self.options,
            cancel=self.cancel,
        )

    def pip_settings(self) -> PipSettings:
        """Return pip's settings; pip is asked once."""
        with self._lock:
            if self._pip is None:
                self._pip = read_pip_settings(self.env, python=self.python)
            return self._pip

    def mirrors(self) -> DebianMirrors:
        """Return the Debian mirrors; apt's files are read once."""
        with self._lock:
            if self._mirrors is None:
                self._mirrors = find_mirrors(self.env, self.apt_root)
            return self._mirrors
