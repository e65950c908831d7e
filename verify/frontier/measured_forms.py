"""Measure every form of the encoder in one run: what it keeps, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoder import reference
from ..encoder.prepared.choice import Precision
from ..encoder.prepared.processor import integer_instructions
from ..encoder.prepared.variants import PREPARED, VARIANTS
from ..environment.context import TargetContext
from ..errors import VerifyError
from ..latency.series import Plan, SeriesSamples, SeriesSpec, measure
from ..report.frontier import Frontier, Kept, Point, Share
from ..sentence import Say
from ..statistics.ratio import ratio_interval
from .retrieval import retrieval_set

Floats = NDArray[np.float32]

FORMS: tuple[Precision, ...] = ("fp32", *PREPARED)
NEIGHBOURS = 10
OFFICIAL = "official fp32"
_SECONDS = 3600.0
_CALLS = 12
_PROCESSES = 2


def measure_frontier(
    context: TargetContext,
    forms: Sequence[Precision],
    *,
    tokens: int,
    rounds: int,
    retrieval: bool,
    say: Say,
) -> Frontier:
    """Measure what each form keeps, then all of them in turns; fp32 in any case.

    The context has the official environment too where it is to be compared. ``tokens`` is the
    length of the text that is timed. In each round a form gets a block of calls in each of two
    processes. ``retrieval`` says whether the retrieval set is embedded.

    Raises
    ------
    VerifyError
        When a form cannot be made or run.
    """
    wanted = tuple(dict.fromkeys(("fp32", *forms)))
    answers: dict[str, dict[str, Any]] = {}
    for form in wanted:
        say(f"vectors of {form}")
        payload = {"precision": form, "retrieval": retrieval}
        answers[form] = _value(context, ".frontier.quality_inside:embed_form", payload)
    saturates = _value(context, ".frontier.quality_inside:saturation", None)
    specs = [
        SeriesSpec(target="candidate", precision=form, workload=f"tokens-{tokens}")
        for form in wanted
    ]
    if "official" in context.targets:
        specs.append(SeriesSpec(target="official", workload=f"tokens-{tokens}"))
    samples = measure(
        context,
        Plan(
            series=tuple(specs),
            processes=_PROCESSES,
            rounds=rounds,
            least=rounds,
            calls={f"tokens-{tokens}": _CALLS},
        ),
        say=say,
    )
    exact = _vectors(context, answers["fp32"])
    points = []
    for one in samples:
        name = OFFICIAL if one.spec.target == "official" else one.spec.precision
        answer = None if one.spec.target == "official" else answers[one.spec.precision]
        points.append(_point(context, name, one, samples[0], answer, exact=exact))
    return Frontier(
        encoder=context.encoder.name,
        tokens=int(samples[0].tokens[0]),
        instructions=integer_instructions(),
        saturates=saturates or {},
        points=tuple(points),
    )


def kept_of(exact: Mapping[str, Floats], found: Mapping[str, Floats], names: Sequence[str]) -> Kept:
    """Compare a form's vectors with fp32's."""
    cosines = np.einsum("nh,nh->n", exact["references"], found["references"], dtype=np.float64)
    recall = answered = None
    if "queries" in exact:
        wanted, got = (_nearest(each["queries"], each["passages"]) for each in (exact, found))
        same = [len(set(a) & set(b)) for a, b in zip(wanted, got, strict=True)]
        recall = float(np.mean(same)) / NEIGHBOURS
        answers = retrieval_set().answers
        answered = float(np.mean([own in row for own, row in zip(answers, got, strict=True)]))
    worst = int(cosines.argmin())
    return Kept(
        worst=float(cosines[worst]),
        mean=float(cosines.mean()),
        worst_text=names[worst],
        recall=recall,
        answered=answered,
    )


def _nearest(queries: Floats, passages: Floats) -> list[list[int]]:
    order = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :NEIGHBOURS]
    return [[int(place) for place in row] for row in order]


def _point(
    context: TargetContext,
    name: str,
    samples: SeriesSamples,
    baseline: SeriesSamples,
    answer: Mapping[str, Any] | None,
    *,
    exact: Mapping[str, Floats],
) -> Point:
    texts, _, _ = reference.load_texts(context.references or reference.default_folder())
    kept = None
    if answer is not None:
        kept = kept_of(exact, _vectors(context, answer), [entry.id for entry in texts])
    middle, tail = (
        Share.of(ratio_interval(baseline.blocks(), samples.blocks(), quantile=quantile))
        for quantile in (0.5, 0.95)
    )
    summaries: dict[str, str] = {form: variant.summary for form, variant in VARIANTS.items()}
    summaries |= {"fp32": "operations of ONNX alone", OFFICIAL: "the official wheel"}
    return Point(
        form=name,
        summary=summaries[name],
        kept=kept,
        size_mib=None if answer is None else answer["graph_bytes"] / 2**20,
        memory_mib=None if answer is None else answer["memory_mib"],
        p50=float(np.quantile(samples.values, 0.5)) / 1e6,
        p95=float(np.quantile(samples.values, 0.95)) / 1e6,
        p50_share=middle,
        p95_share=tail,
    )


def _vectors(context: TargetContext, answer: Mapping[str, Any]) -> dict[str, Floats]:
    with np.load(context.work / answer["vectors"], allow_pickle=False) as data:
        return {name: np.asarray(data[name], dtype=np.float32) for name in data}


def _value(context: TargetContext, function: str, payload: Any) -> Any:
    answer = context.call(function, payload, timeout=_SECONDS)
    if answer.failure or answer.error:
        raise VerifyError(
            f"The vectors could not be made: {answer.error or answer.failure}.",
            hint=answer.hint,
            context={"last lines": answer.tail},
        )
    return answer.value
