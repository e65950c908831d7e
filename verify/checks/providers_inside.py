"""provider.*: a name in a list is worth nothing until it has run, nor a cache that errs."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoder.embedder import Feeds
from ..encoder.sessions import COREML, COREML_OPTIONS
from ..environment.context import TargetContext
from ..policy.result import CheckResult

REGISTERED = "provider.registered"
EXECUTES = "provider.executes"
CACHE = "provider.cache"
NO_RUNTIME = "not supported on this platform"
"""Words of the error that ONNX Runtime's converter gives where Apple's runtime is absent."""

_FIRST, _SECOND = 1.2345678, 2.3456789
"""Weights of two models that change places: numbers that nothing else in a package holds."""

# CoreML may compute in half precision on the Neural Engine: 2**-10 relative, eight products.
_PROBE_TOLERANCE = 2e-2


def provider_registered(context: TargetContext) -> CheckResult:
    """Check that CoreML is listed and that a session made with it holds it."""
    import onnxruntime

    listed = onnxruntime.get_available_providers()
    evidence: dict[str, Any] = {"available_providers": listed}
    if COREML not in listed:
        said = f"{COREML} is not listed; the wheel has {', '.join(listed)}"
        if not context.policy.requires(REGISTERED):
            return CheckResult(id=REGISTERED, status="not-run", summary=said, evidence=evidence)
        return _failed(
            REGISTERED,
            said,
            evidence,
            "This wheel was built without --use_coreml. Build one with `nox -s build`.",
        )
    try:
        held = _session(_probe(context.work), disable_fallback=False).get_providers()
    except Exception as error:
        evidence["error"] = str(error)
        return _failed(
            REGISTERED,
            f"{COREML} is listed, but no session can be made with it: {_first_line(error)}",
            evidence,
            "The provider's library does not load, or the provider is a stub.",
        )
    evidence["session_providers"] = held
    if COREML not in held:
        return _failed(
            REGISTERED,
            f"{COREML} is listed, but a session made with it holds only {', '.join(held)}",
            evidence,
            "The list and the library disagree: the provider is a stub.",
        )
    return CheckResult(
        id=REGISTERED,
        status="passed",
        summary=f"{COREML} is listed and a session takes it (this alone proves no execution)",
        evidence=evidence,
    )


def provider_executes(context: TargetContext) -> CheckResult:
    """Run a probe with CPU fallback disabled, then the encoder with a per-node profile.

    On a host without CoreML, under a policy that does not require execution, the exact refusal
    of the runtime makes the check ``not-run``. Every other error is a failure.
    """
    import onnxruntime

    evidence: dict[str, Any] = {}
    if COREML not in onnxruntime.get_available_providers():
        return CheckResult(
            id=EXECUTES,
            status="failed" if context.policy.requires(EXECUTES) else "not-run",
            summary=f"{COREML} is not listed, so nothing can be executed on it",
            evidence=evidence,
            hint="See provider.registered.",
        )
    try:
        _run_probe(context.work)
        evidence["probe"] = "ran with session.disable_cpu_ep_fallback = 1"
        evidence.update(_profile_encoder(context))
    except _NotExecuted as error:
        evidence.update(error.evidence)
        return _failed(EXECUTES, str(error), evidence, "The provider is listed and does nothing.")
    except Exception as error:
        reason = _first_line(error)
        evidence["error"] = str(error)
        foreign = not context.host.startswith("macos")
        if NO_RUNTIME in str(error) and foreign and not context.policy.requires(EXECUTES):
            return CheckResult(
                id=EXECUTES,
                status="not-run",
                summary=f'registered, converts, cannot execute on this host: "{reason}"',
                evidence=evidence,
                hint="Run the same verification on Apple silicon to prove execution.",
            )
        return _failed(
            EXECUTES,
            f"a session with {COREML} did not run: {reason}",
            evidence,
            "The provider is listed but cannot execute here.",
        )
    counts = evidence["nodes_by_provider"]
    return CheckResult(
        id=EXECUTES,
        status="passed",
        summary="the probe ran without CPU fallback; encoder nodes by provider: "
        + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())),
        measured=counts.get(COREML, 0),
        limit=1,
        unit="nodes run by CoreML",
        evidence=evidence,
    )


def provider_cache(context: TargetContext) -> CheckResult:
    """Exchange a model at one path and look whether ModelCacheDirectory gets the new weights.

    What counts is on disk, so that a host without CoreML can tell: the converter writes its package
    there as well. The second model's package, made in a folder of its own, must be in the shared
    folder too; with COREML_CACHE_KEY in both models, and without.
    """
    import onnxruntime

    if COREML not in onnxruntime.get_available_providers():
        return CheckResult(
            id=CACHE, status="not-run", summary=f"{COREML} is not listed, so it keeps no cache"
        )
    stale = []
    for key, how in (("", "without COREML_CACHE_KEY"), ("one", "with the same COREML_CACHE_KEY")):
        folder = context.work / f"cache-{key or 'none'}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for weight, into in ((_FIRST, "shared"), (_SECOND, "shared"), (_SECOND, "alone")):
                _cache(folder, weight=weight, key=key, into=into)
        except Exception as error:
            return _failed(
                CACHE,
                f"no session with ModelCacheDirectory, {how}: {_first_line(error)}",
                {"error": str(error)},
                "Leave the option out.",
            )
        if not (_holds(folder / "shared", _FIRST) and _holds(folder / "alone", _SECOND)):
            return CheckResult(
                id=CACHE,
                status="inconclusive",
                summary=f"the packages do not show their models' weights, {how}",
                evidence={"files": sorted(str(path) for path in folder.rglob("*"))},
            )
        if not _holds(folder / "shared", _SECOND):
            stale.append(how)
    evidence = {"stale": stale}
    if stale:
        return _failed(
            CACHE,
            "a model with other weights at the same path gets the package of the one before, "
            + " and ".join(stale),
            evidence,
            "Use one folder for each model and each version of the wheel, named by their hashes "
            "(onnxruntime#27487; docs/deployment.md).",
        )
    return CheckResult(
        id=CACHE,
        status="passed",
        summary="an exchanged model gets its own package, with COREML_CACHE_KEY and without",
        evidence=evidence,
    )


def _cache(folder: Path, *, weight: float, key: str, into: str) -> None:
    """Write a model whose weights are all one number, and make a session that caches it."""
    import onnxruntime
    from onnx import load, numpy_helper, save

    place = folder / into
    place.mkdir(parents=True, exist_ok=True)
    path = _probe(folder)
    model = load(str(path))
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.full((8, 8), weight, dtype=np.float32), "weights")
    )
    if key:
        model.metadata_props.add(key="COREML_CACHE_KEY", value=key)
    save(model, str(path))
    options = {**COREML_OPTIONS, "ModelCacheDirectory": str(place)}
    onnxruntime.InferenceSession(str(path), providers=[(COREML, options)])


def _holds(folder: Path, weight: float) -> bool:
    """Return whether a package below a folder holds weights that are all this number."""
    row = np.full(8, weight, dtype=np.float32).tobytes()
    return any(row in path.read_bytes() for path in folder.rglob("Data/**/*") if path.is_file())


class _NotExecuted(Exception):
    """A run that came back without the provider having done the work."""

    def __init__(self, problem: str, **evidence: Any) -> None:
        super().__init__(problem)
        self.evidence = evidence


def _session(path: Path, *, disable_fallback: bool, profile: str | None = None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if disable_fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=[(COREML, dict(COREML_OPTIONS))]
    )


def _probe_weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weights = np.asarray((np.arange(64).reshape(8, 8) - 31.5) / 32, dtype=np.float32)
    return weights, np.linspace(-1, 1, 8, dtype=np.float32)


def _probe(work: Path) -> Path:
    """Write a graph of two operators that CoreML takes whole."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights, bias = _probe_weights()
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["product"], name="product"),
            helper.make_node("Add", ["product", "bias"], ["y"], name="sum"),
        ],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    path = work / "probe.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, str(path))
    return path


