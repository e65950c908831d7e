"""A user's exported model with its axes fixed and its constants folded.

The folding is onnxruntime's own offline optimisation at its basic level, made by the wheel under
test: the same transformations that a session makes before it asks the provider, no further
library, and no operator that only one runtime knows.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..encoder.model_recipe import file_sha256
from ..encoder.number_types import FLOAT, FLOAT16, float_types, retyped, widened
from ..errors import VerifyError
from ..files import replacing, write_text
from .advice import cure
from .axes import LARGEST_SIZE, set_inputs, set_outputs, size_of
from .nodes import ModelFileError, external_files, load, weights_given

if TYPE_CHECKING:
    import onnx

    from ..environment.context import TargetContext

LARGEST_FILE = 2**31 - 1
"""Bytes of a protobuf message at most."""


class TooLarge(ModelFileError):
    """A model that no single file of ONNX can hold."""


def add_fix(group: argparse._ActionsContainer) -> None:
    """Add the option ``--fix``, which :func:`parse_fixes` reads."""
    group.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="AXIS=N",
        help="set a dynamic axis, by name or as INPUT:PLACE; may be repeated",
    )


def add_set(group: argparse._ActionsContainer) -> None:
    """Add the option ``--set``, which :func:`set_constants` reads."""
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="INPUT=VALUE",
        help="make an input a constant, so that what it decides is folded; may be repeated",
    )


def share(text: str) -> float:
    """Read a share from 0 to 1, as an argument's type."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1 (0.98 means 98 %)")
    return value


