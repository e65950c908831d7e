"""One package measured: integrity, then every text in every arithmetic, against the CPU provider.

The numbers are those of the sentence vector where the output is ``[1, tokens, hidden]``: the mean
over the unmasked tokens, compared by cosine in float64. Other outputs are compared as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.conversion.evaluate import Evaluation, Mode, constants_for, evaluate, unknown_operations
from verify.conversion.half import Lost
from verify.conversion.package import integrity, read_package
from verify.conversion.program import NotEvaluated, Program, load_program

Array = NDArray[Any]


def measure(job: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """Measure one package.

    Parameters
    ----------
    job : Mapping
        ``package`` and ``values`` (paths), ``names`` (package's name to ONNX value), ``label``,
        ``minimum_os``, ``modes`` (mode to the list of text numbers).
    say : callable
        Takes a line of progress.

    Returns
    -------
    dict
        JSON values: ``label``, ``problems``, ``facts``, ``unknown`` (kind to count), ``refused``
        and ``modes`` (mode to cosines, distances, losses).
    """
    package = read_package(Path(job["package"]))
    problems, facts = integrity(package, job["minimum_os"])
    answer: dict[str, Any] = {
        "label": job["label"],
        "problems": problems,
        "facts": facts,
        "unknown": {},
        "refused": "",
        "modes": {},
    }
    if problems:
        return answer
    try:
        program = load_program(package)
    except Exception as error:
        # coremltools raises whatever it meets: a damaged program is a finding, not a crash.
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        problems.append(f"coremltools refuses the program: {said}")
        return answer
    answer["unknown"] = unknown_operations(program)
    if answer["unknown"]:
        return answer
    with np.load(job["values"], allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}
    for mode, rows in job["modes"].items():
        say(f"{job['label']}: {mode}, {len(rows)} texts")
        try:
            answer["modes"][mode] = run_mode(program, data, job["names"], mode, rows)
        except NotEvaluated as error:
            answer["refused"] = str(error)
            return answer
    return answer


def run_mode(
    program: Program,
    data: Mapping[str, Array],
    names: Mapping[str, str],
    mode: Mode,
    rows: Sequence[int],
) -> dict[str, Any]:
    """Evaluate the program for each text and compare it with the stored values."""
    cosines, distances, states = [], [], []
    lost: dict[tuple[str, str], Lost] = {}
    first_nan = ""
    constants = constants_for(program, mode)
    for row in rows:
        inputs = {name: data[names[name]][row] for name in program.inputs}
        result = evaluate(program, inputs, mode, constants=constants)
        first_nan = first_nan or result.first_nan
        for entry in result.lost:
            known = lost.get((entry.kind, entry.value))
            if known is None or known.share < entry.share:
                lost[(entry.kind, entry.value)] = entry
        cosine, vector, state = compare(result, data, names, row)
        cosines.append(cosine)
        distances.append(vector)
        states.append(state)
    worst = int(np.argmin(cosines))
    return {
        "texts": list(rows),
        "cosines": cosines,
        "worst_cosine": cosines[worst],
        "worst_text": rows[worst],
        "max_abs_vector": _finite(max(distances)),
        "max_abs_state": _finite(max(states)),
        "first_nan": first_nan,
        **_losses(list(lost.values())),
    }


def compare(
    result: Evaluation, data: Mapping[str, Array], names: Mapping[str, str], row: int
) -> tuple[float, float, float]:
    """Return the worst cosine over the outputs, and the largest distance of vector and element.

    A NaN or an infinity counts as cosine -1 and an infinite distance.
    """
    mask = data["attention_mask"][row].reshape(-1).astype(bool)
    cosine, vector, element = 1.0, 0.0, 0.0
    for name, found in result.outputs.items():
        got = np.asarray(found, dtype=np.float64)
        wanted = np.asarray(data[names[name]][row], dtype=np.float64)
        if got.shape != wanted.shape:
            return -1.0, float("inf"), float("inf")
        if got.ndim == 3 and got.shape[:2] == (1, mask.size):
            got, wanted = got[0, mask], wanted[0, mask]
        if not np.isfinite(got).all():
            return -1.0, float("inf"), float("inf")
        element = max(element, float(np.abs(got - wanted).max(initial=0.0)))
        one, other = _unit(got), _unit(wanted)
        cosine = min(cosine, float(one @ other))
        vector = max(vector, float(np.abs(one - other).max(initial=0.0)))
    return cosine, vector, element


def _finite(value: float) -> float | None:
    """Return a number that JSON has, or ``None`` for one that it has not."""
    return value if np.isfinite(value) else None


def _unit(value: Array) -> Array:
    flat = value.mean(axis=0) if value.ndim == 2 else value.reshape(-1)
    length = float(np.linalg.norm(flat))
    return np.asarray(flat / length) if length else np.asarray(flat)


def _losses(lost: list[Lost]) -> dict[str, Any]:
    """Keep every overflow, and the underflows that leave nothing of a value."""
    return {
        "overflow": [entry.sentence() for entry in lost if entry.kind == "overflow"],
        "vanished": [
            entry.sentence() for entry in lost if entry.kind == "underflow" and entry.share == 1.0
        ],
        "partly_underflowing": sum(
            1 for entry in lost if entry.kind == "underflow" and entry.share < 1.0
        ),
    }
