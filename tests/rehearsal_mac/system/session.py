"""CoreML of the rehearsed Mac, as onnxruntime's sessions show it: the CPU provider behind a face.

Where what the provider's converter does is looked at, it is real: it takes nodes, cuts partitions
and writes packages. What it cannot do on Linux, run them, a session on the CPU does. Every answer
takes as long as the scenario says, on the CPU provider as well: what was computed once is
remembered, and the clock of a call (:func:`now`) is set on by that time. So a busy machine changes
no verdict: no clock of this machine is in what is judged. A fault is what the scenario names.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import signal
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

COREML, CPU = "CoreMLExecutionProvider", "CPUExecutionProvider"
_REMEMBERED = 4096
_LEAK_BYTES = 64 << 10
_STAGE_NS = 20_000


class _Clock(threading.local):
    """A thread's clock in nanoseconds, and what makes no two stages take the same."""

    def __init__(self) -> None:
        self.time = 0
        self.random = random.Random(1)


_CLOCK = _Clock()


def now() -> int:
    """Return this thread's nanoseconds: what sessions took, and some 20 us for each other stage.

    The processor time of a thread would not do: a neighbour slows that too, for a while, and calls
    that depend on one another tell no bound.
    """
    _CLOCK.time += round(_CLOCK.random.gauss(_STAGE_NS, _STAGE_NS / 10))
    return _CLOCK.time


def stand_in(module: ModuleType, scenario: Mapping[str, Any]) -> None:
    """Let a module's ``InferenceSession`` be one that runs on the stand-in for CoreML."""
    real, fault = module.InferenceSession, str(scenario.get("fault", ""))
    milliseconds = {
        True: float(scenario.get("milliseconds", 1.0)),
        False: float(scenario.get("cpu_milliseconds", 8.0)),
    }

    class InferenceSession(real):
        """A session whose CoreML executes."""

        def __init__(
            self,
            path_or_bytes: Any,
            sess_options: Any = None,
            providers: Sequence[Any] | None = None,
            provider_options: Sequence[Any] | None = None,
            **named: Any,
        ) -> None:
            names = [each if isinstance(each, str) else each[0] for each in providers or ()]
            self._coreml = COREML in names
            self._answers: OrderedDict[bytes, list[Any]] = OrderedDict()
            self._kept: list[mmap.mmap] = []
            self._calls = 0
            if self._coreml and fault == "no session":
                raise RuntimeError("CoreML: the model could not be compiled (rehearsed)")
            if self._coreml and fault == "49 partitions":
                path_or_bytes = _islands(48)  # and one piece after the last
            if not self._coreml:
                super().__init__(path_or_bytes, sess_options, providers, provider_options, **named)
                self._compute = super().run
                return
            options = module.C.SessionOptions()
            if sess_options is not None:
                options.intra_op_num_threads = sess_options.intra_op_num_threads
            if _is_watched(sess_options, providers or ()):
                super().__init__(path_or_bytes, sess_options, providers, provider_options, **named)
                self._compute = real(path_or_bytes, options, providers=[CPU]).run
            else:
                if sess_options is not None and sess_options.enable_profiling:
                    options.enable_profiling = True
                    options.profile_file_prefix = sess_options.profile_file_prefix
                super().__init__(path_or_bytes, options, providers=[CPU])
                self._compute = super().run
            self._half = "fp16" in str(path_or_bytes)
            self._stale = fault == "stale cache" and _was_there(providers or ())
            self._profiled = bool(sess_options is not None and sess_options.enable_profiling)

        def get_providers(self) -> list[str]:
            if self._coreml:
                return [CPU] if fault == "stub" else [COREML, CPU]
            found: list[str] = super().get_providers()
            return found

        def run(self, output_names: Any, input_feed: Mapping[str, Any], *rest: Any) -> list[Any]:
            self._calls += 1
            if self._coreml:
                self._happen()
            known = [np.array(each) for each in self._known(output_names, input_feed)]
            if self._coreml and fault == "threads":
                known = [each + np.float32(self._calls % 7) for each in known]
            takes = milliseconds[self._coreml]
            if self._coreml and fault == "slow tail" and self._calls % 20 == 0:
                takes = float(scenario["tail_milliseconds"])
            _CLOCK.time += round(takes * 1e6)
            return known

        def _happen(self) -> None:
            if fault == "error":
                raise RuntimeError("Error computing NN outputs (rehearsed)")
            if fault == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if fault == "leak":
                # Pages of its own: what the heap has free would hide it.
                self._kept.append(mmap.mmap(-1, _LEAK_BYTES))
                self._kept[-1].write(bytes(_LEAK_BYTES))

        def _known(self, output_names: Any, feeds: Mapping[str, Any]) -> list[Any]:
            parts = [repr(output_names).encode()]
            for name, value in sorted(feeds.items()):
                array = np.asarray(value)
                parts += [name.encode(), str((array.dtype, array.shape)).encode()]
                parts.append(array.tobytes() if array.dtype != object else repr(value).encode())
            key = hashlib.sha256(b"|".join(parts)).digest()
            if key not in self._answers:
                found = self._compute(output_names, feeds)
                self._answers[key] = [self._spoilt(each) for each in found]
                while len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
            return self._answers[key]

        def _spoilt(self, values: Any) -> Any:
            if not self._coreml:
                return values
            if fault == "nan" and np.ndim(values) == 3:  # the encoder, and not the small probe
                return np.full_like(values, np.nan)
            if fault == "half" and self._half:
                # Finite and plausible: every second number is its neighbour's.
                spoilt = np.array(values)
                spoilt[..., ::2] = spoilt[..., 1::2]
                return spoilt
            if self._stale:
                return np.roll(values, 7, axis=-1)
            return values

        def end_profiling(self) -> str:
            if not (self._coreml and self._profiled):
                name: str = super().end_profiling()
                return name
            real_name: str = super().end_profiling()
            counts = {CPU: 4} if fault == "fallback" else {COREML: 1, CPU: 3}
            events = [
                {"cat": "Node", "name": f"n{i}_kernel_time", "args": {"provider": provider}}
                for provider, count in counts.items()
                for i in range(count)
            ]
            Path(real_name).write_text(json.dumps(events), encoding="utf-8")
            return real_name

    module.InferenceSession = InferenceSession


