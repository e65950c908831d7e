"""One package measured: integrity, then every case in every arithmetic, against the CPU provider.

Where texts were run, the numbers are those of the sentence vector of an output
``[1, tokens, hidden]``: the mean over the unmasked tokens, compared by cosine in float64. Any
other output is compared whole, by a similarity that a wrong scale lowers too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..environment.context import TargetContext
from ..errors import VerifyError
from ..sentence import Say
from .closeness import Known, finite
from .emit_inside import MASK
from .evaluate import Mode, constants_for, evaluate, unknown_operations
from .half_precision import Lost
from .outcome import too_far
from .package import integrity, read_package
from .program import NotEvaluated, Program, load_program

Array = NDArray[Any]
NOT_FINITE = "NaN or infinity"
OTHER_INPUTS = "give other inputs"


def measure_jobs(context: TargetContext, payload: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Measure several packages, see :func:`measure`; one that cannot be read is a finding."""
    found = []
    for job in payload:
        try:
            found.append(measure(job, context.say))
        except VerifyError as error:
            found.append(_nothing(job, [error.problem], {}))
    return found


def measure(job: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Measure one package.

    Parameters
    ----------
    job : Mapping
        ``package`` and ``values`` (paths), ``names`` (package's name to ONNX value), ``keys``
        (ONNX value to its key in the file of values), ``label``, ``minimum_os``, ``cases`` (their
        names), ``what`` (they are called), ``modes`` (mode to the list of case numbers), and
        ``device``, whether Core ML is there to predict.
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
    answer = _nothing(job, problems, facts)
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
    data, masks = stored_values(Path(job["values"]), job["keys"])
    known = Known(data=data, names=job["names"], masks=masks)
    for mode, rows in job["modes"].items():
        say(f"{job['label']}: {mode}, {len(rows)} {job['what']}")
        try:
            found = run_mode(program, known, mode, rows)
        except NotEvaluated as error:
            answer["refused"] = str(error)
            return answer
        answer["modes"][mode] = {**found, "worst_name": job["cases"][found["worst_text"]]}
    exact = answer["modes"]["exact"]
    silent = silent_outputs(program, known, exact)
    if silent and len(silent) == len(program.outputs):
        alike = (
            f"the same for every one of the {job['what']}" if len(exact["texts"]) > 1 else "zero"
        )
        why = f"its outputs are {alike}, so that a mistake would not show; {OTHER_INPUTS}"
        return refused(answer, why)
    answer["silent"] = silent
    if job["device"]:
        from .device import measure_device

        say(f"{job['label']}: Core ML")
        chosen = job["modes"]["fp16-accumulate"]
        answer["device"] = measure_device(package, program, known, chosen)
    return answer


def silent_outputs(program: Program, known: Known, exact: Mapping[str, Any]) -> list[str]:
    """Return the ONNX names of outputs that an exact evaluation agrees in without proving anything.

    Those that are the same for several different inputs; of inputs that are alike, those of zeros.
    """
    rows = exact["texts"]
    if too_far(exact):
        return []

    def varies(name: str) -> bool:
        value = known.data[known.names[name]][rows]
        return bool((value != value[:1]).any())

    several = any(map(varies, program.inputs))
    return [
        known.names[name]
        for name in program.outputs
        if not (varies(name) if several else known.data[known.names[name]][rows].any())
    ]


def refused(answer: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Return an answer that proves nothing; an overflow stays, whatever the outputs are."""
    kept = {name: each for name, each in answer["modes"].items() if each["overflow"]}
    return {**answer, "modes": kept, "refused": why}


def drowned(noise: float) -> str:
    """Return why outputs prove nothing about which the CPU provider's own kernels disagree."""
    return (
        f"the CPU provider's own kernels differ by {noise:.2g} of the largest element of its "
        f"outputs, so that an answer of zeros would pass too; {OTHER_INPUTS}"
    )


def _nothing(
    job: Mapping[str, Any], problems: list[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "label": job["label"],
        "what": job["what"],
        "problems": problems,
        "facts": facts,
        "unknown": {},
        "silent": [],
        "refused": "",
        "modes": {},
    }


def stored_values(path: Path, keys: Mapping[str, str]) -> tuple[dict[str, Array], Array | None]:
    """Return the CPU provider's values by ONNX name, ``[cases, …]`` each, and the masks if any."""
    with np.load(path, allow_pickle=False) as stored:
        data = {name: stored[key] for name, key in keys.items()}
        return data, stored[MASK] if MASK in stored.files else None


def run_mode(program: Program, known: Known, mode: Mode, rows: Sequence[int]) -> dict[str, Any]:
    """Evaluate the program for each case and compare it with the known values.

    Raises
    ------
    NotEvaluated
        When an operation cannot be evaluated, or the CPU provider's own values are not finite.
    """
    compared = []
    lost: dict[tuple[str, str], Lost] = {}
    first_nan = ""
    constants = constants_for(program, mode)
    for row in rows:
        check_finite(known, row)
        inputs = known.values(program.inputs, row)
        result = evaluate(program, inputs, mode, constants=constants)
        first_nan = first_nan or result.first_nan
        for entry in result.lost:
            before = lost.get((entry.kind, entry.value))
            if before is None or before.share < entry.share:
                lost[(entry.kind, entry.value)] = entry
        compared.append(known.compare(result.outputs, row))
    cosines = [entry.cosine for entry in compared]
    worst = int(np.argmin(cosines))
    return {
        "texts": list(rows),
        "cosines": cosines,
        "worst_cosine": cosines[worst],
        "worst_text": rows[worst],
        "max_abs_vector": finite(max(entry.vector for entry in compared)),
        "max_abs_state": finite(max(entry.element for entry in compared)),
        "first_nan": first_nan,
        **_losses(list(lost.values())),
    }


def check_finite(known: Known, row: int) -> None:
    """Make sure that there is something to compare with.

    Raises
    ------
    NotEvaluated
        When the CPU provider has a NaN or an infinity at the edge of the package.
    """
    for name in known.names.values():
        value = known.data[name][row]
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise NotEvaluated(models_own(NOT_FINITE, name, row))


def models_own(what: str, where: str, row: int) -> str:
    """Return why there is nothing to compare with, as a clause."""
    return f"the CPU provider itself has {what} in {where} for case {row}; {OTHER_INPUTS}"


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
