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
from .nodes import UNKNOWN, ModelFileError, facts, load

if TYPE_CHECKING:
    import onnx

    from ..environment.context import TargetContext


def add_fix(group: argparse._ActionsContainer) -> None:
    """Add the option ``--fix``, which :func:`parse_fixes` reads."""
    group.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="AXIS=N",
        help="set a dynamic axis; may be repeated",
    )


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
        if not name or not number.isdecimal() or int(number) < 1:
            raise VerifyError(
                f"--fix {pair} is not of the form AXIS=N with N at least 1.",
                hint="For example --fix batch=1 --fix sequence=128.",
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
        When it is no ONNX model, or a file that it refers to is missing.
    """
    import onnx

    load(path)
    try:
        return onnx.load(str(path))
    except Exception as error:
        raise ModelFileError(
            f"The data that {path} refers to cannot be read: {error}.",
            hint="Keep the external data files beside the model.",
        ) from None


def fix_axes(model: onnx.ModelProto, fixes: Mapping[str, int]) -> onnx.ModelProto:
    """Return a copy of the model whose inputs' named axes have the sizes given.

    The shapes between are left out, since they were made for the dynamic axes; the runtime infers
    them anew.

    Raises
    ------
    VerifyError
        When an axis of ``fixes`` is not in the model, or one of the model's is not fixed.
    """
    import onnx

    axes = facts(model).dynamic_axes
    unknown = [name for name in fixes if name not in axes]
    if unknown:
        raise VerifyError(
            f"The model has no dynamic axis {unknown[0]}.",
            hint=f"It has: {', '.join(axes)}." if axes else "Its inputs are static already.",
        )
    missing = [name for name in axes if name not in fixes]
    if missing:
        raise VerifyError(
            f"The dynamic axes {', '.join(missing)} would stay.",
            hint="Add " + " ".join(_fix(name) for name in missing) + ".",
        )
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for item in (*fixed.graph.input, *fixed.graph.output):
        for dim in item.type.tensor_type.shape.dim:
            name = dim.dim_param or UNKNOWN  # axes without a name are fixed together
            if not dim.HasField("dim_value") and name in fixes:
                dim.dim_value = fixes[name]
    del fixed.graph.value_info[:]
    return fixed


def _fix(name: str) -> str:
    return "--fix '?=N' (for the axes without a name)" if name == UNKNOWN else f"--fix {name}=N"


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
            f"onnxruntime cannot load the model with these axes: {call.last_words[:300]}",
            hint="Try other sizes, some models take certain ones only; and the model as it is with "
            "the CPU provider.",
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
    source: Path, target: Path, *, fixes: Mapping[str, int], wheel: str | None
) -> dict[str, Any]:
    """Write ``<target>.json``: both hashes, the axes and the wheel that folded; return it."""
    record = {
        "source": source.name,
        "source_sha256": file_sha256(source),
        "fixed": dict(fixes),
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
