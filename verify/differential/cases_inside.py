"""Run cases in this process with the onnxruntime that is installed here.

A kernel that crashes takes this process with it and nothing more: :mod:`.drive` starts another
one. ``python -m verify.differential.cases_inside CASES POSITION JOURNAL CONFIGURATION…`` runs
them without it.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import VerifyError
from .store import Blobs, Case, Outcome, blob_file, outcome_to_json, read_cases
from .tolerance import judge
from .values import (
    STRING,
    Absent,
    Items,
    NotRepresentable,
    Tensor,
    Value,
    byte_count,
    element_number,
    from_array,
    storage_array,
)

#: Session configurations that every case runs in: the options that a user gets by default, and
#: one thread with every optimisation, where no work is split.
CONFIGURATIONS = ("default", "single")
#: Kernels without a seed attribute draw theirs from this when the session is created.
SEED = 20250308
_FATAL_ONLY = 4


class _Stage(Exception):
    """An exception of ONNX Runtime with the stage that it came from."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.kind = f"{stage}:{type(cause).__name__}"


def run_case(case: Case, configuration: str) -> Outcome:
    """Run one case on the CPU provider, in one of :data:`CONFIGURATIONS`.

    Errors of ONNX Runtime are outcomes, with the stage (``load``, ``feed``, ``run``, ``read``) and
    class as the kind.
    """
    try:
        outputs = _run(case, configuration)
    except _Stage as error:
        verdict = "error" if case.expected is not None else ""
        return Outcome(status="error", kind=error.kind, message=str(error), verdict=verdict)
    if case.expected is None:
        return Outcome(status="ok", outputs=outputs)
    values = [value for _, value in outputs]
    reason = judge(values, case.expected, rtol=case.rtol, atol=case.atol)
    return Outcome(
        status="ok", outputs=outputs, verdict="failed" if reason else "passed", detail=reason or ""
    )


def _run(case: Case, configuration: str) -> tuple[tuple[str, Value], ...]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    # How an idle thread waits has no part in the results; two wheels that spin on a busy machine
    # take ten times as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if configuration == "single":
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    ort.set_seed(SEED)
    try:
        session = ort.InferenceSession(
            case.model, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise _Stage("load", error) from error
    names = [output.name for output in session.get_outputs()]
    dense = all(
        (item.type or "").startswith("tensor(")
        for item in (*session.get_inputs(), *session.get_outputs())
    ) and all(isinstance(value, Tensor) and value.element != STRING for _, value in case.inputs)
    values = _run_dense(ort, session, names, case) if dense else _run_any(session, names, case)
    return tuple(zip(names, values, strict=True))


def _run_dense(ort: Any, session: Any, names: list[str], case: Case) -> list[Value]:
    """Tensors in and out by their raw bits, so that no conversion can touch them."""
    try:
        # The arrays stay alive until the run is over: an OrtValue only points at their memory.
        arrays = {
            name: (storage_array(value), value.type)
            for name, value in case.inputs
            if isinstance(value, Tensor)
        }
        feeds = {}
        for name, (array, element) in arrays.items():
            if element.native:
                feeds[name] = ort.OrtValue.ortvalue_from_numpy(array)
            else:
                feeds[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, element.number)
    except Exception as error:
        raise _Stage("feed", error) from error
    try:
        results = session.run_with_ort_values(names, feeds)
    except Exception as error:
        raise _Stage("run", error) from error
    try:
        return [_read(result) for result in results]
    except Exception as error:
        raise _Stage("read", error) from error


def _read(result: Any) -> Tensor:
    """Copy the bits of an OrtValue that lives in host memory."""
    shape = tuple(int(size) for size in result.shape())
    element = element_number(result.data_type().removeprefix("tensor(").removesuffix(")"))
    if element is None:
        raise NotRepresentable(result.data_type())
    if element == STRING:
        return from_array(result.numpy())
    count = byte_count(element, int(np.prod(shape, dtype=np.int64)))
    data = ctypes.string_at(result.data_ptr(), count) if count else b""
    return Tensor(element=element, shape=shape, data=data)


def _run_any(session: Any, names: list[str], case: Case) -> list[Value]:
    """Go through Python objects, for sequences, optionals and strings."""
    try:
        feeds = {name: _to_python(value) for name, value in case.inputs}
        results = session.run(names, feeds)
    except Exception as error:
        raise _Stage("run", error) from error
    try:
        return [_from_python(result) for result in results]
    except Exception as error:
        raise _Stage("read", error) from error


def _to_python(value: Value) -> Any:
    if isinstance(value, Items):
        return [_to_python(item) for item in value.items]
    return None if isinstance(value, Absent) else storage_array(value)


def _from_python(result: Any) -> Value:
    if result is None:
        return Absent()
    if isinstance(result, list):
        return Items(items=tuple(_from_python(item) for item in result))
    if isinstance(result, dict):
        raise NotRepresentable("a map")
    return from_array(np.asarray(result))


def run_cases(
    cases: Sequence[Case], *, start: int, journal: Path, configurations: Sequence[str]
) -> Generator[int]:
    """Run the cases from one position on, each announced before and recorded after.

    Before each its position is given; at the end, how many there are.
    """
    began = time.perf_counter()
    with blob_file(journal).open("ab") as bytes_out, journal.open("a", encoding="utf-8") as out:
        blobs = Blobs(bytes_out)

        def write(row: dict[str, Any]) -> None:
            blobs.flush()
            out.write(json.dumps(row) + "\n")
            out.flush()

        for position in range(start, len(cases)):
            yield position
            case = cases[position]
            write({"begin": position})
            runs = {
                configuration: outcome_to_json(run_case(case, configuration), blobs)
                for configuration in configurations
            }
            write({"id": case.id, "runs": runs})
        write({"end": _about(time.perf_counter() - began)})
    yield len(cases)


def _about(seconds: float) -> dict[str, Any]:
    import onnxruntime as ort

    return {"version": ort.__version__, "build_info": ort.get_build_info(), "seconds": seconds}


def serve(payload: Sequence[Any]) -> Generator[int]:
    """Run cases as the host asks for them: folder, position, journal, configurations."""
    import onnxruntime  # noqa: F401 - a wheel that cannot be imported has run no case

    folder, start, journal, *configurations = payload
    yield from run_cases(
        read_cases(Path(folder)),
        start=int(start),
        journal=Path(journal),
        configurations=configurations,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the cases in this process, where nobody looks after it; 3 when they cannot be read."""
    try:
        for _ in serve(arguments):
            continue
    except VerifyError as error:
        print(f"{error.problem}\n{error.hint}".strip(), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
