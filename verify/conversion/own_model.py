"""The conversion proof of a user's own ONNX model: its axes fixed, its inputs drawn or given."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..argument import from_one
from ..coverage.fixed_shapes import (
    add_fix,
    fix_axes,
    fold,
    load_whole,
    parse_fixes,
    share,
    write_model,
)
from ..coverage.nodes import load
from ..coverage.partitions import Question, measure
from ..encoder.sessions import COREML_OPTIONS
from ..environment.context import TargetContext
from ..errors import VerifyError
from ..sentence import Say
from .measure import NOT_FINITE, OTHER_INPUTS
from .package import told_apart
from .proof import (
    Cases,
    Graph,
    InputsRefused,
    ProofError,
    Setting,
    check_names,
    edge_values,
    fresh_home,
    prove_graphs,
)

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
CASES = 8
_LARGEST = 2**31
_MOST_DRAWN = 2**30
"""Numbers of all inputs and cases: 8 GB while they are drawn."""


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What was measured of a model, and how many of its nodes the provider takes: ``of`` how many.

    ``packages`` is empty where the provider emits none.
    """

    packages: list[dict[str, Any]]
    taken: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a graph whose axes are all fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for a model of the user's own."""
    group = parser.add_argument_group("a model of your own, with --model FILE.onnx")
    add_fix(group)
    group.add_argument(
        "--inputs",
        type=Path,
        metavar="FILE.npz",
        help="inputs by name, one case each or with an axis of cases in front; default: random",
    )
    group.add_argument(
        "--cases", type=from_one, metavar="N", help=f"random inputs to draw (default: {CASES})"
    )
    group.add_argument("--seed", type=int, metavar="N", help="of the random inputs (default: 0)")
    group.add_argument(
        "--range",
        action="append",
        default=[],
        metavar="INPUT=LOW:HIGH",
        help="draw an input evenly between two numbers; default: normal for floats, 0 or 1 for "
        "integers; may be repeated",
    )
    group.add_argument(
        "--min-nodes",
        type=share,
        metavar="SHARE",
        help="least share of nodes that CoreML must take, 0 to 1; default: --policy's, or any",
    )


def given_options(options: argparse.Namespace) -> list[str]:
    """Return which of this module's options were given."""
    names = ("fix", "inputs", "cases", "seed", "range", "min_nodes")
    return [name for name in names if getattr(options, name) not in (None, [])]


def prove_model(
    context: TargetContext, path: Path, options: argparse.Namespace, setting: Setting, *, say: Say
) -> Proven:
    """Measure every package that the provider emits for a model.

    Raises
    ------
    VerifyError
        When the model, an axis or the inputs do not fit; :class:`ProofError` when the runtime
        refuses the model.
    """
    import onnx

    model = fix_axes(load_whole(path), parse_fixes(options.fix))
    inputs, ranges = model_inputs(model), parse_ranges(options.range)
    feeds = choose_inputs(inputs, options)
    count = len(next(iter(feeds.values())))
    home = fresh_home(context)
    plain, folded, file = home / "model.onnx", home / "folded.onnx", home / "inputs.npz"
    write_model(model, plain)
    # What the runtime fuses before it asks the provider is not the conversion's doing: in a half
    # precision model it rounds the fused weights, by more than any conversion may.
    say("folding constants")
    fold(context, plain, folded)
    load(folded)  # one whose every node was folded is told here
    taken = _taken(context, folded, path.stem, say)
    graph = Graph(label=path.stem, path=folded, folder=home / "packages", feeds=file)
    apart, renamed = told_apart(onnx.load(str(folded)))
    if renamed:
        say(f"other names for {', '.join(renamed)}: CoreML's are spelt alike")
        write_model(apart, home / "apart.onnx")
        check_names(context, graph, home / "apart.onnx", say=say)
        graph = replace(graph, path=home / "apart.onnx", folder=home / "packages-apart")
    write_feeds(file, feeds, renamed)
    names = tuple(f"input {number}" for number in range(count))
    try:
        measured = prove_graphs(context, [graph], Cases(names=names), setting, say=say)
    except InputsRefused as error:
        raise _refused(context, graph, feeds, renamed, error) from None
    measured = [_with_own_names(entry, renamed) for entry in measured]
    infinite = any(NOT_FINITE in entry["refused"] for entry in measured)
    advice = ""
    if infinite and options.inputs is None:
        say("looking for inputs without NaN and infinity")
        advice = _own_nan(model) or _finite_option(
            context, graph, inputs, feeds, ranges, renamed=renamed
        )
    if any(OTHER_INPUTS in entry["refused"] for entry in measured):
        advice = advice or "Give them with --range INPUT=LOW:HIGH, or your own with --inputs FILE."
    packages = [{**entry, "taken": taken, "advice": advice} for entry in measured]
    return Proven(packages=packages, taken=taken)


