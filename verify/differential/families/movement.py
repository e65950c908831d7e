"""Operators that move, select or scatter elements: every bit must arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..store import Case
from .data import Draw, integers, numbered
from .models import Input, op_case

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
                data = Draw(type_, (5, 3), content)
                updates = Draw(type_, (2, 3), content, "#u")
                # Without a reduction, doubled indices would leave the winner open.
                if reduction == "none":
                    rows, places = [[0, 2, 1], [3, 1, 4]], [[1], [3]]
                else:
                    rows, places = [[0, 0, 1], [0, 1, 1]], [[1], [1]]
                given = [data, np.array(rows, dtype=np.int64), updates]
                name = f"move/ScatterElements/{type_}/{reduction}/{content}"
                yield op_case(name, "ScatterElements", given, axis=0, reduction=reduction)
                given = [data, np.array(places, dtype=np.int64), updates]
                name = f"move/ScatterND/{type_}/{reduction}/{content}"
                yield op_case(name, "ScatterND", given, reduction=reduction)


def _moves() -> Iterator[Case]:
    pairs = np.array([[0, -1], [2, 2]], dtype=np.int64)
    places = np.array([[0, 1, 2], [2, -1, 0]], dtype=np.int64)
    for type_ in (*FD, "float16", "int8", "int64", "bool"):
        # Called within this turn of the loop alone, so the type is the turn's.
        def case(op: str, *inputs: Input, label: str = "", **attributes: Any) -> Case:
            return op_case(f"move/{label or op}/{type_}", op, inputs, **attributes)  # noqa: B023

        yield case("Transpose", Draw(type_, (3, 4, 5)), perm=[2, 0, 1])
        yield case("Gather", Draw(type_, (4, 5)), pairs, axis=1)
        yield case("GatherElements", Draw(type_, (4, 3)), places)
        yield case("Concat", *numbered(type_, [(2, 3), (0, 3), (5, 3)]), axis=0)
        yield case("Tile", Draw(type_, (2, 3)), integers(2, 3))
        yield case("Expand", Draw(type_, (3, 1)), integers(2, 3, 5))
        bounds = [integers(*ends) for ends in ([9, 0], [-20, 5], [0, 1], [-2, 2])]
        yield case("Slice", Draw(type_, (10, 7)), *bounds)
        yield case("Compress", Draw(type_, (7, 3)), Draw(bool, (7,), mark="#c"), axis=0)
        empty = Draw(type_, (0, 4))
        yield case("Reshape", empty, integers(2, 0), label="Reshape-empty", allowzero=1)
    for type_ in FD:
        for mode in ("constant", "reflect", "edge", "wrap"):
            fill = np.array(np.nan, dtype=type_)
            padded = [Draw(type_, (3, 5)), integers(1, 2, 1, 2), fill]
            yield op_case(f"move/Pad/{type_}/{mode}", "Pad", padded, mode=mode)
        for upper in (0, 1):
            square = [Draw(type_, (5, 7), "nan"), np.int64(1)]
            yield op_case(f"move/Trilu/{type_}/upper{upper}", "Trilu", square, upper=upper)
        for mode in ("DCR", "CRD"):
            deep = [Draw(type_, (2, 8, 3, 2))]
            name = f"move/DepthToSpace/{type_}/{mode}"
            yield op_case(name, "DepthToSpace", deep, blocksize=2, mode=mode)
        name = f"move/SpaceToDepth/{type_}"
        yield op_case(name, "SpaceToDepth", [Draw(type_, (2, 3, 4, 6))], blocksize=2)


def _makers() -> Iterator[Case]:
    for type_ in ("float32", "int64"):
        given = [integers(0, 3, -1, 9), np.int64(5), Draw(type_, (2,))]
        yield op_case(f"move/OneHot/{type_}", "OneHot", given, axis=-1)
    for type_, (start, limit, delta) in {
        "float32": (0.1, 7.3, 0.37), "float64": (5.0, -3.0, -0.3), "int32": (3, 40, 7),
        "int64": (3, 3, 1), "int16": (10, -4, -3),
    }.items():  # fmt: skip
        three = [np.array(value, dtype=type_) for value in (start, limit, delta)]
        yield op_case(f"move/Range/{type_}", "Range", three)
    for type_ in ("float32", "float64", "int32"):
        yield op_case(f"move/EyeLike/{type_}", "EyeLike", [Draw(type_, (5, 7))], k=1)
