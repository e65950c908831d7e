"""How sessions are made: what a caller says, and a profile of what was measured to be best here.

``python -m verify tune`` writes a profile into the user's cache folder, and an embedder with the
same model, precision, wheel and machine reads it there. One that does not fit is passed over, and
the log says so.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import VerifyError
from .batches import BatchLimits
from .prepared.choice import AUTO_LEAST
from .sessions import EmbedderError

_log = logging.getLogger(__name__)

Level = Literal["none", "basic", "extended"]
_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
}


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Settings of the CPU provider's sessions; None is onnxruntime's own default.

    Parameters
    ----------
    threads : int, optional
        Threads inside one operation; by default one for each physical core.
    spinning : bool, optional
        Whether these wait in a loop for their next piece of work; by default they do.
    graph : {"none", "basic", "extended"}, optional
        How far onnxruntime rewrites the graph; by default all the way.
    arena : bool, optional
        Whether memory is kept for the next run; by default it is.
    memory_pattern : bool, optional
        Whether a run's memory is laid out as that of the last one; by default it is.
    flush_denormals : bool, optional
        Whether numbers too small for the full precision count as zero; by default they do not.
        The calling thread is set so too, once in a process, by its first session.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    threads: int | None = field(default=None, metadata={"min": 1, "max": 4096})
    spinning: bool | None = None
    graph: Level | None = None
    arena: bool | None = None
    memory_pattern: bool | None = None
    flush_denormals: bool | None = None

    def options(self) -> Any:
        """Return onnxruntime's session options with these settings and no others changed."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        if self.graph is not None:
            level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[self.graph])
            options.graph_optimization_level = level
        if self.arena is not None:
            options.enable_cpu_mem_arena = self.arena
        if self.memory_pattern is not None:
            options.enable_mem_pattern = self.memory_pattern
        for key, value in (
            ("session.intra_op.allow_spinning", self.spinning),
            ("session.set_denormal_as_zero", self.flush_denormals),
        ):
            if value is not None:
                options.add_session_config_entry(key, str(int(value)))
        return options

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def describe(self) -> str:
        """Say in words what is not onnxruntime's own default."""
        changed = [f"{name} {value}" for name, value in asdict(self).items() if value is not None]
        return ", ".join(changed) or "onnxruntime's own"


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """How an embedder makes and uses its sessions, beyond provider and threads.

    Parameters
    ----------
    options : onnxruntime.SessionOptions, optional
        Used as it is; the embedder's ``threads`` must then be left out.
    provider_options : Mapping[str, str]
        Options of the CoreML provider, added to ``ModelFormat=MLProgram`` and
        ``RequireStaticInputShapes=1``.
    batch_size, batch_tokens : int
        Texts and padded tokens per run at most (:class:`~.batches.BatchLimits`).
    padded : bool
        Run the static graphs on the CPU too, padded to their bucket as CoreML would.
    auto_least : float
        Worst cosine with fp32 that ``precision="auto"`` may cost; a policy's
        ``agreement_min_cosine`` says the same of a wheel.
    profile : bool or Path
        Whether a profile of this machine in the user's cache folder is used, or the file of one.
        It counts on the CPU, where neither ``options`` nor threads are given.

    Raises
    ------
    EmbedderError
        When a batch would hold no text.
    """

    options: Any = None
    provider_options: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = BatchLimits.texts
    batch_tokens: int = BatchLimits.tokens
    padded: bool = False
    auto_least: float = AUTO_LEAST
    profile: bool | Path = True

    def __post_init__(self) -> None:
        """Refuse a batch without texts."""
        self.batches()

    def batches(self) -> BatchLimits:
        """Return how much one run of the graph with dynamic axes may hold."""
        return BatchLimits(texts=self.batch_size, tokens=self.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What was measured to be best: for which machine, wheel, model and precision.

    Parameters
    ----------
    schema : int
        Version of the format, 1.
    machine : Mapping
        :func:`~verify.hardware.hardware`, and its ``fingerprint``.
    wheel : str
        ``onnxruntime.__version__``.
    model, precision : str
        Name of the encoder, and the form of its graph.
    tuning : Tuning
        The settings.
    measured : Mapping
        What they rest on: every setting tried, with its ratio and interval.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    schema: int = field(default=1, metadata={"min": 1, "max": 1})
    machine: Mapping[str, Any]
    wheel: str
    model: str
    precision: str
    tuning: Tuning
    measured: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def misfit(self, *, model: str, precision: str) -> str:
        """Say for what else it was measured; nothing where it fits this process."""
        import onnxruntime

        from ..hardware import fingerprint, hardware

        here = hardware()
        pairs = (
            ("model", self.model, model),
            ("precision", self.precision, precision),
            ("onnxruntime", self.wheel, onnxruntime.__version__),
        )
        for what, measured, found in pairs:
            if measured != found:
                return f"it was measured for the {what} {measured}, and this is {found}"
        if self.machine.get("fingerprint") != fingerprint(here):
            known = {key: (self.machine.get(key), value) for key, value in here.items()}
            said = [f"{key} {was}, here {now}" for key, (was, now) in known.items() if was != now]
            return f"it was measured on another machine ({'; '.join(said)})"
        return ""


def profile_path(model: str, precision: str) -> Path:
    """Return where the profile of a model in a precision lies, in the user's cache folder.

    That is the folder of the build's cache; without platformdirs, which is not installed beside
    every wheel. A service may have no home, or may not look into it: it has no profile then.
    """
    mac = sys.platform == "darwin"
    usual = Path("~/Library/Caches" if mac else os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    cache = os.path.expanduser(os.environ.get("ORTMILL_CACHE") or usual / "ortmill")
    return Path(cache).absolute() / "tuned" / f"{model}-{precision}.json"


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises
    ------
    EmbedderError
        When it cannot be read.
    PolicyError
        When something in it is wrong; every mistake is listed.
    """
    from ..policy import strict

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise TypeError("it holds no object")
    except (OSError, ValueError, TypeError) as error:
        raise EmbedderError(
            f"The profile {path} cannot be read: {error}.",
            hint="Measure another one with `nox -s tune`, or leave it out.",
        ) from None
    return strict.load(Profile, data, where=f"The profile {path}")


def fitting_profile(asked: bool | Path, *, model: str, precision: str) -> Profile | None:
    """Return the profile that was asked for, or lies in the cache; None where none fits.

    Raises
    ------
    VerifyError
        When the file that was named is broken. One that is only found is then passed over.
    """
    path = asked if isinstance(asked, Path) else profile_path(model, precision)
    if not asked or (asked is True and not os.path.isfile(path)):
        return None
    profile = None
    try:
        profile = read_profile(path)
        why = profile.misfit(model=model, precision=precision)
    except VerifyError as error:
        if isinstance(asked, Path):
            raise
        why = error.problem
    if not why:
        return profile
    _log.warning("The profile %s is passed over: %s.", path, why.removesuffix("."))
    return None
