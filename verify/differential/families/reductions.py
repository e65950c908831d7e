"""Reductions, normalisations, sorting and scans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..store import Case
from .data import Content, Draw, Shape, integers, numbered
from .models import MICROSOFT, Constant, op_case

FD = ("float32", "float64")
_TYPES = (*FD, "int32", "int64")
_REDUCTIONS: Mapping[str, tuple[str, ...]] = {
    "ReduceSum": _TYPES, "ReduceMean": _TYPES, "ReduceProd": _TYPES,
    "ReduceMax": (*_TYPES, "int8", "uint8"), "ReduceMin": (*_TYPES, "int8", "uint8"),
    "ReduceL1": _TYPES, "ReduceL2": _TYPES, "ReduceSumSquare": _TYPES,
    "ReduceLogSum": FD, "ReduceLogSumExp": FD,
}  # fmt: skip
#: Name -> shape, axes, keepdims: each lands in another fast path (rows kept or reduced).
_LAYOUTS: Mapping[str, tuple[Shape, list[int] | None, int]] = {
    "17-all": ((17,), None, 1),
    "1-all": ((1,), None, 0),
    "1000-all": ((1000,), None, 0),
    "5x33-last": ((5, 33), [1], 0),
    "33x5-first": ((33, 5), [0], 1),
    "3x9x4-middle": ((3, 9, 4), [1], 1),
    "3x9x4-outer": ((3, 9, 4), [0, 2], 0),
    "2x3x4x5-mixed": ((2, 3, 4, 5), [1, 3], 0),
    "0-all": ((0,), None, 0),
    "2x0x3-empty": ((2, 0, 3), [1], 1),
    "2x0x3-kept": ((2, 0, 3), [0], 0),
    "scalar": ((), None, 0),
}
_CONTENTS: tuple[Content, ...] = ("finite", "nan", "inf", "special")
_FEW = ("17-all", "5x33-last", "33x5-first", "3x9x4-middle")


def cases() -> Iterator[Case]:
    """Give the cases of every operator."""
    yield from _reductions()
    yield from _arguments()
    yield from _softmax()
    yield from _layer_normalisation()
    yield from _other_normalisations()
    yield from _scans()


def _reductions() -> Iterator[Case]:
    for op, types in _REDUCTIONS.items():
        for type_ in types:
            floating = np.dtype(type_).kind == "f"
            for layout, (shape, axes, keep) in _LAYOUTS.items():
                contents = _CONTENTS if floating and layout in _FEW else ("finite",)
                if type_ not in ("float32", "int64") and layout not in _FEW:
                    continue
                for content in contents:
                    name = f"reduce/{op}/{type_}/{layout}/{content}"
                    over = [] if axes is None else [Constant("axes", integers(*axes))]
                    yield op_case(name, op, [Draw(type_, shape, content), *over], keepdims=keep)
        name = f"reduce/{op}/float32/no-op-on-empty-axes"
        data = [Draw("float32", (3, 5)), Constant("axes", integers())]
        yield op_case(name, op, data, noop_with_empty_axes=1)
    for op in ("ReduceMax", "ReduceMin"):
        data = [Draw(bool, (5, 33)), Constant("axes", integers(1))]
        yield op_case(f"reduce/{op}/bool/5x33-last", op, data)


def _arguments() -> Iterator[Case]:
    for op in ("ArgMax", "ArgMin"):
        for type_ in (*FD, "int32", "int8", "uint8"):
            contents = _CONTENTS if type_ in FD else ("finite",)
            for content in (*contents, "zeros") if type_ in FD else contents:
                for last in (0, 1):
                    for shape, axis in (((17,), 0), ((5, 33), 1), ((33, 5), 0), ((2, 3, 4), 1)):
                        label = "x".join(map(str, shape))
                        name = f"reduce/{op}/{type_}/{label}/axis{axis}-last{last}/{content}"
                        data = [Draw(type_, shape, content)]
                        yield op_case(name, op, data, axis=axis, select_last_index=last)
    for type_ in (*FD, "int32", "int64"):
        for content in ("finite", "nan", "special"):
            if content != "finite" and type_ not in FD:
                continue
            for size, count in ((1, 1), (17, 3), (33, 33), (1000, 5), (1000, 400), (17, 0)):
                for largest in (0, 1):
                    name = f"reduce/TopK/{type_}/{count}of{size}-largest{largest}/{content}"
                    given = [Draw(type_, (2, size), content), integers(count)]
                    yield op_case(name, "TopK", given, outputs=2, largest=largest)


def _softmax() -> Iterator[Case]:
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        for type_ in ("float32",) if op == "Hardmax" else (*FD, "float16"):
            for content in _CONTENTS:
                for shape, axis in (
                    ((1,), 0), ((2, 7), -1), ((3, 16), -1), ((3, 17), -1), ((4, 33), 0),
                    ((2, 3, 9), 1), ((2, 1000), -1),
                ):  # fmt: skip
                    if type_ != "float32" and shape not in ((3, 17), (4, 33)):
                        continue
                    label = "x".join(map(str, shape))
                    name = f"reduce/{op}/{type_}/{label}/axis{axis}/{content}"
                    yield op_case(name, op, [Draw(type_, shape, content)], axis=axis)
            yield op_case(f"reduce/{op}/{type_}/0x3/empty", op, [Draw(type_, (0, 3))])
            # A row of nothing but -inf has no finite maximum.
            name = f"reduce/{op}/{type_}/2x9/all-minus-inf"
            yield op_case(name, op, [np.full((2, 9), -np.inf, dtype=type_)])


def _layer_normalisation() -> Iterator[Case]:
    for type_ in (*FD, "float16"):
        for content in (*_CONTENTS, "zeros"):
            for shape in ((3, 7), (2, 16), (2, 33), (1, 384), (2, 3, 8)):
                if type_ != "float32" and shape not in ((3, 7), (2, 33)):
                    continue
                label = "x".join(map(str, shape))
                name = f"reduce/LayerNormalization/{type_}/{label}/{content}"
                weights = numbered(type_, [shape[-1:]] * 2, "unit", first=1)
                data = [Draw(type_, shape, content), *weights]
                outputs = 3 if type_ == "float32" else 1
                yield op_case(name, "LayerNormalization", data, outputs=outputs)
    for content in _CONTENTS:
        for label, op, domain in (
            ("SimplifiedLayerNormalization", "SimplifiedLayerNormalization", ""),
            ("SkipLayerNormalization", "SkipLayerNormalization", MICROSOFT),
            ("SkipSimplified", "SkipSimplifiedLayerNormalization", MICROSOFT),
        ):
            name = f"reduce/{label}/float32/2x5x32/{content}"
            given = [Draw("float32", (2, 5, 32), content)]
            if domain:
                given.append(Draw("float32", (2, 5, 32), "unit", "#skip"))
            given.append(Draw("float32", (32,), "unit", "#gamma"))
            yield op_case(name, op, given, domain=domain, epsilon=1e-5)


def _other_normalisations() -> Iterator[Case]:
    for content in _CONTENTS:
        for type_ in FD:
            data = Draw(type_, (2, 4, 3, 5), content)
            four = numbered(type_, [(4,)] * 4, "positive")
            name = f"reduce/BatchNormalization/{type_}/{content}"
            yield op_case(name, "BatchNormalization", [data, *four])
        data = Draw("float32", (2, 4, 3, 5), content)
        two = numbered("float32", [(4,)] * 2, "unit")
        name = f"reduce/InstanceNormalization/float32/{content}"
        yield op_case(name, "InstanceNormalization", [data, *two])
        name = f"reduce/GroupNormalization/float32/{content}"
        yield op_case(name, "GroupNormalization", [data, *two], num_groups=2)
        yield op_case(f"reduce/LRN/float32/{content}", "LRN", [data], size=3, alpha=0.01)
        for type_ in FD:
            for power in (1, 2):
                for axis in (-1, 0):
                    name = f"reduce/LpNormalization/{type_}/p{power}-axis{axis}/{content}"
                    rows = [Draw(type_, (3, 17), content)]
                    yield op_case(name, "LpNormalization", rows, axis=axis, p=power)
        for axes in ([0, 2, 3], [0, 1, 2, 3]):
            name = f"reduce/MeanVarianceNormalization/float32/{len(axes)}-axes/{content}"
            yield op_case(name, "MeanVarianceNormalization", [data], axes=axes)


def _scans() -> Iterator[Case]:
    for type_ in _TYPES:
        for content in _CONTENTS if type_ in FD else ("finite",):
            for exclusive in (0, 1):
                for reverse in (0, 1):
                    name = f"reduce/CumSum/{type_}/e{exclusive}r{reverse}/{content}"
                    data = [Draw(type_, (3, 17), content), np.int64(1)]
                    yield op_case(name, "CumSum", data, exclusive=exclusive, reverse=reverse)
    for type_ in (*FD, "int64", "int8"):
        for ordered in (0, 1):
            for content in ("finite", "zeros", "special"):
                name = f"reduce/Unique/{type_}/sorted{ordered}/{content}"
                values = [Draw(type_, (33,), content)]
                yield op_case(name, "Unique", values, outputs=4, sorted=ordered)
    for type_ in ("float32", "int32", "int64", "uint8", "bool"):
        yield op_case(f"reduce/NonZero/{type_}", "NonZero", [Draw(type_, (4, 9))])
