"""What a rehearsed Mac puts in place of code that only a Mac can run, as it is imported.

The wheel under test is a Mac's, installed by pip: its Python is used, and in place of its extension
module the one of the same source built for Linux is loaded. CoreML is :mod:`.session`, what
coremltools loads :mod:`.coreml`. The clock of a call, the counters of other programs and the loop
of fixed work are those of a machine that does nothing else: what is rehearsed is the judgement.
Reports of a rehearsal say that they are one: in the host's kind, in the verdict and wherever these
are shown.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

MARK = "REHEARSAL ON LINUX, PROOF OF NOTHING"
KIND = "macos-arm64-rehearsed"
_MACHO = {b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"}  # for one processor, for several
_BINDINGS = "onnxruntime.capi.onnxruntime_pybind11_state"


def scenario() -> dict[str, Any]:
    """Return what is rehearsed: ``~/scenario.json``, as HOME is what every process is given."""
    try:
        with open(os.path.expanduser("~/scenario.json"), encoding="utf-8") as stream:
            found: dict[str, Any] = json.load(stream)
    except OSError:
        return {}
    return found


def _host_kind(module: ModuleType) -> None:
    module.host_kind = lambda: KIND


def _marked(module: ModuleType) -> None:
    decide = module.decide

    def decide_and_mark(*arguments: Any, **named: Any) -> Any:
        found = decide(*arguments, **named)
        said = {
            "headline": f"{MARK}: {found.headline}",
            "paragraph": f"{MARK}: CoreML was a stand-in on the CPU provider. {found.paragraph}",
            "proven": [f"(rehearsed) {line}" for line in found.proven],
            "next": ["Run the same command on a Mac: nothing here was proven.", *found.next],
        }
        return found.model_copy(update=said)

    module.decide = decide_and_mark


def _sessions(module: ModuleType) -> None:
    from rehearsal import session

    session.stand_in(module, scenario())


def _bindings(module: ModuleType) -> None:
    from rehearsal import session

    session.hide(module, scenario())


def _clock(module: ModuleType) -> None:
    """Let a call be timed by the clock of the rehearsal."""
    from rehearsal import session

    module.perf_counter_ns = session.now


def _alone(module: ModuleType) -> None:
    """Let the machine be one that does nothing else; its counters are read all the same."""
    between, others = module.between, module.others_share

    def nobody_else(before: Any, after: Any) -> Any:
        calm = {"others": 0.0, "stolen": None, "pressure": None, "throttled": None, "busiest": ()}
        return dataclasses.replace(between(before, after), **calm)

    def none_of_theirs() -> Callable[[], float]:
        share = others()
        return lambda: 0.0 * share()

    module.between, module.others_share = nobody_else, none_of_theirs
    module.stolen_share = lambda: lambda: None


def _steady(module: ModuleType) -> None:
    """Let the loop of fixed work take as long as the first time; it is run each time."""
    real = module.loops

    def loops(payload: Any) -> Generator[Any, Any, None]:
        running = real(payload)
        first = next(running)
        while True:
            yield first
            next(running)

    module.loops = loops


_AFTER: dict[str, Callable[[ModuleType], None]] = {
    "verify.policy.limits": _host_kind,
    "verify.run.verdict": _marked,
    "verify.encoder.embedder": _clock,
    "verify.latency.machine": _alone,
    "verify.latency.calibration": _steady,
    "onnxruntime.capi.onnxruntime_inference_collection": _sessions,
}


class _Afterwards(importlib.abc.Loader):
    """A loader that changes a module once it is there."""

    def __init__(self, loader: Any, change: Callable[[ModuleType], None]) -> None:
        self._loader, self._change = loader, change

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == "coremltools.libcoremlpython":
            place = os.path.join(os.path.dirname(__file__), "coreml.py")
            return importlib.util.spec_from_file_location(name, place)
        if name not in _AFTER and name != _BINDINGS:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        if found is None or found.loader is None:
            return found
        if name == _BINDINGS:
            return _for_linux(name, found)
        found.loader = _Afterwards(found.loader, _AFTER[name])
        return found


def _for_linux(
    name: str, found: importlib.machinery.ModuleSpec
) -> importlib.machinery.ModuleSpec | None:
    with open(found.origin or "", "rb") as stream:
        if stream.read(4) not in _MACHO:
            return found
    places = json.loads(Path(__file__).with_name("places.json").read_text(encoding="utf-8"))
    linux = importlib.util.spec_from_file_location(name, places["bindings"])
    if linux is not None and linux.loader is not None:
        linux.loader = _Afterwards(linux.loader, _bindings)
    return linux


def install() -> None:
    """Put the finder first."""
    sys.meta_path.insert(0, _Finder())
