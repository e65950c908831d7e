"""Element-wise operators of one input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..store import Case
from .data import SIZES, Content, Draw
from .models import MICROSOFT, Constant, op_case

F = ("float32",)
FD = ("float32", "float64")
FDH = ("float32", "float64", "float16")
_SIGNED = ("int8", "int16", "int32", "int64")
_INTS = (*_SIGNED, "uint8", "uint16", "uint32", "uint64")

#: Operator -> types. float16 runs through a cast to float32 where there is no kernel for it.
OPERATORS: Mapping[str, tuple[str, ...]] = {
    "Abs": (*FD, *_INTS), "Neg": (*FD, *_SIGNED), "Sign": (*FDH, *_INTS),
    "Ceil": FDH, "Floor": FDH, "Round": FDH, "Sqrt": FDH, "Reciprocal": FDH,
    "Exp": FDH, "Log": FDH, "Sigmoid": FDH, "Tanh": FDH, "Erf": ("float32", "float16"),
    "Sin": FD, "Cos": F, "Tan": F, "Asin": F, "Acos": F, "Atan": F,
    "Sinh": F, "Cosh": F, "Asinh": F, "Acosh": F, "Atanh": F,
    "Relu": (*FDH, "int8", "int32"), "Softplus": F, "Softsign": F, "HardSwish": F, "Mish": F,
    "IsNaN": FDH,
}  # fmt: skip

#: Name -> operator, types, domain, attributes.
_WITH_ATTRIBUTES: Mapping[str, tuple[str, tuple[str, ...], str, Mapping[str, Any]]] = {
    "LeakyRelu-0.1": ("LeakyRelu", ("float32", "float16"), "", {"alpha": 0.1}),
    "Elu-1.3": ("Elu", F, "", {"alpha": 1.3}),
    "Selu": ("Selu", F, "", {}),
    "Celu-0.7": ("Celu", F, "", {"alpha": 0.7}),
    "HardSigmoid": ("HardSigmoid", F, "", {"alpha": 0.3, "beta": 0.4}),
    "ThresholdedRelu": ("ThresholdedRelu", F, "", {"alpha": 0.8}),
    "Gelu-none": ("Gelu", ("float32", "float16"), "", {}),
    "Gelu-tanh": ("Gelu", F, "", {"approximate": "tanh"}),
    "IsInf-both": ("IsInf", FDH, "", {}),
    "IsInf-positive": ("IsInf", FD, "", {"detect_negative": 0}),
    "IsInf-negative": ("IsInf", FD, "", {"detect_positive": 0}),
    "IsInf-none": ("IsInf", F, "", {"detect_positive": 0, "detect_negative": 0}),
    "Shrink": ("Shrink", (*FDH, "int32", "uint8"), "", {"lambd": 1.5, "bias": 0.5}),
    "MicrosoftGelu": ("Gelu", F, MICROSOFT, {}),
    "FastGelu": ("FastGelu", F, MICROSOFT, {}),
    "QuickGelu": ("QuickGelu", F, MICROSOFT, {"alpha": 1.702}),
}
_FEW = (1, 17, 33)
#: Operators whose Eigen or MLAS path is most likely to part are tried at every length.
_EVERY_LENGTH = frozenset(
    {"Exp", "Log", "Sqrt", "Tanh", "Sigmoid", "Erf", "Relu", "Round", "Abs", "Gelu-none",
     "Elu-1.3", "Softplus", "IsNaN", "Reciprocal", "Sign"}
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Give the cases: specials at many lengths, a dense sweep, empty and scalar shapes."""
    for op, types in OPERATORS.items():
        for type_ in types:
            yield from _operator(op, op, type_, "", {})
    for label, (op, kinds, domain, attributes) in _WITH_ATTRIBUTES.items():
        for type_ in kinds:
            yield from _operator(label, op, type_, domain, attributes)
    yield from _clip()
    for shape in ((), (0,), (7,), (2, 3)):
        yield op_case(f"unary/Not/bool/{_shown(shape)}", "Not", [Draw(bool, shape)])
    for type_ in _INTS:
        yield op_case(f"unary/BitwiseNot/{type_}/17", "BitwiseNot", [Draw(type_, (17,))])


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "scalar"


def _operator(
    label: str, op: str, type_: str, domain: str, attributes: Mapping[str, Any]
) -> Iterator[Case]:
    floating = np.dtype(type_).kind == "f"
    every = label in _EVERY_LENGTH and type_ == "float32"
    shapes: list[tuple[tuple[int, ...], Content]] = [
        ((size,), "special") for size in (SIZES if every else _FEW)
    ]
    shapes += [((0,), "finite"), ((2, 0, 3), "finite")]
    if floating:
        shapes += [((), "nan"), ((4096,), "sweep"), ((5, 7), "zeros"), ((9,), "nan")]
        shapes += [((17,), "inf")]
    for shape, content in shapes:
        name = f"unary/{label}/{type_}/{_shown(shape)}/{content}"
        yield op_case(name, op, [Draw(type_, shape, content)], domain=domain, **attributes)


def _clip() -> Iterator[Case]:
    bounds: dict[str, tuple[float | None, float | None]] = {
        "both": (-1.5, 2.0), "low": (-1.0, None), "high": (None, 2.0), "none": (None, None),
        "crossed": (3.0, -3.0), "nan-low": (np.nan, 1.0), "nan-high": (-1.0, np.nan),
        "infinite": (-np.inf, np.inf), "zero": (-0.0, 0.0),
    }  # fmt: skip
    for type_ in (*FDH, "int8", "uint8", "int32", "uint32", "int64", "uint64"):
        floating = np.dtype(type_).kind == "f"
        for label, (low, high) in bounds.items():
            if not floating and label not in ("both", "low", "high", "none", "crossed"):
                continue
            for size in (1, 9, 33) if floating else (17,):
                given = [None if bound is None else _bound(bound, type_) for bound in (low, high)]
                data = [Draw(type_, (size,)), *given]
                yield op_case(f"unary/Clip/{type_}/{size}/{label}", "Clip", data)
    for label in ("both", "nan-low", "nan-high"):
        # Constant bounds let the optimiser fold the clip into its neighbours.
        ends = zip(("low", "high"), bounds[label], strict=True)
        constants = [Constant(name, np.float32(bound)) for name, bound in ends]
        data = [Draw("float32", (17,)), *constants]
        yield op_case(f"unary/Clip/float32/17/constant-{label}", "Clip", data)


def _bound(value: float, type_: str) -> Any:
    kind = np.dtype(type_)
    if kind.kind == "u":
        value = abs(value) if value != -1.5 else 1.0
    return np.array(value).astype(kind)
