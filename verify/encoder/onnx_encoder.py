"""An encoder whose weights are an ONNX file alone: its graph, made into a member of the family.

The file stays what it is but for its axes (batch and sequence), its output's name, its mask's bias,
which exporters make the smallest float, and the type of its numbers where half precision is asked
for. What can be folded once the axes are fixed is folded by the runtime's own session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .model_recipe import EncoderSpec
from .number_types import FLOAT, FLOAT16, float_types, graphs_of, retyped
from .weights import WeightsError

if TYPE_CHECKING:
    import onnx

STATES = "last_hidden_state"
_NAMES = (STATES, "token_embeddings")
MASK_BIAS = -10000.0
"""As good as minus infinity after Softmax, and half precision holds it."""

_OF_A_MASK = {"Mul", "Add", "Sub", "Where"}
_LARGEST_HALF = float(np.finfo(np.float16).max)


def adopted(
    path: Path, encoder: EncoderSpec, *, static: tuple[int, int] | None, half: bool
) -> onnx.ModelProto:
    """Return the model with the axes given and its token vectors as ``last_hidden_state``.

    Parameters
    ----------
    path : Path
        The pinned file, in single precision.
    encoder : EncoderSpec
        Says which inputs it has and how wide its vectors are.
    static : (int, int), optional
        Batch and sequence length; named axes ``batch`` and ``sequence`` when left out.
    half : bool
        Whether weights and arithmetic are made half precision. Constants beyond its range become
        its largest number: an infinity times zero would be NaN.

    Raises
    ------
    WeightsError
        When it is no ONNX file, or its inputs, output or numbers are not such an encoder's.
    """
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's own classes, and missing external data
        raise WeightsError(f"{path} cannot be read as ONNX: {error}.") from None
    _check_inputs(path, model, encoder)
    shape: list[Any] = list(static) if static else ["batch", "sequence"]
    for item in model.graph.input:
        item.CopyFrom(onnx.helper.make_tensor_value_info(item.name, onnx.TensorProto.INT64, shape))
    # The shapes between were made for other axes; the runtime infers them anew.
    del model.graph.value_info[:]
    _keep_states(path, model)
    _calm_masks(model)
    if half:
        _clip(model)
        model = retyped(model, FLOAT, FLOAT16)
        _rename(model, STATES, "states_half")
        node = onnx.helper.make_node("Cast", ["states_half"], [STATES], name=STATES, to=FLOAT)
        model.graph.node.append(node)
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(STATES, onnx.TensorProto.FLOAT, [*shape, encoder.hidden])
    )
    onnx.checker.check_model(model)
    return model


def _check_inputs(path: Path, model: onnx.ModelProto, encoder: EncoderSpec) -> None:
    constants = {item.name for item in model.graph.initializer}
    kept = [item for item in model.graph.input if item.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    names = [item.name for item in kept]
    wrong = [item.name for item in kept if item.type.tensor_type.elem_type != 7]  # INT64
    if sorted(names) != sorted(encoder.inputs) or wrong:
        raise WeightsError(
            f"{path} takes {', '.join(names)}"
            + (f" ({', '.join(wrong)} not as int64)" if wrong else "")
            + f"; the recipe says {', '.join(encoder.inputs)}, all int64.",
            hint="Set token_types = 2 where it takes token_type_ids, 0 where not.",
        )
    if float_types(model) != {FLOAT}:
        raise WeightsError(
            f"{path} is not in single precision alone.",
            hint="Take the float export; half precision is made from it.",
        )


def _keep_states(path: Path, model: onnx.ModelProto) -> None:
    """Rename the output with the token vectors to ``last_hidden_state``."""
    outputs = {item.name: item for item in model.graph.output}
    found = [name for name in _NAMES if name in outputs]
    if not found:
        found = [n for n, item in outputs.items() if len(item.type.tensor_type.shape.dim) == 3]
    if len(found) != 1 and found[:1] != [STATES]:
        raise WeightsError(
            f"{path} has no single output of token vectors: it has {', '.join(outputs)}.",
            hint=f"Export it with {STATES} [batch, sequence, hidden]; the recipe pools.",
        )
    if found[0] != STATES:
        _rename(model, found[0], STATES)


def _rename(model: onnx.ModelProto, before: str, after: str) -> None:
    for graph in graphs_of(model.graph):
        for node in graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == before:
                        names[place] = after


def _constants(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield the constants in single precision, each by the name under which nodes take it."""
    for graph in graphs_of(model.graph):
        found = [(item.name, item) for item in graph.initializer]
        found += [
            (node.output[0], attribute.t)
            for node in graph.node
            for attribute in node.attribute
            if attribute.HasField("t")
        ]
        yield from ((name, tensor) for name, tensor in found if tensor.data_type == FLOAT)


def _calm_masks(model: onnx.ModelProto) -> None:
    """Make a mask's bias the one that our own graphs have, which half precision holds.

    A constant counts as one where it is below half precision's range and every node that takes it
    multiplies, adds or chooses: after Softmax both are zero.
    """
    takers: dict[str, set[str]] = {}
    for graph in graphs_of(model.graph):
        for node in graph.node:
            for name in node.input:
                takers.setdefault(name, set()).add(node.op_type)
    for name, tensor in _constants(model):
        if takers.get(name, set()) <= _OF_A_MASK:
            _replace(tensor, lambda value: value < -_LARGEST_HALF, MASK_BIAS)


def _clip(model: onnx.ModelProto) -> None:
    """Bring finite constants into the range of half precision."""
    for _, tensor in _constants(model):
        for sign in (1, -1):
            beyond = sign * _LARGEST_HALF
            _replace(tensor, lambda v, s=sign: np.isfinite(v) & (s * v > _LARGEST_HALF), beyond)


def _replace(tensor: onnx.TensorProto, where: Callable[..., Any], by: float) -> None:
    from onnx import numpy_helper

    value = numpy_helper.to_array(tensor)
    chosen = where(value)
    if np.any(chosen):
        made = np.where(chosen, np.float32(by), value).astype(value.dtype)
        tensor.CopyFrom(numpy_helper.from_array(made, tensor.name))