def _refused(
    context: TargetContext,
    graph: Graph,
    feeds: Mapping[str, Array],
    renamed: Mapping[str, str],
    error: InputsRefused,
) -> InputsRefused:
    """Return the refusal of some inputs, and whether zeros and ones are refused as well."""
    file, values = graph.folder / "tried-inputs.npz", graph.folder / "tried.npz"
    for number in (0, 1):
        alike = {name: np.full_like(array[:1], number) for name, array in feeds.items()}
        write_feeds(file, alike, renamed)
        wanted = {"graph": str(graph.path), "values": list(edge_values(graph)), "feeds": str(file)}
        job = {"graphs": [{**wanted, "file": str(values)}], "texts": []}
        if context.call(".conversion.emit_inside:values", job, timeout=900.0).value is True:
            return error
    return InputsRefused(
        f"{error.problem} Zeros and ones are refused as well.",
        hint="Where it does not run on your own inputs either (--inputs FILE), the runtime does "
        "not take the node that it names: write that otherwise.",
    )


def _with_own_names(entry: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Return what was measured in the names of the model itself."""

    def own(text: str) -> str:
        for name, other in renamed.items():
            text = text.replace(other, name)
        return text

    told: dict[str, Any] = {
        key: own(entry[key]) for key in ("refused", "departure") if key in entry
    }
    return {**entry, **told, "silent": [own(name) for name in entry["silent"]]}


def choose_inputs(inputs: Sequence[Input], options: argparse.Namespace) -> dict[str, Array]:
    """Read or draw the inputs that the options ask for, by name ``[cases, …]``.

    Raises
    ------
    VerifyError
        When an option is impossible, or does not fit the model.
    """
    ranges = parse_ranges(options.range)
    unknown = [name for name in ranges if name not in {entry.name for entry in inputs}]
    if unknown:
        raise _no_such_input(f"--range {unknown[0]}", inputs)
    if options.inputs is None:
        count = CASES if options.cases is None else options.cases
        return draw_inputs(inputs, count=count, seed=options.seed or 0, ranges=ranges)
    for name in ("cases", "seed", "range"):
        if getattr(options, name) not in (None, []):
            raise VerifyError(
                f"--{name} has no effect beside --inputs.", hint="Leave one of the two out."
            )
    return read_inputs(options.inputs, inputs)


def _taken(context: TargetContext, path: Path, label: str, say: Say) -> dict[str, int]:
    """Return how many of the graph's nodes the provider takes.

    Raises
    ------
    ProofError
        When no session is made, with the node that the provider was at.
    """
    question = Question(path=path, label=label)
    (answer,) = measure(
        context, [question], ("MLProgram",), judged=(), options=COREML_OPTIONS, say=say
    )
    found = answer.coverage
    if found.failure:
        raise ProofError(
            f"The provider makes no session of {label}: {found.failure}.",
            hint=answer.hint or "`python -m verify coverage MODEL` tells more of a model.",
            context={"known fault": " ".join(answer.warnings)} if answer.warnings else None,
        )
    return {"nodes": found.nodes_taken, "of": found.nodes_total}


def _own_nan(model: onnx.ModelProto) -> str:
    """Say that a weight holds NaN, which no inputs mend; an empty string where none does."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and np.isnan(array).any():
            return f"No inputs help: its weight {tensor.name} holds NaN. Export the model again."
    return ""


def _finite_option(
    context: TargetContext,
    graph: Graph,
    inputs: Sequence[Input],
    feeds: Mapping[str, Array],
    ranges: Mapping[str, tuple[float, float]],
    *,
    renamed: Mapping[str, str],
) -> str:
    """Return the option that keeps the CPU provider's values finite: a mask of ones, or of zeros.

    It is tried, and an empty string when neither helps for any one input.
    """
    edges = list(edge_values(graph))
    file, values = graph.folder / "tried-inputs.npz", graph.folder / "tried.npz"
    for entry in inputs:
        if entry.dtype.kind not in "iub" or entry.name in ranges:
            continue
        for number in (1, 0):
            tried = {**feeds, entry.name: np.full_like(feeds[entry.name], number)}
            write_feeds(file, tried, renamed)
            wanted = {"graph": str(graph.path), "values": edges, "file": str(values)}
            job = {"graphs": [{**wanted, "feeds": str(file)}], "texts": []}
            call = context.call(".conversion.emit_inside:values", job, timeout=900.0)
            if call.value is not True:
                continue
            with np.load(values, allow_pickle=False) as stored:
                arrays = [stored[key] for key in stored.files]
            if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in arrays):
                option = shlex.quote(f"{entry.name}={number}:{number}")
                return f"The values stay finite with --range {option}."
    return ""


