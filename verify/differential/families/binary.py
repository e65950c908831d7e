"""Operators of two or more inputs with broadcasting: where scalars take paths of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..store import Case
from .data import Content, Shape, make
from .models import op_case

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


def _pair(name: str, types: tuple[str, str], shapes: tuple[Shape, Shape],
          contents: tuple[Content, Content]) -> list[Any]:  # fmt: skip
    return [
        make(f"{name}#{position}", types[position], shapes[position], contents[position])
        for position in (0, 1)
    ]


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
                name = f"binary/{op}/{type_}/{shape}/{label}"
                data = _pair(name, (type_, type_), SHAPES[shape], CONTENTS[label])
                yield op_case(name, op, data, **attributes)


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
            name = f"binary/{op}{suffix}/{type_}/{shape}"
            data = _pair(name, (type_, type_), SHAPES[shape], contents)
            yield op_case(name, op, data, **attributes)


def _extremes() -> Iterator[Case]:
    """Min and Max: every shape with every place that a NaN can have, and more than two inputs."""
    for op in ("Min", "Max"):
        for type_ in FDH:
            yield from _operator(op, (type_,), tuple(CONTENTS), shapes=tuple(SHAPES))
        yield from _integers(op, _WIDE, ("special", "special"), shapes=tuple(SHAPES)[:15])
        for type_ in (*FDH, "int64", "uint32"):
            for count, shapes in {
                1: ((9,),),
                3: ((17,), (), (17,)),
                4: ((2, 3), (3,), (), (2, 1)),
            }.items():
                for content in ("special", "nan"):
                    name = f"binary/{op}/{type_}/{count}-inputs/{content}"
                    data = [
                        make(f"{name}#{position}", type_, shape, content)
                        for position, shape in enumerate(shapes)
                    ]
                    yield op_case(name, op, data)
        for side in ("left", "right"):
            for value in (np.nan, 0.5, -0.0):
                # A constant side goes through the optimiser before it meets the kernel.
                name = f"binary/{op}/float32/constant-{side}/{value}"
                order = ("c", "x") if side == "left" else ("x", "c")
                span = {"x": make(name, "float32", (33,))}
                constants = {"c": np.float32(value)}
                yield op_case(name, op, span, constants=constants, order=order)

    yield from _old_extremes()


def _old_extremes() -> Iterator[Case]:
    """Min and Max of older operator sets, whose kernels are others: 7 does not broadcast."""
    for op in ("Min", "Max"):
        for opset, types in {7: ("float32",), 8: FD, 12: FDH}.items():
            for type_ in types:
                for label, contents in CONTENTS.items():
                    for shape in ("17+17", "33+33") if opset == 7 else ("17+scalar", "3x1+1x5"):
                        name = f"binary/{op}-opset{opset}/{type_}/{shape}/{label}"
                        data = _pair(name, (type_, type_), SHAPES[shape], contents)
                        yield op_case(name, op, data, opset=opset)
            name = f"binary/{op}-opset{opset}/float32/3-inputs"
            data = [make(f"{name}#{n}", "float32", (9,)) for n in range(3)]
            yield op_case(name, op, data, opset=opset)


def _power() -> Iterator[Case]:
    yield from _operator("Pow", FDH, ("special", "nan-left", "nan-right", "zeros"))
    for base, exponent in (
        ("float32", "int32"), ("float32", "int64"), ("float32", "float64"), ("float64", "float32"),
        ("float64", "int64"), ("int32", "float32"), ("int32", "int32"), ("int64", "int64"),
        ("int64", "float64"),
    ):  # fmt: skip
        floating = base.startswith("float")
        for shape in ("17+scalar", "scalar+17", "17+17"):
            name = f"binary/Pow/{base}-{exponent}/{shape}"
            contents: tuple[Content, Content] = ("special" if floating else "finite", "positive")
            yield op_case(name, "Pow", _pair(name, (base, exponent), SHAPES[shape], contents))
    for value in (2.0, 3.0, 0.5, 0.0, -1.0, np.nan):
        # Squares and cubes have paths of their own.
        for type_ in FD:
            name = f"binary/Pow/{type_}/exponent={value}"
            data = [make(name, type_, (33,)), np.array(value, dtype=type_)]
            yield op_case(name, "Pow", data)


def _logic() -> Iterator[Case]:
    for op in ("And", "Or", "Xor", "Equal"):
        for shape in ("scalar+17", "33+33", "3x1+1x5", "0x3+1x3"):
            name = f"binary/{op}/bool/{shape}"
            data = _pair(name, ("bool", "bool"), SHAPES[shape], CONTENTS["special"])
            yield op_case(name, op, data)
    for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        yield from _integers(op, _INTS, ("special", "special"), shapes=("17+scalar", "33+33"))
    for direction in ("LEFT", "RIGHT"):
        for type_ in ("uint8", "uint32", "uint64"):
            name = f"binary/BitShift-{direction}/{type_}/17+17"
            data = [make(name, type_, (17,)), make(name + "#1", type_, (17,), "finite") % 8]
            data = [item.astype(type_) for item in data]
            yield op_case(name, "BitShift", data, direction=direction)


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
            name = f"binary/Where/{type_}/{label}"
            data = [make(name, bool, three[0])]
            data += [make(f"{name}#{n}", type_, three[n]) for n in (1, 2)]
            yield op_case(name, "Where", data)


def _variadic() -> Iterator[Case]:
    for op, types in {"Sum": FD, "Mean": ("float32",)}.items():
        for type_ in types:
            for label, shapes in {
                "3": ((17,), (17,), (17,)),
                "broadcast": ((2, 1, 4), (3, 1), ()),
                "empty": ((0, 3), (1, 3), ()),
                "1": ((9,),),
            }.items():
                name = f"binary/{op}/{type_}/{label}"
                data = [make(f"{name}#{n}", type_, shape) for n, shape in enumerate(shapes)]
                yield op_case(name, op, data)