def _run_probe(work: Path) -> None:
    session = _session(_probe(work), disable_fallback=True)
    if COREML not in session.get_providers():
        raise _NotExecuted(
            f"{COREML} is listed, but a session made with it holds only "
            f"{', '.join(session.get_providers())}",
            session_providers=session.get_providers(),
        )
    weights, bias = _probe_weights()
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)
    found = np.asarray(session.run(["y"], {"x": x})[0])
    worst = float(np.abs(found - (x @ weights + bias)).max())
    if not worst <= _PROBE_TOLERANCE:
        raise _NotExecuted(f"the probe's result is off by {worst:.3g}", probe_error=worst)


def _profile_encoder(context: TargetContext) -> dict[str, Any]:
    """Run the static encoder once with profiling and count kernels by provider."""
    width = context.encoder.buckets[0]
    prefix = str(context.work / "profile-coreml")
    session = _session(context.graph(static=(1, width)), disable_fallback=False, profile=prefix)
    ids = np.full((1, width), context.encoder.pad_token_id, dtype=np.int64)
    ones = np.ones_like(ids)
    feeds = Feeds(input_ids=ids, attention_mask=ones, token_type_ids=np.zeros_like(ids))
    found = session.run(["last_hidden_state"], feeds.named(context.encoder))
    states = np.asarray(found[0])
    path = Path(session.end_profiling())
    events = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    counts = count_kernels(events)
    if not counts.get(COREML):
        raise _NotExecuted(
            "the encoder ran, but not one node of it on CoreML: a silent fallback to "
            + ", ".join(sorted(counts)),
            nodes_by_provider=counts,
        )
    if not np.isfinite(states).all():
        raise _NotExecuted(
            "the encoder ran on CoreML and gave NaN or infinity", nodes_by_provider=counts
        )
    return {"nodes_by_provider": counts, "graph": f"static [1,{width}] fp32"}


def count_kernels(events: list[dict[str, Any]]) -> dict[str, int]:
    """Count the executed kernels of a profile by provider."""
    counts: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            counts[str(event.get("args", {}).get("provider") or "unknown")] += 1
    return dict(counts)


def _first_line(error: BaseException) -> str:
    """Return what the runtime said, without the node's generated name before it."""
    text = str(error).strip()
    if not text:
        return type(error).__name__
    _, found, message = text.splitlines()[0].rpartition("Status Message: ")
    return message if found else text.splitlines()[0]


def _failed(check: str, summary: str, evidence: dict[str, Any], hint: str) -> CheckResult:
    return CheckResult(id=check, status="failed", summary=summary, evidence=evidence, hint=hint)