def set_constants(model: onnx.ModelProto, pairs: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a model in which some inputs are constants: ``INPUT=VALUE`` words.

    An input that decides an If (a sampling rate, a flag) is best set for good: the branch not
    taken goes away with the folding. Dynamic axes of the input become 1.

    Raises
    ------
    VerifyError
        When a word is no such pair, or the value does not fit the input.
    """
    import numpy as np
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    for pair in pairs:
        name, _, text = pair.rpartition("=")
        item = next((entry for entry in made.graph.input if entry.name == name), None)
        if item is None:
            listed = ", ".join(entry.name for entry in made.graph.input)
            raise VerifyError(
                f"--set {pair} names no input of the model.",
                hint=f"Write INPUT=VALUE; its inputs are {listed}.",
            )
        kind = item.type.tensor_type
        words = {"true": 1, "false": 0}
        try:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            number = words.get(text.lower())
            whole = np.issubdtype(dtype, np.integer) or dtype == np.bool_
            value = number if number is not None else int(text) if whole else float(text)
            shape = [size_of(dim) or 1 for dim in kind.shape.dim]
            array = np.full(shape, value, dtype)
            constant = onnx.numpy_helper.from_array(array, name)
        except (KeyError, MemoryError, OverflowError, TypeError, ValueError) as error:
            raise VerifyError(
                f"--set {pair} does not fit the input {name}: {error}.",
                hint="Give a number, true or false.",
            ) from None
        made.graph.input.remove(item)
        kept = [entry for entry in made.graph.initializer if entry.name != name]
        del made.graph.initializer[:]
        made.graph.initializer.extend([*kept, constant])
    return made


def parse_fixes(pairs: Sequence[str]) -> dict[str, int]:
    """Turn ``AXIS=N`` words into a mapping.

    Raises
    ------
    VerifyError
        When a word is no such pair, N is below 1, or an axis comes twice.
    """
    fixes: dict[str, int] = {}
    for pair in pairs:
        name, _, number = pair.rpartition("=")
        whole = number.isascii() and number.isdecimal()
        if name and whole and not int(number[:20]):
            raise VerifyError(
                f"--fix {pair} leaves its tensor without elements, and CoreML takes no such one.",
                hint="Give the size of a later step, for a cache of the past the longest; the "
                "first step is a model of its own, exported without that input.",
            )
        if not name or not whole or not 1 <= int(number[:20]) <= LARGEST_SIZE:
            raise VerifyError(
                f"--fix {pair} is not of the form AXIS=N with N from 1 to {LARGEST_SIZE}.",
                hint="For example --fix batch=1 --fix sequence=128, or --fix pixels:2=224.",
            )
        if name in fixes:
            raise VerifyError(f"--fix {name} is given twice.")
        fixes[name] = int(number)
    return fixes


def load_whole(path: Path) -> onnx.ModelProto:
    """Load a model with its external data.

    Raises
    ------
    ModelFileError
        When it is no ONNX model, a file that it refers to is missing, or it is over 2 GiB.
    """
    import onnx

    size = path.stat().st_size if path.is_file() else 0
    size += sum(external_files(load(path)).values())
    if size > LARGEST_FILE:
        raise TooLarge(
            f"{path} holds {size / 1e9:.1f} GB with its weights, and one file of ONNX ends at "
            f"{LARGEST_FILE / 1e9:.1f} GB.",
            hint="Export it in half precision, or take a part with onnx.utils.extract_model; "
            "`python -m verify coverage FILE` asks about the model as it is.",
        )
    try:
        return onnx.load(str(path), format="protobuf")
    except Exception as error:
        raise ModelFileError(
            f"The data that {path} refers to cannot be read: {error}.",
            hint="Each must be whole, and lie in the model's folder under the name that the model "
            "has for it, neither elsewhere nor as a link: fetch it again, or copy it there.",
        ) from None


def fix_axes(model: onnx.ModelProto, fixes: Mapping[str, int]) -> onnx.ModelProto:
    """Return a copy of the model whose inputs' dynamic axes have the sizes given.

    Weights that are inputs too become constants, as the provider wants them. The shapes between
    are left out, since they were made for the dynamic axes; the runtime infers them anew.

    Raises
    ------
    VerifyError
        When an axis of ``fixes`` is not in the model, or one of the model's is not fixed.
    """
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    weights = weights_given(model)
    for item in [entry for entry in fixed.graph.input if entry.name in weights]:
        fixed.graph.input.remove(item)
    set_inputs(fixed, fixes)
    set_outputs(fixed, fixes)
    return fixed


def fold(context: TargetContext, source: Path, target: Path) -> bool:
    """Write ``target``: the model as the wheel's runtime folds it at its basic level.

    The CPU provider takes half precision apart, with a cast around every node. A model of half
    precision alone is folded in single and made half again; one that mixes both stays as it is.

    Returns
    -------
    bool
        Whether the model was folded.

    Raises
    ------
    VerifyError
        When the runtime cannot load the model.
    """
    import onnx

    model = onnx.load(str(source))
    kinds = float_types(model)
    plain = source
    if FLOAT16 in kinds:
        plain = source.with_name(f"{source.stem}-wide.onnx")
        write_model(widened(model), plain)
    folded = source.with_name(f"{source.stem}-folded.onnx")
    payload = {"path": str(plain), "output": str(folded)}
    call = context.call(".coverage.fold_inside:fold", payload)
    if call.value is None or not folded.is_file():
        raise VerifyError(
            f"onnxruntime cannot load the model: {call.sentence}",
            hint=cure(call.sentence)
            or "Try the model as it is with the CPU provider; and other sizes where axes were set, "
            "for some models take certain ones only.",
        )
    whole = kinds != {FLOAT, FLOAT16}
    if not whole:
        folded = source
    elif FLOAT16 in kinds:
        write_model(retyped(onnx.load(str(folded)), FLOAT, FLOAT16), folded)
    with replacing(target) as partial:
        shutil.copyfile(folded, partial)
    return whole


def write_record(
    source: Path, target: Path, *, changes: Mapping[str, Any], wheel: str | None
) -> dict[str, Any]:
    """Write ``<target>.json``: both hashes, what was changed, the wheel that folded; return it.

    ``made_constant`` names the weights that are inputs of ``source`` too.
    """
    record = {
        "made_constant": weights_given(load(source)),
        "source": source.name,
        "source_sha256": file_sha256(source),
        **changes,
        "folded_by": wheel,
        "graph_sha256": file_sha256(target),
    }
    write_text(target.with_suffix(".json"), json.dumps(record, indent=2, sort_keys=True) + "\n")
    return record


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model as one file, the same bytes every time.

    Raises
    ------
    VerifyError
        When it is over 2 GiB, or the file cannot be written.
    """
    try:
        path.write_bytes(model.SerializeToString(deterministic=True))
    except Exception as error:  # protobuf's own error for more than 2 GiB
        raise VerifyError(f"The fixed model cannot be written as one file: {error}.") from None