def model_inputs(model: onnx.ModelProto) -> list[Input]:
    """Return what the model must be fed with.

    Raises
    ------
    InputsRefused
        When it has no input, or one that is no tensor of numbers.
    """
    import onnx
    from onnx import helper

    constants = {item.name for item in model.graph.initializer}
    found = []
    for item in model.graph.input:
        if item.name in constants:
            continue
        kind = item.type.tensor_type
        dtype = (
            np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            if kind.elem_type
            else np.dtype(object)
        )
        if not item.type.HasField("tensor_type") or dtype.kind == "O":
            raise InputsRefused(
                f"The input {item.name} is no tensor of numbers, which Core ML needs.",
                hint="Cut the part that computes on tensors out, with "
                "onnx.utils.extract_model(FILE, PART, INPUTS, OUTPUTS).",
            )
        if dtype.kind not in "fiub" or dtype.isbuiltin != 1:
            known = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
            raise InputsRefused(
                f"The input {item.name} is of type {known}, and there are no inputs of that type "
                "to draw.",
                hint="Export the model with inputs of float32: Core ML has no such type either.",
            )
        shape = tuple(int(dim.dim_value) for dim in kind.shape.dim)
        found.append(Input(name=item.name, shape=shape, dtype=dtype))
    if not found:
        raise InputsRefused(
            "The model has no input, so there is nothing to vary.",
            hint="A graph of constants is folded before any provider sees it.",
        )
    return found


