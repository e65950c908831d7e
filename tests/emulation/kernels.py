"""Products whose result is known exactly, in sizes that reach every edge of the arm64 kernels.

All values are integers so small that every sum of products is exact in the type that it is summed
in, in whatever order a kernel sums. So one wrong lane, tail or packing shows as a difference, and
no tolerance can hide it. The sizes stand around the tiles of the kernels for NEON, dot products
and integer matrix products (4, 8, 12 and 16 rows or columns, 4, 8 and 16 steps of depth).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.differential.families.models import MICROSOFT, Constant, op_case
from verify.differential.store import Case
from verify.differential.values import from_array

PREFIX = "kernel/"
_ROWS = (1, 2, 3, 4, 5, 7, 8, 12, 13, 37)
_DEPTH_AND_COLUMNS = (
    *((1, 1), (3, 5), (4, 4), (5, 3), (7, 8), (8, 7), (8, 16), (9, 17), (15, 15), (16, 16)),
    *((17, 9), (24, 33), (31, 12), (32, 64), (33, 31), (63, 6), (64, 48), (100, 53), (257, 19)),
)
_INTEGERS = (("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8"))
Array = NDArray[Any]


def kernel_cases() -> Iterator[Case]:
    """Give every case; the same bytes each time."""
    yield from _integer_products()
    yield from _float_products()
    yield from _packed_four_bits()
    yield from _convolutions()


def _integer_products() -> Iterator[Case]:
    for left, right in _INTEGERS:
        for depth, columns in _DEPTH_AND_COLUMNS:
            for rows in _ROWS:
                name = f"{PREFIX}MatMulInteger/{left}-{right}/{rows}x{depth}x{columns}"
                one = _full(name, left, (rows, depth))
                two = _full(name + "#b", right, (depth, columns))
                zeros = (np.array(3, dtype=left), np.array(2, dtype=right))
                wide = (one.astype(np.int32) - int(zeros[0])) @ (
                    two.astype(np.int32) - int(zeros[1])
                )
                # A constant right side is packed beforehand, another kernel's input.
                packed = op_case(
                    name + "/packed", "MatMulInteger",
                    [one, Constant("b", two), zeros[0], Constant("bz", zeros[1])],
                )  # fmt: skip
                loose = op_case(name, "MatMulInteger", [one, two, *zeros])
                yield _expecting(packed, wide)
                yield _expecting(loose, wide)


def _float_products() -> Iterator[Case]:
    for depth, columns in _DEPTH_AND_COLUMNS:
        for rows in _ROWS:
            name = f"{PREFIX}MatMul/float32/{rows}x{depth}x{columns}"
            one, two = (_small(name + part, part_shape) for part, part_shape in (
                ("", (rows, depth)), ("#b", (depth, columns)),
            ))  # fmt: skip
            case = op_case(name, "MatMul", [one, Constant("b", two)])
            yield _expecting(case, one @ two)


def _packed_four_bits() -> Iterator[Case]:
    """MatMulNBits of ONNX Runtime's own domain: weights of 4 bits, in blocks with a scale each.

    At accuracy level 4 a kernel rounds each block of the left side to 8 bits, with the block's
    largest value as 127: that value is in every block here, so the rounding is exact.
    """
    for block in (16, 32, 64):
        for depth, columns in ((block, 3), (2 * block, 16), (5 * block, 17), (8 * block, 33)):
            for rows in (1, 2, 4, 7, 12):
                for level in (0, 4):
                    name = f"{PREFIX}MatMulNBits/{level}/{block}/{rows}x{depth}x{columns}"
                    random = _random(name)
                    one = random.integers(-127, 128, (rows, depth)).astype(np.float32)
                    one[:, ::block] = 127.0
                    blocks = depth // block
                    nibbles = random.integers(0, 16, (columns, blocks, block)).astype(np.uint8)
                    scales = np.exp2(random.integers(-2, 2, (columns, blocks))).astype(np.float32)
                    weights = (nibbles.astype(np.float64) - 8.0) * scales[:, :, None]
                    case = op_case(
                        name, "MatMulNBits",
                        [
                            one,
                            Constant("b", nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)),
                            Constant("scales", scales.reshape(-1)),
                        ],
                        domain=MICROSOFT,
                        K=depth, N=columns, bits=4, block_size=block, accuracy_level=level,
                    )  # fmt: skip
                    exact = one.astype(np.float64) @ weights.reshape(columns, depth).T
                    yield _expecting(case, exact.astype(np.float32))


def _convolutions() -> Iterator[Case]:
    for type_ in ("float32", "float16"):
        for channels, filters, group in (
            (1, 1, 1),
            (3, 8, 1),
            (8, 8, 8),
            (16, 24, 1),
            (17, 17, 17),
        ):
            for size in (3, 8, 13):
                name = f"{PREFIX}Conv/{type_}/{channels}-{filters}-{group}/{size}"
                data = _tiny(name, (1, channels, size, size)).astype(type_)
                weight = _tiny(name + "#w", (filters, channels // group, 3, 3)).astype(type_)
                case = op_case(
                    name, "Conv", [data, Constant("w", weight)], group=group, pads=[1, 1, 1, 1],
                )  # fmt: skip
                yield _expecting(case, _convolve(data, weight, group).astype(type_))


def _convolve(data: Array, weight: Array, group: int) -> Array:
    """Convolve ``[1, channels, h, w]`` with 3x3 filters and a border of one zero, in int64."""
    padded = np.pad(data[0].astype(np.int64), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    filters = weight.astype(np.int64)
    share = filters.shape[0] // group
    parts = [
        np.einsum(
            "chwij,fcij->fhw",
            windows[number * filters.shape[1] : (number + 1) * filters.shape[1]],
            filters[number * share : (number + 1) * share],
        )
        for number in range(group)
    ]
    return np.concatenate(parts)[None]


def _expecting(case: Case, expected: Array) -> Case:
    return replace(case, expected=(from_array(expected),), rtol=0.0, atol=0.0)


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


def _full(name: str, type_: str, shape: tuple[int, ...]) -> Array:
    """The type's whole range, its two ends among the values."""
    info = np.iinfo(type_)
    values = _random(name).integers(info.min, info.max + 1, shape).astype(type_)
    values.flat[0] = info.min
    values.flat[-1] = info.max
    return values


def _small(name: str, shape: tuple[int, ...]) -> Array:
    """Integers up to 64: 257 products of two of them stay below 2**24, exact in float32."""
    return _random(name).integers(-64, 65, shape).astype(np.float32)


def _tiny(name: str, shape: tuple[int, ...]) -> Array:
    """Integers up to 2: 144 products of two of them stay below 2**11, exact in float16."""
    return _random(name).integers(-2, 3, shape)
