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

    Paths of overlays and of the tools' lock file start at ``recipes_dir``; ``env`` is read for
    settings and given to git and pip. ``progress`` is called from several threads at once.
    ``choice`` is for :func:`build.fetch.models.fetch_model`: a plan's items carry their own.
    ``apt_root`` holds ``etc/apt``; ``python`` is the interpreter whose pip is asked.
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
