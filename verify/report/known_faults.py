"""Faults outside the wheel that the settings we recommend walk into, said where they are shown.

None of them has been reproduced here: the issue numbers are upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence

from .document import Coverage

HALF_ON_MACOS_15 = (
    "Half precision with fixed shapes as MLProgram gives finite, wrong vectors on macOS 15, and "
    "right ones on macOS 26 (onnxruntime#32569, open). Deploy the fp32 graph for macOS 15, or "
    "compare there first: `conversion.device` of policy macos-arm64 does."
)
EXTERNAL_WEIGHTS = (
    "Its weights are in a file of their own. The CoreML provider of 1.21.0 leaves the nodes that "
    "use them on the CPU, and later ones end with an error (onnxruntime#28005): save the model "
    "with its weights inside."
)


def known_faults(
    *, half: bool, fixed_shapes: bool, external: bool, model_format: str
) -> tuple[str, ...]:
    """Return what the reader should know of a graph before deploying it to CoreML.

    ``half`` is whether any value is in half precision, ``fixed_shapes`` whether no input has a
    dynamic axis, ``external`` whether weights are outside the file.
    """
    found = []
    if half and fixed_shapes and model_format == "MLProgram":
        found.append(HALF_ON_MACOS_15)
    if external:
        found.append(EXTERNAL_WEIGHTS)
    return tuple(found)


def of_graphs(graphs: Sequence[Coverage]) -> tuple[str, ...]:
    """Return the same for a verification's own graphs, which are ``static [1,128] fp16``."""
    found = (
        known_faults(
            half="fp16" in each.graph,
            fixed_shapes="static" in each.graph,
            external=False,
            model_format=each.format,
        )
        for each in graphs
    )
    return tuple(dict.fromkeys(each for faults in found for each in faults))
