"""What can happen to a wheel on a Mac, and what the verification must say to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLICY = "macos-arm64"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One run and its right end.

    ``fault``, ``milliseconds`` of a call on CoreML and ``cpu_milliseconds`` of one on the CPU
    provider are the stand-in's (:mod:`tests.rehearsal_mac.system.session`); ``checks`` are the ones
    that are run, all of them where it is empty; ``expected`` names those that do not pass, with
    their status; ``sentence`` must be said. ``device`` is for what `verify conversion` alone asks:
    Core ML itself, through coremltools.
    """

    name: str
    what: str
    sentence: str
    fault: str = ""
    milliseconds: float = 1.0
    cpu_milliseconds: float = 8.0
    more: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict)
    decision: str = "NO-GO"
    code: int = 1
    device: bool = False

    def settings(self) -> dict[str, Any]:
        """Return what the stand-ins read."""
        speed = {"milliseconds": self.milliseconds, "cpu_milliseconds": self.cpu_milliseconds}
        return {"fault": self.fault, **speed, **self.more}

    def command(self, wheel: Path, *, work: Path, models: Path) -> list[str]:
        """Return the words after ``python -m``."""
        words = ["--policy", POLICY, "--json", "--work", str(work), "--models", str(models)]
        if self.device:
            words += ["--buckets", "32", "--precision", "fp16", "--texts", "4", "--device", "yes"]
            return ["verify", "conversion", *words, str(wheel)]
        words = ["verify", "run", str(wheel), *words]
        words += ["--quick"] if self.checks else []
        return words + [word for name in self.checks for word in ("--only", name)]


_COREML, _CPU = "CoreMLExecutionProvider", "CPUExecutionProvider"
_NEITHER = {"provider.registered": "failed", "provider.executes": "failed"}
_EXECUTES = {"provider.executes": "failed"}
_AGREES = {"embedding.agreement": "failed"}


def _provider(name: str, what: str, fault: str, sentence: str, **more: Any) -> Scenario:
    """Return a fault that the first two checks meet."""
    expected = more.pop("expected", _EXECUTES)
    checks = ("provider.registered", "provider.executes")
    return Scenario(
        name=name, what=what, fault=fault, sentence=sentence, checks=checks, expected=expected
    )


SCENARIOS = (
    Scenario(
        name="go",
        what="CoreML executes, agrees, and is faster than the CPU: the whole policy",
        sentence="CoreML executes on this macos-arm64-rehearsed host, and every required check "
        "passed",
        decision="GO",
        code=0,
    ),
    _provider(
        "not-listed",
        "a wheel built without CoreML",
        "not listed",
        f"{_COREML} is not listed; the wheel has",
        expected=_NEITHER,
    ),
    _provider(
        "stub",
        "listed, but a session is made without it",
        "stub",
        f"{_COREML} is listed, but a session made with it holds only {_CPU}",
        expected=_NEITHER,
    ),
    _provider(
        "no-session",
        "listed, but Core ML does not compile the model",
        "no session",
        f"{_COREML} is listed, but no session can be made with it: CoreML: the model could not",
        expected=_NEITHER,
    ),
    _provider(
        "fallback",
        "the session holds CoreML, and every node runs on the CPU",
        "fallback",
        f"not one node of it on CoreML: a silent fallback to {_CPU}",
    ),
    _provider(
        "nan",
        "the encoder gives NaN, which would be normalised to a zero vector",
        "nan",
        "the encoder ran on CoreML and gave NaN or infinity",
    ),
    _provider(
        "error",
        "Core ML refuses to predict",
        "error",
        f"a session with {_COREML} did not run: Error computing NN outputs",
    ),
    _provider(
        "crash",
        "the process dies inside Core ML",
        "crash",
        "the process of the check was killed by SIGSEGV",
    ),
    Scenario(
        name="half",
        what="half precision finite and wrong (macOS 15)",
        fault="half",
        sentence="(worst: coreml fp16, text",
        checks=("embedding.agreement",),
        expected=_AGREES,
    ),
    Scenario(
        name="stale-cache",
        what="the model cache gives another model's vectors after a restart",
        fault="stale cache",
        sentence="(worst: coreml fp32 from the model cache, text",
        checks=("embedding.agreement",),
        expected=_AGREES,
    ),
    Scenario(
        name="partitions",
        what="the encoder cut into 49 pieces, counted by the real converter",
        fault="49 partitions",
        sentence="partitions: at most 49",
        checks=("coverage.partitions", "coverage.nodes"),
        expected={"coverage.partitions": "failed", "coverage.nodes": "failed"},
    ),
    Scenario(
        name="slower",
        what="CoreML slower than the CPU",
        milliseconds=45.0,
        sentence="times the speed of the same wheel's CPU provider",
        checks=("latency.speedup",),
        expected={"latency.speedup": "failed"},
    ),
    Scenario(
        name="over-budget",
        what="P95 beyond 20 ms",
        milliseconds=45.0,
        sentence="coreml: P95 is 4",
        checks=("latency.p95",),
        expected={"latency.p95": "failed"},
    ),
    Scenario(
        name="slow-tail",
        what="one call in twenty slow: too near the limit to tell",
        fault="slow tail",
        milliseconds=1.0,
        more={"tail_milliseconds": 40.0},
        sentence="nothing failed, but these are open: latency.p95",
        checks=("latency.p95",),
        expected={"latency.p95": "inconclusive"},
        decision="INCONCLUSIVE",
        code=2,
    ),
    Scenario(
        name="threads",
        what="threads that share a session get other vectors",
        fault="threads",
        sentence="4 threads on one session",
        checks=("concurrency.threads",),
        expected={"concurrency.threads": "failed"},
    ),
    Scenario(
        name="leak",
        what="64 KiB lost in every run",
        fault="leak",
        milliseconds=0.1,
        sentence="MiB",
        checks=("memory.growth",),
        expected={"memory.growth": "failed"},
    ),
    Scenario(
        name="no-plan",
        what="macOS before 14.4: no MLComputePlan",
        fault="no plan",
        sentence="where its operations run is not known: MLComputePlan is only supported on macOS "
        "14.4",
        expected={"conversion.device": "inconclusive"},
        decision="",
        code=2,
        device=True,
    ),
    Scenario(
        name="predicts-wrongly",
        what="Core ML predicts something else than the program says",
        fault="predicts wrongly",
        sentence="Core ML's prediction has cosine",
        expected={"conversion.device": "failed"},
        decision="",
        device=True,
    ),
)