def hide(bindings: ModuleType, scenario: Mapping[str, Any]) -> None:
    """Let the extension module list no CoreML, where that is rehearsed."""
    if scenario.get("fault") == "not listed":
        without = [name for name in bindings.get_available_providers() if name != COREML]
        bindings.get_available_providers = lambda: without


def _is_watched(options: Any, providers: Sequence[Any]) -> bool:
    """Return whether what the converter does is looked at: its log, or packages that it writes.

    It works in the current folder on Linux, and processes that share one would meet there.
    """
    if options is not None and options.log_severity_level == 0:
        return True
    folder = _cache_of(providers)
    return bool(folder) and not any(Path(folder).iterdir())


def _cache_of(providers: Sequence[Any]) -> str:
    named = [each[1] for each in providers if not isinstance(each, str)]
    return next((str(each["ModelCacheDirectory"]) for each in named
                 if each.get("ModelCacheDirectory")), "")  # fmt: skip


def _was_there(providers: Sequence[Any]) -> bool:
    """Return whether a model cache is named that an earlier session has filled."""
    folder = _cache_of(providers)
    if not folder:
        return False
    mark = Path(folder) / "rehearsed"
    there = mark.exists()
    mark.touch()
    return there


def _islands(count: int) -> str:
    """Write a graph that the real provider cuts into so many pieces; return its path."""
    from onnx import TensorProto, helper, save

    nodes = []
    for i in range(count):
        nodes.append(
            helper.make_node("Add", [f"v{2 * i}", f"v{2 * i}"], [f"v{2 * i + 1}"], f"a{i}")
        )
        nodes.append(helper.make_node("Det", [f"v{2 * i + 1}"], [f"d{i}"], f"d{i}"))
        nodes.append(
            helper.make_node("Add", [f"v{2 * i + 1}", f"d{i}"], [f"v{2 * i + 2}"], f"s{i}")
        )
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2])
             for name in ("v0", f"v{2 * count}")]  # fmt: skip
    graph = helper.make_graph(nodes, "islands", value[:1], value[1:])
    path = os.path.join(tempfile.mkdtemp(prefix="rehearsal-"), "islands.onnx")
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(made, path)
    return path
