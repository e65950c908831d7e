"""On a Mac: where Core ML runs each operation, and whether it predicts what we evaluate.

Two proofs check each other here. The off-device evaluation says what the program computes; Core ML
predicts with the same package on the same values. Where they part, one of them is wrong.

None of this has run on a Mac yet. The functions that read Core ML's answers take plain values, so
that they are tested with answers written by hand after coremltools' classes and the provider's
source (``ProfileBlock`` in model.mm of 1.21.0).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .closeness import Known, compare
from .evaluate import constants_for, evaluate
from .package import Package, quiet
from .program import Program

Array = NDArray[Any]
Predict = Callable[[Mapping[str, Array]], Mapping[str, Any]]
DEVICES = {
    "MLNeuralEngineComputeDevice": "Neural Engine",
    "MLGPUComputeDevice": "GPU",
    "MLCPUComputeDevice": "CPU",
}
UNDECIDED = "undecided"
_VERSION = re.compile(r"^ios\d+\.", re.IGNORECASE)
_PROFILED = re.compile(
    r"Operation: (?P<kind>\S+), Device Usage: (?P<device>.*), Estimated Cost: (?P<cost>\S+)\s*$"
)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where Core ML means to run one operation; ``cost`` is its share of the model's work, 0..1."""

    kind: str
    name: str
    device: str
    cost: float


def read_plan(plan: Any) -> tuple[Placed, ...]:
    """Read every operation of a ``coremltools.models.compute_plan.MLComputePlan``.

    Constants are no work and left out. An operation that Core ML says nothing about is undecided.
    """
    program = plan.model_structure.program
    if program is None:
        return ()
    found = []
    for operation in _operations(program.functions["main"].block):
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        device = None if usage is None else usage.preferred_compute_device
        found.append(
            Placed(
                kind=_VERSION.sub("", operation.operator_name),
                name=operation.outputs[0].name if operation.outputs else "",
                device=UNDECIDED if device is None else device_name(type(device).__name__),
                cost=0.0 if cost is None else float(cost.weight),
            )
        )
    return tuple(found)


def read_profile(text: str) -> tuple[Placed, ...]:
    """Read what the provider says with ``ProfileComputePlan=1``; it names no values.

    The lines are NSLog's, ``Operation: ios17.matmul, Device Usage: <MLCPUComputeDevice: 0x…>,
    Estimated Cost: 0.004``.
    """
    found = []
    for line in text.splitlines():
        said = _PROFILED.search(line)
        if said:
            try:
                cost = float(said["cost"])
            except ValueError:
                cost = 0.0
            found.append(
                Placed(
                    kind=_VERSION.sub("", said["kind"]),
                    name="",
                    device=device_name(said["device"]),
                    cost=cost,
                )
            )
    return tuple(found)


def device_name(said: str) -> str:
    """Return ``Neural Engine``, ``GPU`` or ``CPU`` for a class's name or an object's description.

    What Core ML leaves open (``(null)``) is undecided; a device that is not known keeps its name.
    """
    for kind, name in DEVICES.items():
        if kind in said:
            return name
    return UNDECIDED if said.strip() in ("", "(null)", "None") else said.strip()


def summary(placed: Sequence[Placed]) -> dict[str, dict[str, float]]:
    """Return, by device, how many operations it gets and their share of the estimated cost."""
    names = [*DEVICES.values(), *sorted({entry.device for entry in placed})]
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(names):
        mine = [entry for entry in placed if entry.device == name]
        if mine:
            cost = sum(entry.cost for entry in mine)
            found[name] = {"operations": len(mine), "cost": round(cost, 6)}
    return found


def plans_differ(plan: Sequence[Placed], profile: Sequence[Placed]) -> str:
    """Say where Core ML answered coremltools and the provider differently; empty if nowhere.

    The provider names no operations, so that kinds and devices are counted.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for place, entries in enumerate((plan, profile)):
        for entry in entries:
            if entry.kind != "const":
                counts.setdefault((entry.kind, entry.device), [0, 0])[place] += 1
    for (kind, device), (one, other) in counts.items():
        if one != other:
            return f"{kind} on {device}: {one} by coremltools, {other} by the provider"
    return ""


def compare_predictions(
    predict: Predict, program: Program, known: Known, rows: Sequence[int]
) -> dict[str, Any]:
    """Compare Core ML's predictions with the CPU provider and with both evaluations.

    Returns ``rows`` and the lists ``cpu``, ``exact`` and ``fp16`` of cosines, one for each case.
    """
    found: dict[str, list[float]] = {"cpu": [], "exact": [], "fp16": []}
    whole, halves = constants_for(program, "exact"), constants_for(program, "fp16")
    for row in rows:
        inputs = known.values(program.inputs, row)
        said = predict({name: fed(value) for name, value in inputs.items()})
        outputs = {name: np.asarray(said[name]) for name in program.outputs}
        found["cpu"].append(known.compare(outputs, row).cosine)
        exact = evaluate(program, inputs, "exact", constants=whole).outputs
        half = evaluate(program, inputs, "fp16", constants=halves).outputs
        found["exact"].append(compare(outputs, exact, mask=known.mask(row)).cosine)
        found["fp16"].append(compare(outputs, half, mask=known.mask(row)).cosine)
    return {"rows": list(rows), **found}


def fed(value: Any) -> Array:
    """Return a value as Core ML takes it: float32 or int32."""
    array = np.asarray(value)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)


def measure_device(
    package: Package, program: Program, known: Known, rows: Sequence[int]
) -> dict[str, Any]:
    """Ask Core ML on this Mac for its plan of a package and for predictions.

    Returns ``plan`` (a dict for each operation), ``devices`` (:func:`summary`) and ``predictions``
    (:func:`compare_predictions`); ``error`` in their place when Core ML refuses the package,
    ``no_plan`` in place of the first two when it gives no plan.
    """
    quiet()
    try:
        with compiled(package) as path:
            plan = _placed(path)
            predictions = compare_predictions(_load_predictor(path), program, known, rows)
    except Exception as error:
        # coremltools raises bare exceptions for whatever Core ML says; each is a finding.
        return {"error": _first_line(error)}
    return {**plan, "predictions": predictions}


def _placed(path: str) -> dict[str, Any]:
    try:
        placed = read_plan(_load_plan(path))
    except Exception as error:
        # macOS before 14.4 has no MLComputePlan, and predicts all the same.
        return {"no_plan": _first_line(error)}
    return {"plan": [asdict(entry) for entry in placed], "devices": summary(placed)}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def compiled(package: Package) -> Iterator[str]:
    """Compile a package with Core ML; the context is the compiled model's path."""
    from coremltools.models.utils import compile_model

    with tempfile.TemporaryDirectory(prefix="ortmill-coreml-") as folder:
        # Core ML goes by the suffix, and the provider's packages have none.
        named = Path(folder) / "model.mlpackage"
        shutil.copytree(package.folder, named)
        made = compile_model(str(named))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _load_plan(path: str) -> Any:
    import coremltools
    from coremltools.models.compute_plan import MLComputePlan

    return MLComputePlan.load_from_path(path=path, compute_units=coremltools.ComputeUnit.ALL)


def _load_predictor(path: str) -> Predict:
    import coremltools

    model = coremltools.models.CompiledMLModel(path, coremltools.ComputeUnit.ALL)
    predict: Predict = model.predict
    return predict


def _operations(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        for inner in operation.blocks:
            yield from _operations(inner)
        if _VERSION.sub("", operation.operator_name) != "const":
            yield operation
