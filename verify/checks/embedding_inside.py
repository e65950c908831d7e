"""embedding.*: whether the vectors are right, and whether precisions and providers agree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..encoder import reference
from ..encoder.embedder import Embedder, normalise
from ..encoder.graph import Precision
from ..encoder.kept import record_of
from ..encoder.model_recipe import file_sha256
from ..encoder.prepared.processor import saturating
from ..environment.context import TargetContext
from ..policy.judgement import violations
from ..policy.limits import Limits, form_limit
from ..policy.result import CheckResult

REFERENCE = "embedding.reference"
AGREEMENT = "embedding.agreement"
CACHED = "coreml fp32 from the model cache"

ZERO_LENGTH = 1e-6
"""A pooled vector shorter than this is no direction at all; real ones are longer than 1."""

TIE = 1e-4
"""Two similarities nearer than this have no order worth keeping."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far a set of pooled vectors is from the expected unit vectors."""

    way: str
    not_finite: int
    zeros: int
    cosine: float
    max_abs: float
    norm: float
    worst_text: str


def compare(way: str, pooled: Floats, expected: Floats, names: Sequence[str]) -> Comparison:
    """Compare pooled vectors ``[n, hidden]`` with unit vectors of the same shape.

    NaN and zero vectors are counted before anything is normalised; they leave the cosine NaN.
    """
    length = np.linalg.norm(pooled.astype(np.float64), axis=1)
    bad = ~np.isfinite(length)
    zero = length < ZERO_LENGTH
    unit = normalise(pooled).astype(np.float64)
    wanted = expected.astype(np.float64)
    unit_length = np.linalg.norm(unit, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (unit * wanted).sum(axis=1) / (unit_length * np.linalg.norm(wanted, axis=1))
    order = np.where(np.isfinite(cosine), cosine, -np.inf)
    return Comparison(
        way=way,
        not_finite=int(bad.sum()),
        zeros=int(zero.sum()),
        cosine=float(cosine.min()),
        max_abs=float(np.abs(unit - wanted).max()),
        norm=float(np.abs(unit_length - 1).max()),
        worst_text=names[int(order.argmin())],
    )


def embedding_reference(context: TargetContext) -> CheckResult:
    """Compare with the stored float64 vectors in several batch sizes, orders and paddings."""
    known = reference.load(context.encoder, context.references)
    names = [entry.id for entry in known.texts]
    found: list[Comparison] = []
    with context.embedder() as embedder:
        strange = _other_tokens(embedder, known)
        for way, pooled in _ways(context, embedder, known):
            context.say(f"reference texts, {way}", check=REFERENCE)
            found.append(compare(way, pooled, known.embeddings, names))
    with context.embedder(padded=True) as embedder:
        way = "static graphs, padded to the bucket"
        context.say(f"reference texts, {way}", check=REFERENCE)
        found.append(compare(way, _whole(embedder, known), known.embeddings, names))
    weights = file_sha256(context.model_dir / context.encoder.weights_file)
    extra = {
        "weights": "the pinned ones" if weights == known.weights_sha256 else "others",
        "references": known.made_with,
        "other_tokens": strange,
    }
    return judge_reference(context, found, count=len(names), extra=extra)


def _other_tokens(embedder: Embedder, known: reference.References) -> list[str]:
    """Name the texts whose token ids are not those that the references were made from."""
    return [
        entry.id
        for entry, kind, wanted in zip(known.texts, known.kinds, known.tokens, strict=False)
        if reference.tokens_digest(embedder.token_ids(entry.text, kind=kind)) != wanted
    ]


def judge_reference(
    context: TargetContext, found: Sequence[Comparison], *, count: int, extra: dict[str, Any]
) -> CheckResult:
    """Turn comparisons into the check's result."""
    limits = context.policy.limits
    broken = [f"{item.way}: {text}" for item in found for text in _degenerate(item, count)]
    if strange := extra.get("other_tokens"):
        first = ", ".join(strange[:3])
        broken.append(f"{len(strange)} texts have other token ids than the references: {first}")
    worst = min(found, key=lambda item: (np.isfinite(item.cosine), item.cosine))
    judged = {
        "min_cosine": min((item.cosine for item in found), key=_nan_first),
        "max_abs": max((item.max_abs for item in found), key=_nan_last),
        "norm_tolerance": max((item.norm for item in found), key=_nan_last),
    }
    # What is degenerate has failed under every policy: no number decides it.
    decided = {} if broken else _json(judged)
    broken = broken or violations(judged, limits)
    evidence = {
        "texts": count,
        "judged": decided,
        "degenerate": sum(item.not_finite + item.zeros for item in found),
        "worst_text": worst.worst_text,
        "ways": [_json({**vars(item)}) for item in found],
        **extra,
    }
    good = (
        f"{count} texts in {len(found)} ways: worst cosine {judged['min_cosine']:.9f}, "
        f"largest difference {judged['max_abs']:.2g}"
    )
    return CheckResult(
        id=REFERENCE,
        status="failed" if broken else "passed",
        summary="; ".join(broken[:3]) + f" (worst text: {worst.worst_text})" if broken else good,
        measured=_json(judged)["min_cosine"],
        limit=limits.min_cosine,
        unit="cosine",
        evidence=evidence,
        hint="The graph, the weights or a kernel is wrong: compare with the official wheel."
        if broken
        else "",
    )


def embedding_agreement(context: TargetContext) -> CheckResult:
    """Compare every executable provider, form and precision with fp32 on the CPU."""
    limits, form = context.policy.limits, context.policy.cpu_precision
    texts, ranks, _ = reference.load_texts(context.references or reference.default_folder())
    if context.quick:
        texts = texts[::3]
    pairs = sorted({text for rank in ranks for text in (rank.anchor, *rank.neighbours)})
    names = [entry.id for entry in texts] + pairs
    everything = [entry.text for entry in texts] + pairs
    with context.embedder() as embedder:
        expected = embedder.embed(everything, kind="query")
    lines: dict[str, Any] = {}
    refused: dict[str, str] = {}
    found: list[tuple[Comparison, float]] = []
    for label, make in _variants(context):
        context.say(f"agreement of {label}", check=AGREEMENT)
        try:
            with make() as embedder:
                pooled = embedder.pooled_before_norm(everything, kind="query")
        except Exception as error:
            refused[label] = str(error).strip().splitlines()[0]
            continue
        item = compare(label, pooled, expected, names)
        share = rank_agreement(
            expected[len(texts) :], normalise(pooled)[len(texts) :], pairs, ranks
        )
        found.append((item, share))
        lines[label] = _json({**vars(item), "rank_agreement": share})
    broken = [f"{item.way}: {text}" for item, _ in found for text in _degenerate(item, len(names))]
    must = context.policy.requires("provider.executes")
    own = f"cpu {form}"
    broken += [
        f"{label} did not run: {why}" for label, why in refused.items() if must or label == own
    ]
    evidence: dict[str, Any] = {"forms": lines, "not_run": refused}
    if form != "fp32" and own not in refused:
        evidence["form"] = {"precision": form, **record_of(context.graph(precision=form))}
        if (saturating() or {}).get("u8u8"):
            broken.append(f"products of unsigned bytes, of which {form} is made, saturate here")
    judged = agreement_numbers(found, form)
    return agreement_result(found, judged, limits, broken=broken, evidence=evidence)


def agreement_numbers(found: Sequence[tuple[Comparison, float]], form: str) -> dict[str, float]:
    """Return what is judged by its limit's name; the policy's form has one of its own, and leads.

    ``found`` has each form's comparison with fp32, and which share of neighbours it keeps in order.
    """
    own = f"cpu {form}"
    numbers = {form_limit(form): item.cosine for item, _ in found if item.way == own}
    rest = [item.cosine for item, _ in found if item.way != own]
    return {
        **numbers,
        "agreement_min_cosine": min(rest, key=_nan_first),
        "agreement_rank_min": min(share for _, share in found),
    }


def agreement_result(
    found: Sequence[tuple[Comparison, float]],
    judged: dict[str, float],
    limits: Limits,
    *,
    broken: list[str],
    evidence: dict[str, Any],
) -> CheckResult:
    """Turn the comparisons into the check's result; what is ``broken`` no number mends."""
    decided = {} if broken else _json(judged)
    broken = broken or violations(judged, limits)
    worst = min(found, key=lambda pair: (np.isfinite(pair[0].cosine), pair[0].cosine))[0]
    good = (
        f"{len(found)} forms agree with fp32 on the CPU: worst cosine {worst.cosine:.7f} "
        f"({worst.way}), order of neighbours kept in {judged['agreement_rank_min']:.1%}"
    )
    refused = evidence["not_run"]
    left = "; not compared: " + ", ".join(refused) if refused else ""
    first = next(iter(judged))
    return CheckResult(
        id=AGREEMENT,
        status="failed" if broken else "passed",
        summary="; ".join(broken[:3]) + f" (worst: {worst.way}, text {worst.worst_text})"
        if broken
        else good + left,
        measured=_json(judged)[first],
        limit=getattr(limits, first),
        unit="cosine",
        evidence={"judged": decided, **evidence},
        hint="Do not use the form named above; fp32 is the safe one." if broken else "",
    )


def rank_agreement(
    expected: Floats, found: Floats, names: Sequence[str], ranks: Sequence[reference.Rank]
) -> float:
    """Return the share of neighbour pairs whose order is the same in both sets of vectors.

    Every text is compared with every other one's distance to each anchor; pairs that are nearer
    than :data:`TIE` in the expected vectors have no order and do not count.
    """
    rows = {name: row for row, name in enumerate(names)}
    kept = total = 0
    for rank in ranks:
        anchor = rows[rank.anchor]
        wanted, got = expected @ expected[anchor], found @ found[anchor]
        others = [row for row in range(len(names)) if row != anchor]
        for one, two in combinations(others, 2):
            gap = float(wanted[one] - wanted[two])
            if abs(gap) < TIE:
                continue
            total += 1
            kept += gap * float(got[one] - got[two]) > 0
    return kept / total if total else float("nan")


def _ways(
    context: TargetContext, embedder: Embedder, known: reference.References
) -> Iterator[tuple[str, Floats]]:
    yield "embed()", _whole(embedder, known)
    texts = zip(known.texts, known.kinds, strict=True)
    encoded = [embedder.token_ids(entry.text, kind=kind) for entry, kind in texts]
    shuffled = np.random.default_rng(20240229).permutation(len(encoded)).tolist()
    straight = list(range(len(encoded)))
    sizes = (1, 32) if context.quick else (1, 2, 7, 32)
    for size in sizes:
        yield f"batches of {size}", _batched(embedder, encoded, straight, size)
    yield "batches of 7 in another order", _batched(embedder, encoded, shuffled, 7)


def _whole(embedder: Embedder, known: reference.References) -> Floats:
    """Embed the reference texts as a user would: all queries, then all passages."""
    result = np.zeros(known.embeddings.shape, dtype=np.float32)
    for kind in dict.fromkeys(known.kinds):
        rows = [row for row, each in enumerate(known.kinds) if each == kind]
        texts = [known.texts[row].text for row in rows]
        result[rows] = embedder.pooled_before_norm(texts, kind=kind)
    return result


def _batched(
    embedder: Embedder, encoded: list[list[int]], order: Sequence[int], size: int
) -> Floats:
    result = np.zeros((len(encoded), embedder.encoder.hidden), dtype=np.float32)
    for start in range(0, len(order), size):
        rows = list(order[start : start + size])
        feeds = embedder.feeds([encoded[row] for row in rows])
        result[rows] = embedder.pool(embedder.run(feeds), feeds)
    return result


def _variants(
    context: TargetContext,
) -> list[tuple[str, Callable[[], AbstractContextManager[Embedder]]]]:
    form = context.policy.cpu_precision
    found: list[tuple[str, Callable[[], AbstractContextManager[Embedder]]]] = [
        ("cpu fp32 static graphs", lambda: context.embedder(padded=True)),
        ("cpu fp16", lambda: context.embedder(precision="fp16")),
        *([(f"cpu {form}", lambda: context.embedder(precision=form))] if form != "fp32" else []),
        ("coreml fp32", lambda: context.embedder(provider="coreml")),
        ("coreml fp16", lambda: context.embedder(provider="coreml", precision="fp16")),
    ]
    if context.host.startswith("macos"):
        # Elsewhere nothing could be run from it, and it is a third of a gigabyte.
        found.append((CACHED, lambda: from_model_cache(context)))
    return found


@contextmanager
def from_model_cache(context: TargetContext) -> Iterator[Embedder]:
    """Give an embedder whose models come out of the provider's cache.

    Sessions of every bucket in both precisions fill one cache first, as a service's restarts do:
    an entry that is found under another model's key gives that model's vectors.
    """
    with tempfile.TemporaryDirectory(dir=context.work, prefix="model-cache-") as folder:
        cache = {"ModelCacheDirectory": folder}

        def opened(precision: Precision) -> Embedder:
            return context.embedder(provider="coreml", precision=precision, provider_options=cache)

        for precision in get_args(Precision):
            with opened(precision) as filling:
                for width in filling.buckets:
                    filling.session(width)
        with opened("fp32") as embedder:
            yield embedder


def _degenerate(item: Comparison, count: int) -> list[str]:
    problems = []
    if item.not_finite:
        problems.append(f"NaN or infinity before normalising in {item.not_finite} of {count} texts")
    if item.zeros:
        problems.append(f"zero vectors before normalising in {item.zeros} of {count} texts")
    return problems


def _nan_first(value: float) -> float:
    return value if np.isfinite(value) else -np.inf


def _nan_last(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def _json(values: dict[str, Any]) -> dict[str, Any]:
    """Replace what JSON cannot hold: NaN and infinity become their names."""
    return {
        key: str(value) if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in values.items()
    }
