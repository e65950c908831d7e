"""Operators that move, select or scatter elements: every bit must arrive."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..store import Case
from .data import make
from .models import op_case

FD = ("float32", "float64")


def cases() -> Iterator[Case]:
    """Give the cases of every operator."""
    yield from _scatter()
    yield from _moves()
    yield from _makers()


def _scatter() -> Iterator[Case]:
    for type_ in (*FD, "int64"):
        for reduction in ("none", "add", "mul", "min", "max"):
            for content in ("finite", "nan", "special") if type_ in FD else ("finite",):
                name = f"move/ScatterElements/{type_}/{reduction}/{content}"
                # Without a reduction, doubled indices would leave the winner open.
                rows = np.array([[0, 2, 1], [3, 1, 4]])
                if reduction != "none":
                    rows = np.array([[0, 0, 1], [0, 1, 1]])
                data = [
                    make(name, type_, (5, 3), content),
                    rows.astype(np.int64),
                    make(name + "#u", type_, (2, 3), content),
                ]
                yield op_case(name, "ScatterElements", data, axis=0, reduction=reduction)
                name = f"move/ScatterND/{type_}/{reduction}/{content}"
                places = np.array([[1], [3]] if reduction == "none" else [[1], [1]])
                data = [
                    make(name, type_, (5, 3), content),
                    places.astype(np.int64),
                    make(name + "#u", type_, (2, 3), content),
                ]
                yield op_case(name, "ScatterND", data, reduction=reduction)


def _moves() -> Iterator[Case]:
    types = (*FD, "float16", "int8", "int64", "bool")
    for type_ in types:
        base = f"move/{{}}/{type_}"
        name = base.format("Transpose")
        yield op_case(name, "Transpose", [make(name, type_, (3, 4, 5))], perm=[2, 0, 1])
        name = base.format("Gather")
        places = np.array([[0, -1], [2, 2]], dtype=np.int64)
        yield op_case(name, "Gather", [make(name, type_, (4, 5)), places], axis=1)
        name = base.format("GatherElements")
        places = np.array([[0, 1, 2], [2, -1, 0]], dtype=np.int64)
        yield op_case(name, "GatherElements", [make(name, type_, (4, 3)), places])
        name = base.format("Concat")
        data = [make(f"{name}#{n}", type_, (size, 3)) for n, size in enumerate((2, 0, 5))]
        yield op_case(name, "Concat", data, axis=0)
        name = base.format("Tile")
        data = [make(name, type_, (2, 3)), np.array([2, 3], dtype=np.int64)]
        yield op_case(name, "Tile", data)
        name = base.format("Expand")
        data = [make(name, type_, (3, 1)), np.array([2, 3, 5], dtype=np.int64)]
        yield op_case(name, "Expand", data)
        name = base.format("Slice")
        bounds = [np.array(item, dtype=np.int64) for item in ([9, 0], [-20, 5], [0, 1], [-2, 2])]
        yield op_case(name, "Slice", [make(name, type_, (10, 7)), *bounds])
        name = base.format("Compress")
        data = [make(name, type_, (7, 3)), make(name + "#c", bool, (7,))]
        yield op_case(name, "Compress", data, axis=0)
        name = base.format("Reshape-empty")
        yield op_case(
            name, "Reshape", [make(name, type_, (0, 4)), np.array([2, 0], dtype=np.int64)],
            allowzero=1,
        )  # fmt: skip
    for type_ in FD:
        for mode in ("constant", "reflect", "edge", "wrap"):
            name = f"move/Pad/{type_}/{mode}"
            data = [make(name, type_, (3, 5)), np.array([1, 2, 1, 2], dtype=np.int64)]
            data.append(np.array(np.nan, dtype=type_))
            yield op_case(name, "Pad", data, mode=mode)
        for upper in (0, 1):
            name = f"move/Trilu/{type_}/upper{upper}"
            data = [make(name, type_, (5, 7), "nan"), np.array(1, dtype=np.int64)]
            yield op_case(name, "Trilu", data, upper=upper)
        for mode in ("DCR", "CRD"):
            name = f"move/DepthToSpace/{type_}/{mode}"
            deep = make(name, type_, (2, 8, 3, 2))
            yield op_case(name, "DepthToSpace", [deep], blocksize=2, mode=mode)
        name = f"move/SpaceToDepth/{type_}"
        yield op_case(name, "SpaceToDepth", [make(name, type_, (2, 3, 4, 6))], blocksize=2)


def _makers() -> Iterator[Case]:
    for type_ in ("float32", "int64"):
        name = f"move/OneHot/{type_}"
        places = np.array([0, 3, -1, 9], dtype=np.int64)
        depth = np.array(5, dtype=np.int64)
        values = make(name, type_, (2,))
        yield op_case(name, "OneHot", [places, depth, values], axis=-1)
    for type_, (start, limit, delta) in {
        "float32": (0.1, 7.3, 0.37), "float64": (5.0, -3.0, -0.3), "int32": (3, 40, 7),
        "int64": (3, 3, 1), "int16": (10, -4, -3),
    }.items():  # fmt: skip
        name = f"move/Range/{type_}"
        three = [np.array(value, dtype=type_) for value in (start, limit, delta)]
        yield op_case(name, "Range", three)
    for type_ in ("float32", "float64", "int32"):
        name = f"move/EyeLike/{type_}"
        yield op_case(name, "EyeLike", [make(name, type_, (5, 7))], k=1)
