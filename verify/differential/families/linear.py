"""Matrix products and what is built on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..store import Case
from .data import Content, Draw, Shape, make, numbered
from .models import MICROSOFT, Constant, op_case

FD = ("float32", "float64")
_SIDES: tuple[tuple[str, Content, Content], ...] = (
    ("finite", "finite", "finite"),
    ("nan-left", "nan", "finite"),
    ("nan-right", "finite", "nan"),
    ("inf", "inf", "finite"),
)
_SQUARES = (1, 3, 7, 8, 9, 15, 16, 17, 33, 64)


def cases() -> Iterator[Case]:
    """Give the cases of every operator."""
    yield from _products()
    yield from _gemm()
    yield from _einsum()
    yield from _algebra()


def _products() -> Iterator[Case]:
    shapes: dict[str, tuple[Shape, Shape]] = {f"{n}x{n}": ((n, n), (n, n)) for n in _SQUARES} | {
        "17+17": ((17,), (17,)),
        "5x17+17": ((5, 17), (17,)),
        "17+17x5": ((17,), (17, 5)),
        "2x3x9+9x4": ((2, 3, 9), (9, 4)),
        "2x1x3x9+4x9x5": ((2, 1, 3, 9), (4, 9, 5)),
        "1x128x384+384x384": ((1, 128, 384), (384, 384)),
        "0x3+3x4": ((0, 3), (3, 4)),
        "3x0+0x4": ((3, 0), (0, 4)),
    }
    for type_ in (*FD, "float16", "int32", "int64", "uint32", "uint64"):
        floating = type_.startswith("float")
        for label, (left, right) in shapes.items():
            if type_ != "float32" and label in ("1x1", "3x3", "15x15", "64x64"):
                continue
            for side, one, two in _SIDES if floating else _SIDES[:1]:
                if side != "finite" and label not in ("9x9", "17x17", "33x33", "5x17+17"):
                    continue
                name = f"linear/MatMul/{type_}/{label}/{side}"
                data = [Draw(type_, left, one), Draw(type_, right, two, "#1")]
                yield op_case(name, "MatMul", data)
    for size in (9, 17, 33):
        # A constant right side is packed before the run.
        square = (size, size)
        packed = Constant("b", Draw("float32", square, "finite", "#1"))
        pair = [Draw("float32", square, "finite"), packed]
        yield op_case(f"linear/MatMul/float32/{size}x{size}/constant", "MatMul", pair)
    for alpha in (1.0, 0.125):
        for first, second in ((0, 0), (1, 0), (0, 1), (1, 1)):
            name = f"linear/FusedMatMul/float32/a{alpha}-t{first}{second}"
            yield op_case(
                name, "FusedMatMul", numbered("float32", [(2, 9, 9)] * 2, "finite"),
                domain=MICROSOFT, alpha=alpha, transA=first, transB=second,
            )  # fmt: skip


def _gemm() -> Iterator[Case]:
    biases: dict[str, Shape | None] = {
        "none": None, "scalar": (), "row": (5,), "column": (7, 1), "one": (1,), "full": (7, 5),
    }  # fmt: skip
    for type_ in FD:
        for label, bias in biases.items():
            for left, right in ((0, 0), (1, 0), (0, 1), (1, 1)):
                for alpha, beta in ((1.0, 1.0), (0.5, 2.0)):
                    if (alpha != 1.0 or type_ == "float64") and left != right:
                        continue
                    name = f"linear/Gemm/{type_}/t{left}{right}-a{alpha}-b{beta}/bias-{label}"
                    data = [
                        Draw(type_, (9, 7) if left else (7, 9), "finite"),
                        Draw(type_, (5, 9) if right else (9, 5), "finite", "#1"),
                    ]
                    if bias is not None:
                        data.append(Draw(type_, bias, "finite", "#2"))
                    yield op_case(
                        name, "Gemm", data, alpha=alpha, beta=beta, transA=left, transB=right
                    )
        for side, one, two in _SIDES:
            for beta in (1.0, 0.0):
                # beta = 0 with a NaN in C: read or skipped is the implementation's choice.
                data = [
                    Draw(type_, (7, 9), one),
                    Draw(type_, (9, 5), two, "#1"),
                    Draw(type_, (5,), "nan", "#2"),
                ]
                yield op_case(
                    f"linear/Gemm/{type_}/nan-bias-b{beta}/{side}", "Gemm", data, beta=beta
                )
        for rows, depth, columns in ((0, 3, 4), (3, 0, 4), (3, 4, 0)):
            name = f"linear/Gemm/{type_}/empty-{rows}x{depth}x{columns}"
            data = [
                Draw(type_, (rows, depth)),
                Draw(type_, (depth, columns), mark="#1"),
                Draw(type_, (columns,), "finite", "#2"),
            ]
            yield op_case(name, "Gemm", data)


def _einsum() -> Iterator[Case]:
    equations: dict[str, tuple[Shape, ...]] = {
        "ij,jk->ik": ((3, 9), (9, 5)), "bij,bjk->bik": ((2, 3, 9), (2, 9, 5)),
        "ii->i": ((7, 7),), "ij->ji": ((3, 5),), "ij->": ((3, 17),), "i,j->ij": ((3,), (5,)),
        "bhid,bhjd->bhij": ((1, 2, 5, 8), (1, 2, 7, 8)),
    }  # fmt: skip
    for type_ in (*FD, "int32", "int64"):
        for equation, shapes in equations.items():
            for content in ("finite", "nan") if type_ in FD else ("finite",):
                name = f"linear/Einsum/{type_}/{equation}/{content}"
                yield op_case(name, "Einsum", numbered(type_, shapes, content), equation=equation)


def _algebra() -> Iterator[Case]:
    for size in (1, 2, 3, 4, 5, 9):
        for content in ("finite", "nan"):
            data = [Draw("float32", (2, size, size), content)]
            yield op_case(f"linear/Det/float32/{size}/{content}", "Det", data)
        for type_ in (*FD, "float16"):
            # Well-conditioned: rounding in another order must not be blown up by the matrix.
            name = f"linear/Inverse/{type_}/{size}"
            square = make(name, "float64", (2, size, size), "unit") + 3 * size * np.eye(size)
            yield op_case(name, "Inverse", [square.astype(type_)], domain=MICROSOFT)
    for metric in ("euclidean", "sqeuclidean"):
        for type_ in FD:
            points = numbered(type_, [(5, 9), (7, 9)], "finite")
            name = f"linear/CDist/{type_}/{metric}"
            yield op_case(name, "CDist", points, domain=MICROSOFT, metric=metric)
    for type_ in FD:
        for length in (1, 8, 15, 16, 17, 60):
            for inverse in (0, 1):
                name = f"linear/DFT/{type_}/{length}/inverse{inverse}"
                signal = Draw(type_, (1, length, 2), "finite")
                axis = Constant("axis", np.int64(1))
                yield op_case(name, "DFT", [signal, None, axis], inverse=inverse)
    for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        for periodic in (0, 1):
            name = f"linear/{op}/17/periodic{periodic}"
            yield op_case(name, op, [np.int64(17)], periodic=periodic)
    mel = [np.int64(8), np.int64(32), np.int64(8000), np.float32(0), np.float32(4000)]
    yield op_case("linear/MelWeightMatrix", "MelWeightMatrix", mel)
