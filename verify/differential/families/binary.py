"""Operators of two or more inputs with broadcasting: where scalars take paths of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..store import Case
from .data import Content, Draw, Shape, make, numbered
from .models import Constant, op_case

FD = ("float32", "float64")
FDH = (*FD, "float16")
_WIDE = ("int32", "int64", "uint32", "uint64")
_INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

#: Name -> the shapes of both inputs. ONNX Runtime has one path for a scalar on the left, one for
#: a scalar on the right and one for two spans.
SHAPES: Mapping[str, tuple[Shape, Shape]] = {
    "scalar+scalar": ((), ()),
    "scalar+1": ((), (1,)),
    "scalar+7": ((), (7,)),
    "scalar+17": ((), (17,)),
    "17+scalar": ((17,), ()),
    "1+33": ((1,), (33,)),
    "8+1": ((8,), (1,)),
    "1+1": ((1,), (1,)),
    "3+3": ((3,), (3,)),
    "8+8": ((8,), (8,)),
    "17+17": ((17,), (17,)),
    "33+33": ((33,), (33,)),
    "3x1+1x5": ((3, 1), (1, 5)),
    "2x3x4+4": ((2, 3, 4), (4,)),
    "3x1x9+2x1": ((3, 1, 9), (2, 1)),
    "0+0": ((0,), (0,)),
    "0+scalar": ((0,), ()),
    "scalar+0x3": ((), (0, 3)),
    "0x3+1x3": ((0, 3), (1, 3)),
    "0x3+2x1x1": ((0, 3), (2, 1, 1)),
    "1000+1000": ((1000,), (1000,)),
}
_FEW_SHAPES = ("scalar+17", "17+scalar", "33+33", "3x1+1x5", "0x3+1x3", "scalar+scalar")
_FLOAT_SHAPES = (*_FEW_SHAPES, "1+33", "8+1", "2x3x4+4", "0+scalar", "1000+1000")
#: Name -> the contents of both inputs.
CONTENTS: Mapping[str, tuple[Content, Content]] = {
    "special": ("special", "special"),
    "nan-left": ("nan", "finite"),
    "nan-right": ("finite", "nan"),
    "nan-both": ("nan", "nan"),
    "nan-inf": ("nan", "inf"),
    "zeros": ("zeros", "zeros"),
}


def cases() -> Iterator[Case]:
    """Give the cases of every operator."""
    yield from _extremes()
    for op in ("Add", "Sub", "Mul", "Div"):
        yield from _operator(op, FDH, ("special", "nan-left", "nan-right", "zeros"))
        contents: tuple[Content, Content] = ("special", "special" if op != "Div" else "positive")
        yield from _integers(op, _INTS, contents)
    for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
        yield from _operator(op, FD, ("special", "nan-left", "nan-right", "zeros"))
        yield from _integers(op, _INTS, ("special", "special"), shapes=("17+scalar", "33+33"))
    yield from _operator("PRelu", ("float32",), ("special", "nan-left", "nan-right"))
    yield from _operator("Mod", FDH, ("special", "nan-left", "nan-right"), fmod=1)
    yield from _integers("Mod", _INTS, ("special", "positive"))
    yield from _integers("Mod", ("int32", "int64", "uint8"), ("special", "positive"), fmod=1)
    yield from _power()
    yield from _logic()
    yield from _where()
    yield from _variadic()


def _pair(types: tuple[str, str], shape: str, contents: tuple[Content, Content]) -> list[Draw]:
    three = zip(types, SHAPES[shape], contents, strict=True)
    return [Draw(*each, f"#{position}") for position, each in enumerate(three)]


def _operator(
    op: str,
    types: Sequence[str],
    contents: Sequence[str],
    *,
    shapes: Sequence[str] | None = None,
    **attributes: Any,
) -> Iterator[Case]:
    for type_ in types:
        for label in contents:
            full = _FLOAT_SHAPES if type_ == "float32" else _FEW_SHAPES
            chosen = shapes or (full if label == "special" else full[:3])
            for shape in chosen:
                data = _pair((type_, type_), shape, CONTENTS[label])
                yield op_case(f"binary/{op}/{type_}/{shape}/{label}", op, data, **attributes)


def _integers(
    op: str,
    types: Sequence[str],
    contents: tuple[Content, Content],
    *,
    shapes: Sequence[str] = ("scalar+17", "17+scalar", "33+33"),
    **attributes: Any,
) -> Iterator[Case]:
    suffix = "".join(f"-{key}{value}" for key, value in attributes.items())
    for type_ in types:
        for shape in shapes:
            data = _pair((type_, type_), shape, contents)
            yield op_case(f"binary/{op}{suffix}/{type_}/{shape}", op, data, **attributes)


def _extremes() -> Iterator[Case]:
    """Min and Max: every shape with every place that a NaN can have, and more than two inputs."""
    several: tuple[tuple[Shape, ...], ...] = (
        ((9,),), ((17,), (), (17,)), ((2, 3), (3,), (), (2, 1)),
    )  # fmt: skip
    for op in ("Min", "Max"):
        for type_ in FDH:
            yield from _operator(op, (type_,), tuple(CONTENTS), shapes=tuple(SHAPES))
        yield from _integers(op, _WIDE, ("special", "special"), shapes=tuple(SHAPES)[:15])
        for type_ in (*FDH, "int64", "uint32"):
            for shapes in several:
                for content in ("special", "nan"):
                    name = f"binary/{op}/{type_}/{len(shapes)}-inputs/{content}"
                    yield op_case(name, op, numbered(type_, shapes, content))
        for side in ("left", "right"):
            for value in (np.nan, 0.5, -0.0):
                # A constant side goes through the optimiser before it meets the kernel.
                pair = [Constant("c", np.float32(value)), Draw("float32", (33,))]
                data = pair if side == "left" else pair[::-1]
                yield op_case(f"binary/{op}/float32/constant-{side}/{value}", op, data)

    yield from _old_extremes()


def _old_extremes() -> Iterator[Case]:
    """Min and Max of older operator sets, whose kernels are others: 7 does not broadcast."""
    for op in ("Min", "Max"):
        for opset, types in {7: ("float32",), 8: FD, 12: FDH}.items():
            for type_ in types:
                for label, contents in CONTENTS.items():
                    for shape in ("17+17", "33+33") if opset == 7 else ("17+scalar", "3x1+1x5"):
                        name = f"binary/{op}-opset{opset}/{type_}/{shape}/{label}"
                        data = _pair((type_, type_), shape, contents)
                        yield op_case(name, op, data, opset=opset)
            name = f"binary/{op}-opset{opset}/float32/3-inputs"
            yield op_case(name, op, numbered("float32", [(9,)] * 3), opset=opset)


def _power() -> Iterator[Case]:
    yield from _operator("Pow", FDH, ("special", "nan-left", "nan-right", "zeros"))
    for base, exponent in (
        ("float32", "int32"), ("float32", "int64"), ("float32", "float64"), ("float64", "float32"),
        ("float64", "int64"), ("int32", "float32"), ("int32", "int32"), ("int64", "int64"),
        ("int64", "float64"),
    ):  # fmt: skip
        floating = base.startswith("float")
        for shape in ("17+scalar", "scalar+17", "17+17"):
            contents: tuple[Content, Content] = ("special" if floating else "finite", "positive")
            data = _pair((base, exponent), shape, contents)
            yield op_case(f"binary/Pow/{base}-{exponent}/{shape}", "Pow", data)
    for value in (2.0, 3.0, 0.5, 0.0, -1.0, np.nan):
        # Squares and cubes have paths of their own.
        for type_ in FD:
            power = [Draw(type_, (33,)), np.array(value, dtype=type_)]
            yield op_case(f"binary/Pow/{type_}/exponent={value}", "Pow", power)


def _logic() -> Iterator[Case]:
    for op in ("And", "Or", "Xor", "Equal"):
        for shape in ("scalar+17", "33+33", "3x1+1x5", "0x3+1x3"):
            data = _pair(("bool", "bool"), shape, CONTENTS["special"])
            yield op_case(f"binary/{op}/bool/{shape}", op, data)
    for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        yield from _integers(op, _INTS, ("special", "special"), shapes=("17+scalar", "33+33"))
    for direction in ("LEFT", "RIGHT"):
        for type_ in ("uint8", "uint32", "uint64"):
            name = f"binary/BitShift-{direction}/{type_}/17+17"
            by = (make(name + "#1", type_, (17,), "finite") % 8).astype(type_)
            yield op_case(name, "BitShift", [Draw(type_, (17,)), by], direction=direction)


def _where() -> Iterator[Case]:
    shapes: dict[str, tuple[Shape, Shape, Shape]] = {
        "17+17+17": ((17,), (17,), (17,)),
        "17+scalar+17": ((17,), (), (17,)),
        "17+17+scalar": ((17,), (17,), ()),
        "scalar+9+9": ((), (9,), (9,)),
        "3x1+5+scalar": ((3, 1), (5,), ()),
        "0+scalar+scalar": ((0,), (), ()),
        "2x3x4+4+3x1": ((2, 3, 4), (4,), (3, 1)),
    }
    for type_ in (*FD, "float16", "int32", "int64", "uint8"):
        for label, three in shapes.items():
            data = [Draw(bool, three[0]), *numbered(type_, three[1:], first=1)]
            yield op_case(f"binary/Where/{type_}/{label}", "Where", data)


def _variadic() -> Iterator[Case]:
    several: dict[str, tuple[Shape, ...]] = {
        "3": ((17,), (17,), (17,)),
        "broadcast": ((2, 1, 4), (3, 1), ()),
        "empty": ((0, 3), (1, 3), ()),
        "1": ((9,),),
    }
    for op, types in {"Sum": FD, "Mean": ("float32",)}.items():
        for type_ in types:
            for label, shapes in several.items():
                yield op_case(f"binary/{op}/{type_}/{label}", op, numbered(type_, shapes))
