"""Bad inputs: a clean exception each, a session that still works, and no crash.

The inputs are tried in a process of their own, which is asked for one after the other: a crash is
known by name, and the rest is then tried in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..environment.channel import Answer
from ..environment.context import TargetContext
from ..errors import VerifyError
from ..latency.queries import worst_text
from ..policy.result import CheckResult
from ..sentence import ended_once
from .load_inside import executable_provider

if TYPE_CHECKING:
    from ..encoder.embedder import Embedder

Feeds = dict[str, Any]
Array = npt.NDArray[Any]
SECONDS = 120.0
PROBE = ".checks.robustness_inside:probe"
REFERENCE = "a quiet sentence that every process embeds first"
WIDTH = 8
ENCODER_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bad or odd input.

    ``attempt`` feeds it to the embedder and returns what came back; ``right`` judges that, and is
    None when only an exception will do.
    """

    name: str
    attempt: Callable[[Embedder], Any]
    right: Callable[[Embedder, Any], bool] | None = None


def robustness_inputs(context: TargetContext) -> CheckResult:
    """Try every bad input in a subprocess.

    ``measured`` is the number of inputs that were handled badly: no exception and no right result,
    a session that gives other vectors afterwards, a crash, or a hang.
    """
    provider = executable_provider(context)
    waiting = [case.name for case in CASES]
    outcomes: dict[str, str] = {}
    while waiting:
        with context.worker(PROBE, {"provider": provider}, role=context.role) as worker:
            started = worker.answer(SECONDS)
            if started.failure:
                raise VerifyError(
                    f"The process for bad inputs did not start: {started.last_words}",
                    hint="Look at provider.registered and embedding.reference first.",
                )
            while waiting:
                name = waiting.pop(0)
                answer = worker.ask(name, SECONDS)
                outcomes[name] = answer.value if not answer.failure else ended(answer)
                if answer.failure:
                    break
    return robustness_result(outcomes, provider=provider)


def robustness_result(outcomes: Mapping[str, str], *, provider: str = "cpu") -> CheckResult:
    """Turn outcomes by case (beginning with ``ok``, or what went wrong) into the result."""
    bad = {name: text for name, text in outcomes.items() if not text.startswith("ok")}
    if bad:
        name, text = next(iter(bad.items()))
        summary = ended_once(
            f"{len(bad)} of {len(outcomes)} bad inputs are handled badly; {name}: {text}."
        )
    else:
        summary = (
            f"All {len(outcomes)} bad or odd inputs end in a clean exception or the right result, "
            "and the session works on."
        )
    return CheckResult(
        id="robustness.inputs",
        status="failed" if bad else "passed",
        summary=summary,
        measured=len(bad),
        limit=0,
        unit="inputs",
        evidence={
            "provider": provider,
            "outcomes": dict(outcomes),
            "does_not_apply": {
                "NaN in a float mask": "all inputs of the graph are int64, so none can hold a NaN"
            },
        },
        hint="Check inputs before they reach this wheel." if bad else "",
    )


def probe(context: TargetContext, payload: Mapping[str, Any]) -> Generator[str | None, str]:
    """Try the cases that are asked for, by name; `robustness_inputs` starts it as a process."""
    cases = {case.name: case for case in CASES}
    with context.embedder(provider=payload["provider"]) as embedder:
        reference = embedder.embed([REFERENCE], kind="query")
        name = yield None
        while True:
            name = yield outcome(cases[name], embedder, reference)


def ended(answer: Answer) -> str:
    """Say what a case did to its process."""
    if answer.returncode is None:
        return f"the process hangs (ended after {SECONDS:.0f} s)"
    if answer.returncode < 0:
        return f"the process crashed with signal {-answer.returncode}"
    return f"the process {answer.failure}: {answer.last_words}"


def outcome(case: Case, embedder: Embedder, reference: Array) -> str:
    """Try one case and say what came of it; good outcomes begin with ``ok``."""
    try:
        result = case.attempt(embedder)
    except Exception as error:
        # Any exception with a message will do: its class differs between providers.
        said = str(error).strip()
        text = f"ok: {type(error).__name__}: {said[:200]}"
        if not said:
            text = f"an exception without a message ({type(error).__name__})"
    else:
        if case.right is not None and case.right(embedder, result):
            text = "ok: the right result"
        elif case.right is not None:
            text = "a wrong result instead of an exception"
        else:
            text = "no exception"
    try:
        after = embedder.embed([REFERENCE], kind="query")
    except Exception as error:
        # The point of the check: the session must survive.
        return f"the session does not work afterwards ({type(error).__name__}: {error})"
    if not np.array_equal(after, reference):
        return "the session gives another vector afterwards"
    return text


