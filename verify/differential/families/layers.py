"""Convolutions, pools, resampling and recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..store import Case
from .data import Content, Draw, Shape, integers, make, numbered
from .models import MICROSOFT, Constant, op_case

_CONTENTS: tuple[Content, ...] = ("finite", "nan", "inf", "special")


def cases() -> Iterator[Case]:
    """Give the cases of every operator."""
    yield from _convolutions()
    yield from _pools()
    yield from _resampling()
    yield from _recurrent()
    yield from _attention()


def _convolutions() -> Iterator[Case]:
    shapes: Mapping[str, tuple[Shape, Shape, Mapping[str, Any]]] = {
        "1d": ((1, 3, 17), (4, 3, 3), {"pads": [1, 1]}),
        "2d": ((1, 3, 9, 9), (4, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
        "2d-strided": ((2, 3, 9, 8), (5, 3, 3, 3), {"strides": [2, 2]}),
        "2d-dilated": ((1, 2, 11, 11), (3, 2, 3, 3), {"dilations": [2, 2]}),
        "2d-grouped": ((1, 4, 8, 8), (6, 2, 3, 3), {"group": 2}),
        "2d-depthwise": ((1, 16, 9, 9), (16, 1, 3, 3), {"group": 16, "pads": [1, 1, 1, 1]}),
        "2d-pointwise": ((1, 17, 5, 5), (9, 17, 1, 1), {}),
        "2d-wide": ((1, 16, 14, 14), (32, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
        "3d": ((1, 2, 5, 5, 5), (3, 2, 2, 2, 2), {}),
        "2d-empty-batch": ((0, 3, 9, 9), (4, 3, 3, 3), {}),
    }
    for label, (shape, weights, attributes) in shapes.items():
        kernel = Draw("float32", weights, "unit", "#w")
        bias = Draw("float32", weights[:1], "unit", "#b")
        for content in _CONTENTS:
            pair = [Draw("float32", shape, content), kernel]
            yield op_case(f"layer/Conv/{label}/bias/{content}", "Conv", [*pair, bias], **attributes)
            if content == "finite":
                yield op_case(f"layer/Conv/{label}/plain/{content}", "Conv", pair, **attributes)
        data = [Draw("float32", shape, "finite"), Constant("w", kernel)]
        yield op_case(f"layer/Conv/{label}/constant", "Conv", data, **attributes)
    transposed: Mapping[str, Mapping[str, Any]] = {
        "plain": {}, "strided": {"strides": [2, 2]}, "padded": {"pads": [1, 1, 1, 1]},
        "output-padding": {"strides": [2, 2], "output_padding": [1, 1]},
    }  # fmt: skip
    for label, attributes in transposed.items():
        for content in _CONTENTS:
            three = [
                Draw("float32", (1, 3, 5, 5), content),
                Draw("float32", (3, 4, 3, 3), "unit", "#w"),
                Draw("float32", (4,), "unit", "#b"),
            ]
            name = f"layer/ConvTranspose/{label}/{content}"
            yield op_case(name, "ConvTranspose", three, **attributes)


def _pools() -> Iterator[Case]:
    windows: Mapping[str, Mapping[str, Any]] = {
        "3x3": {"kernel_shape": [3, 3]},
        "2x2-strided": {"kernel_shape": [2, 2], "strides": [2, 2]},
        "3x3-padded": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        "3x3-ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        "2x2-dilated": {"kernel_shape": [2, 2], "dilations": [2, 2]},
    }
    for content in _CONTENTS:
        for label, window in windows.items():
            name = f"layer/MaxPool/float32/{label}/{content}"
            data = make(name, "float32", (1, 3, 9, 17), content)
            yield op_case(name, "MaxPool", [data], outputs=2, **window)
            yield op_case(name + "/values", "MaxPool", [data], **window)
            for include in (0, 1):
                pool = f"layer/AveragePool/float32/{label}-include{include}/{content}"
                yield op_case(pool, "AveragePool", [data], count_include_pad=include, **window)
            for power in (1, 2, 3):
                pool = f"layer/LpPool/float32/{label}-p{power}/{content}"
                yield op_case(pool, "LpPool", [data], p=power, **window)
        for op in ("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"):
            yield op_case(
                f"layer/{op}/float32/{content}", op, [Draw("float32", (2, 3, 5, 7), content)]
            )
        wide = Draw("float64", (1, 2, 7, 7), content)
        yield op_case(
            f"layer/MaxPool/float64/3x3/{content}", "MaxPool", [wide], kernel_shape=[3, 3]
        )
    for type_ in ("int8", "uint8"):
        whole = Draw(type_, (1, 2, 7, 7))
        yield op_case(f"layer/MaxPool/{type_}/3x3", "MaxPool", [whole], kernel_shape=[3, 3])


def _resampling() -> Iterator[Case]:
    for mode in ("nearest", "linear", "cubic"):
        for transform in (
            "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel",
        ):  # fmt: skip
            for factor in (0.6, 1.7, 2.0):
                for content in ("finite", "nan") if factor == 1.7 else ("finite",):
                    name = f"layer/Resize/{mode}/{transform}/x{factor}/{content}"
                    scales = np.array([1, 1, factor, factor], dtype=np.float32)
                    data = [Draw("float32", (1, 2, 5, 7), content), None]
                    yield op_case(
                        name, "Resize", [*data, Constant("scales", scales)], mode=mode,
                        coordinate_transformation_mode=transform,
                    )  # fmt: skip
    for mode in ("linear", "cubic"):
        for type_ in ("float32", "uint8", "int8", "int32"):
            name = f"layer/Resize/{mode}-antialias/{type_}"
            sizes = Constant("sizes", integers(1, 1, 5, 4))
            data = [Draw(type_, (1, 1, 9, 9), "finite"), None, None]
            yield op_case(name, "Resize", [*data, sizes], mode=mode, antialias=1)
    contents: tuple[Content, ...] = ("unit", "nan")
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for content in contents:
                name = f"layer/GridSample/{mode}/{padding}/{content}"
                image = Draw("float32", (1, 2, 5, 6), "finite")
                grid = Draw("float32", (1, 4, 3, 2), content, "#g")
                yield op_case(name, "GridSample", [image, grid], mode=mode, padding_mode=padding)
    for type_ in ("float32", "float64"):
        theta = Draw(type_, (2, 2, 3), "unit")
        yield op_case(f"layer/AffineGrid/{type_}", "AffineGrid", [theta, integers(2, 1, 4, 5)])


def _recurrent() -> Iterator[Case]:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}
    for op, count in gates.items():
        for hidden in (3, 8, 17):
            for direction in ("forward", "reverse", "bidirectional"):
                for content in ("finite", "nan") if direction == "forward" else ("finite",):
                    ways = 2 if direction == "bidirectional" else 1
                    name = f"layer/{op}/{hidden}/{direction}/{content}"
                    rows = count * hidden
                    data = [
                        Draw("float32", (5, 2, 4), content),
                        Draw("float32", (ways, rows, 4), "unit", "#w"),
                        Draw("float32", (ways, rows, hidden), "unit", "#r"),
                        Draw("float32", (ways, 2 * rows), "unit", "#b"),
                    ]
                    yield op_case(
                        name, op, data, outputs=2, hidden_size=hidden, direction=direction
                    )
    for activation in ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", "Elu", "HardSigmoid"):
        name = f"layer/RNN/8/activation-{activation}"
        data = [
            Draw("float32", (3, 2, 4), "finite"),
            Draw("float32", (1, 8, 4), "unit", "#w"),
            Draw("float32", (1, 8, 8), "unit", "#r"),
        ]
        yield op_case(name, "RNN", data, outputs=2, hidden_size=8, activations=[activation])


def _attention() -> Iterator[Case]:
    for content in ("finite", "nan", "inf"):
        for width in (16, 48):
            name = f"layer/Attention/{width}/{content}"
            data = [
                Draw("float32", (2, 5, width), content),
                Draw("float32", (width, 3 * width), "unit", "#w"),
                Draw("float32", (3 * width,), "unit", "#b"),
            ]
            yield op_case(name, "Attention", data, domain=MICROSOFT, num_heads=4)
            name = f"layer/MultiHeadAttention/{width}/{content}"
            others = numbered("float32", [(2, 5, width)] * 2, "finite", first=1)
            three = [Draw("float32", (2, 5, width), content, "#0"), *others]
            yield op_case(name, "MultiHeadAttention", three, domain=MICROSOFT, num_heads=4)
        data = [Draw("float32", (3, 17), content), Draw("float32", (17,), "unit", "#b")]
        yield op_case(f"layer/BiasGelu/{content}", "BiasGelu", data, domain=MICROSOFT)