def parse_ranges(pairs: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Turn ``INPUT=LOW:HIGH`` words into a mapping.

    Raises
    ------
    VerifyError
        When a word is no such thing, or an input comes twice.
    """
    found: dict[str, tuple[float, float]] = {}
    for pair in pairs:
        name, _, numbers = pair.rpartition("=")
        low, _, high = numbers.partition(":")
        try:
            bounds = float(low), float(high)
        except ValueError:
            bounds = math.nan, math.nan
        if not name or not -math.inf < bounds[0] <= bounds[1] < math.inf:
            raise VerifyError(
                f"--range {pair} is not of the form INPUT=LOW:HIGH with LOW at most HIGH.",
                hint="For example --range pixel_values=0:1 --range input_ids=0:30521.",
            )
        if name in found:
            raise VerifyError(f"--range {name} is given twice.")
        found[name] = bounds
    return found


def draw_inputs(
    inputs: Sequence[Input], *, count: int, seed: int, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Array]:
    """Draw inputs ``[count, …]`` by name: the same seed gives the same bytes.

    ``ranges`` are inputs to draw evenly from LOW to HIGH, both among the integers drawn. Other
    floats are normal, other integers 0 or 1: rows that every look-up table has and what masks hold.

    Raises
    ------
    VerifyError
        When a number is impossible: there is at least one case, and no seed below 0.
    """
    if count < 1 or seed < 0:
        raise VerifyError(
            f"--cases {count} with --seed {seed}: at least one case, and no seed below 0."
        )
    numbers = count * sum(math.prod(entry.shape) for entry in inputs)
    if numbers > _MOST_DRAWN:
        raise InputsRefused(
            f"{count} cases of these inputs are {numbers:.2g} numbers, and at most "
            f"{_MOST_DRAWN:.2g} are drawn: {_described(inputs)}.",
            hint="Fix their axes to smaller sizes, or ask for fewer with --cases N.",
        )
    random = np.random.Generator(np.random.PCG64(seed))
    found: dict[str, Array] = {}
    for entry in inputs:
        shape = (count, *entry.shape)
        bounds = ranges.get(entry.name)
        if entry.dtype.kind == "f" and bounds is None:
            drawn = np.asarray(random.standard_normal(shape))
        elif entry.dtype.kind == "f" and bounds is not None:
            _check_range(entry, *bounds)
            drawn = np.asarray(random.uniform(*bounds, shape))
        else:
            low, high = (0, 1) if bounds is None else (math.ceil(bounds[0]), math.floor(bounds[1]))
            if low > high:
                raise VerifyError(f"--range {entry.name} holds no whole number.")
            _check_range(entry, low, high)
            drawn = np.asarray(random.integers(low, high, shape, endpoint=True))
        found[entry.name] = drawn.astype(entry.dtype)
    return found


def _check_range(entry: Input, low: float, high: float) -> None:
    least: float = 0
    most: float = 1
    if entry.dtype.kind == "f":
        # Doubles are drawn, and the distance of both ends must be one too.
        most = min(float(np.finfo(entry.dtype).max), float(np.finfo(np.float64).max) / 2)
        least = -most
    if entry.dtype.kind in "iu":
        info = np.iinfo(entry.dtype)
        # Core ML's integers have 32 bits, and the provider narrows wider ones.
        least, most = max(info.min, -_LARGEST), min(info.max, _LARGEST - 1)
    if low < least or high > most:
        raise VerifyError(
            f"--range {entry.name}={low}:{high} is beyond what {entry.dtype} holds for Core ML "
            f"({least:.10g} to {most:.10g})."
        )


def read_inputs(path: Path, inputs: Sequence[Input]) -> dict[str, Array]:
    """Read inputs from an npz file: each of the input's shape, or with an axis of cases in front.

    Raises
    ------
    ProofError
        When the file is no npz, or an array is missing, unknown, of another shape or type, not
        finite, or of another number of cases.
    """
    if not path.is_file():
        raise ProofError(
            f"There is no file of inputs at {path}.",
            hint="Write one with numpy.savez(FILE, name=array, …).",
        )
    try:
        with path.open("rb") as stream:
            stored = np.load(stream, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                raise ValueError("it holds one array without a name")
            given = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ProofError(
            f"The inputs {path} cannot be read: {error}.",
            hint="Write the file with numpy.savez(FILE, name=array, …), without objects.",
        ) from None
    missing = [entry.name for entry in inputs if entry.name not in given]
    if missing:
        raise ProofError(
            f"{path} holds nothing for the input {missing[0]}.",
            hint=f"The model takes {_described(inputs)}; the file holds {', '.join(given)}.",
        )
    unknown = [name for name in given if name not in {entry.name for entry in inputs}]
    if unknown:
        raise _no_such_input(f"{path}: {unknown[0]}", inputs)
    found = {entry.name: _checked(given[entry.name], entry, path) for entry in inputs}
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ProofError(f"{path} holds different numbers of cases: {listed}.")
    return found


def _checked(array: Array, entry: Input, path: Path) -> Array:
    """Return an array ``[cases, …]`` of the input's type."""
    rows = array[None] if array.shape == entry.shape else array
    if rows.shape[1:] != entry.shape or not len(rows):
        raise ProofError(
            f"{path}: {entry.name} is {list(array.shape)}, and the model takes "
            f"{list(entry.shape)}.",
            hint="Give one case of that shape, or several along a further axis in front.",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ProofError(f"{path}: {entry.name} holds NaN or infinity.")
    if array.dtype != entry.dtype and not np.can_cast(array.dtype, entry.dtype, "same_kind"):
        raise ProofError(
            f"{path}: {entry.name} is {array.dtype}, and the model takes {entry.dtype}.",
            hint=f"Convert it with array.astype({str(entry.dtype)!r}).",
        )
    return rows.astype(entry.dtype)


def _no_such_input(what: str, inputs: Sequence[Input]) -> ProofError:
    return ProofError(
        f"{what} names no input of the model.", hint=f"It takes {_described(inputs)}."
    )


def _described(inputs: Sequence[Input]) -> str:
    return ", ".join(f"{entry.name} {entry.dtype}{list(entry.shape)}" for entry in inputs)


def write_feeds(
    path: Path, feeds: Mapping[str, Array], renamed: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write inputs ``[cases, …]`` for the target: names of ONNX need not be names of files.

    ``renamed`` holds what some of them are called in the graph that is run.
    """
    content = {f"v{place}": array for place, array in enumerate(feeds.values())}
    content["names"] = np.asarray(json.dumps([renamed.get(name, name) for name in feeds]))
    content["count"] = np.asarray(len(next(iter(feeds.values()))))
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **content)