def _run(embedder: Embedder, **changes: Any) -> Array:
    """Run the session itself with good feeds but for `changes`; None leaves an input out."""
    feeds = _of_length(WIDTH)
    width = embedder.encoder.bucket(WIDTH) if embedder.padded else 0
    if width:
        feeds = {name: np.resize(value, (1, width)) for name, value in feeds.items()}
    feeds.update(changes)
    foreign = set(ENCODER_INPUTS) - set(embedder.encoder.inputs)
    feeds = {name: feeds[name] for name in feeds if name not in foreign}
    feeds = {name: value for name, value in feeds.items() if value is not None}
    return np.asarray(embedder.session(width).run(None, feeds)[0])


def _of_length(length: int, *, batch: int = 1) -> Feeds:
    shape = (batch, length)
    return {
        "input_ids": np.full(shape, 2, dtype=np.int64),
        "attention_mask": np.ones(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }


def _ids(value: int) -> Array:
    return np.full((1, WIDTH), value, dtype=np.int64)


def _truncated(embedder: Embedder, result: Any) -> bool:
    """Whether a text beyond the limit gives the vector of the text cut at the limit."""
    limit = embedder.encoder.max_length
    return bool(np.array_equal(result, embedder.embed([worst_text(limit)], kind="query")))


CASES: tuple[Case, ...] = (
    Case(
        name="token ids as float32",
        attempt=lambda e: _run(e, input_ids=np.full((1, WIDTH), 2.0, dtype=np.float32)),
    ),
    Case(
        name="token ids as text",
        attempt=lambda e: _run(e, input_ids=np.array([["a"] * WIDTH], dtype=object)),
    ),
    Case(
        name="token ids of rank 1",
        attempt=lambda e: _run(e, input_ids=np.full(WIDTH, 2, dtype=np.int64)),
    ),
    Case(
        name="token ids of rank 3",
        attempt=lambda e: _run(e, input_ids=np.full((1, 1, WIDTH), 2, dtype=np.int64)),
    ),
    Case(name="no attention mask", attempt=lambda e: _run(e, attention_mask=None)),
    Case(
        name="an input too many",
        attempt=lambda e: _run(e, position_ids=np.zeros((1, WIDTH), dtype=np.int64)),
    ),
    Case(
        name="mask of another length",
        attempt=lambda e: _run(e, attention_mask=np.ones((1, WIDTH + 3), dtype=np.int64)),
    ),
    Case(
        name="token id beyond the vocabulary",
        attempt=lambda e: _run(e, input_ids=_ids(e.encoder.vocab)),
    ),
    Case(name="token id far beyond", attempt=lambda e: _run(e, input_ids=_ids(2**40))),
    Case(
        name="token id below zero", attempt=lambda e: _run(e, input_ids=_ids(-e.encoder.vocab - 1))
    ),
    Case(
        name="sequence longer than the positions",
        attempt=lambda e: _run(e, **_of_length(e.encoder.longest + 1)),
    ),
    Case(
        name="empty batch",
        attempt=lambda e: _run(e, **_of_length(WIDTH, batch=0)),
        right=lambda e, result: result.shape == (0, WIDTH, e.encoder.hidden),
    ),
    Case(
        name="empty sequence",
        attempt=lambda e: _run(e, **_of_length(0)),
        right=lambda e, result: result.shape == (1, 0, e.encoder.hidden),
    ),
    Case(
        name="no texts",
        attempt=lambda e: e.embed([], kind="query"),
        right=lambda e, result: result.shape == (0, e.encoder.hidden),
    ),
    Case(
        name="text beyond the limit",
        attempt=lambda e: e.embed([worst_text(3 * e.encoder.max_length)], kind="query"),
        right=_truncated,
    ),
    Case(
        name="empty text",
        attempt=lambda e: e.embed([""], kind="query"),
        right=lambda e, result: bool(np.isfinite(result).all()) and bool(np.any(result)),
    ),
    Case(name="one string in place of a list", attempt=lambda e: e.embed("text", kind="query")),
    # The wrong type is the point of this case.
    Case(name="None in place of a text", attempt=lambda e: e.embed([None], kind="query")),  # type: ignore[list-item]
    Case(name="half a surrogate pair", attempt=lambda e: e.embed(["\ud83d"], kind="query")),
)
